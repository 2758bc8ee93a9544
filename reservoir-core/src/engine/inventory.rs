//! What is here, for the outside to send the rest.

use futures::TryStreamExt as _;

use super::Engine;
use crate::{
    bundle::{
        CarriedRef,
        inventory::{Inventory, StreamState},
    },
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
        let mut streams = Vec::new();
        for stream in catalog.arriving_streams().await? {
            let mut refs: Vec<CarriedRef> = stream.refs.into_iter().map(|arrived| arrived.carried).collect();
            // What was removed here since has to come whole.
            let filled = catalog.filled_by(stream.stream).await?;
            refs.retain(|carried| filled.contains(&carried.repository));
            let (sequence, header, key) = (stream.sequence, stream.header, Some(stream.public));
            streams.push(StreamState { stream: stream.stream, sequence, header, refs, key });
        }
        let mut inventory = Inventory::new(catalog.clock().now(), streams);
        let mut stored = self.inner.store.list();
        while let Some(blob) = stored.try_next().await? {
            inventory.add(&blob.sha256);
        }
        let document = inventory.encode()?;
        let signature = key.sign(&document, &format!("inventory of {} blobs", inventory.len()));
        Ok((document, signature))
    }
}
