//! list, show, history, task list.

use std::collections::HashMap;

use reservoir_core::{
    Engine, Error, Result,
    catalog::{RevisionFilter, TaskFilter},
    ecosystem::Ecosystem,
    lifecycle::{ArtifactLifecycle as _, Status},
    name::{ArtifactName, RepositoryName},
};

use crate::{
    cli::RevisionArgs,
    output::{
        FileRow, HistoryOutput, RepositoriesOutput, RepositoryRow, RevisionsOutput, ShowOutput,
        ShownRevision, TaskRow, TasksOutput,
    },
};

/// Rows asked of the catalog at a time.
const BATCH: u32 = 1000;
/// Tasks shown.
const TASKS: u32 = 100;

pub(crate) async fn repositories(engine: &Engine) -> Result<RepositoriesOutput> {
    let catalog = engine.catalog();
    let mut rows = Vec::new();
    for repository in catalog.repositories().await? {
        let refs = catalog.refs(repository.id).await?;
        let counts = catalog.count_by_status(repository.id).await?;
        rows.push(RepositoryRow {
            name: repository.config.name.to_string(),
            ecosystem: repository.config.ecosystem.to_string(),
            mode: format!("{:?}", repository.config.mode).to_lowercase(),
            snapshot: refs.iter().find(|(name, _)| name.as_str() == "main").map(|(_, number)| *number),
            revisions: counts.into_iter().map(|(status, count)| (status.to_string(), count)).collect(),
        });
    }
    Ok(RepositoriesOutput { repositories: rows })
}

pub(crate) async fn revisions(
    engine: &Engine,
    name: &RepositoryName,
    status: Option<&str>,
) -> Result<RevisionsOutput> {
    let status = status.map(str::parse::<Status>).transpose()?;
    let repository = engine.catalog().repository(name).await?;
    let filter = RevisionFilter { status, ..RevisionFilter::default() };
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let batch = engine.catalog().revisions(repository.id, &filter, after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.id);
        rows.extend(batch.into_iter().map(Into::into));
    }
    Ok(RevisionsOutput { repository: name.to_string(), revisions: rows })
}

pub(crate) async fn show(engine: &Engine, name: &RepositoryName, spec: &str) -> Result<ShowOutput> {
    let catalog = engine.catalog();
    let repository = catalog.repository(name).await?;
    let ecosystem = engine.ecosystem(&repository.config.ecosystem)?;
    let (artifact, wanted) = ecosystem.parse_spec(spec)?;
    let artifact: ArtifactName = artifact.parse()?;
    let Some(row) = catalog.artifact(repository.id, &artifact).await? else {
        return Err(Error::not_found("artifact", &artifact));
    };
    let known = catalog.candidates(repository.id, &artifact).await?;
    let named = wanted.and_then(|wanted| ecosystem.find_revision(wanted, &known));
    let wanted = named.map(|candidate| candidate.revision.as_str()).or(wanted);
    let filter = RevisionFilter { artifact: Some(artifact.clone()), ..RevisionFilter::default() };
    let mut shown = Vec::new();
    let mut after = None;
    loop {
        let batch = catalog.revisions(repository.id, &filter, after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.id);
        for revision in batch {
            if wanted.is_some_and(|wanted| wanted != revision.revision.as_str()) {
                continue;
            }
            let files = catalog.files(revision.id).await?;
            let candidate = known.iter().find(|candidate| candidate.id == revision.id);
            shown.push(ShownRevision {
                facts: candidate.map(|one| ecosystem.facts(&artifact, one)).unwrap_or_default(),
                revision: revision.revision.to_string(),
                status: revision.status.to_string(),
                files: files.into_iter().map(|file| file_row(&*ecosystem, file)).collect(),
            });
        }
    }
    if let Some(wanted) = wanted
        && shown.is_empty()
    {
        return Err(Error::not_found("revision", format!("{artifact}@{wanted}")));
    }
    let alarms = catalog.alarms(repository.id).await?;
    let alarms = alarms.into_iter().filter(|alarm| alarm.artifact == artifact).map(|recorded| {
        let path = recorded.alarm.path.map(|path| format!("`{path}`: ")).unwrap_or_default();
        format!("{} {path}{}: {}", recorded.last_at, recorded.alarm.rule, recorded.alarm.detail)
    });
    Ok(ShowOutput {
        repository: name.to_string(),
        alarms: alarms.collect(),
        artifact: artifact.to_string(),
        attributes: row.attributes,
        quarantined: row.quarantined,
        revisions: shown,
    })
}

fn file_row(ecosystem: &dyn Ecosystem, file: reservoir_core::catalog::FileRow) -> FileRow {
    let mut attributes = file.attributes;
    let inspection = file.inspection.unwrap_or_default();
    attributes.extend(inspection.attributes);
    FileRow {
        path: file.path.to_string(),
        size: file.blob.map(|blob| blob.size).or(file.size),
        sha256: file.blob.map(|blob| blob.sha256).or(file.sha256).map(|digest| digest.to_string()),
        stored: file.blob.is_some(),
        admitted: file.admitted,
        gone: file.gone,
        labels: inspection.labels,
        facts: ecosystem.file_facts(&attributes),
    }
}

pub(crate) async fn history(engine: &Engine, target: &RevisionArgs) -> Result<HistoryOutput> {
    let (_, revision) = super::revision(engine, target).await?;
    let history = engine.catalog().history(revision.id).await?;
    let audit = engine.catalog().audit_of(&revision).await?;
    Ok(HistoryOutput {
        audit: audit.into_iter().map(Into::into).collect(),
        revision: format!("{}@{}", revision.artifact, revision.revision),
        history: history.into_iter().map(Into::into).collect(),
    })
}

pub(crate) async fn tasks(engine: &Engine) -> Result<TasksOutput> {
    let catalog = engine.catalog();
    catalog.reap_tasks().await?;
    let names: HashMap<_, _> = catalog
        .repositories()
        .await?
        .into_iter()
        .map(|repository| (repository.id, repository.config.name.to_string()))
        .collect();
    let tasks = catalog.tasks(&TaskFilter::default(), TASKS).await?;
    Ok(TasksOutput {
        tasks: tasks.into_iter().map(|task| TaskRow::new(task, |id| names.get(&id).cloned())).collect(),
    })
}
