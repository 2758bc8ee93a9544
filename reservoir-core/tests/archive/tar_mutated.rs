//! Whatever is accepted, Python reads with the same content; whatever the bytes, nothing panics.

use std::fmt::Write as _;

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng},
};
use reservoir_core::{
    archive::{Compression, Limits},
    testing::archives::{TarBuilder, TarHeader, gzip},
};

use crate::{
    support::{listing, python},
    tar,
};

const LIMITS: Limits =
    Limits { entries: 100, name: 4096, expanded: 1 << 20, ratio: 200, member: 1 << 20, headers: 1 << 16 };

fn bases() -> Vec<Vec<u8>> {
    vec![
        TarBuilder::new().directory("a").file("a/b", b"text").link(b'1', "c", "a/b").finish(),
        TarBuilder::new().pax(b'x', &[("path", "long"), ("size", "4")]).file("a", b"text").finish(),
        TarBuilder::new()
            .long(b'L', "folder/name")
            .entry(&TarHeader::new(b'0', "n").gnu().size(600), &[b'x'; 600])
            .finish(),
        TarBuilder::new().file("a", b"text").link(b'2', "b", "a").file("c", b"more").finish(),
    ]
}

/// Changes, removes, repeats or inserts blocks, or changes bytes and, mostly, the checksum after them.
fn mutate(rng: &mut TestRng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.next_u32() % 2 {
        let block = rng.next_u32() as usize % (bytes.len() / 512) * 512;
        let at = block + rng.next_u32() as usize % 512;
        match rng.next_u32() % 10 {
            0 => bytes.truncate((block + 512).max(at)),
            1 => drop(bytes.splice(block..block, [0; 512])),
            2 if bytes.len() > 1024 => drop(bytes.drain(block..block + 512)),
            3 => bytes.extend_from_within(block..block + 512),
            4 => bytes[at] ^= 1 << (rng.next_u32() % 8),
            _ => {
                // The fields that mean most: name, size, type, magic, prefix.
                let field = [0, 1, 124, 134, 135, 156, 157, 257, 263, 345][rng.next_u32() as usize % 10];
                bytes[block + field] =
                    [0, b'0', b'1', b'2', b'5', b'x', b'a', b'/'][rng.next_u32() as usize % 8];
                bytes[block + 148..block + 156].fill(b' ');
                let sum: u32 = bytes[block..block + 512].iter().map(|&byte| u32::from(byte)).sum();
                bytes[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        if bytes.len() < 512 {
            bytes.resize(512, 0);
        }
    }
}

#[test]
fn python_agrees_with_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let (mut list, mut expected, mut accepted) = (String::new(), String::new(), 0);
    for round in 0..6000 {
        let mut bytes = bases().swap_remove(round % 4);
        mutate(&mut rng, &mut bytes);
        if let Ok(collected) = tar(&bytes, Compression::None, &LIMITS) {
            std::fs::write(folder.path().join(round.to_string()), &bytes).unwrap();
            writeln!(list, "{round}").unwrap();
            write!(expected, "# {round}\n{}", listing(&collected)).unwrap();
            accepted += 1;
        }
    }
    assert!(accepted > 100, "only {accepted} survived; the comparison says little");
    let script = r"
import hashlib, sys, tarfile
for line in sys.stdin:
    print('#', line.strip())
    with tarfile.open(line.strip(), 'r:') as t:
        files = {}
        for m in t.getmembers():
            if m.isfile() or m.islnk():
                name = m.name[2:] if m.name.startswith('./') else m.name
                assert name not in files
                files[name] = hashlib.sha256(t.extractfile(m).read()).hexdigest()
        for name in sorted(files, key=str.encode): print(name, files[name], sep='\t')
";
    assert_eq!(python(script, folder.path(), &list), expected);
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = tar(&bytes, Compression::None, &LIMITS);
        let _ = tar(&bytes, Compression::Gzip, &LIMITS);
    }

    /// Random fields behind a good checksum get past the first check.
    #[test]
    fn any_header_is_read_or_refused(fields: Vec<(usize, u8)>, kind: u8, body: Vec<u8>) {
        let mut header = TarHeader::new(kind, "a");
        for (at, byte) in fields {
            header = header.field(at % 500, &[byte]);
        }
        let bytes = TarBuilder::new().entry(&header, &body).file("b", b"1").finish();
        let _ = tar(&bytes, Compression::None, &LIMITS);
    }

    #[test]
    fn what_is_written_is_read(contents in proptest::collection::btree_map("[a-zé]{1,40}", any::<Vec<u8>>(), 0..8)) {
        let mut builder = TarBuilder::new();
        for (number, (name, content)) in contents.iter().enumerate() {
            builder = match number % 3 {
                0 => builder.file(name, content),
                1 => builder.pax(b'x', &[("path", name)]).file("x", content),
                _ => builder.long(b'L', name).file("x", content),
            };
        }
        let collected = tar(&gzip(&builder.finish()), Compression::Gzip, &LIMITS).unwrap();
        let found: std::collections::BTreeMap<_, _> =
            collected.kept.into_iter().map(|(name, bytes)| (name, bytes.to_vec())).collect();
        prop_assert_eq!(found, contents);
    }
}
