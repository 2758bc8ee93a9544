//! Making a new snapshot: content, then publication, then record, all durable; then one transaction moves the ref.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Engine,
    pinned::PinnedStore,
    run::{keep_alive, wait_for_lease},
};
use crate::{
    catalog::{Fence, NewSnapshot, Repository, RepositoryId},
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::Ecosystem,
    error::{Error, ErrorKind, Result},
    name::{Actor, RefName, RepositoryName},
    snapshot::{
        Brought, Contents, IndexWriter, Manifest, Pages, Snapshot, departed,
        record::{Record, sign_record},
    },
    store::RecordKey,
};

/// How long a publish waits for another publish of the same repository.
const PATIENCE: Duration = Duration::from_mins(2);

/// A repository that is about to get a new snapshot: the lease is held, the parent is known.
pub(super) struct Publication<'e> {
    engine: &'e Engine,
    repository: Repository,
    ecosystem: Arc<dyn Ecosystem>,
    fence: Fence,
    /// Everything is written into one batch, which is made durable before the record.
    sink: PinnedStore,
    /// Reads what is in that batch, too.
    pages: Pages,
    parent: Option<Parent>,
    /// The bundle whose content is published.
    brought: Option<Brought>,
    _alive: AbortOnDropHandle<()>,
}

struct Parent {
    snapshot: Snapshot,
    content: Manifest,
    publication: Manifest,
}

impl Engine {
    /// Publishes what changed since the last snapshot. `None` when nothing did.
    ///
    /// Requests that come while another is at work wait for it. Whoever finds its changes published then gets `None`.
    /// Dropping the future leaves the ref where it was, or moved.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the repository, [`Error::Invalid`] for an ecosystem that is not built in,
    /// [`Error::Conflict`] where another publish of it takes longer than two minutes, [`Error::Fenced`] where this one was
    /// held up until another took over, [`Error::NoSpace`], what the format's
    /// [`index`](crate::ecosystem::Ecosystem::index) refuses, and those of store and catalog. After each of them the ref
    /// is where it was, and what waits to be published still waits.
    pub async fn publish(
        &self,
        name: &RepositoryName,
        author: Actor,
        message: impl Into<String>,
    ) -> Result<Option<Snapshot>> {
        let publication = Publication::begin(self, name).await?;
        let result = publication.changes(author, message.into()).await;
        publication.end(result).await
    }
}

impl<'e> Publication<'e> {
    /// Takes the publishing lease of the repository and reads where `main` stands.
    pub(super) fn begin(engine: &'e Engine, name: &RepositoryName) -> BoxFuture<'e, Result<Self>> {
        let name = name.clone();
        Box::pin(async move {
            let (repository, ecosystem) = engine.repository(&name).await?;
            let catalog = &engine.inner.catalog;
            let lease = format!("publish/{}", repository.uuid);
            let fence = wait_for_lease(catalog, &lease, PATIENCE).await?;
            let owner = format!("{lease}/{}", fence.token);
            let alive = keep_alive(catalog.clone(), fence.clone(), owner.clone());
            let sink = PinnedStore::new(engine.inner.store.clone(), catalog.clone(), owner).batched();
            let pages = engine.inner.pages.over(sink.shared());
            let mut publication = Self {
                engine,
                repository,
                ecosystem,
                fence,
                sink,
                pages,
                parent: None,
                brought: None,
                _alive: alive,
            };
            match publication.read_parent().await {
                Ok(parent) => {
                    publication.parent = parent;
                    Ok(publication)
                }
                Err(error) => publication.end(Err(error)).await,
            }
        })
    }

    async fn read_parent(&self) -> Result<Option<Parent>> {
        match self.engine.inner.catalog.resolve(self.repository.id, "main").await {
            Ok(snapshot) => Ok(Some(Parent {
                content: self.pages.open(snapshot.content).await?,
                publication: self.pages.open(snapshot.publication).await?,
                snapshot,
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives lease and pins back, whatever happened.
    pub(super) async fn end<T>(self, result: Result<T>) -> Result<T> {
        if let Err(error) = self.sink.unpin().await {
            tracing::warn!(%error, "cannot give pins back; they will expire");
        }
        if let Err(error) = self.engine.inner.catalog.release(&self.fence).await
            && result.is_ok()
        {
            tracing::warn!(%error, "cannot release the publishing lease; it will expire");
        }
        result
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn sink(&self) -> &PinnedStore {
        &self.sink
    }

    /// The same for what a bundle brought, which the records of its snapshots say.
    pub(super) fn of_bundle(mut self, brought: Brought) -> Self {
        self.brought = Some(brought);
        self
    }

    /// Reads what is stored, and what waits in the sink.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) fn parent_content(&self) -> Option<&Manifest> {
        self.parent.as_ref().map(|parent| &parent.content)
    }

    pub(super) fn parent_snapshot(&self) -> Option<&Snapshot> {
        self.parent.as_ref().map(|parent| &parent.snapshot)
    }

    pub(super) fn engine(&self) -> &'e Engine {
        self.engine
    }

    pub(super) fn ecosystem(&self) -> &dyn Ecosystem {
        &*self.ecosystem
    }

    pub(super) fn fence(&self) -> &Fence {
        &self.fence
    }

    /// A snapshot of everything that became available, changed or went since the parent.
    pub(super) fn changes(&self, author: Actor, message: String) -> BoxFuture<'_, Result<Option<Snapshot>>> {
        Box::pin(async move {
            let catalog = &self.engine.inner.catalog;
            let settles = catalog.dirty_until(self.repository.id).await?;
            if settles.is_none() && self.parent.is_some() {
                return Ok(None);
            }
            let edits = match settles {
                Some(until) => catalog.dirty_edits(self.repository.id, until),
                None => stream::empty().boxed(),
            };
            let written = self.pages.write(self.parent_content(), edits, &self.sink).await?;
            let unchanged =
                self.parent.as_ref().is_some_and(|parent| parent.snapshot.content == written.root);
            if unchanged {
                if let Some(until) = settles {
                    catalog.settle(self.repository.id, until, &self.fence).await?;
                }
                return Ok(None);
            }
            self.commit(written.root, settles, None, author, message).await.map(Some)
        })
    }

    /// Renders the publication of a content root and moves `main` to it.
    pub(super) async fn commit(
        &self,
        content_root: Sha256Digest,
        settles: Option<i64>,
        relies_on: Option<(RepositoryId, u64)>,
        author: Actor,
        message: String,
    ) -> Result<Snapshot> {
        let new = self.prepare(None, content_root, settles, relies_on, author, message).await?;
        let snapshot = new.snapshot.clone();
        self.engine.inner.catalog.commit_snapshot(new, &self.fence).await?;
        self.engine.refresh_serving().await;
        Ok(snapshot)
    }

    /// Renders the publication of a content root and writes the record; what is left is to move `main`. With the name of
    /// another ref, `main` stays, and that one is pointed at the snapshot later.
    pub(super) fn prepare(
        &self,
        other: Option<&RefName>,
        content_root: Sha256Digest,
        settles: Option<i64>,
        relies_on: Option<(RepositoryId, u64)>,
        author: Actor,
        message: String,
    ) -> BoxFuture<'_, Result<NewSnapshot>> {
        let other = other.cloned();
        Box::pin(async move {
            let inner = &self.engine.inner;
            let number = inner.catalog.next_number(self.repository.id).await?;
            let created_at = self.next_instant().await;
            let now = departed::Now { number, at: created_at };
            let content = self.pages.open(content_root).await?;
            let contents = Contents {
                repository: &self.repository.config,
                number,
                created_at,
                content: &content,
                parent: self.parent_content(),
                parent_publication: self.parent.as_ref().map(|parent| &parent.publication),
                signer: inner.signer.as_ref(),
                scratch: Some(&inner.scratch),
                pages: &self.pages,
            };
            let mut index = IndexWriter::new(&self.sink);
            self.ecosystem.index(&contents, &mut index).await?;
            let retired = departed::retired(std::mem::take(&mut index.retired), now);
            let mut edits = departed::merge(index.into_edits(), retired);
            if let Some(parent) = &self.parent {
                let parent = (&parent.content, &parent.publication);
                let departed = departed::edits(&self.pages, parent, &content, now).await?;
                edits = departed::merge(edits, departed);
            }
            let written = self.pages.write(contents.parent_publication, edits, &self.sink).await?;
            let generations = departed::LEAST_GENERATIONS as u32;
            let recent = inner.catalog.snapshots(self.repository.id, Some(number), generations).await?;
            let last_look = recent.last().map_or(created_at, |snapshot| snapshot.created_at);
            let publication = departed::sweep(&self.pages, written.root, last_look, now, &self.sink).await?;
            let snapshot = Snapshot {
                number,
                content: content_root,
                publication,
                parent: self.parent.as_ref().filter(|_| other.is_none()).map(|parent| parent.snapshot.number),
                author,
                created_at,
                message,
            };
            self.sink.settle().await?;
            let main = RefName::main();
            let record = self.write_record(other.as_ref().unwrap_or(&main), &snapshot).await?;
            Ok(NewSnapshot {
                repository: self.repository.id,
                expected_parent: snapshot.parent,
                snapshot,
                ref_name: other.is_none().then_some(main),
                record,
                relies_on,
                settles,
            })
        })
    }

    /// Now, but later than the parent by what the format asks for; waits for that, so that no date lies ahead.
    async fn next_instant(&self) -> Timestamp {
        let clock = self.engine.inner.catalog.clock();
        let Some(parent) = &self.parent else { return clock.now() };
        let spacing = self.ecosystem.spacing();
        let earliest = parent.snapshot.created_at.plus(spacing.max(Duration::from_micros(1)));
        let ahead = earliest.since(clock.now());
        // A parent far ahead means that the clock went back: dates go on from the parent, nobody waits.
        tokio::time::sleep(ahead.min(spacing)).await;
        clock.now().max(earliest)
    }

    /// Writes the signed record of the move, before the catalog knows of it.
    async fn write_record(&self, reference: &RefName, snapshot: &Snapshot) -> Result<Sha256Digest> {
        let inner = &self.engine.inner;
        let previous = inner.catalog.last_record(self.repository.id).await?.map(|(_, digest)| digest);
        // One record a snapshot: they share their number.
        let number = snapshot.number;
        let fence = u64::try_from(self.fence.token).unwrap_or_default();
        let record = Record {
            line: self.repository.uuid,
            number,
            fence,
            previous,
            repository: self.repository.config.clone(),
            reference: reference.clone(),
            snapshot: snapshot.clone(),
            created_at: snapshot.created_at,
            bundle: self.brought.clone(),
        };
        let bytes = sign_record(&record, &inner.key)?;
        let digest = Sha256Digest::of(&bytes);
        inner.store.put_record(RecordKey { line: self.repository.uuid, number, fence }, bytes).await?;
        Ok(digest)
    }
}

impl std::fmt::Debug for Publication<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication")
            .field("repository", &self.repository.config.name)
            .finish_non_exhaustive()
    }
}

/// Keeps only what may be served under the denials of the target.
pub(super) async fn without_denied(
    publication: &Publication<'_>,
    source: &Manifest,
) -> Result<(Sha256Digest, u64)> {
    let denials = publication.engine.denials(publication.repository.id).await?;
    let mut dropped = Vec::new();
    let mut entries = source.scan("");
    while let Some(entry) = entries.try_next().await? {
        if denials.of(&entry).is_some() {
            dropped.push(crate::snapshot::Edit::Remove(entry.path));
        }
    }
    let count = dropped.len() as u64;
    let edits = stream::iter(dropped.into_iter().map(Ok)).boxed();
    let written = publication.pages.write(Some(source), edits, publication.sink()).await?;
    Ok((written.root, count))
}

impl Engine {
    /// Publishes old content again, as a new number, without what has been denied since.
    ///
    /// `at` is a number or a ref. What was rolled back stays so until its revisions change again, or until a
    /// later snapshot is rolled "back" to. Dropping the future leaves `main` where it was.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a repository or a snapshot that is not there (any more); [`Error::Invalid`] for the one
    /// that `main` points to already; those of [`publish`](Self::publish).
    pub async fn rollback(&self, name: &RepositoryName, at: &str, author: Actor) -> Result<Snapshot> {
        let publication = Publication::begin(self, name).await?;
        let result = async {
            let target = self.inner.catalog.resolve(publication.repository.id, at).await?;
            if publication.parent.as_ref().is_some_and(|parent| parent.snapshot.number == target.number) {
                return Err(Error::invalid(format!("snapshot {at}"), "is what `main` points to already"));
            }
            let source = self.inner.pages.open(target.content).await?;
            let (root, dropped) = without_denied(&publication, &source).await?;
            let mut message = format!("rollback to {}", target.number);
            if dropped > 0 {
                message = format!("{message}, without {dropped} denied files");
            }
            let source = (publication.repository.id, target.number);
            publication.commit(root, None, Some(source), author, message).await
        }
        .await;
        publication.end(result).await
    }
}
