//! One revision's way from SCANNED to AVAILABLE, or to where a person must look.

use futures::{FutureExt as _, StreamExt as _, stream};

use super::{
    Syncer,
    discover::chain,
    pull::{Pulled, is_absence, revision_error},
};
use crate::{
    catalog::FileRow,
    digest::Sha256Digest,
    ecosystem::{Inspection, PulledFile},
    error::{Error, Result},
    gate::{
        Subject, Verdict,
        policy::{Decision, Opinion, decide},
    },
    lifecycle::{ArtifactLifecycle as _, Revision, RevisionId, Status, Transition},
    path::ContentPath,
    store::{Blob, BlobSink as _},
};

/// Files of one revision pulled at once.
const FILES_AT_ONCE: usize = 4;

/// What became of one revision.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) revision: Revision,
    pub(super) fetched_files: u64,
    pub(super) fetched_bytes: u64,
    pub(super) changed: bool,
    pub(super) waiting: Option<String>,
    pub(super) problem: Option<String>,
    /// Optional files that are not to be had, each with the reason, which is new.
    pub(super) absent: Vec<String>,
    /// The same for a reason that was told before.
    pub(super) still_absent: Vec<String>,
}

impl Outcome {
    fn new(revision: Revision) -> Self {
        Self {
            revision,
            fetched_files: 0,
            fetched_bytes: 0,
            changed: false,
            waiting: None,
            problem: None,
            absent: Vec::new(),
            still_absent: Vec::new(),
        }
    }
}

impl Syncer<'_> {
    /// [`bring`](Self::bring), where a person who changes the revision meanwhile ends its way, not the sync.
    pub(super) async fn bring_or_say_why(&self, id: RevisionId, wanted: &[ContentPath]) -> Result<Outcome> {
        match revision_error(self.bring(id, wanted).await)? {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                let mut outcome = Outcome::new(self.catalog.revision(id).await?);
                outcome.problem = Some(chain(&error));
                Ok(outcome)
            }
        }
    }

    /// Brings the wanted files of one revision as far as policy allows. Errors of the revision are an
    /// outcome; only errors of the whole sync are errors.
    pub(super) async fn bring(&self, id: RevisionId, wanted: &[ContentPath]) -> Result<Outcome> {
        let mut outcome = Outcome::new(self.catalog.revision(id).await?);
        let files: Vec<FileRow> =
            self.catalog.files(id).await?.into_iter().filter(|file| wanted.contains(&file.path)).collect();
        match outcome.revision.status {
            Status::Rejected | Status::Blocked => {
                outcome.waiting = self.last_reason(id).await?;
                return Ok(outcome);
            }
            Status::Available if files.iter().all(|file| file.admitted) => return Ok(outcome),
            Status::Scanned | Status::Failed => {
                self.step(&mut outcome.revision, &[Status::Pulling], "wanted by the selection").await?;
            }
            _ => {}
        }
        let ready = match revision_error(self.prepare(&mut outcome, &files).await)? {
            Ok(ready) => ready,
            Err(error) => {
                let reason = chain(&error);
                if outcome.revision.status == Status::Pulling {
                    self.step(&mut outcome.revision, &[Status::Failed], &reason).await?;
                }
                outcome.problem = Some(reason);
                return Ok(outcome);
            }
        };
        let is_admitted = |path: &ContentPath| files.iter().any(|file| file.admitted && file.path == *path);
        if outcome.revision.status == Status::Available && ready.iter().all(|(path, ..)| is_admitted(path)) {
            // What was missing were optional files, and they still are.
            return Ok(outcome);
        }
        if outcome.revision.status == Status::Pulling {
            let steps = [Status::Pulled, Status::Verifying];
            self.step(&mut outcome.revision, &steps, "all wanted files are here").await?;
        } else if outcome.revision.status == Status::Pulled {
            self.step(&mut outcome.revision, &[Status::Verifying], "goes on after an interruption").await?;
        }
        if let Err(error) = revision_error(self.settle(&mut outcome, &ready).await)? {
            // Such as a revision of an artifact that its registry has withdrawn.
            outcome.waiting = Some(chain(&error));
        }
        Ok(outcome)
    }

    /// Pulls and inspects the files that need it.
    async fn prepare(
        &self,
        outcome: &mut Outcome,
        files: &[FileRow],
    ) -> Result<Vec<(ContentPath, Blob, Inspection)>> {
        let revision = outcome.revision.clone();
        // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
        let work: Vec<_> = files
            .iter()
            .map(|file| self.ready(&revision, file).map(move |result| (file, result)).boxed())
            .collect();
        let mut results = stream::iter(work).buffer_unordered(FILES_AT_ONCE);
        let mut ready = Vec::with_capacity(files.len());
        let mut missed = Vec::new();
        while let Some((file, result)) = results.next().await {
            let (path, pulled, inspection) = match result {
                Err(error) if file.is_optional() && is_absence(&error) => {
                    missed.push((file, chain(&error)));
                    continue;
                }
                result => result?,
            };
            if pulled.fetched {
                outcome.fetched_files += 1;
                outcome.fetched_bytes += pulled.blob.size;
            }
            ready.push((path, pulled.blob, inspection));
        }
        // Not before: a file that is not polled meanwhile may be holding the catalog's write lock.
        for (file, reason) in missed {
            self.miss(outcome, file, &reason).await?;
        }
        Ok(ready)
    }

    /// Tells of an optional file that is not to be had: the first time as an alarm, with the same reason again as
    /// skipped, so that a registry that lists what it does not have does not leave every sync incomplete.
    async fn miss(&self, outcome: &mut Outcome, file: &FileRow, reason: &str) -> Result<()> {
        let Revision { artifact, revision, .. } = &outcome.revision;
        let line = format!("{artifact}@{revision} `{}`: {reason}", file.path);
        let (id, rule) = (self.repository.id, "optional-file");
        let path = Some(&file.path);
        if self.catalog.record_alarm(id, artifact, path, rule, reason, &self.actor).await? {
            outcome.absent.push(line);
        } else {
            outcome.still_absent.push(line);
        }
        Ok(())
    }

    /// One file, pulled and inspected.
    async fn ready(&self, revision: &Revision, file: &FileRow) -> Result<(ContentPath, Pulled, Inspection)> {
        let pulled = self.pull(file).await?;
        let inspection = match &file.inspection {
            Some(inspection) if file.blob == Some(pulled.blob) => inspection.clone(),
            _ => self.inspect(revision, file, &pulled.blob).await?,
        };
        Ok((file.path.clone(), pulled, inspection))
    }

    /// Has the format read the file itself, and stores what it took out of it.
    async fn inspect(&self, revision: &Revision, file: &FileRow, blob: &Blob) -> Result<Inspection> {
        let pulled = PulledFile {
            artifact: &revision.artifact,
            revision: &revision.revision,
            path: &file.path,
            attributes: &file.attributes,
            blob,
            store: self.store.store(),
        };
        let mut inspection = self.task.or_cancelled(self.ecosystem.inspect(&pulled)).await?;
        let mut derived = Vec::with_capacity(inspection.derived.len());
        for part in std::mem::take(&mut inspection.derived) {
            derived.push((part.path, self.store.put_bytes(part.bytes).await?));
        }
        self.catalog.inspected_file(file.id, &inspection, &derived, Some(&self.fence)).await?;
        Ok(inspection)
    }

    /// Asks the scanners, then policy, and moves the revision accordingly.
    async fn settle(&self, outcome: &mut Outcome, ready: &[(ContentPath, Blob, Inspection)]) -> Result<()> {
        let mut opinions = Vec::new();
        let judged: Vec<Sha256Digest> = ready.iter().map(|(_, blob, _)| blob.sha256).collect();
        for (path, blob, inspection) in ready {
            opinions.extend(self.opinions(&outcome.revision, path, blob, inspection).await?);
        }
        match (decide(self.repository.config.approval, &opinions), outcome.revision.status) {
            (Decision::Admit { reason }, Status::Verifying | Status::NeedsApproval) => {
                self.catalog.admit_files(outcome.revision.id, &judged, Some(&self.fence)).await?;
                self.step(&mut outcome.revision, &[Status::Available], &reason).await?;
                outcome.changed = true;
            }
            (Decision::Admit { .. }, Status::Available) => {
                self.catalog.admit_files(outcome.revision.id, &judged, Some(&self.fence)).await?;
                outcome.changed = true;
            }
            (Decision::Ask { reason }, Status::Verifying) => {
                self.step(&mut outcome.revision, &[Status::NeedsApproval], &reason).await?;
                outcome.waiting = Some(reason);
            }
            (Decision::Ask { reason }, Status::Available) => {
                outcome.waiting = Some(format!("new files of an approved revision: {reason}"));
            }
            (Decision::Admit { reason } | Decision::Ask { reason }, _) => outcome.waiting = Some(reason),
        }
        Ok(())
    }

    /// Every scanner's verdict on one file, from the catalog where the same rules have spoken already.
    async fn opinions(
        &self,
        revision: &Revision,
        path: &ContentPath,
        blob: &Blob,
        inspection: &Inspection,
    ) -> Result<Vec<Opinion>> {
        let ecosystem = self.ecosystem.id();
        let subject = Subject {
            ecosystem: &ecosystem,
            artifact: &revision.artifact,
            revision: &revision.revision,
            path,
            blob,
            store: self.store.store(),
            inspection,
        };
        let mut opinions = Vec::with_capacity(self.scanners.len());
        for scanner in self.scanners.iter().filter(|scanner| scanner.judges(&ecosystem)) {
            let verdict = match scanner.rules().await {
                Ok(rules) => match self.catalog.verdict(&blob.sha256, scanner.id(), &rules).await? {
                    // What was incomplete once may be complete now.
                    Some(known) if !matches!(known, Verdict::Incomplete { .. }) => known,
                    _ => {
                        let verdict = self.task.or_cancelled(scanner.scan(&subject)).await;
                        let verdict = incomplete_on_error(verdict)?;
                        self.catalog.put_verdict(&blob.sha256, scanner.id(), &rules, &verdict).await?;
                        verdict
                    }
                },
                Err(error) => incomplete_on_error(Err(error))?,
            };
            opinions.push(Opinion { scanner: scanner.id().to_owned(), verdict });
        }
        Ok(opinions)
    }

    pub(super) async fn last_reason(&self, id: RevisionId) -> Result<Option<String>> {
        Ok(self.catalog.history(id).await?.pop().map(|entry| entry.reason))
    }

    /// Moves the revision along, each step from where the one before left it, all or none.
    pub(super) async fn step(&self, revision: &mut Revision, steps: &[Status], reason: &str) -> Result<()> {
        let mut from = revision.status;
        // Starting over from FAILED is a new attempt; the catalog counts it.
        let changes: Vec<Transition> = steps
            .iter()
            .map(|&to| {
                let change = Transition {
                    revision: revision.id,
                    from,
                    attempt: revision.attempt,
                    to,
                    actor: self.actor.clone(),
                    reason: reason.to_owned(),
                };
                from = to;
                change
            })
            .collect();
        if let Some(now) = self.catalog.transition(&changes, Some(&self.fence)).await?.pop() {
            *revision = now;
        }
        Ok(())
    }
}

/// A scanner that fails has not looked: Incomplete. Only a cancelled or fenced task ends the sync.
fn incomplete_on_error(verdict: Result<Verdict>) -> Result<Verdict> {
    match verdict {
        Err(error @ (Error::Cancelled | Error::Fenced { .. })) => Err(error),
        Err(error) => Ok(Verdict::Incomplete { reason: chain(&error) }),
        verdict => verdict,
    }
}
