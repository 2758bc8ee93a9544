//! What the usual writers make is read.

use reservoir_core::{
    archive::{Compression, Limits},
    testing::archives::{TarBuilder, TarHeader, gzip},
};

use crate::{
    support::{listing, python},
    tar,
};

#[track_caller]
fn holds(bytes: &[u8], expected: &[(&str, &[u8])]) {
    let plain = tar(bytes, Compression::None, &Limits::default()).unwrap();
    let found: Vec<_> = plain.kept.iter().map(|(name, bytes)| (name.as_str(), &**bytes)).collect();
    assert_eq!(found, expected);
    let packed = tar(&gzip(bytes), Compression::Gzip, &Limits::default()).unwrap();
    assert_eq!(packed.digests, plain.digests);
}

#[test]
fn files_folders_and_padding() {
    let long = b"sdist ".repeat(50_000);
    let bytes = TarBuilder::new()
        .directory("./")
        .directory("a/")
        .directory("a/")
        .file("./a/b", b"1")
        .file("a/c", &long)
        .file("a/d", &[5; 512])
        .entry(&TarHeader::new(0, "e"), b"")
        .entry(&TarHeader::new(b'0', "file").field(345, b"folder"), b"")
        .raw(&[0; 10_240])
        .finish();
    let expected: &[(&str, &[u8])] =
        &[("a/b", b"1"), ("a/c", &long), ("a/d", &[5; 512]), ("e", b""), ("folder/file", b"")];
    holds(&bytes, expected);
}

#[test]
fn long_names() {
    let name = format!("{}/end", "folder/".repeat(40).trim_end_matches('/'));
    let bytes = TarBuilder::new()
        .pax(b'g', &[("comment", "0123456789abcdef")])
        .pax(b'x', &[("path", &format!("{name}-pax")), ("mtime", "1.5"), ("size", "1")])
        .file("short", b"1")
        .long(b'L', &format!("{name}-gnu"))
        .entry(&TarHeader::new(b'0', "short").gnu().size(1), b"2")
        .finish();
    holds(&bytes, &[(&format!("{name}-gnu"), b"2"), (&format!("{name}-pax"), b"1")]);
}

#[test]
fn links() {
    let long = format!("{}/b", "a".repeat(150));
    let bytes = TarBuilder::new()
        .file("a/b", b"1")
        .link(b'1', "a/hard", "a/b")
        .link(b'1', "a/again", "a/hard")
        .link(b'2', "a/soft", "../a/b")
        .pax(b'x', &[("linkpath", &long)])
        .link(b'2', "pax", "short")
        .long(b'K', &long)
        .entry(&TarHeader::new(b'2', "gnu").gnu().link("short"), b"")
        .finish();
    let collected = tar(&bytes, Compression::None, &Limits::default()).unwrap();
    assert_eq!(collected.digests["a/again"], collected.digests["a/b"]);
    let links: Vec<_> =
        collected.links.iter().map(|(name, target)| (name.as_str(), target.as_str())).collect();
    assert_eq!(links, [("a/soft", "../a/b"), ("gnu", &long), ("pax", &long)]);
}

#[test]
fn what_python_writes() {
    let folder = tempfile::tempdir().unwrap();
    let script = r"
import hashlib, io, tarfile
contents = {'p-1/PKG-INFO': b'x' * 100_000, 'p-1/' + 'long/' * 60 + 'ö': b'', 'p-1/b': bytes(range(256)) * 999}
for name, form in [('pax', tarfile.PAX_FORMAT), ('gnu', tarfile.GNU_FORMAT)]:
    with tarfile.open(name, 'w:gz', format=form) as t:
        folder = tarfile.TarInfo('p-1'); folder.type = tarfile.DIRTYPE; t.addfile(folder)
        for path, data in contents.items():
            info = tarfile.TarInfo(path); info.size = len(data); info.mtime = 1.5 if name == 'pax' else 1
            t.addfile(info, io.BytesIO(data))
for name in sorted(contents, key=str.encode):
    print(name, hashlib.sha256(contents[name]).hexdigest(), sep='\t')
";
    let expected = python(script, folder.path(), "");
    for name in ["pax", "gnu"] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        let collected = tar(&bytes, Compression::Gzip, &Limits::default()).unwrap();
        assert_eq!(listing(&collected), expected, "{name}");
    }
}
