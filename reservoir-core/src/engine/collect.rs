//! Garbage collection: what nothing refers to goes, in two phases, bounded in memory.

use std::{
    collections::HashSet,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    Engine, load,
    run::{keep_alive, release_after, wait_for_lease},
};
use crate::{
    blocking,
    catalog::{Fence, Holder, Repository},
    digest::Sha256Digest,
    error::{Error, Result},
    snapshot::{
        Snapshot,
        departed::{LEAST_AGE, LEAST_GENERATIONS},
    },
    task,
};

/// Which snapshots are kept beside those that refs point to.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// At least this many of the newest of each repository, never fewer than three.
    pub generations: u64,
    /// All that are younger than this, never less than 24 hours.
    pub age: Duration,
    /// How long a blob that nothing refers to is kept before it is deleted.
    pub grace: Duration,
}

impl Default for Retention {
    /// Ten generations, thirty days, one hour of grace.
    fn default() -> Self {
        Self { generations: 10, age: Duration::from_hours(30 * 24), grace: Duration::from_hours(1) }
    }
}

/// What a garbage collection did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Collected {
    /// Snapshots that were forgotten.
    pub snapshots: u64,
    /// Blobs that something refers to.
    pub live: u64,
    /// Blobs that nothing refers to, to be deleted after the grace time.
    pub condemned: u64,
    /// Blobs deleted now.
    pub deleted: u64,
    /// Leftovers of interrupted writes that were removed.
    pub leftovers: u64,
}

const LEASE: &str = "gc";
/// Digests in one transaction.
const BATCH: usize = 500;
/// Pages whose digests wait to be written.
const MARKED_AHEAD: usize = 8;
/// Blobs that the store is asked to delete at a time.
const DELETED_AT_ONCE: usize = 16;

impl Engine {
    /// Forgets old snapshots, deletes blobs that an earlier run found unreferenced, and condemns those that
    /// are so now.
    ///
    /// Roots are: retained snapshots, what the next bundle of each stream builds on, files of revisions that were not
    /// cleaned up, and pins of running work.
    /// A writer pins a digest before it asks whether the blob exists, so nothing that is about to be
    /// referenced is taken. Dropping the future leaves blobs condemned, or marked for the next run to delete.
    ///
    /// # Errors
    /// [`Error::Conflict`] at once while another collection runs, [`Error::Fenced`] where this one was held up until
    /// another took over, [`Error::NoSpace`] for its scratch files, and those of store and catalog, such as a manifest
    /// that cannot be read: then what is live is not known, and nothing new is deleted.
    pub async fn collect_garbage(&self, retention: Retention) -> Result<Collected> {
        let catalog = &self.inner.catalog;
        let fence = wait_for_lease(catalog, LEASE, Duration::ZERO).await?;
        let _alive = keep_alive(catalog.clone(), fence.clone(), LEASE.to_owned());
        let result = self.collect(&retention, &fence).await;
        release_after(catalog, &fence, result).await
    }

    /// The order matters. What an earlier run condemned is looked up among what is live *now*, spared if it is
    /// there, and only then deleted; what is found dead now waits for the next run. A reference made during this
    /// run either is seen by that next look, or was pinned after the sentence, which lifts it.
    async fn collect(&self, retention: &Retention, fence: &Fence) -> Result<Collected> {
        let catalog = &self.inner.catalog;
        let mut collected = Collected::default();
        self.delete(&catalog.deleting().await?, fence, &mut collected).await?;
        catalog.expire_pins().await?;
        for repository in catalog.repositories().await? {
            collected.snapshots += self.forget_old(&repository, retention).await?;
        }
        let started = catalog.clock().now();
        let live = self.mark().await?;
        self.spare_live(&live).await?;
        loop {
            let grace = retention.grace.max(catalog.clock().now().since(started));
            let doomed = catalog.start_deleting(grace, BATCH as u32, fence).await?;
            if doomed.is_empty() {
                break;
            }
            self.delete(&doomed, fence, &mut collected).await?;
        }
        self.condemn_dead(&live, &mut collected).await?;
        live.remove().await?;
        collected.leftovers = self.inner.store.sweep_leftovers(LEAST_AGE).await?;
        self.sweep_loads().await?;
        Ok(collected)
    }

    /// What was staged of bundles that nobody goes on with, unless one is being loaded.
    async fn sweep_loads(&self) -> Result<()> {
        let catalog = &self.inner.catalog;
        let holder = Holder::current().to_string();
        let Some(fence) = catalog.acquire_lease(load::LEASE, &holder, task::LEASE).await? else {
            return Ok(());
        };
        let swept = self.sweep_stages().await;
        release_after(catalog, &fence, swept).await.map(drop)
    }

    /// Deletes from the store what the catalog says is being deleted, and then tells the catalog: what an error or a
    /// crash leaves is begun with by the next run.
    async fn delete(&self, doomed: &[Sha256Digest], fence: &Fence, collected: &mut Collected) -> Result<()> {
        // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
        let deletions: Vec<_> = doomed.iter().map(|sha256| self.inner.store.delete(sha256)).collect();
        stream::iter(deletions).buffer_unordered(DELETED_AT_ONCE).try_collect::<()>().await?;
        self.inner.catalog.deleted(doomed, fence).await?;
        collected.deleted += doomed.len() as u64;
        Ok(())
    }

    /// Lifts the sentence of what turned out to be live.
    async fn spare_live(&self, live: &Live) -> Result<()> {
        let catalog = &self.inner.catalog;
        let mut known = Bucket::default();
        let mut after = None;
        loop {
            let batch = catalog.condemned(after, BATCH as u32).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(*last);
            let mut spared = Vec::new();
            for sha256 in batch {
                if known.of(live, &sha256).await?.contains(&sha256) {
                    spared.push(sha256);
                }
            }
            catalog.spare(&spared).await?;
        }
    }

    /// Forgets snapshots beyond retention; never one that a ref points to.
    async fn forget_old(&self, repository: &Repository, retention: &Retention) -> Result<u64> {
        let catalog = &self.inner.catalog;
        let now = catalog.clock().now();
        let keep = retention.generations.max(LEAST_GENERATIONS);
        let age = retention.age.max(LEAST_AGE);
        let named: HashSet<u64> = catalog.refs(repository.id).await?.into_iter().map(|(_, n)| n).collect();
        let mut forget = Vec::new();
        let mut seen = 0;
        let mut before = None;
        loop {
            let batch: Vec<Snapshot> = catalog.snapshots(repository.id, before, 200).await?;
            let Some(last) = batch.last() else { break };
            before = Some(last.number);
            for snapshot in batch {
                seen += 1;
                if seen > keep && now.since(snapshot.created_at) > age && !named.contains(&snapshot.number) {
                    forget.push(snapshot.number);
                }
            }
        }
        catalog.forget_snapshots(repository.id, &forget).await?;
        Ok(forget.len() as u64)
    }

    /// Writes every live digest to one of 256 scratch files by its first byte.
    async fn mark(&self) -> Result<Live> {
        let (sender, receiver) = mpsc::channel(MARKED_AHEAD);
        let folder = self.inner.scratch.join("gc");
        let writing = tokio::task::spawn_blocking(move || Live::write(folder, receiver));
        let marked = self.mark_all(&sender).await;
        drop(sender);
        // A writer that failed says why; whoever marks has then only seen that nobody takes more.
        let live = blocking::joined(writing).await?;
        marked.map(|()| live)
    }

    async fn mark_all(&self, live: &mpsc::Sender<Vec<Sha256Digest>>) -> Result<()> {
        let catalog = &self.inner.catalog;
        let mut visited = HashSet::new();
        for repository in catalog.repositories().await? {
            let mut before = None;
            loop {
                let batch = catalog.snapshots(repository.id, before, 100).await?;
                let Some(last) = batch.last() else { break };
                before = Some(last.number);
                for snapshot in batch {
                    for root in [snapshot.content, snapshot.publication] {
                        self.mark_manifest(root, &mut visited, live).await?;
                    }
                }
            }
        }
        for root in catalog.bundle_roots().await? {
            // A base may have been forgotten before bundles were roots; then the next bundle is a full one.
            if self.inner.store.stat(&root).await?.is_some() {
                self.mark_manifest(root, &mut visited, live).await?;
            }
        }
        let mut after = None;
        loop {
            let batch = catalog.referenced_blobs(after, 5000).await?;
            let Some(last) = batch.last() else { break };
            after = Some(*last);
            send(live, batch).await?;
        }
        Ok(())
    }

    /// Marks a root, its pages and what they list; pages that another snapshot shares are walked once.
    async fn mark_manifest(
        &self,
        root: Sha256Digest,
        visited: &mut HashSet<Sha256Digest>,
        live: &mpsc::Sender<Vec<Sha256Digest>>,
    ) -> Result<()> {
        if !visited.insert(root) {
            return Ok(());
        }
        send(live, vec![root]).await?;
        let manifest = self.inner.pages.open(root).await?;
        for (index, page) in manifest.pages().into_iter().enumerate() {
            if visited.insert(page) {
                let entries = manifest.page_entries(index).await?.into_iter();
                send(live, entries.map(|entry| entry.blob.sha256).chain([page]).collect()).await?;
            }
        }
        Ok(())
    }

    /// Condemns the stored blobs that are not live. The store lists them in digest order, so one prefix's
    /// live digests are in memory at a time.
    async fn condemn_dead(&self, live: &Live, collected: &mut Collected) -> Result<()> {
        let catalog = &self.inner.catalog;
        let mut dead = Vec::with_capacity(BATCH);
        let mut known = Bucket::default();
        let mut stored = self.inner.store.list();
        while let Some(blob) = stored.try_next().await? {
            if known.of(live, &blob.sha256).await?.contains(&blob.sha256) {
                collected.live += 1;
                continue;
            }
            dead.push(blob.sha256);
            if dead.len() == BATCH {
                collected.condemned += catalog.condemn(&dead).await?;
                dead.clear();
            }
        }
        collected.condemned += catalog.condemn(&dead).await?;
        Ok(())
    }
}

/// Live digests on disk, by first byte: memory is bounded by a 256th of the repository's digests.
struct Live {
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl Live {
    /// Writes all that comes. Blocks.
    fn write(folder: PathBuf, mut digests: mpsc::Receiver<Vec<Sha256Digest>>) -> Result<Self> {
        let failed = |at: &Path| Error::io(format!("write `{}`", at.display()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let live =
            Self { files: (0..=255_u8).map(|prefix| folder.join(format!("{prefix:02x}"))).collect(), folder };
        let mut writers = Vec::with_capacity(live.files.len());
        for path in &live.files {
            let file = std::fs::File::create(path).map_err(failed(path))?;
            writers.push(BufWriter::with_capacity(4096, file));
        }
        while let Some(some) = digests.blocking_recv() {
            for sha256 in some {
                let bytes = sha256.as_bytes();
                writers[usize::from(bytes[0])].write_all(bytes).map_err(failed(&live.folder))?;
            }
        }
        for mut writer in writers {
            writer.flush().map_err(failed(&live.folder))?;
        }
        Ok(live)
    }

    /// Those that begin with `prefix`.
    async fn of(&self, prefix: u8) -> Result<HashSet<Sha256Digest>> {
        let path = self.files[usize::from(prefix)].clone();
        blocking::run(move || {
            let bytes = std::fs::read(&path).map_err(Error::io(format!("read `{}`", path.display())))?;
            Ok(bytes.as_chunks::<32>().0.iter().map(|chunk| Sha256Digest::from_bytes(*chunk)).collect())
        })
        .await
    }

    /// Removes the scratch files, off the reactor.
    async fn remove(self) -> Result<()> {
        blocking::run(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}

/// Hands digests to whoever writes them.
async fn send(live: &mpsc::Sender<Vec<Sha256Digest>>, some: Vec<Sha256Digest>) -> Result<()> {
    live.send(some).await.map_err(|_| Error::Cancelled)
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The live digests of one first byte, in memory while a walk in digest order is there.
#[derive(Default)]
struct Bucket {
    at: Option<u8>,
    live: HashSet<Sha256Digest>,
}

impl Bucket {
    async fn of(&mut self, live: &Live, sha256: &Sha256Digest) -> Result<&HashSet<Sha256Digest>> {
        let prefix = sha256.as_bytes()[0];
        if self.at != Some(prefix) {
            self.live = live.of(prefix).await?;
            self.at = Some(prefix);
        }
        Ok(&self.live)
    }
}
