//! Looking at every stored blob before a client does.

use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::{Store, StoredBlob};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// What a scrub found wrong with one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Its bytes have another digest.
    Rotten {
        /// What they hash to now.
        actual: Sha256Digest,
    },
    /// Its bytes are right, its verification tree is not: putting it again repairs it.
    Tree,
}

/// One blob that needs repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The blob, as listed.
    pub blob: StoredBlob,
    /// What is wrong with it.
    pub damage: Damage,
}

/// How far a scrub got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// Blobs looked at.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those among them that are damaged.
    pub damaged: u64,
}

/// Walks the store in digest order and yields what is damaged. `deep` hashes all bytes; otherwise blobs are only
/// listed and counted. `progress` is called after every blob, on the polling task: it must be quick.
///
/// A blob deleted meanwhile is no damage. The stream ends after the first error of the backend; dropping it
/// stops the scrub. Memory does not grow with the store.
pub fn scrub<'a>(
    store: &'a dyn Store,
    deep: bool,
    mut progress: impl FnMut(Scrubbed) + Send + 'a,
) -> BoxStream<'a, Result<Damaged>> {
    let mut so_far = Scrubbed::default();
    store
        .list()
        .and_then(move |blob| async move {
            let damage = if deep { examine(store, &blob).await? } else { None };
            Ok((blob, damage))
        })
        .filter_map(move |looked| {
            let found = match looked {
                Ok((blob, damage)) => {
                    so_far.blobs += 1;
                    so_far.bytes += blob.size;
                    so_far.damaged += u64::from(damage.is_some());
                    progress(so_far);
                    damage.map(|damage| Ok(Damaged { blob, damage }))
                }
                Err(error) => Some(Err(error)),
            };
            std::future::ready(found)
        })
        .scan(false, |failed, found| {
            let next = (!*failed).then_some(found);
            *failed = next.as_ref().is_some_and(Result::is_err);
            std::future::ready(next)
        })
        .boxed()
}

async fn examine(store: &dyn Store, blob: &StoredBlob) -> Result<Option<Damage>> {
    match store.rehash(&blob.sha256).await {
        Ok(Some(found)) if found.sha256 != blob.sha256 => Ok(Some(Damage::Rotten { actual: found.sha256 })),
        Ok(_) => Ok(None),
        Err(Error::Integrity { .. }) => Ok(Some(Damage::Tree)),
        Err(error) => Err(error),
    }
}
