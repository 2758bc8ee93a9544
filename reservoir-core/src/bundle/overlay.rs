//! The store as it will be: manifests of a bundle are read and checked while their blobs are still staged.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use uuid::Uuid;

use super::{files::read_small, stage::StagedBlobs};
use crate::{
    blocking,
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, Store, StoredBlob},
};

/// Whole blobs come from the stage or from the store behind it; everything else from the store.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(crate) blobs: StagedBlobs,
    pub(crate) store: Arc<dyn Store>,
}

#[async_trait]
impl Store for Overlay {
    async fn read_whole(&self, sha256: &Sha256Digest, limit: u64) -> Result<Bytes> {
        let (path, expected) = (self.blobs.path(sha256), *sha256);
        if !path.exists() {
            return self.store.read_whole(sha256, limit).await;
        }
        blocking::run(move || {
            let bytes = read_small(&path, limit as usize)?;
            let actual = Sha256Digest::of(&bytes);
            if actual != expected {
                return Err(Error::Integrity {
                    what: "a staged blob".into(),
                    expected: expected.to_string(),
                    actual: actual.to_string(),
                });
            }
            Ok(Bytes::from(bytes))
        })
        .await
    }

    fn capability(&self) -> Capability {
        self.store.capability()
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        self.store.put(body, options).await
    }

    async fn put_file(&self, path: &Path, options: PutOptions) -> Result<Blob> {
        self.store.put_file(path, options).await
    }

    fn staging(&self) -> PathBuf {
        self.store.staging()
    }

    async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream> {
        self.store.read(blob, range).await
    }

    async fn stat(&self, sha256: &Sha256Digest) -> Result<Option<StoredBlob>> {
        self.store.stat(sha256).await
    }

    async fn rehash(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        self.store.rehash(sha256).await
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

    async fn list_records(&self, line: Option<Uuid>) -> Result<Vec<RecordKey>> {
        self.store.list_records(line).await
    }

    async fn read_record(&self, key: RecordKey) -> Result<Bytes> {
        self.store.read_record(key).await
    }
}
