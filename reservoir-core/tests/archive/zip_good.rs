//! What the usual writers make is read.

use reservoir_core::{
    Error,
    archive::{Limits, collect_zip},
    store::{Blob, StoreExt as _},
    testing::{
        archives::{ZipBuilder, ZipMember},
        memory::MemoryStore,
    },
};

use crate::{
    support::{block_on, listing, python},
    zip,
};

#[track_caller]
fn holds(bytes: &[u8], expected: &[(&str, &[u8])]) {
    let collected = zip(bytes, &Limits::default()).unwrap();
    let found: Vec<_> = collected.kept.iter().map(|(name, bytes)| (name.as_str(), &**bytes)).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_method_and_layout() {
    let long = b"wheel ".repeat(50_000);
    let bytes = ZipBuilder::new()
        .member(&ZipMember::directory("a/"))
        .member(&ZipMember::stored("a/stored", b"one"))
        .member(&ZipMember::deflated("b/deflated", &long))
        .member(&ZipMember::zstd("c/zstd", &long))
        .member(&ZipMember::deflated("d/streamed", b"four").streamed())
        .member(&ZipMember::deflated("e/ä", "fünf".as_bytes()))
        .member(&ZipMember::deflated("f/wide", b"six").zip64())
        .member(&ZipMember::stored("g/empty", b"").streamed())
        .member(&ZipMember::deflated("h/empty", b""))
        .comment(b"a comment")
        .finish();
    holds(
        &bytes,
        &[
            ("a/stored", b"one"),
            ("b/deflated", &long),
            ("c/zstd", &long),
            ("d/streamed", b"four"),
            ("e/ä", "fünf".as_bytes()),
            ("f/wide", b"six"),
            ("g/empty", b""),
            ("h/empty", b""),
        ],
    );
}

#[test]
fn zip64_end() {
    holds(&ZipBuilder::new().file("a", b"1").zip64().finish(), &[("a", b"1")]);
}

/// Python before 3.11.4 left both in the header of a file that it feared to be large.
#[test]
fn sizes_that_fit_beside_a_zip64_field() {
    let sizes: Vec<u8> = [3_u64, 3].iter().flat_map(|size| size.to_le_bytes()).collect();
    let member = ZipMember::stored("a", b"abc").local_extra(1, &sizes);
    holds(&ZipBuilder::new().member(&member).finish(), &[("a", b"abc")]);
}

#[test]
fn an_empty_archive() {
    holds(&ZipBuilder::new().finish(), &[]);
}

#[test]
fn what_python_writes() {
    let folder = tempfile::tempdir().unwrap();
    let script = r"
import hashlib, io, zipfile
class Pipe(io.RawIOBase):
    def __init__(self, out): self.out = out
    def writable(self): return True
    def write(self, data): self.out += data; return len(data)
out = bytearray()
contents = {'a/x.py': b'x' * 100_000, 'a/ö': b'', 'b': bytes(range(256)) * 999}
with zipfile.ZipFile('file.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    z.mkdir('a') if hasattr(z, 'mkdir') else None
    for name, data in contents.items(): z.writestr(name, data)
with zipfile.ZipFile(Pipe(out), 'w', zipfile.ZIP_DEFLATED) as z:
    for name, data in contents.items(): z.writestr(name, data)
open('pipe.zip', 'wb').write(out)
with zipfile.ZipFile('wide.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    for name, data in contents.items():
        with z.open(name, 'w', force_zip64=True) as f: f.write(data)
for name in sorted(contents, key=str.encode):
    print(name, hashlib.sha256(contents[name]).hexdigest(), sep='\t')
";
    let expected = python(script, folder.path(), "");
    for name in ["file.zip", "pipe.zip", "wide.zip"] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(listing(&zip(&bytes, &Limits::default()).unwrap()), expected, "{name}");
    }
}

#[test]
fn only_what_was_asked_for_is_kept_and_only_so_much() {
    let bytes = ZipBuilder::new().file("a", &[7; 1000]).file("b", &[8; 1000]).finish();
    block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(bytes.into()).await.unwrap();
        let limits = Limits::default();
        let collected = collect_zip(&store, &blob, "t", &limits, |name| name == "b", 1000).await.unwrap();
        assert_eq!(collected.digests.len(), 2);
        assert_eq!(collected.kept.keys().collect::<Vec<_>>(), ["b"]);
        let error = collect_zip(&store, &blob, "t", &limits, |_| true, 1999).await.unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    });
}

/// The store's error comes out as it is, from the tail, the directory and the data.
#[test]
fn damage_in_the_store_is_no_fault_of_the_archive() {
    let content: Vec<u8> =
        (0..50_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let bytes = ZipBuilder::new().member(&ZipMember::stored("a", &content)).finish();
    for offset in [100, bytes.len() - 1] {
        let error = block_on(async {
            let store = MemoryStore::new();
            let blob: Blob = store.put_bytes(bytes.clone().into()).await.unwrap();
            store.damage(&blob.sha256, offset);
            collect_zip(&store, &blob, "t", &Limits::default(), |_| false, 0).await.unwrap_err()
        });
        assert!(matches!(error, Error::Integrity { .. }), "{offset}: {error}");
    }
}
