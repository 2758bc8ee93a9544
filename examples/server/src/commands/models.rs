//! import-list, materialize.

use std::path::Path;

use reservoir_core::{
    Engine, Error, Placement, Result,
    ecosystem::{Ecosystem as _, Mode},
    lifecycle::{ArtifactLifecycle as _, Status},
    name::{Actor, RepositoryName},
};
use reservoir_hf::{
    Hf,
    list::{self, Row},
};

use super::{content, input};
use crate::{
    cli::{Cli, FilesBy, RevisionArgs},
    output::models::{ImportListOutput, LeftOutRow, ListedRow, MaterializeOutput},
};

pub(crate) async fn import_list(
    cli: &Cli,
    engine: &Engine,
    file: &Path,
    repo: Option<&str>,
    actor: Actor,
) -> Result<ImportListOutput> {
    let name = match repo {
        Some(repo) => repo.parse()?,
        None => only_repository(engine).await?,
    };
    let rows = list::read(input::open(file)?)?;
    let mut specs: Vec<String> = rows.iter().filter_map(|row| row.selected.clone().ok()).collect();
    specs.sort_unstable();
    specs.dedup();
    let imported =
        if specs.is_empty() { None } else { Some(content::import(cli, engine, &name, specs, actor).await?) };
    let mut output =
        ImportListOutput { repository: name.to_string(), served: Vec::new(), refused: Vec::new(), imported };
    for row in rows {
        let reason = match &row.selected {
            Ok(spec) => why_not(engine, &name, spec).await?,
            Err(reason) => Some(reason.clone()),
        };
        match reason {
            None => output.served.push(listed(row, None)),
            Some(reason) => output.refused.push(listed(row, Some(reason))),
        }
    }
    Ok(output)
}

fn listed(row: Row, reason: Option<String>) -> ListedRow {
    ListedRow { line: row.line, name: row.name, path: row.path, revision: row.selected.ok(), reason }
}

/// The repository that is meant when none is named.
async fn only_repository(engine: &Engine) -> Result<RepositoryName> {
    let all = engine.catalog().repositories().await?;
    let mut fitting =
        all.into_iter().filter(|one| one.config.ecosystem == Hf.id() && one.config.mode != Mode::Hosted);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.config.name),
        (None, _) => Err(Error::not_found("repository", "of models that come from a registry")),
        _ => Err(Error::invalid("--repo", "there are several repositories of models; name one")),
    }
}

/// Why a model that was selected is not served; `None` when it is.
async fn why_not(engine: &Engine, name: &RepositoryName, spec: &str) -> Result<Option<String>> {
    let catalog = engine.catalog();
    let repository = catalog.repository(name).await?;
    let ecosystem = engine.ecosystem(&repository.config.ecosystem)?;
    let (artifact, label) = ecosystem.parse_spec(spec)?;
    let artifact = artifact.parse()?;
    let known = catalog.candidates(repository.id, &artifact).await?;
    let Some(found) = ecosystem.find_revision(label.unwrap_or_default(), &known) else {
        let alarms = catalog.alarms(repository.id).await?;
        let alarm = alarms.into_iter().rfind(|alarm| alarm.artifact == artifact);
        return Ok(Some(match alarm {
            Some(recorded) => format!("{}: {}", recorded.alarm.rule, recorded.alarm.detail),
            None => format!("no registry knows `{spec}`"),
        }));
    };
    if found.status == Status::Available {
        return Ok(None);
    }
    let reason = catalog.history(found.id).await?.pop().map(|entry| entry.reason).unwrap_or_default();
    Ok(Some(format!("{}: {reason}", found.status)))
}

pub(crate) async fn materialize(
    engine: &Engine,
    target: &RevisionArgs,
    destination: &str,
    files: FilesBy,
) -> Result<MaterializeOutput> {
    let placement = match files {
        FilesBy::Clone => Placement::Clone,
        FilesBy::Hardlink => Placement::HardLink,
        FilesBy::Copy => Placement::Copy,
    };
    let (name, found) = super::revision(engine, target).await?;
    let done = engine.materialize(&name, &found.artifact, &found.revision, destination, placement).await?;
    let denied = done.denied.into_iter().map(|(path, reason)| LeftOutRow { path: path.to_string(), reason });
    Ok(MaterializeOutput {
        repository: name.to_string(),
        artifact: found.artifact.to_string(),
        revision: found.revision.to_string(),
        files: done.files,
        bytes: done.bytes,
        cloned: done.cloned,
        linked: done.linked,
        denied: denied.collect(),
        absent: done.absent.iter().map(ToString::to_string).collect(),
        left_out: done.left_out.iter().map(ToString::to_string).collect(),
    })
}
