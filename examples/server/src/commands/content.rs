//! scan, import, sync, upload, publish, log, diff, rollback, promote.

use std::path::PathBuf;

use futures::TryStreamExt as _;
use reservoir_core::{
    Engine, Error, Result,
    catalog::RepositoryId,
    ecosystem::Upload,
    name::{Actor, RepositoryName},
    snapshot::Snapshot,
    sync::SyncReport,
    task::TaskHandle,
};

use crate::{
    cli::Cli,
    output::{DiffOutput, DiffRow, LogOutput, PublishOutput, SnapshotRow, SyncOutput},
    progress,
};

pub(crate) async fn scan(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    actor: Actor,
) -> Result<SyncOutput> {
    follow(cli, engine, name, engine.scan(name, actor).await?).await
}

pub(crate) async fn import(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    specs: Vec<String>,
    actor: Actor,
) -> Result<SyncOutput> {
    follow(cli, engine, name, engine.import(name, specs, actor).await?).await
}

pub(crate) async fn solve(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    specs: Vec<String>,
    actor: Actor,
) -> Result<SyncOutput> {
    follow(cli, engine, name, engine.solve(name, specs, actor).await?).await
}

pub(crate) async fn sync(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    actor: Actor,
) -> Result<SyncOutput> {
    follow(cli, engine, name, engine.sync(name, actor).await?).await
}

pub(crate) async fn upload(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    files: &[PathBuf],
    actor: Actor,
) -> Result<SyncOutput> {
    let uploads = expand(files)?.into_iter().map(|path| {
        let shown = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Upload { name: shown, path }
    });
    follow(cli, engine, name, engine.receive(name, uploads.collect(), actor).await?).await
}

/// A folder stands for the files in it, by name.
fn expand(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::with_capacity(given.len());
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = || Error::io(format!("list `{}`", path.display()));
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if entry.file_type().map_err(failed())?.is_file() {
                inside.push(entry.path());
            }
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

pub(super) async fn follow(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    task: TaskHandle<SyncReport>,
) -> Result<SyncOutput> {
    let id = task.id().0;
    let report = progress::follow(engine, task, cli.json).await?;
    Ok(SyncOutput::new(id, name.as_str(), report))
}

pub(crate) async fn publish(
    engine: &Engine,
    name: &RepositoryName,
    actor: Actor,
    again: bool,
    message: &str,
) -> Result<PublishOutput> {
    let mut snapshot = engine.publish(name, actor.clone(), message).await?;
    if again && snapshot.is_none() {
        snapshot = Some(engine.refresh(name, actor, message).await?);
    }
    let published = match snapshot {
        Some(snapshot) => Some(row(engine, name, snapshot).await?),
        None => None,
    };
    Ok(PublishOutput { published })
}

pub(crate) async fn log(engine: &Engine, name: &RepositoryName) -> Result<LogOutput> {
    let repository = engine.catalog().repository(name).await?;
    let mut rows = Vec::new();
    let mut before = None;
    loop {
        let batch = engine.catalog().snapshots(repository.id, before, 500).await?;
        let Some(last) = batch.last() else { break };
        before = Some(last.number);
        for snapshot in batch {
            let refs = refs(engine, repository.id, snapshot.number).await?;
            rows.push(SnapshotRow::new(snapshot, refs));
        }
    }
    Ok(LogOutput { repository: name.to_string(), snapshots: rows })
}

pub(crate) async fn diff(engine: &Engine, name: &RepositoryName, a: &str, b: &str) -> Result<DiffOutput> {
    let repository = engine.catalog().repository(name).await?;
    let (old, new) = (
        engine.catalog().resolve(repository.id, a).await?,
        engine.catalog().resolve(repository.id, b).await?,
    );
    let pages = engine.pages();
    let (from, to) = (pages.open(old.content).await?, pages.open(new.content).await?);
    let changes: Vec<DiffRow> = pages.diff(Some(&from), &to).map_ok(DiffRow::from).try_collect().await?;
    Ok(DiffOutput { from: old.number, to: new.number, changes })
}

pub(crate) async fn rollback(
    engine: &Engine,
    name: &RepositoryName,
    at: &str,
    actor: Actor,
) -> Result<SnapshotRow> {
    let snapshot = engine.rollback(name, at, actor).await?;
    row(engine, name, snapshot).await
}

pub(crate) async fn promote(
    engine: &Engine,
    from: &RepositoryName,
    to: &RepositoryName,
    actor: Actor,
) -> Result<SnapshotRow> {
    let snapshot = engine.promote(from, to, actor).await?;
    row(engine, to, snapshot).await
}

pub(super) async fn row(engine: &Engine, name: &RepositoryName, snapshot: Snapshot) -> Result<SnapshotRow> {
    let repository = engine.catalog().repository(name).await?;
    let refs = refs(engine, repository.id, snapshot.number).await?;
    Ok(SnapshotRow::new(snapshot, refs))
}

async fn refs(engine: &Engine, repository: RepositoryId, number: u64) -> Result<Vec<String>> {
    let refs = engine.catalog().refs(repository).await?;
    Ok(refs
        .into_iter()
        .filter(|(_, points_to)| *points_to == number)
        .map(|(name, _)| name.to_string())
        .collect())
}
