//! No bytes make the TAR reader panic, hang or grow: `cargo +nightly fuzz run tar`.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use reservoir_core::{
    archive::{Limits, Compression, collect_tar},
    store::StoreExt as _,
    testing::memory::MemoryStore,
};

const LIMITS: Limits =
    Limits { entries: 1000, name: 4096, expanded: 1 << 24, ratio: 200, member: 1 << 24, headers: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers starts");
    runtime.block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(Bytes::copy_from_slice(bytes)).await.expect("memory takes all");
        for compression in [Compression::None, Compression::Gzip] {
            let _ = collect_tar(&store, &blob, "fuzz.tar", compression, &LIMITS, |_| true, 1 << 16).await;
        }
    });
});
