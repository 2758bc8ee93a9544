//! import --lock.

use std::path::Path;

use reservoir_core::{
    Engine, Error, Result,
    name::{Actor, RepositoryName},
};

use super::content::follow;
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
    let unreadable =
        |error: std::io::Error| Error::invalid(format!("`{}`", file.display()), error.to_string());
    let size = tokio::fs::metadata(file).await.map_err(unreadable)?.len();
    if size > LIMIT {
        let what = format!("`{}`", file.display());
        return Err(Error::LimitExceeded { what, limit: format!("{LIMIT} bytes") });
    }
    let text = tokio::fs::read_to_string(file).await.map_err(unreadable)?;
    let shown = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    follow(cli, engine, name, engine.import_lock(name, &shown, &text, actor).await?).await
}
