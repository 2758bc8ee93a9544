//! Taking a verified bundle in: blobs, then rows, then one transaction that moves every ref and the ledger.

use std::collections::VecDeque;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Loaded, LoadedRepository, check::Accepted, judge::Judged};
use crate::{
    Engine, blocking,
    bundle::{
        BundleKey, CarriedAlarm, CarriedArtifact, CarriedFile, CarriedRef, CarriedRepository,
        CarriedRevision, Group, Stage,
    },
    catalog::{
        Accept, Alarm, ArrivedRef, ArrivingStream, Fence, LoadedBundle, NewSnapshot, Reception, Repository,
        Served,
    },
    digest::Sha256Digest,
    ecosystem::{Approval, Publish},
    engine::publish::Publication,
    error::{Error, ErrorKind, Result},
    lifecycle::{Revision, Status},
    name::{Actor, RepositoryName},
    snapshot::{Change, Edit, Entry},
    task::{Progress, TaskContext},
};

/// Artifacts taken in, or entries asked about, at a time.
pub(super) const BATCH: usize = 500;
/// Groups of records that are read together: another thread does it, and waking it takes longer than reading one.
const AHEAD: usize = 32;
/// Revisions taken in by one transaction.
const REVISIONS: usize = 100;
/// Bytes of records after which no more are read ahead, or taken in by one transaction.
const BYTES: usize = 4 << 20;
/// Names that are listed in a report.
pub(super) const LISTED: usize = 100;

/// One repository while its rows are taken in: the lease is held.
pub(super) struct Open<'e> {
    pub(super) publication: Publication<'e>,
    pub(super) repository: Repository,
    reception: Reception,
    report: LoadedRepository,
    /// What the scanners here say of the revision whose files come.
    pub(super) judged: Option<Judged>,
    /// The mark up to which decisions made here are in the content that is worked out.
    settles: Option<i64>,
}

impl Open<'_> {
    /// Reports what became of a revision.
    pub(super) fn note(&mut self, loaded: &mut Loaded, revision: &Revision, changed: bool, why: &str) {
        match revision.status {
            Status::Available if changed => self.report.admitted += 1,
            Status::NeedsApproval => self.note_waiting(loaded, revision, why),
            _ => {}
        }
    }

    /// Reports that something of a revision waits for a person.
    pub(super) fn note_waiting(&self, loaded: &mut Loaded, revision: &Revision, why: &str) {
        let name = &self.repository.config.name;
        let line = format!("{name} {}@{}: {why}", revision.artifact, revision.revision);
        if loaded.waiting.len() < LISTED && !loaded.waiting.contains(&line) {
            loaded.waiting.push(line);
        }
    }
}

impl Engine {
    pub(super) async fn apply(
        &self,
        accepted: &Accepted,
        stage: &Stage,
        loaded: &mut Loaded,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<()> {
        task.report(Progress::Phase { name: "apply", total: Some(accepted.header.objects.lines) });
        self.place_blobs(accepted, stage, task).await?;
        let reason = format!("bundle {} of stream {}", accepted.header.sequence, accepted.header.stream);
        let mut open = Vec::new();
        let result = async {
            self.take_over(accepted, stage, &mut open, loaded, actor, &reason, task).await?;
            self.publish_all(accepted, stage, &mut open, loaded, actor, &reason).await
        }
        .await;
        let mut result = result;
        for Open { publication, .. } in open {
            result = publication.end(result).await;
        }
        self.refresh_serving().await;
        result
    }

    /// Rows of every repository, in the order of the records.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all")]
    async fn take_over<'e>(
        &'e self,
        accepted: &Accepted,
        stage: &Stage,
        open: &mut Vec<Open<'e>>,
        loaded: &mut Loaded,
        actor: &Actor,
        reason: &str,
        task: &TaskContext,
    ) -> Result<()> {
        let mut records = stage.records()?;
        let mut ahead: VecDeque<(Group, usize)> = VecDeque::with_capacity(AHEAD);
        let mut artifacts: Vec<CarriedArtifact> = Vec::new();
        let mut revisions: Vec<(CarriedRevision, Vec<CarriedFile>)> = Vec::new();
        let mut waiting = 0;
        loop {
            task.checkpoint()?;
            if ahead.is_empty() {
                (records, ahead) = blocking::run(move || {
                    let mut read = 0;
                    while ahead.len() < AHEAD
                        && read < BYTES
                        && let Some(group) = records.next()?
                    {
                        read += records.size();
                        ahead.push_back((group, records.size()));
                    }
                    Ok((records, ahead))
                })
                .await?;
            }
            let (group, size) = ahead.pop_front().unzip();
            let full = artifacts.len() >= BATCH || revisions.len() >= REVISIONS || waiting >= BYTES;
            let ends = matches!(group, None | Some(Group::Repository(_)));
            if (full || ends)
                && let Some(open) = open.last_mut()
            {
                let fence = open.publication.fence();
                self.inner.catalog.receive_artifacts(open.repository.id, &artifacts, fence).await?;
                artifacts.clear();
                waiting = 0;
                let kept = self.receive_batch(open, &mut revisions, loaded, actor, reason).await?;
                for message in kept {
                    task.report(Progress::Warning { message });
                }
                if ends {
                    self.conclude(open, loaded, actor).await?;
                }
            }
            waiting += size.unwrap_or(0);
            match group {
                None => return Ok(()),
                Some(Group::Repository(repository)) => {
                    open.push(self.open_repository(accepted, *repository, loaded, actor).await?);
                }
                Some(Group::Artifact(artifact)) => artifacts.push(artifact),
                Some(Group::Revision(group)) => revisions.push(*group),
                Some(Group::Alarm(alarm)) => {
                    if let Some(open) = open.last() {
                        let CarriedAlarm { artifact, rule, path, detail, .. } = *alarm;
                        let (alarm, fence) = (Alarm { rule, path, detail }, open.publication.fence());
                        let id = open.repository.id;
                        self.inner.catalog.receive_alarm(id, &artifact, &alarm, actor, fence).await?;
                    }
                }
            }
        }
    }

    /// Makes a repository that is new, and takes its publishing lease.
    async fn open_repository(
        &self,
        accepted: &Accepted,
        carried: CarriedRepository,
        loaded: &mut Loaded,
        actor: &Actor,
    ) -> Result<Open<'_>> {
        let catalog = &self.inner.catalog;
        let mut config = carried.config;
        config.registries.clear();
        config.schedule = None;
        let known = match catalog.repository(&config.name).await {
            Ok(known) => Some(known),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // What a person configured here about approval and publishing stands; the format's own keys come with it.
        (config.approval, config.publish) = (Approval::Automatic, Publish::Automatic);
        if let Some(known) = known {
            (config.approval, config.publish) = (known.config.approval, known.config.publish);
            if self.peer_of(&known).await?.is_some() {
                (config.registries, config.schedule) = (known.config.registries, known.config.schedule);
            }
        }
        catalog.put_repository(&config, actor).await?;
        let repository = catalog.repository(&config.name).await?;
        catalog.bind_repository(repository.id, accepted.header.stream).await?;
        let reception = match (repository.config.approval, accepted.key.accept) {
            (Approval::Manual, _) | (_, Accept::Person) => Reception::Ask,
            (Approval::Automatic, Accept::Scanners) => Reception::Judge,
            (Approval::Automatic, Accept::Evidence) => Reception::Admit,
        };
        let publication = Publication::begin(self, &config.name).await?.of_bundle(accepted.brought());
        let created = catalog.next_number(repository.id).await? == 1;
        let known = catalog.arriving_stream(accepted.header.stream).await?;
        loaded.undone.extend(self.undone(&publication, &repository, known.as_ref()).await?);
        let report = LoadedRepository { repository: config.name, created, snapshot: None, admitted: 0 };
        Ok(Open { publication, repository, reception, report, judged: None, settles: None })
    }

    /// What of it was not taken over, for people.
    async fn receive_batch(
        &self,
        open: &mut Open<'_>,
        revisions: &mut Vec<(CarriedRevision, Vec<CarriedFile>)>,
        loaded: &mut Loaded,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<String>> {
        let mut kept = Vec::new();
        if revisions.is_empty() {
            return Ok(kept);
        }
        let fence = open.publication.fence().clone();
        let id = open.repository.id;
        let catalog = &self.inner.catalog;
        let taken = catalog.receive_revisions(id, revisions, open.reception, actor, reason, &fence).await?;
        for (taken, (carried, files)) in taken.into_iter().zip(revisions.iter()) {
            let revision = &taken.revision;
            let without =
                |line| format!("`{}@{}` comes without a file: {line}", revision.artifact, revision.revision);
            kept.extend(taken.kept.into_iter().map(without));
            if taken.is_alias && matches!(revision.status, Status::NeedsApproval | Status::Available) {
                open.note_waiting(loaded, revision, "its bytes are those of what was refused here");
            } else if open.reception == Reception::Judge && carried.status == Status::Available {
                self.judge(open, taken.revision, files, loaded, actor).await?;
            } else {
                open.note(loaded, &taken.revision, taken.changed, "a person here decides");
            }
        }
        revisions.clear();
        Ok(kept)
    }

    /// Renders every repository's new content, then moves all refs and the ledger at once.
    async fn publish_all(
        &self,
        accepted: &Accepted,
        stage: &Stage,
        open: &mut [Open<'_>],
        loaded: &mut Loaded,
        actor: &Actor,
        reason: &str,
    ) -> Result<()> {
        let header = &accepted.header;
        let before = self.inner.catalog.arriving_stream(header.stream).await?;
        let known = before.as_ref().map(|before| before.refs.as_slice()).unwrap_or_default();
        let (mut snapshots, mut moves) = (Vec::<(NewSnapshot, Fence)>::new(), Vec::new());
        let brings = |arrived: &&ArrivedRef| header.main_of(&arrived.carried.repository).is_some();
        let mut refs: Vec<ArrivedRef> = known.iter().filter(|arrived| !brings(arrived)).cloned().collect();
        for open in open {
            let mut report = open.report.clone();
            let carried = carried(accepted, &report.repository)?;
            // Before the content is worked out: what is decided meanwhile is the next snapshot's.
            open.settles = self.inner.catalog.dirty_until(open.repository.id).await?;
            let root = self.served_content(open, carried).await?;
            let placed = self.place_refs(open, header, known, root, actor, reason).await?;
            let new = self.prepare_snapshot(open, root, actor, reason).await?;
            let main = new.as_ref().map(|new| new.snapshot.number);
            let main = main.or_else(|| open.publication.parent_snapshot().map(|parent| parent.number));
            moves.extend(
                placed.moves(open.repository.id, main).map(|one| (one, open.publication.fence().clone())),
            );
            refs.push(ArrivedRef { carried: carried.clone(), placed: None });
            refs.extend(placed.arrived(main));
            let left = LISTED - loaded.kept_refs.len().min(LISTED);
            loaded.kept_refs.extend(placed.kept().take(left));
            if let Some(new) = new {
                report.snapshot = Some(new.snapshot.number);
                snapshots.push((new, open.publication.fence().clone()));
            }
            loaded.repositories.push(report);
        }
        let public: BundleKey = accepted.key.public;
        let ledger = LoadedBundle {
            after: ArrivingStream {
                stream: header.stream,
                site: header.site.clone(),
                public,
                sequence: header.sequence,
                header: accepted.bundle,
                refs,
            },
            before: before.map(|before| (before.sequence, before.header)),
            document: String::from_utf8_lossy(&accepted.document).into_owned(),
            signature: accepted.signature.clone(),
            records: stage.records_part().sha256,
        };
        self.inner.catalog.commit_load(&snapshots, &moves, &ledger, actor).await
    }

    /// The carried content, without what may not be served here, also where it is what is published already and somebody
    /// has decided since. Marks of decisions have no other part in it: all content is the sender's.
    pub(super) async fn served_content(&self, open: &Open<'_>, carried: &CarriedRef) -> Result<Sha256Digest> {
        let publication = &open.publication;
        let pages = publication.pages();
        let theirs = pages.open(carried.snapshot).await?;
        let changes = pages.diff(publication.parent_content(), &theirs);
        let edits = changes
            .try_chunks(BATCH)
            .map_err(|error| error.1)
            .then(|batch| async move { self.served_edits(&open.repository, batch?).await })
            .map_ok(|edits| stream::iter(edits.into_iter().map(Ok)))
            .try_flatten();
        let written = pages.write(publication.parent_content(), edits.boxed(), publication.sink()).await?;
        let Some(mark) = open.settles else { return Ok(written.root) };
        let decided = self.inner.catalog.dirty_edits(open.repository.id, mark);
        let refused = decided.try_filter(|edit| std::future::ready(matches!(edit, Edit::Remove(_))));
        let content = pages.open(written.root).await?;
        let written = pages.write(Some(&content), refused.boxed(), publication.sink()).await?;
        Ok(written.root)
    }

    /// The snapshot of what `main` shall be, which settles what was decided up to the mark; `None` when it is that
    /// already.
    async fn prepare_snapshot(
        &self,
        open: &Open<'_>,
        root: Sha256Digest,
        actor: &Actor,
        reason: &str,
    ) -> Result<Option<NewSnapshot>> {
        let (publication, settles) = (&open.publication, open.settles);
        if publication.parent_content().is_some_and(|parent| parent.root() == root) {
            if let Some(mark) = settles {
                self.inner.catalog.settle(open.repository.id, mark, publication.fence()).await?;
            }
            return Ok(None);
        }
        publication.prepare(None, root, settles, None, actor.clone(), reason.to_owned()).await.map(Some)
    }

    async fn served_edits(&self, repository: &Repository, changes: Vec<Change>) -> Result<Vec<Edit>> {
        let entries: Vec<Entry> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Added(new) | Change::Changed { new, .. } => Some((**new).clone()),
                Change::Removed(_) => None,
            })
            .collect();
        let served = self.inner.catalog.served_entries(repository.id, &entries, Served::Now).await?;
        Ok(changes
            .into_iter()
            .map(|change| match change {
                Change::Added(new) | Change::Changed { new, .. } if served.contains(&new.path) => {
                    Edit::Put(new)
                }
                Change::Added(entry) | Change::Removed(entry) | Change::Changed { new: entry, .. } => {
                    Edit::Remove(entry.path)
                }
            })
            .collect())
    }
}

fn carried<'a>(accepted: &'a Accepted, name: &RepositoryName) -> Result<&'a CarriedRef> {
    accepted.header.main_of(name).ok_or_else(|| Error::not_found("ref of the bundle for", name))
}
