//! One function a command.

mod bundle;
mod content;
mod decide;
mod keep;
mod lock;
mod look;
mod models;
mod plan;
mod quickstart;
mod setup;

use futures::future::LocalBoxFuture;
use reservoir_core::{
    Engine, Error, Result,
    lifecycle::Revision,
    name::{Actor, ArtifactName, RepositoryName, RevisionName},
};

use crate::{
    cli::{Cli, Command, RevisionArgs, TaskCommand},
    home::Home,
    output::Output,
    print,
};

/// Runs the command and says with which status to exit.
pub(crate) async fn run(cli: &Cli) -> Result<u8> {
    match &cli.command {
        Command::Quickstart { listen, no_serve } => quickstart::quickstart(cli, listen, *no_serve).await,
        Command::Init { catalog, store } => {
            let output = setup::init(cli, catalog.as_deref(), store.as_deref()).await?;
            Ok(print(cli, &output))
        }
        command => run_at_home(cli, command).await,
    }
}

/// The commands that need an initialised home. Each is a future of its own: as one, the compiler makes a single
/// function of all that the program can do, and takes minutes over it.
#[expect(clippy::too_many_lines, reason = "a line or three a command")]
async fn run_at_home(cli: &Cli, command: &Command) -> Result<u8> {
    let home = &Home::open(Home::folder(cli.home.clone())?)?;
    let engine = &home.engine().await?;
    let actor = actor(cli)?;
    let work: LocalBoxFuture<'_, Result<u8>> = match command {
        Command::Apply { file, prune } => {
            shown(cli, async move { setup::apply_file(engine, file, *prune, &actor).await })
        }
        Command::Serve { listen, root, allow_anonymous_writes, share } => Box::pin(async move {
            let options = (root.as_deref(), *allow_anonymous_writes, *share);
            setup::serve(engine.clone(), listen, options, cli.json).await?;
            Ok(0)
        }),
        Command::Scan { repo } => {
            shown(cli, async move { content::scan(cli, engine, &repository(repo)?, actor).await })
        }
        Command::Import { repo, lock: Some(file), .. } => {
            shown(cli, async move { lock::import(cli, engine, &repository(repo)?, file, actor).await })
        }
        Command::Import { repo, spec, solve, dry_run: true, lock: None } => shown(cli, async move {
            plan::plan(cli, engine, &repository(repo)?, spec.clone(), *solve, actor).await
        }),
        Command::Import { repo, spec, solve: true, .. } => {
            shown(
                cli,
                async move { content::solve(cli, engine, &repository(repo)?, spec.clone(), actor).await },
            )
        }
        Command::Import { repo, spec, .. } => {
            shown(
                cli,
                async move { content::import(cli, engine, &repository(repo)?, spec.clone(), actor).await },
            )
        }
        Command::Upload { repo, file } => {
            shown(cli, async move { content::upload(cli, engine, &repository(repo)?, file, actor).await })
        }
        Command::Sync { repo } => {
            shown(cli, async move { content::sync(cli, engine, &repository(repo)?, actor).await })
        }
        Command::List { repo: None, status: None } => shown(cli, look::repositories(engine)),
        Command::List { repo: None, .. } => {
            return Err(Error::invalid("--status", "needs a repository: `reservoir list REPO --status S`"));
        }
        Command::List { repo: Some(repo), status } => {
            shown(cli, async move { look::revisions(engine, &repository(repo)?, status.as_deref()).await })
        }
        Command::Show { repo, artifact } => {
            shown(cli, async move { look::show(engine, &repository(repo)?, artifact).await })
        }
        Command::History(target) => shown(cli, look::history(engine, target)),
        Command::Approve { target, reason } => shown(cli, decide::approve(engine, target, actor, reason)),
        Command::Reject { target, reason } => shown(cli, decide::reject(engine, target, actor, reason)),
        Command::Yank { target, reason } => shown(cli, decide::yank(engine, target, actor, Some(reason))),
        Command::Unyank(target) => shown(cli, decide::yank(engine, target, actor, None)),
        Command::Cleanup { target, reason } => shown(cli, decide::cleanup(engine, target, actor, reason)),
        Command::Publish { repo, again, message } => {
            shown(
                cli,
                async move { content::publish(engine, &repository(repo)?, actor, *again, message).await },
            )
        }
        Command::Log { repo } => shown(cli, async move { content::log(engine, &repository(repo)?).await }),
        Command::Diff { repo, a, b } => {
            shown(cli, async move { content::diff(engine, &repository(repo)?, a, b).await })
        }
        Command::Rollback { repo, snapshot } => {
            shown(cli, async move { content::rollback(engine, &repository(repo)?, snapshot, actor).await })
        }
        Command::Promote { from, to } => {
            shown(
                cli,
                async move { content::promote(engine, &repository(from)?, &repository(to)?, actor).await },
            )
        }
        Command::Check { repo } => shown(cli, async move { keep::check(engine, &repository(repo)?).await }),
        Command::Verify { deep } => shown(cli, keep::verify(engine, *deep)),
        Command::Gc { generations, days, grace } => shown(cli, keep::gc(engine, *generations, *days, *grace)),
        Command::Backup { dir } => shown(cli, keep::backup(home, engine, dir)),
        Command::Rebuild => shown(cli, async move { keep::rebuild(engine, &actor).await }),
        Command::Key(command) => {
            Box::pin(async move { bundle::key(cli, home, engine, command, &actor).await })
        }
        Command::Export(arguments) => Box::pin(bundle::export(cli, engine, arguments, actor)),
        Command::Load { path, dry_run } => Box::pin(bundle::load(cli, engine, path, *dry_run, actor)),
        Command::Inventory { out } => shown(cli, bundle::inventory(engine, out)),
        Command::Bundle(command) => shown(cli, bundle::bundle(engine, command)),
        Command::Task(TaskCommand::List) => shown(cli, look::tasks(engine)),
        Command::Task(TaskCommand::Cancel { id }) => {
            shown(cli, async move { decide::cancel(engine, *id, &actor).await })
        }
        Command::ClientSetup { repo, base_url } => {
            shown(cli, async move { setup::client_setup(engine, &repository(repo)?, base_url).await })
        }
        Command::ImportList { file, repo } => {
            shown(cli, models::import_list(cli, engine, file, repo.as_deref(), actor))
        }
        Command::Materialize { target, dest, files } => {
            shown(cli, models::materialize(engine, target, dest, *files))
        }
        Command::Quickstart { .. } | Command::Init { .. } => {
            return Err(Error::invalid("command", "needs no home"));
        }
    };
    work.await
}

/// Prints what `work` gives.
fn shown<'a, T: Output>(
    cli: &'a Cli,
    work: impl Future<Output = Result<T>> + 'a,
) -> LocalBoxFuture<'a, Result<u8>> {
    Box::pin(async move { Ok(print(cli, &work.await?)) })
}

/// Who acts: as given, else the login name.
fn actor(cli: &Cli) -> Result<Actor> {
    let name = cli.actor.clone().or_else(|| std::env::var("USER").ok().filter(|name| !name.is_empty()));
    name.unwrap_or_else(|| "operator".into()).parse()
}

fn repository(name: &str) -> Result<RepositoryName> {
    name.parse()
}

/// Finds the revision that a command names.
async fn revision(engine: &Engine, target: &RevisionArgs) -> Result<(RepositoryName, Revision)> {
    let name = repository(&target.repo)?;
    let repository = engine.catalog().repository(&name).await?;
    let ecosystem = engine.ecosystem(&repository.config.ecosystem)?;
    let (artifact, Some(revision)) = ecosystem.parse_spec(&target.revision)? else {
        return Err(Error::invalid("ARTIFACT@REVISION", format!("`{}` names no revision", target.revision)));
    };
    let artifact: ArtifactName = artifact.parse()?;
    let known = engine.catalog().candidates(repository.id, &artifact).await?;
    let revision: RevisionName = match ecosystem.find_revision(revision, &known) {
        Some(candidate) => candidate.revision.clone(),
        None => revision.parse()?,
    };
    let found = engine.catalog().find_revision(repository.id, &artifact, &revision).await?;
    Ok((name, found))
}
