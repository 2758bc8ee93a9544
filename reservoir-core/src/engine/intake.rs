//! Taking what clients upload into a hosted repository: bytes to the store, then a revision on the same way as any
//! other: inspected, scanned, judged, published.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Engine,
    pinned::PinnedStore,
    run::{keep_alive, wait_for_lease},
};
use crate::{
    catalog::{Fence, ReceivedFile, ReceivedFiles, Repository, RevisionFilter, RevisionMetadata},
    digest::Sha256Digest,
    ecosystem::{Ecosystem, Publish, RepositoryConfig},
    error::{Error, Result},
    lifecycle::Status,
    name::{Actor, ArtifactName, RevisionName},
    path::ContentPath,
    serve::View,
    store::{Blob, BlobSink as _, ByteStream, PutOptions, Store, StoreExt as _},
    sync::SyncReport,
    task::TaskContext,
};

/// How long uploaded bytes wait for the revision that names them.
const WAIT: Duration = Duration::from_hours(24);
/// How long an upload waits for its turn.
const PATIENCE: Duration = Duration::from_mins(2);
/// Revisions removed at a time.
const BATCH: u32 = 500;

/// A new revision, or more files of one.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The artifact.
    pub artifact: ArtifactName,
    /// The revision.
    pub revision: RevisionName,
    /// Its files, their bytes put before.
    pub files: Vec<ReceivedFile>,
    /// Why, for the log.
    pub message: String,
}

/// What [`Ecosystem::accept`] is given: a hosted repository, open for what one client sends.
///
/// Bytes are put first, by any number of clients at once; they wait a day for a revision that names them. What
/// becomes of a revision may depend on what is there, so that is done in a [`Turn`], one after the other.
#[derive(Debug)]
pub struct Intake {
    engine: Engine,
    repository: Repository,
    ecosystem: Arc<dyn Ecosystem>,
    actor: Actor,
}

impl Intake {
    pub(super) fn new(
        engine: Engine,
        repository: Repository,
        ecosystem: Arc<dyn Ecosystem>,
        actor: Actor,
    ) -> Self {
        Self { engine, repository, ecosystem, actor }
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &RepositoryConfig {
        &self.repository.config
    }

    /// Where what was put can be read, verified.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.engine.inner.store
    }

    /// Who sends.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Stores bytes as they arrive. Dropping the future leaves nothing reachable behind.
    ///
    /// # Errors
    /// [`Error::Integrity`] and [`Error::LimitExceeded`] as `options` say; the stream's own.
    pub async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        let blob = self.sink().put(body, options).await?;
        self.keep(blob).await
    }

    /// Stores bytes that are in memory already. Dropping the future leaves nothing reachable behind.
    ///
    /// # Errors
    /// Those of the store and the catalog, [`Error::NoSpace`] among them.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        let blob = self.sink().put_bytes(bytes).await?;
        self.keep(blob).await
    }

    /// What was put into this repository within a day, by its digest; read and hashed again only if it came to
    /// another process, or long ago. Bytes that only another repository has are not found: knowing a digest is no
    /// right to what it names. Damaged bytes are not found either, so that the client sends them again.
    ///
    /// # Errors
    /// Those of the store and the catalog. Reads only; may be dropped at any time.
    pub async fn uploaded(&self, sha256: Sha256Digest) -> Result<Option<Blob>> {
        let catalog = &self.engine.inner.catalog;
        if !catalog.is_pinned_by(&self.owner(), &sha256).await? {
            return Ok(None);
        }
        if let Some(blob) = self.engine.inner.hashed.get(&sha256)
            && self.engine.inner.store.stat(&sha256).await?.is_some_and(|stored| stored.size == blob.size)
        {
            return Ok(Some(blob));
        }
        self.engine.inner.store.intact(&sha256).await
    }

    /// The size of what [`uploaded`](Self::uploaded) would find, without reading it.
    ///
    /// # Errors
    /// Those of the store and the catalog. Reads only; may be dropped at any time.
    pub async fn uploaded_size(&self, sha256: Sha256Digest) -> Result<Option<u64>> {
        if !self.engine.inner.catalog.is_pinned_by(&self.owner(), &sha256).await? {
            return Ok(None);
        }
        Ok(self.engine.inner.store.stat(&sha256).await?.map(|stored| stored.size))
    }

    /// Waits until nobody else changes the repository, and opens what is published then. Dropping the future, or the
    /// turn, lets the next one go.
    ///
    /// # Errors
    /// [`Error::Conflict`] when that takes longer than two minutes; [`Error::NotFound`] for a repository that was
    /// removed meanwhile.
    pub async fn turn(&self) -> Result<Turn<'_>> {
        let catalog = &self.engine.inner.catalog;
        let lease = format!("sync/{}", self.repository.uuid);
        let fence = wait_for_lease(catalog, &lease, PATIENCE).await?;
        let alive = keep_alive(catalog.clone(), fence.clone(), format!("{lease}/{}", fence.token));
        let mut turn = Turn { intake: self, fence, view: None, _alive: alive };
        turn.view = Some(self.engine.newest_view(&self.repository.config.name).await?);
        Ok(turn)
    }

    fn owner(&self) -> String {
        format!("upload/{}", self.repository.uuid)
    }

    fn sink(&self) -> PinnedStore {
        let inner = &self.engine.inner;
        PinnedStore::new(Arc::clone(&inner.store), inner.catalog.clone(), self.owner())
    }

    async fn keep(&self, blob: Blob) -> Result<Blob> {
        let catalog = &self.engine.inner.catalog;
        catalog.pin(&self.owner(), catalog.clock().now().plus(WAIT), &[blob.sha256]).await?;
        self.engine.inner.hashed.insert(blob.sha256, blob);
        Ok(blob)
    }
}

/// The right to change a hosted repository; given back when dropped.
#[derive(Debug)]
pub struct Turn<'i> {
    intake: &'i Intake,
    fence: Fence,
    view: Option<View>,
    _alive: AbortOnDropHandle<()>,
}

impl Turn<'_> {
    /// What is published, as of the beginning of this turn.
    ///
    /// # Panics
    /// Never: a turn is given out with its view open.
    #[must_use]
    pub fn view(&self) -> &View {
        self.view.as_ref().expect("a turn has its view")
    }

    /// What came with the metadata of an artifact's revisions, and where each of them stands: of those, too, that wait
    /// for a person, were refused, or are not published yet.
    ///
    /// # Errors
    /// Those of the catalog. Reads only; may be dropped at any time.
    pub async fn metadata(&self, artifact: &ArtifactName) -> Result<Vec<RevisionMetadata>> {
        let (catalog, repository) = (&self.intake.engine.inner.catalog, self.intake.repository.id);
        catalog.metadata(repository, Some(artifact), &Status::ALL).await
    }

    /// Records a revision, has the format inspect its files, asks scanners and policy, and publishes, unless the
    /// repository says `publish = "manual"`. The report says what became of it. A durable task does the work, so
    /// that dropping this future leaves no half revision.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a path is taken; what concerns the whole engine. What scanners and policy refuse is
    /// in the report.
    pub async fn receive(&self, upload: Submission) -> Result<SyncReport> {
        self.receive_all(vec![upload]).await
    }

    /// The same for several revisions, published together; the log has the message of the last.
    ///
    /// # Errors
    /// As [`receive`](Self::receive); where a path is taken, nothing is judged.
    pub async fn receive_all(&self, uploads: Vec<Submission>) -> Result<SyncReport> {
        let intake = self.intake;
        let (engine, repository) = (intake.engine.clone(), intake.repository.clone());
        let (ecosystem, actor) = (Arc::clone(&intake.ecosystem), intake.actor.clone());
        let fence = self.fence.clone();
        let revisions: Vec<String> =
            uploads.iter().map(|upload| format!("{}@{}", upload.artifact, upload.revision)).collect();
        let payload = json!({ "revisions": revisions });
        // Boxed here, where every lifetime is known.
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<SyncReport>> {
            Box::pin(
                async move { engine.take_in(&repository, ecosystem, uploads, actor, fence, &task).await },
            )
        };
        let (repository, actor) = (intake.repository.clone(), intake.actor.clone());
        intake.engine.spawn("receive", Some(repository), payload, actor, work).await?.wait().await
    }

    /// Replaces the facts of files, all in one transaction, and publishes. Dropped between the two, the next publish
    /// shows them.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that is not known, and [`Error::Fenced`] when the turn was lost: nothing is
    /// changed. Those of [`Engine::publish`].
    pub async fn annotate(
        &self,
        facts: &[(ContentPath, BTreeMap<String, Value>)],
        message: String,
    ) -> Result<()> {
        let (catalog, actor) = (&self.intake.engine.inner.catalog, &self.intake.actor);
        catalog.annotate_files(self.intake.repository.id, facts, actor, &self.fence).await?;
        self.publish(message).await
    }

    /// Drops the files of all revisions of an artifact and publishes; what is known of them stays. Revision by
    /// revision: dropped before its end, some still have theirs, and removing again goes on.
    ///
    /// # Errors
    /// [`Error::InvalidState`] for a revision that is being judged, or that somebody changed meanwhile; those of
    /// [`Engine::publish`].
    pub async fn remove(&self, artifact: &ArtifactName, message: String) -> Result<()> {
        let intake = self.intake;
        let (engine, repository) = (&intake.engine, &intake.repository);
        let filter = RevisionFilter { artifact: Some(artifact.clone()), ..RevisionFilter::default() };
        let mut after = None;
        loop {
            let batch = engine.inner.catalog.revisions(repository.id, &filter, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.id);
            for revision in batch.iter().filter(|revision| revision.status != Status::Scanned) {
                engine.forget(revision, &intake.actor, &message).await?;
            }
        }
        self.publish(message).await
    }

    async fn publish(&self, message: String) -> Result<()> {
        let config = &self.intake.repository.config;
        if config.publish == Publish::Automatic {
            self.intake.engine.publish(&config.name, self.intake.actor.clone(), message).await?;
        }
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let (catalog, fence) = (self.intake.engine.inner.catalog.clone(), self.fence.clone());
        tokio::spawn(async move {
            if let Err(error) = catalog.release(&fence).await {
                tracing::warn!(%error, "cannot release the lease of an upload; it will expire");
            }
        });
    }
}

impl Engine {
    async fn take_in(
        &self,
        repository: &Repository,
        ecosystem: Arc<dyn Ecosystem>,
        uploads: Vec<Submission>,
        actor: Actor,
        fence: Fence,
        task: &TaskContext,
    ) -> Result<SyncReport> {
        let inner = &self.inner;
        let message = uploads.last().map(|upload| upload.message.clone()).unwrap_or_default();
        let (mut paths, mut received): (Vec<Vec<ContentPath>>, Vec<_>) = (Vec::new(), Vec::new());
        for Submission { artifact, revision, files, .. } in uploads {
            paths.push(files.iter().map(|file| file.path.clone()).collect());
            received.push(ReceivedFiles { artifact, revision, files });
        }
        let recorded = inner.catalog.record_received(repository.id, &received, &actor, Some(&fence)).await?;
        let ids = recorded.into_iter().collect::<Result<Vec<_>>>()?;
        let uploads: Vec<_> = ids.into_iter().zip(paths).collect();
        let syncer = self.syncer(repository, ecosystem, task, fence, &actor).await?;
        let report = syncer.take_in(&uploads).await?;
        self.publish_brought(repository, report, actor, message).await
    }

    /// Refuses what a client sends where the host did not allow it.
    pub(super) fn refuse_write(&self, name: impl std::fmt::Display) -> Error {
        Error::Denied { what: format!("changing `{name}`"), reason: self.inner.write_refusal.clone() }
    }
}
