//! No bytes make the reader of signed messages panic, hang or grow: `cargo +nightly fuzz run cleartext`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use reservoir_core::{
    clock::Timestamp,
    openpgp::{Keyring, Trust},
};

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let armored = include_bytes!("../../reservoir-core/tests/openpgp/ed25519.asc");
    Keyring::parse("fixture", armored).expect("the fixture is a certificate")
});

fuzz_target!(|bytes: &[u8]| {
    let _ = Trust { keyring: &KEYRING, pins: &[], now: Timestamp::now() }.cleartext("fuzz", bytes);
    let _ = Keyring::parse("fuzz", bytes);
});
