//! A store behind a pin: what is about to be referenced is protected before anybody asks whether it exists.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    catalog::{Catalog, Pinned},
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    store::{Blob, BlobSink, ByteStream, PutOptions, Store, StoreExt as _},
    task::PIN,
};

/// Writes blobs for one owner (a task), pinning each digest first.
#[derive(Debug, Clone)]
pub(crate) struct PinnedStore {
    store: Arc<dyn Store>,
    catalog: Catalog,
    owner: String,
}

impl PinnedStore {
    pub(crate) fn new(store: Arc<dyn Store>, catalog: Catalog, owner: String) -> Self {
        Self { store, catalog, owner }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Pins a digest; waits while garbage collection is in the middle of deleting it.
    pub(crate) async fn pin(&self, sha256: Sha256Digest) -> Result<()> {
        for _ in 0..600 {
            let expires = self.catalog.clock().now().plus(PIN);
            let pinned = self.catalog.pin(&self.owner, expires, &[sha256]).await?;
            if !pinned.contains(&Pinned::Deleting) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Error::Conflict {
            what: format!("blob `{sha256}`"),
            detail: "garbage collection has been deleting it for a minute; run `reservoir gc` to finish it"
                .into(),
        })
    }

    /// Stores a finished file, unless its bytes are here already; the file is gone afterwards.
    pub(crate) async fn put_file(&self, path: &Path, sha256: Sha256Digest, size: u64) -> Result<Blob> {
        self.pin(sha256).await?;
        // What is here under that name was looked at before and found wanting.
        let options =
            PutOptions { expected: Some(sha256), size: Some(size), replace: true, ..PutOptions::default() };
        self.store.put_file(path, options).await
    }

    /// What is known of a blob that is here already, both digests recomputed from its bytes.
    pub(crate) async fn existing(&self, sha256: Sha256Digest) -> Result<Option<Blob>> {
        self.pin(sha256).await?;
        Ok(self.store.rehash(&sha256).await?.filter(|blob| blob.sha256 == sha256))
    }

    /// Gives all pins of the owner back.
    pub(crate) async fn unpin(&self) -> Result<()> {
        self.catalog.unpin(&self.owner).await
    }
}

#[async_trait]
impl BlobSink for PinnedStore {
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        let hashed = bytes.clone();
        let (sha256, blake3) = tokio::task::spawn_blocking(move || {
            (Sha256Digest::of(&hashed), Blake3Digest::from(blake3::hash(&hashed)))
        })
        .await
        .map_err(|error| Error::io("hash")(std::io::Error::other(error)))?;
        self.pin(sha256).await?;
        let blob = Blob { sha256, blake3, size: bytes.len() as u64 };
        match self.store.stat(&sha256).await? {
            Some(stored) if stored.size == blob.size => Ok(blob),
            _ => self.store.put_bytes(bytes).await,
        }
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        if let Some(expected) = options.expected {
            self.pin(expected).await?;
            return self.store.put(body, options).await;
        }
        let blob = self.store.put(body, options).await?;
        self.pin(blob.sha256).await?;
        match self.store.stat(&blob.sha256).await? {
            Some(_) => Ok(blob),
            None => Err(Error::Conflict {
                what: format!("blob `{}`", blob.sha256),
                detail: "garbage collection took it before it was pinned; try again".into(),
            }),
        }
    }
}
