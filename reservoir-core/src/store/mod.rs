//! Where bytes live: blobs named by their SHA-256, over any object store.
//!
//! Nothing but digests and numbers ever becomes part of an object key:
//!
//! ```text
//! sha256/ab/cd/<64 hex>            the blob
//! tree/ab/cd/<64 hex>              its BLAKE3 leaves (see `tree`), for blobs over one group
//! records/<uuid>/<number>-<fence>  one signed record of a repository's line (see `snapshot::record`), decision or
//!                                  removal (see `snapshot::decision`, `snapshot::removal`)
//! ```

mod adopt;
mod batch;
mod disk;
mod failure;
mod ingest;
/// Hashing for those who stage blobs themselves.
pub(crate) mod hash {
    pub(crate) use super::ingest::{BlobHasher, hash_file, hash_file_watched};
}
pub(crate) mod keys;
mod listing;
mod object;
pub(crate) mod page_cache;
mod probe;
mod read;
mod remembered;
pub mod scrub;
pub mod tree;
mod upload;
pub(crate) mod url;

use std::{
    fmt::Debug,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub(crate) use self::batch::Batch;
pub use self::{
    object::{ObjectBlobs, ObjectStoreOptions},
    probe::Capability,
    url::open,
};
use crate::{
    clock::Timestamp,
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
};

/// A stream of byte chunks.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// A blob as others refer to it: enough to find it and to verify any range of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blob {
    /// Its identity.
    pub sha256: Sha256Digest,
    /// The root of its verification tree.
    pub blake3: Blake3Digest,
    /// Bytes.
    pub size: u64,
}

/// A blob that waits in files of its own, verified, not durable yet.
#[derive(Debug, Clone)]
pub struct StagedBlob {
    /// What it is: both digests were computed from the file.
    pub blob: Blob,
    /// Its bytes.
    pub path: PathBuf,
    /// Its encoded verification tree; there is no such file for blobs of one group.
    pub tree: PathBuf,
}

/// What the caller knows about bytes it puts.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Refuse with [`Error::Integrity`] when the bytes have another digest.
    pub expected: Option<Sha256Digest>,
    /// Refuse with [`Error::Integrity`] when there are more or fewer bytes.
    pub size: Option<u64>,
    /// Refuse with [`Error::LimitExceeded`] beyond this many bytes.
    pub limit: Option<u64>,
    /// Write even if the backend has a blob of that name and size already, to repair it.
    pub replace: bool,
}

/// What a listing says of a stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its identity.
    pub sha256: Sha256Digest,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// How a presigned link behaves.
#[derive(Debug, Clone)]
pub struct PresignOptions {
    /// Lifetime; five minutes at most.
    pub expires: Duration,
}

/// The place of one record in a repository's line of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The repository's permanent id.
    pub line: uuid::Uuid,
    /// The record's number in that line, from 1.
    pub number: u64,
    /// The fencing token of the writer.
    pub fence: u64,
}

/// Blobs by digest.
///
/// # Contract
/// - **Durable before `Ok`**: when `put` or `put_record` returns `Ok`, the bytes survive power loss.
///   When it fails or its future is dropped, the blob is absent or whole, never partial.
/// - **Verified**: `put` hashes while it writes; `read` yields only bytes that were checked against
///   `blob.blake3` in this call (or, if so configured, within the last minute) and fails with
///   [`Error::Integrity`] *before* yielding a wrong byte.
/// - **Idempotent**: putting the same bytes again, from any number of processes, is harmless;
///   deleting what is absent is `Ok`.
/// - **Bounded**: no method holds a whole blob in memory, except `read_whole` with its stated limit.
/// - The store knows nothing of references. Callers pin a digest in the catalog before they ask
///   whether it exists (see `catalog::pins`).
///
/// The conformance suite is `reservoir_core::testing::store`.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// What the backend was found to do at start.
    fn capability(&self) -> Capability;

    /// Stores a stream of unknown or known digest.
    ///
    /// Dropping the future leaves nothing reachable behind; leftovers are collected by `sweep_leftovers`.
    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob>;

    /// Stores a finished local file, consuming it: a local backend renames it into place.
    /// On error the file is left where it was.
    async fn put_file(&self, path: &Path, options: PutOptions) -> Result<Blob>;

    /// Takes over files whose digests the caller has verified, consuming them: a local backend renames them into
    /// place without reading them again. This is the barrier of a batch: nobody has synced the files before, their
    /// bytes are durable before any of them has its name, and all names are durable before `Ok`. What had a name is
    /// replaced, which repairs it: whoever has bytes to be taken over did not find them here whole. On error, and
    /// when power is lost meanwhile, some are placed whole and the others are as they were.
    async fn adopt(&self, staged: Vec<StagedBlob>) -> Result<()> {
        for StagedBlob { blob, path, .. } in staged {
            let (expected, size) = (Some(blob.sha256), Some(blob.size));
            let options = PutOptions { expected, size, replace: true, ..PutOptions::default() };
            self.put_file(&path, options).await?;
        }
        Ok(())
    }

    /// A folder for files that are to be [adopted](Self::adopt); that of a local backend is on its file system. What a
    /// crash leaves there is taken by [`sweep_leftovers`](Self::sweep_leftovers).
    fn staging(&self) -> PathBuf {
        std::env::temp_dir()
    }

    /// Yields the bytes of `range`, each verified before it is yielded.
    /// `range` must lie within `0..blob.size`.
    async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream>;

    /// Reads a small blob of which only the SHA-256 is known, verified as a whole.
    /// Refuses with [`Error::LimitExceeded`] beyond `limit` bytes.
    async fn read_whole(&self, sha256: &Sha256Digest, limit: u64) -> Result<Bytes>;

    /// Whether the blob is there, without reading it.
    async fn stat(&self, sha256: &Sha256Digest) -> Result<Option<StoredBlob>>;

    /// Recomputes both digests of a stored blob from its bytes. `None` when absent.
    /// The result's `sha256` differs from the argument when the bytes rotted; right bytes whose verification tree is
    /// missing or damaged are [`Error::Integrity`], and putting them again repairs it.
    async fn rehash(&self, sha256: &Sha256Digest) -> Result<Option<Blob>>;

    /// A link that lets a client read the blob straight from the backend, without verification by us.
    /// [`Error::Unsupported`] where the backend cannot.
    async fn presign(&self, sha256: &Sha256Digest, options: PresignOptions) -> Result<::url::Url>;

    /// The local file that holds a blob's bytes, where the backend is a directory of this machine: to be cloned or
    /// linked. Nothing says that it is there or undamaged; whoever uses it hashes it.
    fn local_file(&self, sha256: &Sha256Digest) -> Option<std::path::PathBuf> {
        let _ = sha256;
        None
    }

    /// Removes a blob and its tree. Only garbage collection calls this.
    async fn delete(&self, sha256: &Sha256Digest) -> Result<()>;

    /// Every stored blob, in digest order. Foreign objects are skipped.
    fn list(&self) -> BoxStream<'_, Result<StoredBlob>>;

    /// Removes what interrupted writes left behind, if older than `age`; returns how many.
    async fn sweep_leftovers(&self, age: Duration) -> Result<u64>;

    /// Writes a record; the same key may be written again with the same bytes only.
    async fn put_record(&self, key: RecordKey, bytes: Bytes) -> Result<()>;

    /// The keys of one line (or of all lines), in order.
    async fn list_records(&self, line: Option<uuid::Uuid>) -> Result<Vec<RecordKey>>;

    /// Reads one record, 1 MiB at most. The caller checks its signature.
    async fn read_record(&self, key: RecordKey) -> Result<Bytes>;
}

/// Conveniences over any [`Store`].
#[async_trait]
pub trait StoreExt: Store {
    /// Stores bytes that are in memory already.
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        let size = Some(bytes.len() as u64);
        let body = Box::pin(futures::stream::once(async move { Ok(bytes) }));
        self.put(body, PutOptions { size, ..PutOptions::default() }).await
    }

    /// A blob that is stored whole, both digests recomputed from its bytes; `None` when it is absent, or damaged in any
    /// way that putting it again repairs.
    async fn intact(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        match self.rehash(sha256).await {
            Ok(found) => Ok(found.filter(|blob| blob.sha256 == *sha256)),
            Err(Error::Integrity { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all of a blob.
    async fn read_all(&self, blob: &Blob) -> Result<ByteStream> {
        self.read(blob, 0..blob.size).await
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// Where writers of derived blobs (manifest pages, indexes, sidecars) put their bytes:
/// a store behind a pin, so that garbage collection never takes what is about to be referenced.
#[async_trait]
pub trait BlobSink: Send + Sync {
    /// Pins, then stores unless present already.
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob>;

    /// Pins (as soon as the digest is known), then stores a stream.
    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob>;
}
