//! A store behind a pin: what is about to be referenced is protected before anybody asks whether it exists.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{
    blocking,
    catalog::{Catalog, Pinned},
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    store::{Batch, Blob, BlobSink, ByteStream, PutOptions, Store, StoreExt as _, tree::Tree},
    task::PIN,
};

/// Writes blobs for one owner (a task), pinning each digest before it can be referred to: one by one, or, with a
/// [`Batch`] in front of the store, all that was put when it is [settled](Self::settle).
#[derive(Debug, Clone)]
pub(crate) struct PinnedStore {
    store: Arc<dyn Store>,
    batch: Option<Arc<Batch>>,
    catalog: Catalog,
    owner: String,
}

impl PinnedStore {
    pub(crate) fn new(store: Arc<dyn Store>, catalog: Catalog, owner: String) -> Self {
        Self { store, batch: None, catalog, owner }
    }

    /// The same with a new batch in front. Nothing that is put may be referred to before [`settle`](Self::settle).
    pub(crate) fn batched(&self) -> Self {
        let batch = Arc::new(Batch::new(Arc::clone(&self.store)));
        Self { batch: Some(batch), ..self.clone() }
    }

    /// What is stored and, with a batch, what was put.
    pub(crate) fn store(&self) -> &dyn Store {
        match &self.batch {
            Some(batch) => &**batch,
            None => &*self.store,
        }
    }

    /// The same, to be kept.
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        match &self.batch {
            Some(batch) => Arc::clone(batch) as Arc<dyn Store>,
            None => Arc::clone(&self.store),
        }
    }

    /// Copies a file of the caller's, which stays. What is wrong with it is [`Error::Invalid`].
    pub(crate) async fn put_copy(&self, path: &Path) -> Result<Blob> {
        self.in_batch()?.put_copy(path).await
    }

    /// Takes a file that was hashed while it came, and stays where it is until this is settled.
    pub(crate) async fn lend(&self, path: &Path, blob: Blob, tree: Tree) -> Result<Blob> {
        self.in_batch()?.lend(path, blob, tree).await
    }

    fn in_batch(&self) -> Result<&Batch> {
        self.batch.as_deref().ok_or_else(|| Error::Unsupported {
            what: "taking a file".into(),
            detail: "there is no batch to take it into".into(),
        })
    }

    /// Pins what was put and makes it durable, all at once.
    pub(crate) async fn settle(&self) -> Result<()> {
        self.settle_all(&[self]).await
    }

    /// The same for others of the same store and owner, and of this one.
    pub(crate) async fn settle_all(&self, others: &[&Self]) -> Result<()> {
        let batches: Vec<&Batch> = others.iter().filter_map(|other| other.batch.as_deref()).collect();
        let digests: Vec<Sha256Digest> = batches.iter().flat_map(|batch| batch.digests()).collect();
        if digests.is_empty() {
            return Ok(());
        }
        self.pin_all(&digests).await?;
        Batch::settle_all(&*self.store, &batches).await
    }

    /// Pins a digest; waits while garbage collection is in the middle of deleting it.
    pub(crate) async fn pin(&self, sha256: Sha256Digest) -> Result<()> {
        self.pin_all(&[sha256]).await
    }

    /// The same for many.
    pub(crate) fn pin_all<'a>(&'a self, digests: &'a [Sha256Digest]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut digests = digests.to_vec();
            if digests.is_empty() {
                return Ok(());
            }
            for _ in 0..600 {
                let expires = self.catalog.clock().now().plus(PIN);
                let pinned = self.catalog.pin_for_now(&self.owner, expires, &digests).await?;
                let mut states = pinned.into_iter();
                digests.retain(|_| states.next() == Some(Pinned::Deleting));
                if digests.is_empty() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let what = digests.first().map_or_else(String::new, ToString::to_string);
            Err(Error::Conflict {
                what: format!("blob `{what}`"),
                detail: "garbage collection has been deleting it for a minute; collect again to finish it"
                    .into(),
            })
        })
    }

    /// What is known of a pinned blob that is here already, both digests recomputed from its bytes; `None` for one that
    /// has to be put again.
    pub(crate) async fn existing(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        self.store.intact(sha256).await
    }

    /// Gives all pins of the owner back.
    pub(crate) async fn unpin(&self) -> Result<()> {
        self.catalog.unpin(&self.owner).await
    }
}

#[async_trait]
impl BlobSink for PinnedStore {
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        if let Some(batch) = &self.batch {
            return batch.put_bytes(bytes).await;
        }
        let hashed = bytes.clone();
        let hash = move || Ok((Sha256Digest::of(&hashed), Blake3Digest::from(blake3::hash(&hashed))));
        let (sha256, blake3) = blocking::run(hash).await?;
        self.pin(sha256).await?;
        let blob = Blob { sha256, blake3, size: bytes.len() as u64 };
        match self.store.stat(&sha256).await? {
            Some(stored) if stored.size == blob.size => Ok(blob),
            _ => self.store.put_bytes(bytes).await,
        }
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        if let Some(batch) = &self.batch {
            return batch.put(body, options).await;
        }
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
