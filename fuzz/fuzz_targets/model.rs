//! No bytes make the scanner of model files panic, hang or grow: `cargo +nightly fuzz run model`.
//! The files that `reservoir-hf/tests/corpus/make.py` makes are a good corpus to start from.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use reservoir_core::{
    ecosystem::Inspection,
    gate::{Scanner as _, Subject},
    store::StoreExt as _,
    testing::memory::MemoryStore,
};
use reservoir_hf::safety::{Limits, ModelFiles};

const LIMITS: Limits = Limits { depth: 8, members: 1000, ratio: 200, expanded: 1 << 26 };

fuzz_target!(|bytes: &[u8]| {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers starts");
    runtime.block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(Bytes::copy_from_slice(bytes)).await.expect("memory takes all");
        let subject = Subject {
            ecosystem: &"hf".parse().expect("a name"),
            artifact: &"org/fuzz".parse().expect("a name"),
            revision: &"main".parse().expect("a name"),
            path: &"org/fuzz/model".parse().expect("a path"),
            blob: &blob,
            store: &store,
            inspection: &Inspection::default(),
        };
        ModelFiles::with_limits(LIMITS).scan(&subject).await.expect("memory can be read");
    });
});
