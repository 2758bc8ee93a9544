//! A store in memory: small, verified as the contract asks, and easy to damage.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

use crate::{
    clock::Timestamp,
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    store::{
        Blob, BlobSink, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, Store, StoredBlob,
    },
};

/// Bytes that are verified and yielded together.
const GROUP: usize = 1024;

/// Blobs in memory, for tests of what stands on a [`Store`]. Cheap to clone; clones share the blobs.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    blobs: Mutex<BTreeMap<Sha256Digest, Held>>,
    records: Mutex<BTreeMap<RecordKey, Bytes>>,
    reads: AtomicU64,
}

#[derive(Debug, Clone)]
struct Held {
    bytes: Bytes,
    groups: Arc<Vec<blake3::Hash>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Flips one bit of a stored blob. Does nothing when there is no such byte.
    pub fn damage(&self, sha256: &Sha256Digest, offset: usize) {
        if let Some(held) = self.blobs().get_mut(sha256) {
            let mut bytes = held.bytes.to_vec();
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1;
            }
            held.bytes = bytes.into();
        }
    }

    /// How often `read` and `read_whole` were called.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Sha256Digest, Held>> {
        self.0.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<RecordKey, Bytes>> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, sha256: &Sha256Digest) -> Result<Held> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        self.blobs().get(sha256).cloned().ok_or_else(|| Error::not_found("blob", sha256))
    }

    fn keep(&self, bytes: Bytes, options: &PutOptions) -> Result<Blob> {
        let blob = describe(&bytes);
        let wrong =
            |expected: String, actual: String| Error::Integrity { what: "blob".into(), expected, actual };
        if let Some(expected) = options.expected
            && expected != blob.sha256
        {
            return Err(wrong(expected.to_string(), blob.sha256.to_string()));
        }
        if let Some(size) = options.size
            && size != blob.size
        {
            return Err(wrong(format!("{size} bytes"), format!("{} bytes", blob.size)));
        }
        let groups = Arc::new(bytes.chunks(GROUP).map(blake3::hash).collect());
        self.blobs().entry(blob.sha256).or_insert(Held { bytes, groups });
        Ok(blob)
    }
}

impl Held {
    /// One group's part of `range`, after the whole group was verified.
    fn piece(&self, blob: &Blob, group: usize, range: &Range<u64>) -> Result<Bytes> {
        let start = group * GROUP;
        let end = (start + GROUP).min(self.bytes.len());
        if blake3::hash(&self.bytes[start..end]) != self.groups[group] {
            return Err(Error::Integrity {
                what: format!("blob `{}`", blob.sha256),
                expected: format!("group {group} as it was put"),
                actual: "other bytes".into(),
            });
        }
        let from = (range.start as usize).max(start);
        let to = (range.end as usize).min(end);
        Ok(self.bytes.slice(from..to))
    }
}

fn describe(bytes: &Bytes) -> Blob {
    Blob {
        sha256: Sha256Digest::of(bytes),
        blake3: Blake3Digest::from(blake3::hash(bytes)),
        size: bytes.len() as u64,
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn capability(&self) -> Capability {
        Capability::default()
    }

    async fn put(&self, mut body: ByteStream, options: PutOptions) -> Result<Blob> {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.try_next().await? {
            bytes.extend_from_slice(&chunk);
            if let Some(limit) = options.limit
                && bytes.len() as u64 > limit
            {
                return Err(Error::LimitExceeded { what: "blob".into(), limit: format!("{limit} bytes") });
            }
        }
        self.keep(bytes.into(), &options)
    }

    async fn put_file(&self, path: &Path, options: PutOptions) -> Result<Blob> {
        let shown = path.display();
        let bytes = tokio::fs::read(path).await.map_err(Error::io(format!("read `{shown}`")))?;
        let blob = self.keep(bytes.into(), &options)?;
        tokio::fs::remove_file(path).await.map_err(Error::io(format!("remove `{shown}`")))?;
        Ok(blob)
    }

    async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream> {
        let held = self.held(&blob.sha256)?;
        if range.end > held.bytes.len() as u64 || range.start > range.end {
            return Err(Error::invalid("range", format!("{range:?} lies outside of {} bytes", blob.size)));
        }
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let groups = range.start as usize / GROUP..(range.end as usize).div_ceil(GROUP);
        let blob = *blob;
        Ok(stream::iter(groups).map(move |group| held.piece(&blob, group, &range)).boxed())
    }

    async fn read_whole(&self, sha256: &Sha256Digest, limit: u64) -> Result<Bytes> {
        let held = self.held(sha256)?;
        if held.bytes.len() as u64 > limit {
            return Err(Error::LimitExceeded { what: "blob".into(), limit: format!("{limit} bytes") });
        }
        let actual = Sha256Digest::of(&held.bytes);
        if actual == *sha256 {
            return Ok(held.bytes);
        }
        Err(Error::Integrity {
            what: "blob".into(),
            expected: sha256.to_string(),
            actual: actual.to_string(),
        })
    }

    async fn stat(&self, sha256: &Sha256Digest) -> Result<Option<StoredBlob>> {
        let modified = Timestamp::from_micros(0);
        let stored = |held: &Held| StoredBlob { sha256: *sha256, size: held.bytes.len() as u64, modified };
        Ok(self.blobs().get(sha256).map(stored))
    }

    async fn rehash(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        Ok(self.blobs().get(sha256).map(|held| describe(&held.bytes)))
    }

    async fn presign(&self, _: &Sha256Digest, _: PresignOptions) -> Result<::url::Url> {
        Err(Error::Unsupported { what: "presigning".into(), detail: "the blobs are in memory".into() })
    }

    async fn delete(&self, sha256: &Sha256Digest) -> Result<()> {
        self.blobs().remove(sha256);
        Ok(())
    }

    fn list(&self) -> BoxStream<'_, Result<StoredBlob>> {
        let modified = Timestamp::from_micros(0);
        let stored = |(sha256, held): (&Sha256Digest, &Held)| {
            Ok(StoredBlob { sha256: *sha256, size: held.bytes.len() as u64, modified })
        };
        let all: Vec<_> = self.blobs().iter().map(stored).collect();
        stream::iter(all).boxed()
    }

    async fn sweep_leftovers(&self, _: Duration) -> Result<u64> {
        Ok(0)
    }

    async fn put_record(&self, key: RecordKey, bytes: Bytes) -> Result<()> {
        let mut records = self.records();
        match records.get(&key) {
            Some(there) if *there != bytes => Err(Error::Conflict {
                what: format!("record {} of {}", key.number, key.line),
                detail: "it is there with other bytes".into(),
            }),
            _ => {
                records.insert(key, bytes);
                Ok(())
            }
        }
    }

    async fn list_records(&self, line: Option<uuid::Uuid>) -> Result<Vec<RecordKey>> {
        let of_line = |key: &&RecordKey| line.is_none_or(|line| key.line == line);
        Ok(self.records().keys().filter(of_line).copied().collect())
    }

    async fn read_record(&self, key: RecordKey) -> Result<Bytes> {
        self.records().get(&key).cloned().ok_or_else(|| Error::not_found("record", key.number))
    }
}

#[async_trait]
impl BlobSink for MemoryStore {
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        self.keep(bytes, &PutOptions::default())
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        Store::put(self, body, options).await
    }
}
