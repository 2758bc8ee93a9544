//! BLAKE2b-256 of a stored file: the digest in the paths of Python's file hosts.

use std::fmt::Write as _;

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    store::{Blob, Store, StoreExt as _},
};

/// Hashes a blob as it streams, off the reactor; 64 lowercase hexadecimal digits.
pub(super) async fn digest(store: &dyn Store, blob: &Blob) -> Result<String> {
    let mut chunks = store.read_all(blob).await?;
    let mut hasher = Blake2b::<U32>::new();
    while let Some(chunk) = chunks.try_next().await? {
        let update = move || {
            hasher.update(&chunk);
            hasher
        };
        hasher = tokio::task::spawn_blocking(update)
            .await
            .map_err(|error| Error::io(format!("hash blob `{}`", blob.sha256))(error.into()))?;
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
