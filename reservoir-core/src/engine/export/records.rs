//! What the catalog knows of a repository, line by line.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::BufWriter,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{Exported, LISTED, known::Known};
use crate::{
    Engine,
    bundle::{
        CarriedApproval, CarriedArtifact, CarriedFile, CarriedRef, CarriedRepository, CarriedRevision, Line,
        RecordsWriter,
    },
    catalog::{FileRow, Repository, VerdictRow},
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Approval, Mode, Publish},
    error::Result,
    fetch::without_userinfo,
    lifecycle::{HistoryEntry, Revision, RevisionId, Status},
    name::{ArtifactName, RevisionName},
    snapshot::Manifest,
    store::RecordKey,
};

/// Revisions read at a time.
const PAGE: u32 = 500;
/// Files read at a time, as long as no single revision has more.
const FILES: u64 = 2000;

impl Engine {
    /// Writes what the catalog knows of a repository of which `main` and some other refs travel; returns whether a
    /// revision changed since the base.
    pub(super) async fn record(
        &self,
        repository: &Repository,
        (carried, others): (&CarriedRef, &[&CarriedRef]),
        known: &Known,
        touched: &BTreeSet<(ArtifactName, RevisionName)>,
        out: &mut RecordsWriter<BufWriter<File>>,
        report: &mut Exported,
    ) -> Result<bool> {
        let catalog = &self.inner.catalog;
        let mut config = repository.config.clone();
        // What it is fed from here means nothing there; whether a person must look is that side's own policy.
        config.registries.clear();
        config.schedule = None;
        (config.approval, config.publish) = (Approval::Automatic, Publish::Automatic);
        if config.mode == Mode::Cache {
            config.mode = Mode::Mirror;
        }
        let snapshot_record = self.snapshot_record(repository, carried.number).await?;
        out.push(&Line::Repository(Box::new(CarriedRepository { config, snapshot_record })))?;
        let mut contents = vec![self.inner.pages.open(carried.snapshot).await?];
        for other in others {
            contents.push(self.inner.pages.open(other.snapshot).await?);
        }
        let since = known.since(&carried.repository);
        let mut artifacts = BTreeSet::new();
        if since.is_none() {
            let mut after = None;
            loop {
                let batch = catalog.artifacts(repository.id, after.as_ref(), PAGE).await?;
                let Some(last) = batch.last() else { break };
                after = Some(last.name.clone());
                for row in batch {
                    out.push(&Line::Artifact(carried_artifact(row)))?;
                }
            }
        }
        // Where nobody knows what was told, something may be new.
        let mut changed = since.is_none();
        let mut seen = BTreeSet::new();
        let from = since.map_or(Timestamp::from_micros(0), |since| since.from);
        for ids in catalog.changed_since(repository.id, from).await?.chunks(PAGE as usize) {
            let mut batch = catalog.revisions_of(ids).await?;
            batch.sort_unstable_by_key(|revision| revision.id);
            for revision in &batch {
                if carried.parent.is_some() {
                    seen.insert((revision.artifact.clone(), revision.revision.clone()));
                }
                if let Some(since) = since {
                    changed |= since.is_news(revision.changed_at);
                    self.record_artifact(repository, &revision.artifact, &mut artifacts, out).await?;
                }
            }
            self.record_revisions(repository, &batch, &contents, out, report).await?;
        }
        let mut batch = Vec::new();
        for (artifact, name) in touched.difference(&seen) {
            let Ok(revision) = catalog.find_revision(repository.id, artifact, name).await else { continue };
            self.record_artifact(repository, artifact, &mut artifacts, out).await?;
            batch.push(revision);
            if batch.len() == PAGE as usize {
                self.record_revisions(repository, &batch, &contents, out, report).await?;
                batch.clear();
            }
        }
        self.record_revisions(repository, &batch, &contents, out, report).await?;
        for alarm in catalog.alarms(repository.id).await? {
            if since.is_none_or(|since| alarm.at >= since.from) {
                out.push(&Line::Alarm(Box::new(alarm.into())))?;
            }
        }
        Ok(changed)
    }

    /// In a delta an artifact comes before its first revision.
    async fn record_artifact(
        &self,
        repository: &Repository,
        name: &ArtifactName,
        done: &mut BTreeSet<ArtifactName>,
        out: &mut RecordsWriter<BufWriter<File>>,
    ) -> Result<()> {
        if done.insert(name.clone())
            && let Some(row) = self.inner.catalog.artifact(repository.id, name).await?
        {
            out.push(&Line::Artifact(carried_artifact(row)))?;
        }
        Ok(())
    }

    /// Records revisions, as many at a time as few questions to the catalog and little memory allow.
    async fn record_revisions(
        &self,
        repository: &Repository,
        revisions: &[Revision],
        contents: &[Manifest],
        out: &mut RecordsWriter<BufWriter<File>>,
        report: &mut Exported,
    ) -> Result<()> {
        let ids: Vec<RevisionId> = revisions.iter().map(|revision| revision.id).collect();
        let counts = self.inner.catalog.count_files(&ids).await?;
        let mut left = revisions;
        while !left.is_empty() {
            let mut files = 0;
            let fits = |revision: &&Revision| {
                files += counts.get(&revision.id).copied().unwrap_or_default();
                files <= FILES
            };
            let (now, later) = left.split_at(left.iter().take_while(fits).count().max(1));
            let mut said = self.said_of(now).await?;
            for revision in now {
                self.record_revision(repository, revision, &mut said, contents, out, report).await?;
            }
            left = later;
        }
        Ok(())
    }

    async fn said_of(&self, revisions: &[Revision]) -> Result<Said> {
        let catalog = &self.inner.catalog;
        let ids: Vec<RevisionId> = revisions.iter().map(|revision| revision.id).collect();
        let mut said = Said { histories: catalog.histories(&ids).await?, ..Said::default() };
        for file in catalog.files_of(&ids).await? {
            said.files.entry(file.revision).or_default().push(file);
        }
        for decision in catalog.approvals_of(&ids).await? {
            said.approvals.entry(decision.revision).or_default().push(CarriedApproval {
                decision: decision.decision,
                actor: decision.actor,
                reason: decision.reason,
                digests: decision.digests,
                at: decision.at,
            });
        }
        let blobs = said.files.values().flatten().filter_map(|file| Some(file.blob?.sha256));
        let blobs: Vec<_> = blobs.collect::<BTreeSet<_>>().into_iter().collect();
        said.verdicts = catalog.verdicts_of(&blobs).await?;
        Ok(said)
    }

    async fn record_revision(
        &self,
        repository: &Repository,
        revision: &Revision,
        said: &mut Said,
        contents: &[Manifest],
        out: &mut RecordsWriter<BufWriter<File>>,
        report: &mut Exported,
    ) -> Result<()> {
        let served = revision.status == Status::Available;
        let files = said.files.remove(&revision.id).unwrap_or_default();
        let mut in_content = Vec::with_capacity(files.len());
        for file in &files {
            in_content.push(served && is_in(contents, file).await?);
        }
        if served && !files.is_empty() && !in_content.contains(&true) {
            // It was never published, or was rolled back: it is told when a snapshot has it.
            return Ok(());
        }
        let mut history = said.histories.remove(&revision.id).unwrap_or_default();
        if revision.status == Status::Scanned && revision.attempt == 0 {
            history.clear();
        }
        out.push(&Line::Revision(CarriedRevision {
            artifact: revision.artifact.clone(),
            revision: revision.revision.clone(),
            status: revision.status,
            history,
            approvals: said.approvals.remove(&revision.id).unwrap_or_default(),
        }))?;
        if !served {
            report.metadata_only += 1;
            let expected = revision.attempt > 0 || files.iter().any(|file| file.wanted);
            if expected && !revision.status.is_refused() && report.missing.len() < LISTED {
                let (artifact, name, status) = (&revision.artifact, &revision.revision, revision.status);
                report.missing.push(format!("{} {artifact}@{name} ({status})", repository.config.name));
            }
        }
        for (file, is_carried) in files.into_iter().zip(in_content) {
            // What was never wanted is offered by a registry that the inside cannot ask.
            if !served && file.blob.is_none() && !file.wanted {
                continue;
            }
            let verdicts = file.blob.and_then(|blob| said.verdicts.get(&blob.sha256).cloned());
            let verdicts = verdicts.unwrap_or_default();
            let travels = is_carried && file.admitted;
            out.push(&Line::File(Box::new(CarriedFile {
                path: file.path,
                registry: file.registry,
                url: without_userinfo(&file.url),
                // What its registry said of the size of bytes that were here already was not held against them.
                size: file.size.map(|said| file.blob.filter(|_| travels).map_or(said, |blob| blob.size)),
                sha256: file.sha256,
                attributes: file.attributes,
                blob: file.blob.filter(|_| travels),
                inspection: file.inspection.filter(|_| travels),
                derived: if travels { file.derived } else { Vec::new() },
                admitted: travels,
                verdicts: verdicts.into_iter().map(Into::into).collect(),
            })))?;
        }
        Ok(())
    }

    /// The signed record of a snapshot, as it is in the store.
    async fn snapshot_record(&self, repository: &Repository, number: u64) -> Result<Option<String>> {
        let Some((last, _)) = self.inner.catalog.last_record(repository.id).await? else { return Ok(None) };
        if last != number {
            return Ok(None);
        }
        let keys: Vec<RecordKey> = self.inner.store.list_records(Some(repository.uuid)).await?;
        let Some(key) = keys.into_iter().filter(|key| key.number == number).max() else { return Ok(None) };
        Ok(Some(BASE64_STANDARD.encode(self.inner.store.read_record(key).await?)))
    }
}

/// What the catalog says of some revisions.
#[derive(Debug, Default)]
struct Said {
    files: HashMap<RevisionId, Vec<FileRow>>,
    approvals: HashMap<RevisionId, Vec<CarriedApproval>>,
    histories: HashMap<RevisionId, Vec<HistoryEntry>>,
    /// Of the bytes of those files.
    verdicts: HashMap<Sha256Digest, Vec<VerdictRow>>,
}

/// Whether one of the contents that travel has a file.
async fn is_in(contents: &[Manifest], file: &FileRow) -> Result<bool> {
    let Some(blob) = &file.blob else { return Ok(false) };
    for content in contents {
        if content.get(file.path.as_str()).await?.is_some_and(|entry| entry.blob.sha256 == blob.sha256) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn carried_artifact(row: crate::catalog::ArtifactRow) -> CarriedArtifact {
    CarriedArtifact { name: row.name, attributes: row.attributes, quarantined: row.quarantined }
}
