//! init, apply, serve, client-setup.

use std::path::Path;

use reservoir_core::{
    Engine, Error, Result,
    name::{Actor, RepositoryName},
};
use url::Url;

use super::input;
use crate::{
    apply,
    cli::Cli,
    home::{Home, Settings},
    http,
    output::{ApplyOutput, ClientSetupOutput, InitOutput, SetupFile},
    schedule, signal,
};

/// The largest configuration, in bytes.
const CONFIGURATION: u64 = 16 << 20;

pub(crate) async fn init(cli: &Cli, catalog: Option<&str>, store: Option<&str>) -> Result<InitOutput> {
    let mut settings = Settings::default();
    if let Some(catalog) = catalog {
        catalog.clone_into(&mut settings.catalog);
    }
    if let Some(store) = store {
        store.clone_into(&mut settings.store);
    }
    let (home, created) = Home::init(Home::folder(cli.home.clone())?, settings).await?;
    Ok(InitOutput { home: home.path().display().to_string(), created })
}

pub(crate) async fn apply_file(
    engine: &Engine,
    file: &Path,
    prune: bool,
    actor: &Actor,
) -> Result<ApplyOutput> {
    let name = file.display().to_string();
    let text = input::read_text(file, CONFIGURATION)?;
    let document = apply::parse(engine, &name, &text).await?;
    apply::apply(engine, &document, prune, actor).await
}

/// `serve`: says where it listens, as the one thing it prints, and serves until it is asked to end.
#[expect(clippy::print_stdout, reason = "says where it listens")]
pub(crate) async fn serve(
    engine: Engine,
    listen: &str,
    (root, anonymous_writes, share): (Option<&str>, bool, bool),
    json: bool,
) -> Result<()> {
    let mut options = http::Options { share, ..http::Options::default() };
    if let Some(root) = root {
        options.root = Some(engine.catalog().repository(&root.parse()?).await?.config.name);
    }
    let listening = http::bind(listen).await?;
    if anonymous_writes {
        if !listening.address().ip().is_loopback() {
            return Err(Error::invalid(
                "--allow-anonymous-writes",
                format!(
                    "`{listen}` is not on the loopback: everybody who reaches it could change repositories"
                ),
            ));
        }
        options.writer = Some("anonymous".parse()?);
    }
    let listening = listening.with(options);
    let address = listening.address();
    if json {
        println!("{}", serde_json::json!({ "listening": format!("http://{address}") }));
    } else {
        println!("listening on http://{address}");
    }
    serve_on(engine, listening).await;
    Ok(())
}

/// Serves, syncs what has a schedule and signs anew what would go stale, until the program is asked to end.
pub(crate) async fn serve_on(engine: Engine, listening: http::Listening) {
    let syncs = tokio::spawn(schedule::run(engine.clone()));
    let refreshes = tokio::spawn(schedule::refresh(engine.clone()));
    listening.serve(engine, signal::interrupted()).await;
    syncs.abort();
    refreshes.abort();
}

pub(crate) async fn client_setup(
    engine: &Engine,
    name: &RepositoryName,
    base_url: &str,
) -> Result<ClientSetupOutput> {
    let repository = engine.catalog().repository(name).await?;
    let base: Url =
        base_url.parse().map_err(|error| Error::invalid("--base-url", format!("`{base_url}`: {error}")))?;
    if base.cannot_be_a_base() {
        return Err(Error::invalid("--base-url", format!("`{base_url}` is no http address")));
    }
    let ecosystem = engine.ecosystem(&repository.config.ecosystem)?;
    let mut known = Vec::new();
    for artifact in ecosystem.setup_artifacts(&repository.config) {
        known.extend(engine.catalog().candidates(repository.id, &artifact).await?);
    }
    let setup = ecosystem.client_setup_knowing(&repository.config, &base, &known);
    let files = setup.files.into_iter().map(|(name, text)| SetupFile { name, text }).collect();
    Ok(ClientSetupOutput { command: setup.command, files })
}
