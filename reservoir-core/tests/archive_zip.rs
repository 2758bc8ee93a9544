//! ZIP archives that must be read, and those that must be refused by which rule.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "archive/zip_good.rs"]
mod good;
#[path = "archive/zip_hostile.rs"]
mod hostile;
#[path = "archive/zip_mutated.rs"]
mod mutated;
#[path = "archive/support.rs"]
mod support;

use bytes::Bytes;
use reservoir_core::{
    Result,
    archive::{Collected, Limits, collect_zip},
    store::StoreExt as _,
    testing::memory::MemoryStore,
};

use self::support::{KEPT, block_on};

/// Reads a ZIP; keeps all files.
fn zip(bytes: &[u8], limits: &Limits) -> Result<Collected> {
    block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(Bytes::copy_from_slice(bytes)).await?;
        collect_zip(&store, &blob, "t.zip", limits, |_| true, KEPT).await
    })
}
