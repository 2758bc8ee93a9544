//! Writing as a publish does, without an engine: for benchmarks of formats.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::Result,
    snapshot::Pages,
    store::{Batch, Blob, BlobSink, ByteStream, PutOptions, Store, StoreExt as _},
};

/// Blobs that become durable together, without pins.
#[derive(Debug)]
pub struct Batched {
    store: Arc<dyn Store>,
    batch: Arc<Batch>,
}

impl Batched {
    /// An empty batch in front of a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let batch = Arc::new(Batch::new(Arc::clone(&store)));
        Self { store, batch }
    }

    /// The same cache of manifests, which reads what was put here, too.
    #[must_use]
    pub fn pages(&self, pages: &Pages) -> Pages {
        pages.over(Arc::clone(&self.batch) as Arc<dyn Store>)
    }

    /// Makes durable what was put.
    pub async fn settle(&self) -> Result<()> {
        Batch::settle_all(&*self.store, &[&self.batch]).await
    }
}

#[async_trait]
impl BlobSink for Batched {
    async fn put_bytes(&self, bytes: Bytes) -> Result<Blob> {
        self.batch.put_bytes(bytes).await
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        self.batch.put(body, options).await
    }
}
