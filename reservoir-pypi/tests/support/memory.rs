//! A store in memory.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use reservoir_core::{
    Error, Result,
    digest::{Blake3Digest, Sha256Digest},
    store::{
        Blob, BlobSink, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, Store, StoredBlob,
    },
};
use sha2::{Digest as _, Sha256};

/// Blobs by digest; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    blobs: Arc<Mutex<BTreeMap<Sha256Digest, Bytes>>>,
}

impl Memory {
    pub fn keep(&self, bytes: impl Into<Bytes>) -> Blob {
        let bytes = bytes.into();
        let sha256 = Sha256Digest::from_bytes(Sha256::digest(&bytes).into());
        let size = bytes.len() as u64;
        self.blobs.lock().unwrap().insert(sha256, bytes);
        Blob { sha256, blake3: Blake3Digest::from_bytes([0; 32]), size }
    }

    pub fn bytes(&self, sha256: &Sha256Digest) -> Result<Bytes> {
        let blobs = self.blobs.lock().unwrap();
        blobs.get(sha256).cloned().ok_or_else(|| Error::not_found("blob", sha256))
    }
}

fn unsupported<T>(what: &str) -> Result<T> {
    Err(Error::Unsupported { what: what.to_owned(), detail: "the test's store has no such thing".to_owned() })
}

#[async_trait]
impl Store for Memory {
    fn capability(&self) -> Capability {
        Capability::default()
    }

    async fn put(&self, body: ByteStream, _: PutOptions) -> Result<Blob> {
        let chunks: Vec<Bytes> = body.try_collect().await?;
        Ok(self.keep(chunks.concat()))
    }

    async fn put_file(&self, _: &Path, _: PutOptions) -> Result<Blob> {
        unsupported("put_file")
    }

    async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream> {
        let bytes = self.bytes(&blob.sha256)?.slice(range.start as usize..range.end as usize);
        let chunks: Vec<Bytes> =
            (0..bytes.len()).step_by(4096).map(|at| bytes.slice(at..bytes.len().min(at + 4096))).collect();
        Ok(stream::iter(chunks.into_iter().map(Ok)).boxed())
    }

    async fn read_whole(&self, sha256: &Sha256Digest, _: u64) -> Result<Bytes> {
        self.bytes(sha256)
    }

    async fn stat(&self, _: &Sha256Digest) -> Result<Option<StoredBlob>> {
        unsupported("stat")
    }

    async fn rehash(&self, _: &Sha256Digest) -> Result<Option<Blob>> {
        unsupported("rehash")
    }

    async fn presign(&self, _: &Sha256Digest, _: PresignOptions) -> Result<url::Url> {
        unsupported("presign")
    }

    async fn delete(&self, _: &Sha256Digest) -> Result<()> {
        unsupported("delete")
    }

    fn list(&self) -> BoxStream<'_, Result<StoredBlob>> {
        stream::empty().boxed()
    }

    async fn sweep_leftovers(&self, _: Duration) -> Result<u64> {
        unsupported("sweep_leftovers")
    }

    async fn put_record(&self, _: RecordKey, _: Bytes) -> Result<()> {
        unsupported("put_record")
    }

    async fn list_records(&self, _: Option<uuid::Uuid>) -> Result<Vec<RecordKey>> {
        unsupported("list_records")
    }

    async fn read_record(&self, _: RecordKey) -> Result<Bytes> {
        unsupported("read_record")
    }
}

#[async_trait]
impl BlobSink for Memory {
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        Ok(self.keep(bytes))
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        Store::put(self, body, options).await
    }
}
