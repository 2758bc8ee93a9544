//! What was uploaded, on the same way as what was pulled: stored, inspected, judged, recorded; hundreds of files at a
//! time.

use std::{collections::BTreeMap, future::Future, ops::Range, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::{
    SyncReport, Syncer,
    judge::{Outcome, Said, store_derived},
    pull::revision_error,
};
use crate::{
    blocking,
    catalog::{Arrival, ArrivedFile, NewVerdict, ReceivedFile, ReceivedFiles},
    digest::Sha256Digest,
    ecosystem::{Accepted, Ecosystem, Inspection, PulledFile, Received, RepositoryConfig, Upload},
    engine::pinned::PinnedStore,
    error::{Result, chain},
    gate::policy::{Decision, Opinion, decide},
    lifecycle::Status,
    name::{ArtifactName, RevisionName},
    path::ContentPath,
    store::Blob,
    task::{Progress, TaskContext},
};

/// Uploads that become durable together, and are recorded in one transaction: few at first, so that the next are read
/// while some are recorded; more when there are many, because each transaction touches most pages of the indexes by
/// digest.
const TOGETHER: Range<usize> = 500..2000;
/// Uploads looked at at once. They wait for the disk and for each other's turn on the processors.
const AT_ONCE: usize = 16;
/// Uploads that one thread stores and looks into one after the other, where there are many.
const IN_A_ROW: usize = 16;

/// An upload that the format knows, and the bytes of.
struct Taken {
    accepted: Accepted,
    blob: Blob,
    /// What was found in it; nothing where that broke, which is looked at again.
    found: Option<Found>,
}

struct Found {
    inspection: Inspection,
    derived: Vec<(ContentPath, Blob)>,
    /// Nothing yet, until scanners were asked.
    opinions: Vec<Opinion>,
    verdicts: Vec<NewVerdict>,
}

/// Some uploads, and the batch that has their bytes.
struct Together {
    store: PinnedStore,
    taken: Vec<Taken>,
}

/// What it takes to look at an upload, on any thread.
#[derive(Clone)]
struct Inspector {
    ecosystem: Arc<dyn Ecosystem>,
    repository: Arc<RepositoryConfig>,
    store: PinnedStore,
    task: TaskContext,
}

impl Inspector {
    /// Stores some files and asks the format what they are and what is in them, all on one thread: for a small file
    /// that takes less time than going from thread to thread.
    fn take_in_a_row(&self, uploads: &[Upload]) -> impl Future<Output = Result<Vec<Result<Taken>>>> + use<> {
        let (inspector, uploads) = (self.clone(), uploads.to_vec());
        blocking::on_one_thread(async move {
            let mut taken = Vec::with_capacity(uploads.len());
            for upload in &uploads {
                taken.push(revision_error(inspector.task.or_cancelled(inspector.take(upload)).await)?);
            }
            Ok(taken)
        })
    }

    async fn take(&self, upload: &Upload) -> Result<Taken> {
        let blob = self.store.put_copy(&upload.path).await?;
        let store = self.store.store();
        let received = Received { repository: &self.repository, name: &upload.name, blob: &blob, store };
        let mut accepted = self.ecosystem.identify(&received).await?;
        let inspection = accepted.inspection.take();
        let found = revision_error(self.find(&accepted, inspection, &blob).await)?.ok();
        Ok(Taken { accepted, blob, found })
    }

    async fn find(&self, accepted: &Accepted, known: Option<Inspection>, blob: &Blob) -> Result<Found> {
        let Accepted { artifact, revision, path, attributes, .. } = accepted;
        let inspection = if let Some(inspection) = known {
            inspection
        } else {
            let store = self.store.store();
            self.ecosystem.inspect(&PulledFile { artifact, revision, path, attributes, blob, store }).await?
        };
        let (inspection, derived) = store_derived(inspection, &self.store).await?;
        Ok(Found { inspection, derived, opinions: Vec::new(), verdicts: Vec::new() })
    }
}

impl Syncer<'_> {
    /// Takes files in. What is wrong with one file is in the report, among the alarms; the others go on.
    ///
    /// # Errors
    /// Only what concerns them all: cancelled, fenced, no space, catalog or store broken.
    pub(crate) async fn receive(&self, uploads: &[Upload]) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        self.task.report(Progress::Phase { name: "receive", total: Some(uploads.len() as u64) });
        let mut before: Option<Together> = None;
        let (mut rest, mut together) = (uploads, TOGETHER.start);
        while !rest.is_empty() {
            self.task.checkpoint()?;
            let (uploads, later) = rest.split_at(together.min(rest.len()));
            (rest, together) = (later, (together * 2).min(TOGETHER.end));
            // While some are made durable, the next are read.
            let mut alarms = Vec::new();
            let (taken, ()) = futures::try_join!(
                self.take_all(uploads, &mut alarms),
                self.record(before.take(), &mut report).boxed()
            )?;
            report.alarms.append(&mut alarms);
            before = Some(taken);
        }
        self.record(before, &mut report).await?;
        Ok(report)
    }

    async fn take_all(&self, uploads: &[Upload], alarms: &mut Vec<String>) -> Result<Together> {
        let store = self.store.batched();
        let inspector = Inspector {
            ecosystem: Arc::clone(&self.ecosystem),
            repository: Arc::new(self.repository.config.clone()),
            store: store.clone(),
            task: self.task.clone(),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(2, AT_ONCE);
        let in_a_row = (uploads.len() / AT_ONCE).clamp(1, IN_A_ROW);
        let work: Vec<_> = uploads.chunks(in_a_row).map(|uploads| inspector.take_in_a_row(uploads)).collect();
        let results: Vec<Vec<_>> = stream::iter(work).buffered(threads).try_collect().await?;
        let mut taken = Vec::with_capacity(uploads.len());
        for (upload, result) in uploads.iter().zip(results.into_iter().flatten()) {
            match result {
                Ok(one) => taken.push(one),
                Err(error) => alarms.push(format!("{}: {}", upload.name, chain(&error))),
            }
        }
        let digests: Vec<Sha256Digest> = taken.iter().map(|taken| taken.blob.sha256).collect();
        let said = self.recall(&digests).await?;
        let work: Vec<_> =
            taken.into_iter().map(|taken| self.ask_scanners(taken, &store, &said).boxed()).collect();
        let taken = stream::iter(work).buffered(AT_ONCE).try_collect().await?;
        Ok(Together { store, taken })
    }

    /// Asks the scanners what they think of an upload.
    async fn ask_scanners(&self, mut taken: Taken, store: &PinnedStore, said: &Said) -> Result<Taken> {
        let Accepted { artifact, revision, path, .. } = &taken.accepted;
        if let Some(found) = &mut taken.found {
            let (names, inspection) = ((artifact, revision), &found.inspection);
            let asked = self.opinions(names, path, &taken.blob, inspection, (store, said)).await;
            match revision_error(asked)? {
                Ok((opinions, verdicts)) => (found.opinions, found.verdicts) = (opinions, verdicts),
                Err(_) => taken.found = None,
            }
        }
        Ok(taken)
    }

    /// Makes bytes durable, then says so in the catalog: all that is new in one transaction, the rest one by one.
    async fn record(&self, together: Option<Together>, report: &mut SyncReport) -> Result<()> {
        let Some(Together { store, taken }) = together else { return Ok(()) };
        self.store.settle_all(&[&store]).await?;
        let (arrivals, mut others) = self.arrivals(taken);
        let repository = self.repository.id;
        let recorded = self.catalog.take_in(repository, &arrivals, &self.actor, &self.fence).await?;
        for (arrival, recorded) in arrivals.into_iter().zip(recorded) {
            match recorded {
                Some(revision) => {
                    report.new_files += arrival.files.len() as u64;
                    let mut outcome = Outcome::new(revision);
                    outcome.changed = arrival.to == Status::Available;
                    outcome.waiting = (!outcome.changed).then_some(arrival.reason);
                    report.add(outcome);
                }
                None => others.extend(arrival.files.into_iter().map(|arrived| ReceivedFiles {
                    artifact: arrival.artifact.clone(),
                    revision: arrival.revision.clone(),
                    files: vec![arrived.file],
                })),
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let recorded =
            self.catalog.record_received(repository, &others, &self.actor, Some(&self.fence)).await?;
        for (received, recorded) in others.into_iter().zip(recorded) {
            match recorded {
                Ok(id) => {
                    self.task.checkpoint()?;
                    report.new_files += 1;
                    let paths: Vec<ContentPath> = received.files.into_iter().map(|file| file.path).collect();
                    report.add(self.bring_or_say_why(id, &paths).await?);
                }
                Err(error) => report.alarms.push(chain(&error)),
            }
        }
        Ok(())
    }

    /// By revision, with what policy says of each; and those that have to be looked at again.
    fn arrivals(&self, taken: Vec<Taken>) -> (Vec<Arrival>, Vec<ReceivedFiles>) {
        type Name = (ArtifactName, RevisionName);
        let mut groups: BTreeMap<Name, (Vec<ArrivedFile>, Vec<Opinion>)> = BTreeMap::new();
        let mut others: Vec<ReceivedFiles> = Vec::new();
        for Taken { accepted, blob, found } in taken {
            let Accepted { artifact, revision, path, attributes, .. } = accepted;
            let file = ReceivedFile { path, blob, attributes, is_metadata: false };
            match found {
                Some(Found { inspection, derived, opinions, verdicts }) => {
                    let (files, said) = groups.entry((artifact, revision)).or_default();
                    files.push(ArrivedFile { file, inspection, derived, verdicts });
                    said.extend(opinions);
                }
                None => others.push(ReceivedFiles { artifact, revision, files: vec![file] }),
            }
        }
        let arrivals = groups.into_iter().map(|((artifact, revision), (files, opinions))| {
            let (to, reason) = match decide(self.repository.config.approval, &opinions) {
                Decision::Admit { reason } => (Status::Available, reason),
                Decision::Ask { reason } => (Status::NeedsApproval, reason),
            };
            Arrival { artifact, revision, files, to, reason }
        });
        (arrivals.collect(), others)
    }
}
