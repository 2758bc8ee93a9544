//! One revision's way from SCANNED to AVAILABLE, or to where a person must look.

use std::collections::{BTreeMap, HashMap};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use serde_json::Value;

use super::{
    Syncer,
    begin::{Begun, Going, Share},
    pull::{Pulled, is_absence, revision_error},
};
use crate::{
    catalog::{Conclusion, FileId, FileRow, Finding, NewVerdict, VerdictRow, steps},
    digest::Sha256Digest,
    ecosystem::{Approval, Inspection, PulledFile},
    engine::pinned::PinnedStore,
    error::{Error, Result, chain},
    gate::{
        Subject, Verdict,
        policy::{Decision, Opinion, decide},
    },
    lifecycle::{ArtifactLifecycle as _, Revision, RevisionId, Status},
    name::{ArtifactName, RevisionName},
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
    /// Why its way ended, where it did.
    pub(super) problem: Option<Error>,
    /// Optional files that are not to be had, each with the reason, which is new.
    pub(super) absent: Vec<String>,
    /// The same for a reason that was told before.
    pub(super) still_absent: Vec<String>,
}

impl Outcome {
    pub(super) fn new(revision: Revision) -> Self {
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

/// A revision whose wanted files are here, inspected and judged, none of it on record yet.
#[derive(Debug)]
pub(super) struct Judged {
    outcome: Outcome,
    conclusion: Conclusion,
    /// Has the blobs that are not durable yet.
    store: PinnedStore,
    /// Why it is not let in, where it is not.
    waiting: Option<String>,
}

/// What the catalog has of verdicts on some blobs: nothing at all of those that it was not asked about.
pub(super) type Said = HashMap<Sha256Digest, Vec<VerdictRow>>;

/// A file that was pulled before its revision is looked at.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) file: FileId,
    pub(super) pulled: Pulled,
    /// Has its bytes, if they are not durable yet.
    pub(super) store: PinnedStore,
}

/// What looking at a revision came to.
#[derive(Debug)]
pub(super) enum Looked {
    /// There is nothing to record.
    Over(Box<Outcome>),
    /// All that is left is to record it.
    Judged(Box<Judged>),
}

/// One file, pulled and inspected.
#[derive(Debug)]
struct Ready {
    path: ContentPath,
    pulled: Pulled,
    inspection: Inspection,
    /// What it took out of the file, if it was inspected now.
    derived: Option<Vec<(ContentPath, Blob)>>,
    file: FileId,
}

impl Syncer<'_> {
    /// Looks at one revision, where a person who changes it meanwhile ends its way, not the sync.
    pub(super) async fn look_or_say_why(&self, share: &Share) -> Result<Looked> {
        let looked = match self.begun(share).await? {
            Some(Begun::Going(going)) => self.look(*going, None).await,
            Some(Begun::Over(outcome)) => Ok(Looked::Over(outcome)),
            None => Err(Error::not_found("revision", share.id().0)),
        };
        match revision_error(looked)? {
            Ok(looked) => Ok(looked),
            Err(error) => Ok(Looked::Over(Box::new(self.ended_by(share.id(), error).await?))),
        }
    }

    /// The end of a revision's way.
    pub(super) async fn ended_by(&self, id: RevisionId, error: Error) -> Result<Outcome> {
        let mut outcome = Outcome::new(self.catalog.revision(id).await?);
        outcome.problem = Some(error);
        Ok(outcome)
    }

    /// [`bring`](Self::bring), where a person who changes the revision meanwhile ends its way, not the sync.
    pub(super) async fn bring_or_say_why(&self, id: RevisionId, wanted: &[ContentPath]) -> Result<Outcome> {
        match revision_error(self.bring(id, wanted, None).await)? {
            Ok(outcome) => Ok(outcome),
            Err(error) => self.ended_by(id, error).await,
        }
    }

    /// Brings the wanted files of one revision as far as policy allows. Errors of the revision are an
    /// outcome; only errors of the whole sync are errors.
    pub(super) async fn bring(
        &self,
        id: RevisionId,
        wanted: &[ContentPath],
        fetched: Option<&Fetched>,
    ) -> Result<Outcome> {
        let looked = match self.begin_with(&[(id, wanted.to_vec())]).await?.pop() {
            Some(Begun::Going(going)) => self.look(*going, fetched).await?,
            Some(Begun::Over(outcome)) => Looked::Over(outcome),
            None => return Err(Error::not_found("revision", id.0)),
        };
        match looked {
            Looked::Over(outcome) => Ok(*outcome),
            Looked::Judged(judged) => {
                self.store.settle_all(&[&judged.store]).await?;
                self.conclude_one(*judged).await
            }
        }
    }

    /// Pulls, inspects and judges what is wanted of a revision, up to where only recording is left.
    fn look<'a>(&'a self, going: Going, fetched: Option<&'a Fetched>) -> BoxFuture<'a, Result<Looked>> {
        Box::pin(async move {
            let Going { revision, files, said } = going;
            let mut outcome = Outcome::new(revision);
            let store = fetched.map_or_else(|| self.store.batched(), |fetched| fetched.store.clone());
            let judged = async {
                let ready = self.prepare(&mut outcome, &files, &store, fetched).await?;
                let is_admitted =
                    |path: &ContentPath| files.iter().any(|file| file.admitted && file.path == *path);
                if outcome.revision.status == Status::Available
                    && ready.iter().all(|ready| is_admitted(&ready.path))
                {
                    // What was missing were optional files, and they still are.
                    return Ok(None);
                }
                self.judge(&outcome.revision, ready, &store, &said).await.map(Some)
            };
            match revision_error(judged.await)? {
                Ok(None) => Ok(Looked::Over(Box::new(outcome))),
                Ok(Some((conclusion, waiting))) => {
                    Ok(Looked::Judged(Box::new(Judged { outcome, conclusion, store, waiting })))
                }
                Err(error) => {
                    if outcome.revision.status == Status::Pulling {
                        self.step(&mut outcome.revision, &[Status::Failed], &chain(&error)).await?;
                    }
                    outcome.problem = Some(error);
                    Ok(Looked::Over(Box::new(outcome)))
                }
            }
        })
    }

    /// Records what was judged: the blobs of all of them become durable at once, then one transaction says so.
    pub(super) fn conclude(&self, judged: Vec<Judged>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            let stores: Vec<&PinnedStore> = judged.iter().map(|judged| &judged.store).collect();
            self.store.settle_all(&stores).await?;
            let conclusions: Vec<&Conclusion> = judged.iter().map(|judged| &judged.conclusion).collect();
            let concluded = self.catalog.conclude(&conclusions, &self.actor, &self.fence).await;
            let mut outcomes = Vec::with_capacity(judged.len());
            match revision_error(concluded)? {
                Ok(revisions) => {
                    outcomes.extend(judged.into_iter().zip(revisions).map(|(it, now)| it.over(now)));
                }
                // One of them is to blame; the others go on.
                Err(_) => {
                    for judged in judged {
                        let id = judged.outcome.revision.id;
                        outcomes.push(match revision_error(self.conclude_one(judged).await)? {
                            Ok(outcome) => outcome,
                            Err(error) => self.ended_by(id, error).await?,
                        });
                    }
                }
            }
            Ok(outcomes)
        })
    }

    /// Records what was judged of one revision, whose blobs are durable.
    async fn conclude_one(&self, mut judged: Judged) -> Result<Outcome> {
        let now = match revision_error(
            self.catalog.conclude(&[&judged.conclusion], &self.actor, &self.fence).await,
        )? {
            Ok(mut now) => now.pop(),
            Err(error) => {
                // Such as a revision of an artifact that its registry has withdrawn: it goes up to the decision.
                (judged.conclusion.admitted, judged.conclusion.after) = (None, None);
                let mut now = self.catalog.conclude(&[&judged.conclusion], &self.actor, &self.fence).await?;
                judged.waiting = Some(chain(&error));
                now.pop()
            }
        };
        let now = now.unwrap_or_else(|| judged.outcome.revision.clone());
        Ok(judged.over(now))
    }

    /// Pulls and inspects the files that need it.
    async fn prepare(
        &self,
        outcome: &mut Outcome,
        files: &[FileRow],
        store: &PinnedStore,
        fetched: Option<&Fetched>,
    ) -> Result<Vec<Ready>> {
        let revision = outcome.revision.clone();
        // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
        let work: Vec<_> = files
            .iter()
            .map(|file| self.ready(&revision, file, store, fetched).map(move |result| (file, result)).boxed())
            .collect();
        let mut results = stream::iter(work).buffer_unordered(FILES_AT_ONCE);
        let mut ready = Vec::with_capacity(files.len());
        let mut missed = Vec::new();
        while let Some((file, result)) = results.next().await {
            let one = match result {
                Err(error) if file.is_optional() && is_absence(&error) => {
                    missed.push((file, chain(&error)));
                    continue;
                }
                result => result?,
            };
            if one.pulled.fetched {
                outcome.fetched_files += 1;
                outcome.fetched_bytes += one.pulled.blob.size;
            }
            ready.push(one);
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
    async fn ready(
        &self,
        revision: &Revision,
        file: &FileRow,
        store: &PinnedStore,
        fetched: Option<&Fetched>,
    ) -> Result<Ready> {
        let pulled = match fetched.filter(|fetched| fetched.file == file.id) {
            Some(fetched) => fetched.pulled,
            None => self.pull_pinned(file, store).await?,
        };
        let (inspection, derived) = match &file.inspection {
            Some(inspection) if file.blob == Some(pulled.blob) => (inspection.clone(), None),
            _ => {
                let names = (&revision.artifact, &revision.revision);
                let found = self.inspect(names, (&file.path, &file.attributes), &pulled.blob, store).await?;
                (found.0, Some(found.1))
            }
        };
        Ok(Ready { path: file.path.clone(), pulled, inspection, derived, file: file.id })
    }

    /// Has the format read the file itself, and puts what it took out of it into `store`.
    pub(super) async fn inspect(
        &self,
        (artifact, revision): (&ArtifactName, &RevisionName),
        (path, attributes): (&ContentPath, &BTreeMap<String, Value>),
        blob: &Blob,
        store: &PinnedStore,
    ) -> Result<(Inspection, Vec<(ContentPath, Blob)>)> {
        let pulled = PulledFile { artifact, revision, path, attributes, blob, store: store.store() };
        let inspection = self.task.or_cancelled(self.ecosystem.inspect(&pulled)).await?;
        store_derived(inspection, store).await
    }

    /// Asks the scanners, then policy: what is to be recorded, and what the revision waits for.
    async fn judge(
        &self,
        revision: &Revision,
        ready: Vec<Ready>,
        store: &PinnedStore,
        said: &Said,
    ) -> Result<(Conclusion, Option<String>)> {
        let mut opinions = Vec::new();
        let mut findings = Vec::with_capacity(ready.len());
        let digests: Vec<Sha256Digest> = ready.iter().map(|ready| ready.pulled.blob.sha256).collect();
        for Ready { path, pulled, inspection, derived, file } in ready {
            let names = (&revision.artifact, &revision.revision);
            let asked = self.opinions(names, &path, &pulled.blob, &inspection, (store, said));
            let (theirs, new) = asked.await?;
            opinions.extend(theirs);
            let sha256 = pulled.blob.sha256;
            findings.push(Finding {
                file,
                stored: (!pulled.recorded).then_some(pulled.blob),
                inspected: derived.map(|derived| (inspection, derived)),
                verdicts: new.into_iter().map(|verdict| (sha256, verdict)).collect(),
            });
        }
        let before = match revision.status {
            Status::Pulling => {
                (vec![Status::Pulled, Status::Verifying], "all wanted files are here".to_owned())
            }
            Status::Pulled => (vec![Status::Verifying], "goes on after an interruption".to_owned()),
            _ => (Vec::new(), String::new()),
        };
        let at = before.0.last().copied().unwrap_or(revision.status);
        let is_statement = self.ecosystem.is_statement(&revision.artifact);
        let approval = if is_statement { Approval::Automatic } else { self.repository.config.approval };
        let (admitted, after, waiting) = match (decide(approval, &opinions), at) {
            (Decision::Admit { reason }, Status::Verifying | Status::NeedsApproval) => {
                (Some(digests), Some((Status::Available, reason)), None)
            }
            (Decision::Admit { .. }, Status::Available) => (Some(digests), None, None),
            (Decision::Ask { reason }, Status::Verifying) => {
                (None, Some((Status::NeedsApproval, reason.clone())), Some(reason))
            }
            (Decision::Ask { reason }, Status::Available) => {
                (None, None, Some(format!("new files of an approved revision: {reason}")))
            }
            (Decision::Admit { reason } | Decision::Ask { reason }, _) => (None, None, Some(reason)),
        };
        Ok((Conclusion { revision: revision.clone(), findings, before, admitted, after }, waiting))
    }

    /// Every scanner's verdict on one file, from the catalog where the same rules have spoken already; and those that
    /// are not there yet. `said` is what the catalog has, of blobs that it was asked about together.
    pub(super) async fn opinions(
        &self,
        (artifact, revision): (&ArtifactName, &RevisionName),
        path: &ContentPath,
        blob: &Blob,
        inspection: &Inspection,
        (store, said): (&PinnedStore, &Said),
    ) -> Result<(Vec<Opinion>, Vec<NewVerdict>)> {
        let ecosystem = self.ecosystem.id();
        let subject = Subject {
            ecosystem: &ecosystem,
            artifact,
            revision,
            path,
            blob,
            store: store.store(),
            inspection,
        };
        let mut opinions = Vec::with_capacity(self.scanners.len());
        let mut new = Vec::new();
        for scanner in self.scanners.iter().filter(|scanner| scanner.judges(&ecosystem)) {
            let verdict = match scanner.rules().await {
                Ok(rules) => match self.known_verdict(said, blob, scanner.id(), &rules).await? {
                    // What was incomplete once may be complete now.
                    Some(known) if !matches!(known, Verdict::Incomplete { .. }) => known,
                    _ => {
                        let verdict = self.task.or_cancelled(scanner.scan(&subject)).await;
                        let verdict = incomplete_on_error(verdict)?;
                        new.push(NewVerdict {
                            scanner: scanner.id().to_owned(),
                            rules,
                            verdict: verdict.clone(),
                        });
                        verdict
                    }
                },
                Err(error) => incomplete_on_error(Err(error))?,
            };
            opinions.push(Opinion { scanner: scanner.id().to_owned(), verdict });
        }
        Ok((opinions, new))
    }

    /// What the catalog has of verdicts on these blobs, where there is anybody to ask.
    pub(super) async fn recall(&self, digests: &[Sha256Digest]) -> Result<Said> {
        let mut said: Said = digests.iter().map(|digest| (*digest, Vec::new())).collect();
        if !self.scanners.is_empty() {
            said.extend(self.catalog.verdicts_of(digests).await?);
        }
        Ok(said)
    }

    /// What a scanner with these rules said of a blob before.
    async fn known_verdict(
        &self,
        said: &Said,
        blob: &Blob,
        scanner: &str,
        rules: &str,
    ) -> Result<Option<Verdict>> {
        let Some(rows) = said.get(&blob.sha256) else {
            return self.catalog.verdict(&blob.sha256, scanner, rules).await;
        };
        let row = rows.iter().find(|row| row.scanner == scanner && row.rules == rules);
        Ok(row.map(|row| row.verdict.clone()))
    }

    pub(super) async fn last_reason(&self, id: RevisionId) -> Result<Option<String>> {
        Ok(self.catalog.history(id).await?.pop().map(|entry| entry.reason))
    }

    /// Moves the revision along, each step from where the one before left it, all or none.
    pub(super) async fn step(&self, revision: &mut Revision, wanted: &[Status], reason: &str) -> Result<()> {
        let changes = steps(revision, wanted, &self.actor, reason);
        if let Some(now) = self.catalog.transition(&changes, Some(&self.fence)).await?.pop() {
            *revision = now;
        }
        Ok(())
    }

    /// PULLING. What is lost of that with the power is that it was begun.
    pub(super) async fn begin(&self, revision: &mut Revision, reason: &str) -> Result<()> {
        let changes = steps(revision, &[Status::Pulling], &self.actor, reason);
        if let Some(now) = self.catalog.begin(&changes, &self.fence).await?.pop() {
            *revision = now;
        }
        Ok(())
    }
}

/// Puts what inspection took out of a file into `store`.
pub(super) async fn store_derived(
    mut inspection: Inspection,
    store: &PinnedStore,
) -> Result<(Inspection, Vec<(ContentPath, Blob)>)> {
    let mut derived = Vec::with_capacity(inspection.derived.len());
    for part in std::mem::take(&mut inspection.derived) {
        derived.push((part.path, store.put_bytes(part.bytes).await?));
    }
    Ok((inspection, derived))
}

impl Judged {
    /// Recorded: the revision is now this.
    fn over(self, revision: Revision) -> Outcome {
        let mut outcome = self.outcome;
        outcome.changed = self.conclusion.admitted.is_some();
        outcome.waiting = self.waiting;
        outcome.revision = revision;
        outcome
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
