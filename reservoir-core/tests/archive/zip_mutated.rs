//! Whatever is accepted, Python reads with the same content; whatever the bytes, nothing panics.

use std::fmt::Write as _;

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng},
};
use reservoir_core::{
    archive::Limits,
    testing::archives::{ZipBuilder, ZipMember},
};

use crate::{
    support::{listing, python},
    zip,
};

const LIMITS: Limits =
    Limits { entries: 100, name: 4096, expanded: 1 << 20, ratio: 200, member: 1 << 20, headers: 1 << 16 };

fn bases() -> Vec<Vec<u8>> {
    let text = b"some text that repeats, some text that repeats";
    vec![
        ZipBuilder::new().file("a/b", text).file("c", b"2").finish(),
        ZipBuilder::new().member(&ZipMember::deflated("a", text).streamed()).comment(b"hello").finish(),
        ZipBuilder::new().member(&ZipMember::stored("a", text).zip64()).zip64().finish(),
        ZipBuilder::new()
            .member(&ZipMember::directory("d/"))
            .member(&ZipMember::stored("d/e", text))
            .finish(),
    ]
}

/// Changes, removes, repeats or inserts bytes, as the dice fall.
fn mutate(rng: &mut TestRng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.next_u32() % 3 {
        let at = rng.next_u32() as usize % bytes.len();
        match rng.next_u32() % 8 {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, rng.next_u32() as u8),
            2 => drop(bytes.remove(at)),
            3 => {
                let end = (at + 40).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            4 | 5 => bytes[at] ^= 1 << (rng.next_u32() % 8),
            _ => bytes[at] = [0, 1, 8, 0xff, b'P', b'.', b'/', b'A'][rng.next_u32() as usize % 8],
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

#[test]
fn python_agrees_with_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let (mut list, mut expected, mut accepted) = (String::new(), String::new(), 0);
    for round in 0..6000 {
        let mut bytes = bases().swap_remove(round % 4);
        mutate(&mut rng, &mut bytes);
        if let Ok(collected) = zip(&bytes, &LIMITS) {
            std::fs::write(folder.path().join(round.to_string()), &bytes).unwrap();
            writeln!(list, "{round}").unwrap();
            write!(expected, "# {round}\n{}", listing(&collected)).unwrap();
            accepted += 1;
        }
    }
    assert!(accepted > 100, "only {accepted} survived; the comparison says little");
    let script = r"
import hashlib, sys, zipfile
for line in sys.stdin:
    print('#', line.strip())
    with zipfile.ZipFile(line.strip()) as z:
        assert z.testzip() is None
        names = [n for n in z.namelist() if not n.endswith('/')]
        for name in sorted(names, key=str.encode):
            print(name, hashlib.sha256(z.read(name)).hexdigest(), sep='\t')
";
    assert_eq!(python(script, folder.path(), &list), expected);
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = zip(&bytes, &LIMITS);
    }

    /// Random bytes behind a good end get past the first checks.
    #[test]
    fn any_directory_is_read_or_refused(body: Vec<u8>, directory: Vec<u8>, count in 0_u8..3) {
        let (offset, size) = ((body.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
        let bytes = ZipBuilder::new()
            .raw(&body)
            .before_end(&[b"PK\x01\x02", &*directory].concat())
            .end(8, &[count, 0, count, 0])
            .end(12, &(u32::from_le_bytes(size) + 4).to_le_bytes())
            .end(16, &offset)
            .finish();
        let _ = zip(&bytes, &LIMITS);
    }

    #[test]
    fn what_is_written_is_read(contents in proptest::collection::btree_map("[a-z]{1,20}", any::<Vec<u8>>(), 0..8)) {
        let mut builder = ZipBuilder::new();
        for (number, (name, content)) in contents.iter().enumerate() {
            builder = builder.member(&match number % 4 {
                0 => ZipMember::deflated(name, content),
                1 => ZipMember::deflated(name, content).streamed(),
                2 => ZipMember::zstd(name, content),
                _ => ZipMember::stored(name, content).zip64(),
            });
        }
        let collected = zip(&builder.finish(), &LIMITS).unwrap();
        let found: std::collections::BTreeMap<_, _> =
            collected.kept.into_iter().map(|(name, bytes)| (name, bytes.to_vec())).collect();
        prop_assert_eq!(found, contents);
    }
}
