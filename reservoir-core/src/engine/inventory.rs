//! What is here, for the outside to send the rest.

use futures::TryStreamExt as _;

use super::Engine;
use crate::{
    bundle::inventory::{Inventory, StreamState},
    error::Result,
};

impl Engine {
    /// The document of this Reservoir's inventory and its signature, in minisign's format.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) without a key to sign with.
    pub async fn inventory(&self) -> Result<(Vec<u8>, String)> {
        let catalog = &self.inner.catalog;
        let key = self.bundle_key()?;
        let streams = catalog.arriving_streams().await?.into_iter().map(|stream| StreamState {
            stream: stream.stream,
            sequence: stream.sequence,
            header: stream.header,
            refs: stream.refs.into_iter().map(|arrived| arrived.carried).collect(),
            key: Some(stream.public),
        });
        let mut inventory = Inventory::new(catalog.clock().now(), streams.collect());
        let mut stored = self.inner.store.list();
        while let Some(blob) = stored.try_next().await? {
            inventory.add(&blob.sha256);
        }
        let document = inventory.encode()?;
        let signature = key.sign(&document, &format!("inventory of {} blobs", inventory.len()));
        Ok((document, signature))
    }
}
