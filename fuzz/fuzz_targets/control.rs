//! No bytes make the reader of stanzas panic, hang or grow, and each stanza says what its lines say:
//! `cargo +nightly fuzz run control`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reservoir_apt::control::{Piece, Stanza, Stanzas};

fuzz_target!(|bytes: &[u8]| {
    let mut stanzas = Stanzas::new(bytes);
    while let Some(piece) = stanzas.next_piece().expect("memory is read without errors") {
        let Piece::Stanza(bytes) = piece else { continue };
        let Ok(stanza) = Stanza::parse(bytes) else { continue };
        for (name, value) in stanza.fields() {
            assert_eq!(stanza.get(&name.to_ascii_uppercase()), Some(value));
            assert!(stanza.text().contains(value));
        }
    }
});
