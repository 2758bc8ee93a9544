//! Damage behind a store's back.

use async_trait::async_trait;
use object_store::{ObjectStoreExt as _, path::Path as Key};

use crate::{
    digest::Sha256Digest,
    store::{ObjectBlobs, keys},
};

/// One of the two objects of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its bytes.
    Bytes,
    /// Its verification tree.
    Tree,
}

/// Damages what is stored, behind the store's back.
#[async_trait]
pub trait Vandal: Send + Sync {
    /// Flips one bit of the byte at `offset`.
    async fn flip(&self, part: Part, sha256: &Sha256Digest, offset: u64);
    /// Cuts the object off after `size` bytes.
    async fn cut(&self, part: Part, sha256: &Sha256Digest, size: u64);
    /// Removes the object.
    async fn remove(&self, part: Part, sha256: &Sha256Digest);
}

#[async_trait]
impl Vandal for ObjectBlobs {
    async fn flip(&self, part: Part, sha256: &Sha256Digest, offset: u64) {
        rewrite(self, &key(part, sha256), |bytes| bytes[offset as usize] ^= 4).await;
    }

    async fn cut(&self, part: Part, sha256: &Sha256Digest, size: u64) {
        rewrite(self, &key(part, sha256), |bytes| bytes.truncate(size as usize)).await;
    }

    async fn remove(&self, part: Part, sha256: &Sha256Digest) {
        self.objects.delete(&key(part, sha256)).await.expect("the object to remove exists");
    }
}

fn key(part: Part, sha256: &Sha256Digest) -> Key {
    match part {
        Part::Bytes => keys::blob(sha256),
        Part::Tree => keys::tree(sha256),
    }
}

async fn rewrite(store: &ObjectBlobs, key: &Key, change: impl FnOnce(&mut Vec<u8>) + Send) {
    let object = store.objects.get(key).await.expect("the object to damage exists");
    let mut bytes = object.bytes().await.expect("the object to damage can be read").to_vec();
    change(&mut bytes);
    store.objects.put(key, bytes.into()).await.expect("the damaged object can be written");
}
