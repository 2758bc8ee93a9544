//! Bytes from nobody knows where: an error, or exactly what we would have written.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::snapshot::page::Page;

fn valid_page() -> Vec<u8> {
    let mut bytes = b"{\"kind\":\"page\",\"version\":\"1\"}\n".to_vec();
    for number in 0..12 {
        entry(&numbered_path(number), number).encode(&mut bytes).unwrap();
        bytes.push(b'\n');
    }
    bytes
}

fn valid_root() -> Vec<u8> {
    let page = |first: &str, last: &str| root::PageRef {
        bytes: 10,
        entries: 2,
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
        sha256: Sha256Digest::of(first.as_bytes()),
    };
    Root::new(vec![page("a", "b"), page("c\"", "d")]).unwrap().encode().unwrap()
}

fn check_page(bytes: Vec<u8>) -> bool {
    let bytes = Bytes::from(bytes);
    let Ok(page) = Page::decode(bytes.clone(), &Sha256Digest::of(&bytes)) else { return false };
    let mut again = b"{\"kind\":\"page\",\"version\":\"1\"}\n".to_vec();
    for index in 0..page.len() {
        page.entry(index).unwrap().encode(&mut again).unwrap();
        again.push(b'\n');
    }
    assert_eq!(again, bytes);
    true
}

fn check_root(bytes: &[u8]) -> bool {
    let Ok(root) = Root::decode(bytes, &Sha256Digest::of(bytes)) else { return false };
    assert_eq!(root.encode().unwrap(), bytes);
    true
}

#[test]
fn valid_ones_are_accepted() {
    assert!(check_page(valid_page()));
    assert!(check_root(&valid_root()));
}

#[test]
fn truncation_is_seen_at_every_byte() {
    let page = valid_page();
    for end in 0..page.len() {
        // A page cut between two lines is whole by itself; its root tells.
        let whole = end > 31 && page[end - 1] == b'\n';
        assert_eq!(check_page(page[..end].to_vec()), whole, "{end}");
    }
    let root = valid_root();
    assert!((0..root.len()).all(|end| !check_root(&root[..end])));
}

#[test]
fn entries_have_one_spelling() {
    let page = String::from_utf8(valid_page()).unwrap();
    for (from, to) in [
        ("\"size\":1}", "\"size\": 1}"),
        ("\"size\":1}", "\"size\":01}"),
        ("\"size\":1}", "\"size\":1.0}"),
        ("\"size\":1}", "\"size\":1,\"size\":1}"),
        ("\"size\":1}", "\"size\":1,\"unknown\":1}"),
        ("packages/00", "packages\\/00"),
        ("packages/00", "\\u0070ackages/00"),
        ("\"blake3\":\"", "\"artifact\":null,\"blake3\":\""),
        ("{\"by\":[", "{\"by\":0,\"by\":["),
        ("\"1\"}\n", "\"1\"}\n\n"),
        ("\"1\"}\n", "\"1\"} \n"),
    ] {
        let changed = page.replacen(from, to, 1);
        assert_ne!(changed, page, "{from}");
        assert!(!check_page(changed.into_bytes()), "{to}");
    }
}

proptest! {
    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check_root(&bytes);
        check_page(bytes);
    }

    #[test]
    fn mutated_bytes(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        tail in "[ -~\n]{0,30}",
    ) {
        for (valid, is_page) in [(valid_page(), true), (valid_root(), false)] {
            let mut bytes = valid;
            for (index, byte) in &flips {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.extend_from_slice(tail.as_bytes());
            if is_page { check_page(bytes) } else { check_root(&bytes) };
        }
    }

    #[test]
    fn shuffled_lines(lines in Just((0..12).collect::<Vec<usize>>()).prop_shuffle()) {
        let page = valid_page();
        let mut parts = page.split_inclusive(|byte| *byte == b'\n');
        let header = parts.next().unwrap().to_vec();
        let body: Vec<_> = parts.collect();
        let shuffled = lines.iter().fold(header, |bytes, line| [&bytes[..], body[*line]].concat());
        prop_assert_eq!(check_page(shuffled), lines.is_sorted());
    }
}
