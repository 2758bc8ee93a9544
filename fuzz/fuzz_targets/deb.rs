//! No bytes make the reader of Debian packages panic, hang or grow: `cargo +nightly fuzz run deb`.

#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use reservoir_apt::Apt;
use reservoir_core::{
    ecosystem::{Ecosystem as _, PulledFile},
    store::StoreExt as _,
    testing::memory::MemoryStore,
};

fuzz_target!(|bytes: &[u8]| {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers starts");
    runtime.block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(Bytes::copy_from_slice(bytes)).await.expect("memory takes all");
        let file = PulledFile {
            artifact: &"hello".parse().expect("a name"),
            revision: &"1.0-1:amd64".parse().expect("a revision"),
            path: &"hello_1.0-1_amd64.deb".parse().expect("a path"),
            attributes: &BTreeMap::new(),
            blob: &blob,
            store: &store,
        };
        let _ = Apt.inspect(&file).await;
    });
});
