//! The trailer of a bundle, wherever it lies: media hold those of other bundles too, signed by other keys.

use std::path::PathBuf;

use serde::Deserialize;

use crate::{
    Engine, blocking,
    bundle::{self, BundleKey},
    digest::Sha256Digest,
    error::{Error, Result},
};

/// A trailer that was signed for one bundle.
pub(super) struct Signed {
    pub(super) document: Vec<u8>,
    pub(super) signature: String,
}

/// What is looked at first, once some trusted key has signed it.
#[derive(Deserialize)]
struct Of {
    bundle: Sha256Digest,
}

impl Engine {
    /// The first trailer in `folders` that belongs to this bundle and is signed by its `key`; those of other bundles
    /// are passed over. One that cannot be believed does not hide a good one on another medium.
    ///
    /// # Errors
    /// Those of the first that cannot be believed, where no other is this bundle's.
    pub(super) async fn find_trailer(
        &self,
        bundle: Sha256Digest,
        key: BundleKey,
        folders: Vec<PathBuf>,
    ) -> Result<Option<Signed>> {
        let trusted = self.inner.catalog.trusted_keys().await?;
        let trusted: Vec<BundleKey> = trusted.into_iter().map(|key| key.public).collect();
        blocking::run(move || {
            let mut refused = None;
            for folder in folders {
                match read(&folder, bundle, key, &trusted) {
                    Ok(None) => {}
                    Ok(found) => return Ok(found),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            refused.map_or(Ok(None), Err)
        })
        .await
    }
}

fn read(
    folder: &std::path::Path,
    bundle: Sha256Digest,
    key: BundleKey,
    trusted: &[BundleKey],
) -> Result<Option<Signed>> {
    const WHAT: &str = "`volumes.json`";
    let Some((document, signature)) = bundle::signed_trailer(folder)? else { return Ok(None) };
    let signer = BundleKey::verify_any(trusted, WHAT, &document, &signature)?;
    let of: Of = serde_json::from_slice(&document)
        .map_err(|error| Error::malformed("volumes.json", "bundle-json", error.to_string()))?;
    if of.bundle != bundle {
        return Ok(None);
    }
    if signer != key {
        let reason = format!("key {} signed it, and key {} the bundle", signer.name(), key.name());
        return Err(Error::Untrusted { what: WHAT.into(), reason });
    }
    Ok(Some(Signed { document, signature }))
}
