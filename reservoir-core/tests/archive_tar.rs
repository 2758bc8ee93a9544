//! TAR archives that must be read, and those that must be refused by which rule.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "archive/tar_good.rs"]
mod good;
#[path = "archive/tar_hostile.rs"]
mod hostile;
#[path = "archive/tar_mutated.rs"]
mod mutated;
#[path = "archive/support.rs"]
mod support;

use bytes::Bytes;
use reservoir_core::{
    Result,
    archive::{Collected, Compression, Limits, collect_tar},
    store::StoreExt as _,
    testing::memory::MemoryStore,
};

use self::support::{KEPT, block_on};

/// Reads a TAR; keeps all files.
fn tar(bytes: &[u8], compression: Compression, limits: &Limits) -> Result<Collected> {
    block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(Bytes::copy_from_slice(bytes)).await?;
        collect_tar(&store, &blob, "t.tar", compression, limits, |_| true, KEPT).await
    })
}
