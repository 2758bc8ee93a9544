//! BLAKE2b-256 of a stored file: the digest in the paths of Python's file hosts.

use std::fmt::Write as _;
use std::io::BufRead as _;

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use reservoir_core::{
    Error, Result, archive,
    store::{Blob, Store, StoreExt as _},
};

/// Hashes a blob as it streams, on a thread that may block; 64 lowercase hexadecimal digits.
pub(super) async fn digest(store: &dyn Store, blob: &Blob) -> Result<String> {
    let what = format!("hash blob `{}`", blob.sha256);
    archive::read_blocking(store.read_all(blob).await?, move |mut source| {
        let mut hasher = Blake2b::<U32>::new();
        loop {
            let chunk = match source.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return Err(source.take_failure().unwrap_or_else(|| Error::io(what)(error))),
            };
            if chunk.is_empty() {
                break;
            }
            hasher.update(chunk);
            let count = chunk.len();
            source.consume(count);
        }
        let mut text = String::with_capacity(64);
        for byte in hasher.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(text)
    })
    .await
}
