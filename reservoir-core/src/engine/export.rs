//! What leaves: a signed bundle of what a destination does not have yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::{TryStreamExt as _, future::BoxFuture};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    Engine,
    run::{Outcome, wait_for_lease},
};
use crate::{
    bundle::{
        AuditCheckpoint, BlobSet, BundleKey, CarriedApproval, CarriedArtifact, CarriedFile, CarriedRef,
        CarriedRepository, CarriedRevision, FORMAT, Header, Kind, Layout, Line, ObjectsReader, ObjectsWriter,
        Part, RecordsWriter, SortedBlobs, StreamKey, Target, Writer, inventory::Inventory,
    },
    catalog::{Repository, SentBundle},
    clock::Timestamp,
    digest::{Blake3Digest, Sha256Digest},
    ecosystem::{Approval, Mode, Publish},
    error::{Error, Result},
    fetch::without_userinfo,
    lifecycle::{ArtifactLifecycle as _, Revision, RevisionId, Status},
    name::{Actor, ArtifactName, RefName, RepositoryName, RevisionName},
    snapshot::{Change, Manifest},
    store::{Blob, RecordKey},
    task::{Progress, TaskContext, TaskHandle},
};

/// Rows read at a time.
const PAGE: u32 = 500;
/// A transaction may show its changes so much later than it dates them.
const SLACK: Duration = Duration::from_mins(10);
/// Names that are listed in a report.
const LISTED: usize = 100;

/// What the destination is taken to have.
#[derive(Debug, Default)]
pub enum Base {
    /// What the ledger says it was sent; nothing, the first time.
    #[default]
    Ledger,
    /// Nothing.
    Nothing,
    /// What it had after the bundle of that number.
    Since(u64),
    /// What its own signed inventory says: the document and its signature.
    Inventory(Vec<u8>, String),
}

/// What to export.
#[derive(Debug, Default)]
pub struct ExportOptions {
    /// The repositories; those of the bundle before when empty, all the first time.
    pub repositories: Vec<RepositoryName>,
    /// The destination: bundles of one site follow each other.
    pub site: String,
    /// What it is taken to have.
    pub base: Base,
    /// The size of a medium, in bytes; one volume when absent.
    pub volume_size: Option<u64>,
    /// How long the bundle is taken.
    pub expires: Option<Duration>,
}

/// What an export made, or would make.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Exported {
    /// The destination.
    pub site: String,
    /// Its stream.
    pub stream: Uuid,
    /// The number of the bundle; `None` when there was nothing new to send.
    pub sequence: Option<u64>,
    /// The digest of its header.
    pub bundle: Option<Sha256Digest>,
    /// Whether it is full.
    pub full: bool,
    /// The refs it carries.
    pub refs: Vec<CarriedRef>,
    /// Blobs in it.
    pub blobs: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Bytes of the two compressed files.
    pub metadata_bytes: u64,
    /// The labels of its volumes.
    pub volumes: Vec<String>,
    /// Bytes that were written by an earlier run.
    pub resumed_at: u64,
    /// Revisions that travel as metadata only.
    pub metadata_only: u64,
    /// Those of them whose files were once here or were chosen, a hundred at most.
    pub missing: Vec<String>,
}

impl Outcome for Exported {
    fn is_complete(&self) -> bool {
        self.is_complete()
    }
}

impl Exported {
    /// Whether everything that was expected is in it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A bundle that is worked out and not yet written.
struct Plan {
    header: Header,
    /// The refs of the whole stream after it.
    refs: Vec<CarriedRef>,
    folder: PathBuf,
    report: Exported,
}

/// What the receiver has, as far as a plan goes.
struct Known {
    kind: Kind,
    follows: Option<(u64, Sha256Digest)>,
    refs: Vec<CarriedRef>,
    /// What else it has.
    inventory: Option<Inventory>,
    since: Option<Timestamp>,
}

impl Engine {
    /// Writes a bundle of what the site does not have yet. The work is a task of the engine.
    ///
    /// Into a folder it goes on where an interrupted run stopped, byte for byte, when it is called again with the
    /// same folder. The ledger moves only when the last byte is durable.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a key to sign with, [`Error::NoSpace`] before the first volume when it cannot fit,
    /// [`Error::Conflict`] for a folder that holds something else.
    pub async fn export(
        &self,
        options: ExportOptions,
        target: Target,
        actor: Actor,
    ) -> Result<TaskHandle<Exported>> {
        self.bundle_key()?;
        check_site(&options.site)?;
        let engine = self.clone();
        let by = actor.clone();
        let payload = json!({ "site": options.site });
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<Exported>> {
            Box::pin(async move { Box::pin(engine.run_export(options, target, actor, &task)).await })
        };
        self.spawn("export", None, payload, by, work).await
    }

    /// What [`export`](Self::export) would write: sizes and media. Changes nothing but scratch files.
    pub async fn plan_export(&self, options: ExportOptions, actor: Actor) -> Result<Exported> {
        check_site(&options.site)?;
        let stream = self.inner.catalog.stream_to(&options.site, &actor).await?;
        let folder = self.inner.scratch.join("export").join(format!("plan-{}", Uuid::new_v4()));
        let planned = self.plan(&options, stream, folder.clone()).await;
        let _ = std::fs::remove_dir_all(&folder);
        Ok(match planned? {
            Ok(plan) => plan.report,
            Err(report) => *report,
        })
    }

    pub(super) fn bundle_key(&self) -> Result<&StreamKey> {
        self.inner.bundle_key.as_deref().ok_or_else(|| {
            Error::invalid(
                "bundles",
                "this engine has no key to sign them; give it one with `.bundle_key(…)`",
            )
        })
    }

    async fn run_export(
        &self,
        options: ExportOptions,
        target: Target,
        actor: Actor,
        task: &TaskContext,
    ) -> Result<Exported> {
        let catalog = &self.inner.catalog;
        let stream = catalog.stream_to(&options.site, &actor).await?;
        let fence = wait_for_lease(catalog, &format!("export/{stream}"), Duration::ZERO).await?;
        task.keep(fence);
        let folder = self.inner.scratch.join("export").join(stream.to_string());
        let resumed = self.resume(stream, folder_of(&target)).await?;
        let (mut writer, mut report) = if let Some(resumed) = resumed {
            resumed
        } else {
            task.report(Progress::Phase { name: "plan", total: None });
            let plan = match self.plan(&options, stream, folder.clone()).await? {
                Ok(plan) => plan,
                Err(report) => return Ok(*report),
            };
            check_space(&target, &plan.header)?;
            let bundle = SentBundle {
                stream,
                sequence: plan.header.sequence,
                header: Sha256Digest::of(&plan.header.encode()?),
                kind: plan.header.kind,
                refs: plan.refs,
                created_at: plan.header.created,
                finished: false,
            };
            // Before the first byte, so that what the bundle needs outlives an interruption.
            catalog.begin_bundle(&bundle, &actor).await?;
            let (records, objects) = (plan.folder.join("records"), plan.folder.join("objects"));
            let engine = self.clone();
            let writer = blocking(move || {
                let key = engine.bundle_key()?;
                Writer::begin(target, plan.header, key, &records, &objects)
            })
            .await?;
            (writer, plan.report)
        };
        report.resumed_at = writer.position();
        let header = writer.header().clone();
        writer = self.write_payload(writer, &folder.join("objects"), &header, task).await?;
        let bundle = writer.bundle();
        let engine = self.clone();
        blocking(move || writer.finish(engine.bundle_key()?)).await?;
        catalog.finish_bundle(stream, header.sequence, bundle, &actor).await?;
        let _ = std::fs::remove_dir_all(&folder);
        report.sequence = Some(header.sequence);
        report.bundle = Some(bundle);
        Ok(report)
    }

    /// The unfinished bundle that the folder holds, if the ledger knows it.
    async fn resume(&self, stream: Uuid, folder: Option<PathBuf>) -> Result<Option<(Writer, Exported)>> {
        let Some(folder) = folder else { return Ok(None) };
        let unfinished = self.inner.catalog.sent_bundles(stream, 1).await?;
        let Some(unfinished) = unfinished.into_iter().find(|bundle| !bundle.finished) else {
            return Ok(None);
        };
        let scratch = self.inner.scratch.join("export").join(stream.to_string());
        let writer = blocking(move || {
            let writer = Writer::resume(&folder, unfinished.header)?;
            if writer.is_some() {
                // The list in the bundle is the one to go by.
                std::fs::create_dir_all(&scratch).map_err(Error::io("make a scratch folder"))?;
                std::fs::copy(folder.join(crate::bundle::OBJECTS), scratch.join("objects"))
                    .map_err(Error::io("copy the list of objects"))?;
            }
            Ok(writer)
        })
        .await?;
        Ok(writer.map(|writer| {
            let report = report_of(writer.header());
            (writer, report)
        }))
    }

    /// Copies blobs, from the writer's position on.
    async fn write_payload(
        &self,
        mut writer: Writer,
        objects: &Path,
        header: &Header,
        task: &TaskContext,
    ) -> Result<Writer> {
        task.report(Progress::Phase { name: "export", total: Some(header.objects.lines) });
        let file = File::open(objects).map_err(Error::io("read the list of objects"))?;
        let mut objects = ObjectsReader::new(file, &header.objects, header.volumes)?;
        let (send, mut take) = tokio::sync::mpsc::channel::<bytes::Bytes>(8);
        let mut position = writer.position();
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(bytes) = take.blocking_recv() {
                writer.push(bytes)?;
            }
            Ok::<_, Error>(writer)
        });
        let copy = async {
            while let Some(object) = objects.next()? {
                task.checkpoint()?;
                let end = object.at + object.blob.size;
                if end > position {
                    let mut bytes =
                        self.inner.store.read(&object.blob, position - object.at..object.blob.size).await?;
                    while let Some(chunk) = bytes.try_next().await? {
                        if send.send(chunk).await.is_err() {
                            // The writer has failed, and says so below.
                            return Ok(());
                        }
                    }
                    position = end;
                }
                let path = object.blob.sha256.to_string().parse()?;
                task.report(Progress::FileBytes { path, bytes: object.blob.size });
                let path = object.blob.sha256.to_string().parse()?;
                task.report(Progress::FileDone { path, size: object.blob.size, fetched: false });
            }
            Ok(())
        };
        let copied: Result<()> = copy.await;
        drop(send);
        let writer = joined(writing.await)?;
        copied.map(|()| writer)
    }

    /// Works out a bundle; the report alone when there is nothing new.
    async fn plan(
        &self,
        options: &ExportOptions,
        stream: Uuid,
        folder: PathBuf,
    ) -> Result<std::result::Result<Plan, Box<Exported>>> {
        let catalog = &self.inner.catalog;
        let created = catalog.clock().now();
        let sent = catalog.sent_bundles(stream, 2).await?;
        let last = sent.iter().find(|bundle| bundle.finished);
        let known = self.known(options, stream, last).await?;
        let repositories = self.selected(options, last).await?;
        let mut refs = Vec::with_capacity(repositories.len());
        for repository in &repositories {
            let snapshot = catalog.resolve(repository.id, "main").await?;
            let parent = known.refs.iter().find(|before| before.repository == repository.config.name);
            refs.push(CarriedRef {
                repository: repository.config.name.clone(),
                ecosystem: repository.config.ecosystem.clone(),
                reference: RefName::main(),
                snapshot: snapshot.content,
                number: snapshot.number,
                parent: parent.map(|parent| parent.snapshot),
            });
        }
        std::fs::create_dir_all(&folder).map_err(Error::io("make a scratch folder"))?;
        let mut report = Exported { site: options.site.clone(), stream, ..Exported::default() };
        let mut blobs = BlobSet::new(folder.join("blobs"))?;
        let records = file(&folder.join("records"))?;
        let mut records = RecordsWriter::new(records)?;
        let mut changed = refs.iter().any(|carried| carried.parent != Some(carried.snapshot));
        for (repository, carried) in repositories.iter().zip(&refs) {
            let touched = self.reach(carried, &known, &mut blobs).await?;
            changed |= self.record(repository, carried, &known, &touched, &mut records, &mut report).await?;
        }
        let (_, records) = records.finish()?;
        if known.kind == Kind::Delta && !changed {
            return Ok(Err(Box::new(report)));
        }
        let base: BTreeSet<Sha256Digest> = refs.iter().filter_map(|carried| carried.parent).collect();
        let blobs = blobs.sorted()?;
        let (objects, layout) = list_objects(&folder, &blobs, &known, options.volume_size)?;
        let (seq, hash) = catalog.audit_head().await?;
        let header = Header {
            format: FORMAT.into(),
            stream,
            site: options.site.clone(),
            sequence: last.map_or(0, |last| last.sequence) + 1,
            follows: known.follows.map(|(sequence, _)| sequence),
            previous: known.follows.map(|(_, header)| header),
            kind: known.kind,
            base: base.into_iter().collect(),
            created,
            expires: options.expires.map(|life| created.plus(life)),
            refs: refs.clone(),
            policy: policy(&repositories)?,
            scanner_data: self.scanner_data().await,
            audit_checkpoint: AuditCheckpoint { seq, hash },
            records,
            objects,
            volumes: layout,
            more: BTreeMap::new(),
        };
        let counted = report_of(&header);
        report.refs = counted.refs;
        report.full = counted.full;
        (report.sequence, report.blobs, report.bytes) = (Some(header.sequence), counted.blobs, counted.bytes);
        (report.volumes, report.metadata_bytes) = (counted.volumes, counted.metadata_bytes);
        // Refs of the stream that this bundle does not touch stay where they are.
        let mut all = last.map(|last| last.refs.clone()).unwrap_or_default();
        all.retain(|before| refs.iter().all(|carried| carried.repository != before.repository));
        all.extend(refs);
        Ok(Ok(Plan { header, refs: all, folder, report }))
    }

    async fn known(&self, options: &ExportOptions, stream: Uuid, last: Option<&SentBundle>) -> Result<Known> {
        let nothing =
            Known { kind: Kind::Full, follows: None, refs: Vec::new(), inventory: None, since: None };
        let after = |bundle: &SentBundle| Known {
            kind: Kind::Delta,
            follows: Some((bundle.sequence, bundle.header)),
            refs: bundle.refs.clone(),
            inventory: None,
            since: Some(Timestamp::from_micros(bundle.created_at.as_micros() - SLACK.as_micros() as i64)),
        };
        Ok(match &options.base {
            Base::Ledger => last.map_or(nothing, after),
            Base::Nothing => Known { follows: last.map(|last| (last.sequence, last.header)), ..nothing },
            Base::Since(sequence) => {
                let bundle = self.inner.catalog.sent_bundle(stream, *sequence).await?;
                let bundle = bundle.filter(|bundle| bundle.finished);
                let missing = || Error::not_found("finished bundle of that number", sequence);
                after(&bundle.ok_or_else(missing)?)
            }
            Base::Inventory(document, signature) => {
                let keys: Vec<BundleKey> =
                    self.inner.catalog.trusted_keys().await?.into_iter().map(|key| key.public).collect();
                BundleKey::verify_any(&keys, "the inventory", document, signature)?;
                let inventory = Inventory::decode(document)?;
                let theirs = inventory.streams.iter().find(|theirs| theirs.stream == stream);
                let sent = match theirs {
                    Some(theirs) => self.inner.catalog.sent_bundle(stream, theirs.sequence).await?,
                    None => None,
                };
                let sent = sent.filter(|sent| theirs.is_some_and(|theirs| theirs.header == sent.header));
                match sent {
                    Some(sent) => Known { inventory: Some(inventory), ..after(&sent) },
                    // It never saw this stream, or another sender's: everything, but for the bytes it has.
                    None => Known {
                        follows: theirs.map(|theirs| (theirs.sequence, theirs.header)),
                        inventory: Some(inventory),
                        ..nothing
                    },
                }
            }
        })
    }

    async fn selected(&self, options: &ExportOptions, last: Option<&SentBundle>) -> Result<Vec<Repository>> {
        let catalog = &self.inner.catalog;
        let mut names = options.repositories.clone();
        if names.is_empty() {
            names = match last {
                Some(last) => last.refs.iter().map(|carried| carried.repository.clone()).collect(),
                None => catalog.repositories().await?.into_iter().map(|all| all.config.name).collect(),
            };
        }
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(Error::invalid(
                "export",
                "there is no repository to export; see `reservoir help apply`",
            ));
        }
        let mut repositories = Vec::with_capacity(names.len());
        for name in names {
            let (repository, _) = self.repository(&name).await?;
            match catalog.resolve(repository.id, "main").await {
                Ok(_) => repositories.push(repository),
                Err(Error::NotFound { .. }) => {
                    let detail = "has no snapshot yet; `reservoir sync` or `reservoir publish` makes one";
                    return Err(Error::invalid(format!("repository `{name}`"), detail));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(repositories)
    }

    /// Collects what a ref reaches and its parent does not; returns the revisions that differ, in a delta.
    async fn reach(
        &self,
        carried: &CarriedRef,
        known: &Known,
        blobs: &mut BlobSet,
    ) -> Result<BTreeSet<(ArtifactName, RevisionName)>> {
        let pages = &self.inner.pages;
        let new = pages.open(carried.snapshot).await?;
        let old = match carried.parent.filter(|_| known.kind == Kind::Delta) {
            Some(parent) if parent == carried.snapshot => return Ok(BTreeSet::new()),
            Some(parent) => Some(pages.open(parent).await?),
            None => None,
        };
        let theirs: BTreeSet<Sha256Digest> =
            old.as_ref().map(Manifest::pages).unwrap_or_default().into_iter().collect();
        for node in new.pages().into_iter().filter(|page| !theirs.contains(page)).chain([carried.snapshot]) {
            blobs.add(&self.node(node).await?)?;
        }
        let mut touched = BTreeSet::new();
        let mut changes = pages.diff(old.as_ref(), &new);
        while let Some(change) = changes.try_next().await? {
            let entry = match change {
                Change::Added(entry) => entry,
                Change::Changed { old, new } if old.blob == new.blob => {
                    // Only what is said of it has changed.
                    touched.extend(new.artifact.zip(new.revision));
                    continue;
                }
                Change::Changed { new, .. } => new,
                Change::Removed(old) => {
                    touched.extend(old.artifact.zip(old.revision));
                    continue;
                }
            };
            blobs.add(&entry.blob)?;
            if old.is_some() {
                touched.extend(entry.artifact.zip(entry.revision));
            }
        }
        Ok(touched)
    }

    /// A page or root as a blob: of those only the SHA-256 is known.
    async fn node(&self, sha256: Sha256Digest) -> Result<Blob> {
        let bytes = self.inner.store.read_whole(&sha256, crate::snapshot::manifest::root::ROOT_LIMIT).await?;
        let size = bytes.len() as u64;
        let blake3 = blocking(move || Ok(Blake3Digest::from(blake3::hash(&bytes)))).await?;
        Ok(Blob { sha256, blake3, size })
    }

    /// Writes what the catalog knows of a repository; returns whether a revision changed since the base.
    async fn record(
        &self,
        repository: &Repository,
        carried: &CarriedRef,
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
        let since = known.since.filter(|_| carried.parent.is_some());
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
        let mut changed = false;
        let mut seen = BTreeSet::new();
        let mut after: Option<RevisionId> = None;
        loop {
            let since = since.unwrap_or(Timestamp::from_micros(0));
            let batch = catalog.changed_revisions(repository.id, since, after, PAGE).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.id);
            for revision in batch {
                if known.since.is_some() {
                    seen.insert((revision.artifact.clone(), revision.revision.clone()));
                    // What lies within the slack was sent already, unless it is new.
                    changed |= known.since.is_some_and(|since| revision.changed_at > since.plus(SLACK));
                    self.record_artifact(repository, &revision.artifact, &mut artifacts, out).await?;
                }
                self.record_revision(repository, &revision, out, report).await?;
            }
        }
        for (artifact, name) in touched.difference(&seen) {
            let Ok(revision) = catalog.find_revision(repository.id, artifact, name).await else { continue };
            self.record_artifact(repository, artifact, &mut artifacts, out).await?;
            self.record_revision(repository, &revision, out, report).await?;
        }
        for alarm in catalog.alarms(repository.id).await? {
            if since.is_none_or(|since| alarm.at >= since) {
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

    async fn record_revision(
        &self,
        repository: &Repository,
        revision: &Revision,
        out: &mut RecordsWriter<BufWriter<File>>,
        report: &mut Exported,
    ) -> Result<()> {
        let catalog = &self.inner.catalog;
        let served = revision.status == Status::Available;
        let approvals = catalog.approvals(revision.id).await?.into_iter();
        let approvals = approvals.map(|said| CarriedApproval {
            decision: said.decision,
            actor: said.actor,
            reason: said.reason,
            digests: said.digests,
            at: said.at,
        });
        let history = if revision.status == Status::Scanned && revision.attempt == 0 {
            Vec::new()
        } else {
            catalog.history(revision.id).await?
        };
        out.push(&Line::Revision(CarriedRevision {
            artifact: revision.artifact.clone(),
            revision: revision.revision.clone(),
            status: revision.status,
            history,
            approvals: approvals.collect(),
        }))?;
        let files = catalog.files(revision.id).await?;
        if !served {
            report.metadata_only += 1;
            let expected = revision.attempt > 0 || files.iter().any(|file| file.wanted);
            let refused = matches!(revision.status, Status::Rejected | Status::Blocked);
            if expected && !refused && report.missing.len() < LISTED {
                let (artifact, name, status) = (&revision.artifact, &revision.revision, revision.status);
                report.missing.push(format!("{} {artifact}@{name} ({status})", repository.config.name));
            }
        }
        for file in files {
            // What was never wanted is offered by a registry that the inside cannot ask.
            if !served && file.blob.is_none() && !file.wanted {
                continue;
            }
            let verdicts = match &file.blob {
                Some(blob) => catalog.verdicts(&blob.sha256).await?,
                None => Vec::new(),
            };
            let travels = served && file.admitted;
            out.push(&Line::File(Box::new(CarriedFile {
                path: file.path,
                registry: file.registry,
                url: without_userinfo(&file.url),
                size: file.size,
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

    async fn scanner_data(&self) -> BTreeMap<String, String> {
        let mut data = BTreeMap::new();
        for scanner in &self.inner.scanners {
            if let Ok(rules) = scanner.rules().await {
                data.insert(scanner.id().to_owned(), rules);
            }
        }
        data
    }
}

fn carried_artifact(row: crate::catalog::ArtifactRow) -> CarriedArtifact {
    CarriedArtifact { name: row.name, attributes: row.attributes, quarantined: row.quarantined }
}

/// Puts the blobs that the receiver lacks in order, and lays them out.
fn list_objects(
    folder: &Path,
    blobs: &SortedBlobs,
    known: &Known,
    volume_size: Option<u64>,
) -> Result<(Part, Layout)> {
    let wanted = |prefix: u8| -> Result<Vec<Blob>> {
        let mut bucket = blobs.bucket(prefix)?;
        if let Some(inventory) = &known.inventory {
            bucket.retain(|blob| !inventory.has(&blob.sha256));
        }
        Ok(bucket)
    };
    let mut payload = 0_u64;
    for prefix in 0..=255 {
        payload += wanted(prefix)?.iter().map(|blob| blob.size).sum::<u64>();
    }
    let layout = Layout::new(payload, volume_size)?;
    let mut objects = ObjectsWriter::new(file(&folder.join("objects"))?, layout)?;
    for prefix in 0..=255 {
        wanted(prefix)?.iter().try_for_each(|blob| objects.push(blob))?;
    }
    let (_, part) = objects.finish()?;
    Ok((part, layout))
}

fn file(path: &Path) -> Result<BufWriter<File>> {
    File::create(path).map(BufWriter::new).map_err(Error::io(format!("create `{}`", path.display())))
}

fn report_of(header: &Header) -> Exported {
    Exported {
        site: header.site.clone(),
        stream: header.stream,
        sequence: Some(header.sequence),
        full: header.kind == Kind::Full,
        refs: header.refs.clone(),
        blobs: header.objects.lines,
        bytes: header.volumes.payload,
        metadata_bytes: header.objects.size + header.records.size,
        volumes: (1..=header.volumes.count).map(|index| header.label(index)).collect(),
        ..Exported::default()
    }
}

/// The digest of what decided over the content: the repositories' configurations.
fn policy(repositories: &[Repository]) -> Result<Sha256Digest> {
    let configs: Vec<_> = repositories.iter().map(|repository| &repository.config).collect();
    let bytes = serde_json::to_vec(&configs).map_err(|error| Error::invalid("policy", error.to_string()))?;
    Ok(Sha256Digest::of(&bytes))
}

fn check_site(site: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if site.is_empty() || site.len() > 64 || !site.bytes().all(plain) {
        return Err(Error::invalid(
            "--to",
            format!("`{site}` is not 1 to 64 letters, digits, `-`, `_` and `.`"),
        ));
    }
    Ok(())
}

fn folder_of(target: &Target) -> Option<PathBuf> {
    match target {
        Target::Folder(folder) => Some(folder.clone()),
        Target::Stream(_) => None,
    }
}

/// Refuses before the first byte what cannot fit.
fn check_space(target: &Target, header: &Header) -> Result<()> {
    let Target::Folder(folder) = target else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(Error::io(format!("create `{}`", folder.display())))?;
    let needed = header.volumes.payload + header.objects.size + header.records.size;
    crate::bundle::check_space(folder, needed)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(result: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}
