//! Stanzas: what is one, what is in it, and that nothing else passes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{self, Read};

use proptest::prelude::*;
use reservoir_apt::control::{Piece, STANZA_LIMIT, Stanza, Stanzas};
use reservoir_core::Error;

/// Gives a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len()).min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn pieces(bytes: &[u8], step: usize) -> Vec<Option<Vec<u8>>> {
    let mut stanzas = Stanzas::new(Trickle(bytes, step));
    let mut pieces = Vec::new();
    while let Some(piece) = stanzas.next_piece().unwrap() {
        pieces.push(match piece {
            Piece::Stanza(bytes) => Some(bytes.to_vec()),
            Piece::Oversized => None,
        });
    }
    pieces
}

fn rule(text: &[u8]) -> &'static str {
    match Stanza::parse(text) {
        Err(Error::Malformed { rule, .. }) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn streams_are_cut_at_empty_lines() {
    for step in [1, 2, 3, 1000] {
        for (text, expected) in [
            ("", vec![]),
            ("\n\n\n", vec![]),
            ("a: 1", vec!["a: 1"]),
            ("a: 1\n", vec!["a: 1"]),
            ("\n\na: 1\nb: 2\n\n\n\nc: 3\n\n", vec!["a: 1\nb: 2", "c: 3"]),
            // A line of white space does not end a stanza for apt.
            ("a: 1\n \nb: 2\n\nc: 3", vec!["a: 1\n \nb: 2", "c: 3"]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|text| Some(text.as_bytes().to_vec())).collect();
            assert_eq!(pieces(text.as_bytes(), step), expected, "{text:?}");
        }
    }
}

#[test]
fn a_stanza_that_is_too_long_is_passed_over_and_the_next_is_read() {
    for length in [STANZA_LIMIT + 1, 3 * STANZA_LIMIT, 40 << 20] {
        let text = format!("a: 1\n\nb: {}\n\nc: 3\n", "x".repeat(length));
        assert_eq!(pieces(text.as_bytes(), 60_000), [Some(b"a: 1".to_vec()), None, Some(b"c: 3".to_vec())]);
    }
    let text = format!("b: {}", "x".repeat(2 * STANZA_LIMIT));
    assert_eq!(pieces(text.as_bytes(), 60_000), [None]);
}

#[test]
fn fields_are_found_in_any_case_and_kept_as_they_are() {
    let text = "Package: hello\nDescription: short\n long\n .\n  more\nSHA256:abc\nEmpty:\nX-Ü: käse";
    // Names are ASCII.
    assert_eq!(rule(text.as_bytes()), "control-field-name");
    let text = text.replace("X-Ü", "X-U");
    let stanza = Stanza::parse(text.as_bytes()).unwrap();
    assert_eq!(stanza.get("package"), Some("hello"));
    assert_eq!(stanza.get("DESCRIPTION"), Some("short\n long\n .\n  more"));
    assert_eq!(stanza.get("Sha256"), Some("abc"));
    assert_eq!(stanza.get("Empty"), Some(""));
    assert_eq!(stanza.get("x-u"), Some("käse"));
    assert_eq!(stanza.get("Missing"), None);
    assert_eq!(stanza.text(), text);
    assert_eq!(&text[stanza.value_range("sha256").unwrap()], "abc");
}

#[test]
fn what_readers_disagree_on_is_refused() {
    let long = format!("a: {}", "x".repeat(STANZA_LIMIT));
    let many = (0..600).map(|number| format!("f{number}: x")).collect::<Vec<_>>().join("\n");
    for (text, expected) in [
        (b"".as_slice(), "control-empty"),
        (b"a: 1\nA: 2", "control-duplicate"),
        (b"a: 1\n \t\nb: 2", "control-blank-line"),
        (b"a: 1\n\nb: 2", "control-blank-line"),
        (b"a: 1\n# b: 2", "control-comment"),
        (b"a: 1\ngarbage", "control-line"),
        (b" a: 1", "control-line"),
        (b": 1", "control-field-name"),
        (b"a b: 1", "control-field-name"),
        (b"-a: 1", "control-field-name"),
        (b"a: 1\r\nb: 2", "control-character"),
        (b"a: 1\0", "control-character"),
        (b"a: \xff", "control-encoding"),
        (long.as_bytes(), "control-size"),
        (many.trim_end().as_bytes(), "control-fields"),
    ] {
        assert_eq!(rule(text), expected, "{:?}", String::from_utf8_lossy(&text[..text.len().min(40)]));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_cut_the_same_however_they_come(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), step in 1_usize..20) {
        prop_assert_eq!(pieces(&bytes, step), pieces(&bytes, 100_000));
    }

    #[test]
    fn whatever_is_read_says_the_same_to_a_reader_of_lines(
        text in "([A-Za-z]{1,3}:[ a-z]{0,6}\n( [a-z]{1,4}\n){0,2}){1,5}"
    ) {
        let text = text.trim_end_matches('\n');
        if let Ok(stanza) = Stanza::parse(text.as_bytes()) {
            for (name, value) in stanza.fields() {
                let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
                let found: Vec<_> = lines.iter().filter(|line| line.split(':').next() == Some(name)).collect();
                prop_assert_eq!(found.len(), 1);
                prop_assert!(text.contains(value));
            }
        }
    }
}
