//! import --lock.

use std::path::Path;

use reservoir_core::{
    Engine, Result,
    name::{Actor, RepositoryName},
};

use super::{content::follow, input};
use crate::{cli::Cli, output::SyncOutput};

/// The largest lock file read: those of whole companies have some megabytes.
const LIMIT: u64 = 64 << 20;

pub(crate) async fn import(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    file: &Path,
    actor: Actor,
) -> Result<SyncOutput> {
    let text = input::read_text(file, LIMIT)?;
    let shown = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    follow(cli, engine, name, engine.import_lock(name, &shown, &text, actor).await?).await
}
