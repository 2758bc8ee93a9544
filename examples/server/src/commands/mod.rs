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

use reservoir_core::{
    Engine, Error, Result,
    lifecycle::Revision,
    name::{Actor, ArtifactName, RepositoryName, RevisionName},
};

use crate::{
    cli::{Cli, Command, RevisionArgs, TaskCommand},
    home::Home,
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

/// The commands that need an initialised home.
async fn run_at_home(cli: &Cli, command: &Command) -> Result<u8> {
    let home = Home::open(Home::folder(cli.home.clone())?).await?;
    let engine = home.engine().await?;
    let actor = actor(cli)?;
    Ok(match command {
        Command::Apply { file, prune } => {
            print(cli, &setup::apply_file(&engine, file, *prune, &actor).await?)
        }
        Command::Serve { listen, root, allow_anonymous_writes, share } => {
            let options = (root.as_deref(), *allow_anonymous_writes, *share);
            setup::serve(engine, listen, options, cli.json).await?;
            0
        }
        Command::Scan { repo } => print(cli, &content::scan(cli, &engine, &repository(repo)?, actor).await?),
        Command::Import { repo, lock: Some(file), .. } => {
            print(cli, &lock::import(cli, &engine, &repository(repo)?, file, actor).await?)
        }
        Command::Import { repo, spec, solve, dry_run, lock: None } => {
            let (repo, spec) = (repository(repo)?, spec.clone());
            if *dry_run {
                print(cli, &plan::plan(cli, &engine, &repo, spec, *solve, actor).await?)
            } else if *solve {
                print(cli, &content::solve(cli, &engine, &repo, spec, actor).await?)
            } else {
                print(cli, &content::import(cli, &engine, &repo, spec, actor).await?)
            }
        }
        Command::Upload { repo, file } => {
            print(cli, &content::upload(cli, &engine, &repository(repo)?, file, actor).await?)
        }
        Command::Sync { repo } => print(cli, &content::sync(cli, &engine, &repository(repo)?, actor).await?),
        Command::List { repo: None, status: None } => print(cli, &look::repositories(&engine).await?),
        Command::List { repo: None, .. } => {
            return Err(Error::invalid("--status", "needs a repository: `reservoir list REPO --status S`"));
        }
        Command::List { repo: Some(repo), status } => {
            print(cli, &look::revisions(&engine, &repository(repo)?, status.as_deref()).await?)
        }
        Command::Show { repo, artifact } => {
            print(cli, &look::show(&engine, &repository(repo)?, artifact).await?)
        }
        Command::History(target) => print(cli, &look::history(&engine, target).await?),
        Command::Approve { target, reason } => {
            print(cli, &decide::approve(&engine, target, actor, reason).await?)
        }
        Command::Reject { target, reason } => {
            print(cli, &decide::reject(&engine, target, actor, reason).await?)
        }
        Command::Yank { target, reason } => {
            print(cli, &decide::yank(&engine, target, actor, Some(reason)).await?)
        }
        Command::Unyank(target) => print(cli, &decide::yank(&engine, target, actor, None).await?),
        Command::Cleanup { target, reason } => {
            print(cli, &decide::cleanup(&engine, target, actor, reason).await?)
        }
        Command::Publish { repo, again, message } => {
            print(cli, &content::publish(&engine, &repository(repo)?, actor, *again, message).await?)
        }
        Command::Log { repo } => print(cli, &content::log(&engine, &repository(repo)?).await?),
        Command::Diff { repo, a, b } => print(cli, &content::diff(&engine, &repository(repo)?, a, b).await?),
        Command::Rollback { repo, snapshot } => {
            print(cli, &content::rollback(&engine, &repository(repo)?, snapshot, actor).await?)
        }
        Command::Promote { from, to } => {
            print(cli, &content::promote(&engine, &repository(from)?, &repository(to)?, actor).await?)
        }
        Command::Check { repo } => print(cli, &keep::check(&engine, &repository(repo)?).await?),
        Command::Verify { deep } => print(cli, &keep::verify(&engine, *deep).await?),
        Command::Gc { generations, days, grace } => {
            print(cli, &keep::gc(&engine, *generations, *days, *grace).await?)
        }
        Command::Backup { dir } => print(cli, &keep::backup(&home, &engine, dir).await?),
        Command::Rebuild => print(cli, &keep::rebuild(&engine, &actor).await?),
        Command::Key(command) => bundle::key(cli, &home, &engine, command, &actor).await?,
        Command::Export(arguments) => bundle::export(cli, &engine, arguments, actor).await?,
        Command::Load { path, dry_run } => bundle::load(cli, &engine, path, *dry_run, actor).await?,
        Command::Inventory { out } => print(cli, &bundle::inventory(&engine, out).await?),
        Command::Bundle(command) => print(cli, &bundle::bundle(&engine, command).await?),
        Command::Task(TaskCommand::List) => print(cli, &look::tasks(&engine).await?),
        Command::Task(TaskCommand::Cancel { id }) => print(cli, &decide::cancel(&engine, *id, &actor).await?),
        Command::ClientSetup { repo, base_url } => {
            print(cli, &setup::client_setup(&engine, &repository(repo)?, base_url).await?)
        }
        Command::ImportList { file, repo } => {
            print(cli, &models::import_list(cli, &engine, file, repo.as_deref(), actor).await?)
        }
        Command::Materialize { target, dest, files } => {
            print(cli, &models::materialize(&engine, target, dest, *files).await?)
        }
        Command::Quickstart { .. } | Command::Init { .. } => {
            return Err(Error::invalid("command", "needs no home"));
        }
    })
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
