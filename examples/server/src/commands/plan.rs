//! import --dry-run.

use reservoir_core::{
    Engine, Error, Result,
    name::{Actor, RepositoryName},
    sync::Planned,
};

use crate::{
    cli::Cli,
    output::{PlanOutput, PlannedRow},
    progress,
};

pub(crate) async fn plan(
    cli: &Cli,
    engine: &Engine,
    name: &RepositoryName,
    specs: Vec<String>,
    solve: bool,
    actor: Actor,
) -> Result<PlanOutput> {
    let task = engine.plan_import(name, specs, solve, actor).await?;
    let mut report = progress::follow(engine, task, cli.json).await?;
    let plan = report.planned.take().ok_or_else(|| Error::not_found("plan", name))?;
    let row = |row: Planned| PlannedRow {
        artifact: row.artifact.to_string(),
        revision: row.revision.to_string(),
        files: row.files.iter().map(ToString::to_string).collect(),
        bytes: row.bytes,
    };
    Ok(PlanOutput {
        repository: name.to_string(),
        files: plan.files,
        bytes: plan.bytes,
        unsized_files: plan.unsized_files,
        kept_files: plan.kept_files,
        kept_bytes: plan.kept_bytes,
        unread_files: plan.unread_files,
        revisions: plan.revisions.into_iter().map(row).collect(),
        missing: report.missing,
        alarms: report.alarms,
        skipped: report.skipped,
    })
}
