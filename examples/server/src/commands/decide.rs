//! approve, reject, cleanup, yank, task cancel.

use reservoir_core::{Engine, Result, catalog::TaskId, name::Actor};

use crate::{
    cli::RevisionArgs,
    output::{CancelOutput, CleanupOutput, PublishOutput, RevisionRow, TaskRow},
};

pub(crate) async fn approve(
    engine: &Engine,
    target: &RevisionArgs,
    actor: Actor,
    reason: &str,
) -> Result<RevisionRow> {
    let (name, found) = super::revision(engine, target).await?;
    Ok(engine.approve(&name, &found.artifact, &found.revision, actor, reason.to_owned()).await?.into())
}

pub(crate) async fn reject(
    engine: &Engine,
    target: &RevisionArgs,
    actor: Actor,
    reason: &str,
) -> Result<RevisionRow> {
    let (name, found) = super::revision(engine, target).await?;
    Ok(engine.reject(&name, &found.artifact, &found.revision, actor, reason.to_owned()).await?.into())
}

pub(crate) async fn cleanup(
    engine: &Engine,
    target: &RevisionArgs,
    actor: Actor,
    reason: &str,
) -> Result<CleanupOutput> {
    let (name, found) = super::revision(engine, target).await?;
    let report = engine.cleanup(&name, &found.artifact, &found.revision, actor, reason.to_owned()).await?;
    Ok(CleanupOutput { revision: report.revision.into(), files: report.files })
}

pub(crate) async fn cancel(engine: &Engine, id: i64, actor: &Actor) -> Result<CancelOutput> {
    let task = engine.catalog().task(TaskId(id)).await?;
    let requested = TaskRow::is_running(&task) && engine.catalog().request_cancel(task.id, actor).await?;
    Ok(CancelOutput { id, requested })
}

pub(crate) async fn yank(
    engine: &Engine,
    target: &RevisionArgs,
    actor: Actor,
    reason: Option<&str>,
) -> Result<PublishOutput> {
    let (name, found) = super::revision(engine, target).await?;
    let published = engine.yank(&name, (&found.artifact, &found.revision), reason, actor).await?;
    let published = match published {
        Some(snapshot) => Some(super::content::row(engine, &name, snapshot).await?),
        None => None,
    };
    Ok(PublishOutput { published })
}
