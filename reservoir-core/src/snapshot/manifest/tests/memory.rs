//! As much of a store as manifests need, with counters.

use std::{
    collections::HashMap,
    ops::Range,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    store::{
        Blob, BlobSink, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, Store, StoredBlob,
    },
};

#[derive(Debug, Default)]
pub(super) struct Memory {
    blobs: Mutex<HashMap<Sha256Digest, Bytes>>,
    reads: AtomicU64,
    puts: AtomicU64,
}

impl Memory {
    pub(super) fn insert(&self, bytes: impl Into<Bytes>) -> Sha256Digest {
        let bytes = bytes.into();
        let digest = Sha256Digest::of(&bytes);
        self.blobs.lock().unwrap().insert(digest, bytes);
        digest
    }

    pub(super) fn bytes(&self, digest: Sha256Digest) -> Bytes {
        self.blobs.lock().unwrap()[&digest].clone()
    }

    pub(super) fn forget(&self, digest: Sha256Digest) {
        self.blobs.lock().unwrap().remove(&digest);
    }

    /// (reads, puts) since the last call.
    pub(super) fn take_counts(&self) -> (u64, u64) {
        (self.reads.swap(0, Ordering::SeqCst), self.puts.swap(0, Ordering::SeqCst))
    }
}

#[async_trait]
impl BlobSink for Memory {
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        let (blake3, size) = (blake3::hash(&bytes).into(), bytes.len() as u64);
        Ok(Blob { sha256: self.insert(bytes), blake3, size })
    }

    async fn put(&self, _: ByteStream, _: PutOptions) -> Result<Blob> {
        unreachable!("manifests put bytes")
    }
}

#[async_trait]
impl Store for Memory {
    async fn read_whole(&self, sha256: &Sha256Digest, limit: u64) -> Result<Bytes> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let bytes = self.blobs.lock().unwrap().get(sha256).cloned();
        let bytes = bytes.ok_or_else(|| Error::not_found("blob", sha256))?;
        assert!(bytes.len() as u64 <= limit);
        Ok(bytes)
    }

    fn capability(&self) -> Capability {
        unreachable!()
    }

    async fn put(&self, _: ByteStream, _: PutOptions) -> Result<Blob> {
        unreachable!()
    }

    async fn put_file(&self, _: &Path, _: PutOptions) -> Result<Blob> {
        unreachable!()
    }

    async fn read(&self, _: &Blob, _: Range<u64>) -> Result<ByteStream> {
        unreachable!()
    }

    async fn stat(&self, _: &Sha256Digest) -> Result<Option<StoredBlob>> {
        unreachable!()
    }

    async fn rehash(&self, _: &Sha256Digest) -> Result<Option<Blob>> {
        unreachable!()
    }

    async fn presign(&self, _: &Sha256Digest, _: PresignOptions) -> Result<::url::Url> {
        unreachable!()
    }

    async fn delete(&self, _: &Sha256Digest) -> Result<()> {
        unreachable!()
    }

    fn list(&self) -> BoxStream<'_, Result<StoredBlob>> {
        unreachable!()
    }

    async fn sweep_leftovers(&self, _: Duration) -> Result<u64> {
        unreachable!()
    }

    async fn put_record(&self, _: RecordKey, _: Bytes) -> Result<()> {
        unreachable!()
    }

    async fn list_records(&self, _: Option<uuid::Uuid>) -> Result<Vec<RecordKey>> {
        unreachable!()
    }

    async fn read_record(&self, _: RecordKey) -> Result<Bytes> {
        unreachable!()
    }
}
