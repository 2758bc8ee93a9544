//! Blobs that become durable together: written as they come, without waiting for the disk, and taken over by the
//! store at once.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};

use super::{
    Blob, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, StagedBlob, Store, StoredBlob, disk,
    ingest::{self, BlobHasher, Content, Received, Staged},
    read,
    tree::{self, Tree},
};
use crate::{
    blocking,
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Blobs up to this size are also kept in memory until they are taken over: whoever puts one is about to read it.
const KEPT: u64 = tree::MIN_GROUP;
/// What a batch keeps in memory, at most.
const KEPT_IN_ALL: u64 = 16 << 20;
/// Files up to this size are read in one piece.
const ONE_READ: u64 = 1 << 20;

/// A store with a batch of blobs in front of it.
///
/// What is put is readable here at once, and nowhere else. It is in the store behind, durable, after
/// [`settle_all`](Self::settle_all); a batch that is dropped before leaves nothing.
#[derive(Debug)]
pub(crate) struct Batch {
    store: Arc<dyn Store>,
    waiting: Mutex<Waiting>,
    /// Held while what waits is taken over: whoever settles meanwhile waits for that, and finds nothing left.
    settling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    blobs: HashMap<Sha256Digest, Arc<Held>>,
    kept: u64,
}

/// One blob that waits.
#[derive(Debug)]
struct Held {
    blob: Blob,
    tree: Arc<Tree>,
    file: Files,
    bytes: Option<Bytes>,
}

/// Its files; removed with it, unless they were taken over.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    tree: PathBuf,
    /// Whether a batch that is given up leaves the file to whoever brought it.
    is_lent: bool,
    /// Whether the store has the blob's, so that it need not be looked for.
    taken_over: AtomicBool,
}

impl Drop for Files {
    fn drop(&mut self) {
        // Whatever stays is found by `sweep_leftovers`.
        if !self.is_lent && !self.taken_over.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(&self.path);
        }
        if !self.tree.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.tree);
        }
    }
}

impl Batch {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, waiting: Mutex::default(), settling: tokio::sync::Mutex::default() }
    }

    /// The digests of what waits.
    pub(crate) fn digests(&self) -> Vec<Sha256Digest> {
        self.lock().blobs.keys().copied().collect()
    }

    /// Has the store take over what waits in several batches in front of it. All of it is durable when this returns;
    /// pin it first.
    pub(crate) async fn settle_all(store: &dyn Store, batches: &[&Self]) -> Result<()> {
        // One after the other in an order that all keep to, and each once.
        let mut order: Vec<&Self> = batches.to_vec();
        order.sort_by_key(|batch| std::ptr::from_ref(*batch) as usize);
        order.dedup_by_key(|batch| std::ptr::from_ref(*batch) as usize);
        let mut turns = Vec::with_capacity(order.len());
        for batch in order {
            turns.push(batch.settling.lock().await);
        }
        // By digest: two batches may have the same blob.
        let mut held: HashMap<Sha256Digest, Arc<Held>> = HashMap::new();
        for batch in batches {
            held.extend(batch.lock().blobs.iter().map(|(digest, held)| (*digest, Arc::clone(held))));
        }
        if held.is_empty() {
            return Ok(());
        }
        let staged = held.values().map(|held| StagedBlob {
            blob: held.blob,
            path: held.file.path.clone(),
            tree: held.file.tree.clone(),
        });
        store.adopt(staged.collect()).await?;
        for held in held.values() {
            held.file.taken_over.store(true, Ordering::Relaxed);
        }
        for batch in batches {
            let mut waiting = batch.lock();
            waiting.blobs.retain(|digest, _| !held.contains_key(digest));
            if waiting.blobs.is_empty() {
                waiting.kept = 0;
            }
        }
        Ok(())
    }

    /// Copies a file, which stays. What is wrong with it is [`Error::Invalid`].
    pub(crate) async fn put_copy(&self, source: &Path) -> Result<Blob> {
        let (source, staging) = (source.to_owned(), self.store.staging());
        let held = blocking::run(move || copy(&source, &staging)).await?;
        Ok(self.hold(held))
    }

    /// Takes a file that was hashed while it came. It stays with the caller until the batch is settled.
    pub(crate) async fn lend(&self, path: &Path, blob: Blob, tree: Tree) -> Result<Blob> {
        let (path, staging) = (path.to_owned(), self.store.staging());
        let held = blocking::run(move || {
            let tree_path = stage_tree(&blob, &tree, &staging)?;
            let file = Files { path, tree: tree_path, is_lent: true, taken_over: AtomicBool::new(false) };
            Ok(Held { blob, tree: Arc::new(tree), file, bytes: None })
        })
        .await?;
        Ok(self.hold(held))
    }

    fn hold(&self, mut held: Held) -> Blob {
        let blob = held.blob;
        let mut waiting = self.lock();
        if waiting.blobs.contains_key(&blob.sha256) {
            return blob;
        }
        if let Some(bytes) = &held.bytes {
            let kept = waiting.kept + bytes.len() as u64;
            if kept > KEPT_IN_ALL {
                held.bytes = None;
            } else {
                waiting.kept = kept;
            }
        }
        waiting.blobs.insert(blob.sha256, Arc::new(held));
        blob
    }

    fn held(&self, sha256: &Sha256Digest) -> Option<Arc<Held>> {
        self.lock().blobs.get(sha256).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies a file into staging, hashing it on the way. Blocks.
fn copy(source: &Path, staging: &Path) -> Result<Held> {
    let unreadable =
        |error: std::io::Error| Error::invalid(format!("`{}`", source.display()), error.to_string());
    let file = File::open(source).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::invalid(format!("`{}`", source.display()), "is not a regular file"));
    }
    let mut staged = Staged::create(staging)?;
    let mut hasher = BlobHasher::default();
    let size = metadata.len();
    let mut whole = None;
    if size <= ONE_READ {
        let mut bytes = Vec::with_capacity(size as usize + 1);
        (&file).take(ONE_READ + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        hasher.update(&bytes);
        staged.write(&bytes)?;
        whole = Some(Bytes::from(bytes));
    } else {
        let mut failure = Ok(());
        ingest::each_piece(&file, |piece| {
            if failure.is_ok() {
                hasher.update(piece);
                failure = staged.write(piece);
            }
        })
        .map_err(unreadable)?;
        failure?;
    }
    let (blob, tree) = hasher.finish();
    if blob.size != size {
        let detail = format!("had {size} bytes and then {}: it changed while it was read", blob.size);
        return Err(Error::invalid(format!("`{}`", source.display()), detail));
    }
    let bytes = whole.filter(|bytes| bytes.len() as u64 <= KEPT);
    hold_staged(staged, blob, tree, bytes, staging)
}

/// What was received, in files. Blocks.
fn hold_received(received: Received, staging: &Path) -> Result<Held> {
    let Received { blob, tree, content } = received;
    let (staged, bytes) = match content {
        Content::File(staged) => (staged, None),
        Content::Memory(parts) => {
            let mut staged = Staged::create(staging)?;
            parts.iter().try_for_each(|part| staged.write(part))?;
            let bytes = (blob.size <= KEPT).then(|| match &parts[..] {
                [one] => one.clone(),
                parts => parts.concat().into(),
            });
            (staged, bytes)
        }
    };
    hold_staged(staged, blob, tree, bytes, staging)
}

fn hold_staged(
    mut staged: Staged,
    blob: Blob,
    tree: Tree,
    bytes: Option<Bytes>,
    staging: &Path,
) -> Result<Held> {
    let tree_path = stage_tree(&blob, &tree, staging)?;
    staged.placed = true;
    let path = std::mem::take(&mut staged.path);
    let file = Files { path, tree: tree_path, is_lent: false, taken_over: AtomicBool::new(false) };
    Ok(Held { blob, tree: Arc::new(tree), file, bytes })
}

/// Writes the tree of a blob that needs one; an empty path for others.
fn stage_tree(blob: &Blob, tree: &Tree, staging: &Path) -> Result<PathBuf> {
    if !tree::is_stored(blob.size) {
        return Ok(PathBuf::new());
    }
    let mut staged = Staged::create(staging)?;
    staged.write(&tree.encode())?;
    staged.placed = true;
    Ok(std::mem::take(&mut staged.path))
}

#[async_trait]
impl Store for Batch {
    fn capability(&self) -> Capability {
        self.store.capability()
    }

    /// The blob waits for [`settle_all`](Batch::settle_all): it is not durable yet.
    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        let staging = self.store.staging();
        let received = ingest::receive(body, &options, &staging, 0).await?;
        let held = blocking::run(move || hold_received(received, &staging)).await?;
        Ok(self.hold(held))
    }

    async fn put_file(&self, path: &Path, options: PutOptions) -> Result<Blob> {
        self.store.put_file(path, options).await
    }

    async fn adopt(&self, staged: Vec<StagedBlob>) -> Result<()> {
        self.store.adopt(staged).await
    }

    fn staging(&self) -> PathBuf {
        self.store.staging()
    }

    async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream> {
        let Some(held) = self.held(&blob.sha256).filter(|held| held.blob == *blob) else {
            return self.store.read(blob, range).await;
        };
        read::check_range(blob, &range)?;
        if let Some(bytes) = &held.bytes {
            let wanted = bytes.slice(range.start as usize..range.end as usize);
            return Ok(stream::iter((!wanted.is_empty()).then_some(Ok(wanted))).boxed());
        }
        let path = held.file.path.clone();
        match blocking::run(move || disk::open(&path)).await {
            Ok(file) => {
                let (sha256, tree) = (blob.sha256, Arc::clone(&held.tree));
                Ok(read::from_file(file, read::Verifier { sha256, tree, seen: None }, range))
            }
            // It was taken over in this moment.
            Err(_) => self.store.read(blob, range).await,
        }
    }

    async fn read_whole(&self, sha256: &Sha256Digest, limit: u64) -> Result<Bytes> {
        let Some(held) = self.held(sha256) else { return self.store.read_whole(sha256, limit).await };
        if held.blob.size > limit {
            return Err(Error::LimitExceeded {
                what: format!("blob `{sha256}` of {} bytes", held.blob.size),
                limit: format!("{limit} bytes"),
            });
        }
        let mut body = self.read(&held.blob, 0..held.blob.size).await?;
        let mut all = Vec::with_capacity(held.blob.size as usize);
        while let Some(part) = body.next().await {
            all.extend_from_slice(&part?);
        }
        Ok(all.into())
    }

    async fn stat(&self, sha256: &Sha256Digest) -> Result<Option<StoredBlob>> {
        match self.held(sha256) {
            Some(held) => {
                Ok(Some(StoredBlob { sha256: *sha256, size: held.blob.size, modified: Timestamp::now() }))
            }
            None => self.store.stat(sha256).await,
        }
    }

    async fn rehash(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        match self.held(sha256) {
            Some(held) => Ok(Some(held.blob)),
            None => self.store.rehash(sha256).await,
        }
    }

    async fn presign(&self, sha256: &Sha256Digest, options: PresignOptions) -> Result<url::Url> {
        self.store.presign(sha256, options).await
    }

    async fn delete(&self, sha256: &Sha256Digest) -> Result<()> {
        self.store.delete(sha256).await
    }

    fn list(&self) -> BoxStream<'_, Result<StoredBlob>> {
        self.store.list()
    }

    async fn sweep_leftovers(&self, age: Duration) -> Result<u64> {
        self.store.sweep_leftovers(age).await
    }

    async fn put_record(&self, key: RecordKey, bytes: Bytes) -> Result<()> {
        self.store.put_record(key, bytes).await
    }

    async fn list_records(&self, line: Option<uuid::Uuid>) -> Result<Vec<RecordKey>> {
        self.store.list_records(line).await
    }

    async fn read_record(&self, key: RecordKey) -> Result<Bytes> {
        self.store.read_record(key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectBlobs, ObjectStoreOptions};

    /// Files of one revision are large enough to be settled one by one, and come at the same time.
    #[tokio::test(flavor = "multi_thread")]
    async fn those_who_settle_at_the_same_time_settle_once() {
        let folder = tempfile::tempdir().unwrap();
        let options =
            ObjectStoreOptions { scratch: folder.path().join("scratch"), ..ObjectStoreOptions::default() };
        let store: Arc<dyn Store> =
            Arc::new(ObjectBlobs::local(folder.path().join("store"), options).await.unwrap());
        let batch = Batch::new(Arc::clone(&store));
        let settled = (0..16_u8).map(|at| {
            let (batch, store) = (&batch, &store);
            async move {
                let bytes = Bytes::from(vec![at; 300_000]);
                let body = stream::iter([Ok(bytes)]).boxed();
                let blob = batch.put(body, PutOptions::default()).await.unwrap();
                Batch::settle_all(&**store, &[batch, batch]).await.unwrap();
                assert!(store.stat(&blob.sha256).await.unwrap().is_some());
            }
        });
        futures::future::join_all(settled).await;
        assert!(batch.digests().is_empty());
    }
}
