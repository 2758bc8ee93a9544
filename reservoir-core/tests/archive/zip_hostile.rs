//! Each archive breaks one rule.

use reservoir_core::{
    archive::Limits,
    testing::archives::{ZipBuilder, ZipMember},
};

use crate::{
    support::{refuse_all, rule},
    zip,
};

fn good() -> ZipMember {
    ZipMember::deflated("a", b"content of a, content of a")
}

fn with(member: &ZipMember) -> Vec<u8> {
    ZipBuilder::new().member(member).file("z", b"last").finish()
}

fn named(name: impl AsRef<[u8]>) -> Vec<u8> {
    with(&ZipMember::deflated(name, b"content"))
}

fn both(first: &str, second: &str) -> Vec<u8> {
    ZipBuilder::new().file(first, b"1").file(second, b"2").finish()
}

fn refused(cases: &[(&str, Vec<u8>)]) {
    refuse_all(cases, |bytes| zip(bytes, &Limits::default()));
}

#[test]
fn the_base_is_accepted() {
    zip(&with(&good()), &Limits::default()).unwrap();
}

#[test]
fn names() {
    let deep = format!("a/{}", "b".repeat(256));
    let long = "a/".repeat(2048) + "b";
    refused(&[
        ("zip-name-empty", named("")),
        ("zip-name-parent", named("../a")),
        ("zip-name-parent", named("a/../../b")),
        ("zip-name-parent", with(&ZipMember::directory("../"))),
        ("zip-name-absolute", named("/etc/passwd")),
        ("zip-name-absolute", named("C:/a")),
        ("zip-name-absolute", named("c:a")),
        ("zip-name-backslash", named("a\\b")),
        ("zip-name-component", named("./a")),
        ("zip-name-component", named("a//b")),
        ("zip-name-component", with(&ZipMember::directory("a//"))),
        ("zip-name-absolute", with(&ZipMember::directory("//"))),
        ("zip-name-control", named("a\0b")),
        ("zip-name-control", named("a\nb")),
        ("zip-name-control", named("a\u{7f}")),
        ("zip-name-control", named("a\u{202e}b")),
        ("zip-name-control", named("a\u{200b}b")),
        ("zip-name-control", named("a\u{e000}b")),
        ("zip-name-control", named("a\u{378}b")),
        ("zip-name-encoding", named(b"a\xff")),
        ("zip-name-encoding", with(&ZipMember::deflated("ä", b"1").flags(0))),
        ("zip-name-long", named(deep)),
        ("zip-name-long", named(long)),
        ("zip-unicode-path", with(&good().central_extra(0x7075, b"\x01\0\0\0\0evil"))),
        ("zip-unicode-path", with(&good().local_extra(0x7075, b"\x01\0\0\0\0evil"))),
    ]);
}

#[test]
fn names_together() {
    refused(&[
        ("zip-duplicate-entry", both("a", "a")),
        ("zip-duplicate-entry", both("a/b", "a/b")),
        ("zip-name-collision", both("README", "readme")),
        ("zip-name-collision", both("\u{e9}", "e\u{301}")),
        ("zip-name-collision", both("a", "a.")),
        ("zip-name-collision", both("a", "a ")),
        ("zip-file-as-folder", both("a", "a/b")),
        ("zip-file-as-folder", both("a/b", "a")),
        ("zip-file-as-folder", both("A", "a/b")),
        (
            "zip-duplicate-entry",
            ZipBuilder::new()
                .member(&ZipMember::directory("a/"))
                .member(&ZipMember::directory("a/"))
                .finish(),
        ),
        (
            "zip-duplicate-entry",
            ZipBuilder::new().file("a", b"1").member(&ZipMember::directory("a/")).finish(),
        ),
    ]);
}

#[test]
fn headers_that_disagree() {
    refused(&[
        ("zip-local-name", with(&good().local_name("b"))),
        ("zip-local-flags", with(&good().local(6, &[2, 0]))),
        ("zip-local-method", with(&good().local(8, &[0, 0]))),
        ("zip-local-crc", with(&good().local(14, &[1, 2, 3, 4]))),
        ("zip-local-crc", with(&good().local(14, &[0; 4]))),
        ("zip-local-size", with(&good().local(18, &[1, 0, 0, 0]))),
        ("zip-local-size", with(&good().local(22, &[1, 0, 0, 0]))),
        ("zip-local-size", with(&good().local(22, &[0xff; 4]))),
        ("zip-local-size", with(&good().local_extra(1, &[9; 16]))),
        ("zip-local-header", with(&good().local(0, b"PK\x05\x05"))),
        ("zip-crc", with(&good().local(14, &[1, 2, 3, 4]).central(16, &[1, 2, 3, 4]))),
        ("zip-size", with(&good().local(22, &[1, 0, 0, 0]).central(24, &[1, 0, 0, 0]))),
        ("zip-size", with(&good().local(22, &[99, 0, 0, 0]).central(24, &[99, 0, 0, 0]))),
        ("zip-descriptor", with(&good().streamed().descriptor(&[0; 16]))),
        ("zip-descriptor", with(&good().streamed().descriptor(b"PK\x07\x08abcdabcdabcd"))),
        ("zip-overlap", ZipBuilder::new().member(&good().streamed().descriptor(&[])).finish()),
    ]);
}

#[test]
fn data() {
    refused(&[
        ("zip-compressed-size", with(&good().append(b"hidden"))),
        ("zip-compressed-size", with(&good().shorten(3))),
        ("zip-compressed-size", with(&ZipMember::zstd("a", b"content").append(b"hidden"))),
        ("zip-compressed-size", with(&ZipMember::zstd("a", b"content").append(&zstd(b"second")))),
        ("zip-compressed-size", with(&ZipMember::zstd("a", b"content").shorten(2))),
        ("zip-stored-size", with(&ZipMember::stored("a", b"content").append(b"!"))),
        ("zip-stored-descriptor", with(&ZipMember::stored("a", b"content").streamed())),
        ("zip-data", with(&ZipMember::stored("a", &[0xff; 30]).local(8, &[8, 0]).central(10, &[8, 0]))),
        ("zip-data", with(&ZipMember::stored("a", &[0xff; 30]).local(8, &[93, 0]).central(10, &[93, 0]))),
        ("zip-method", with(&good().local(8, &[12, 0]).central(10, &[12, 0]))),
        ("zip-method", with(&good().local(8, &[9, 0]).central(10, &[9, 0]))),
        ("zip-encrypted", with(&good().flags(1))),
        ("zip-encrypted", with(&good().flags(1 << 6))),
        ("zip-encrypted", with(&good().flags(1 << 13))),
        ("zip-encrypted", with(&good().central_extra(0x9901, &[0; 7]))),
        ("zip-version", with(&good().central(6, &[64]))),
        ("zip-flags", with(&good().flags(1 << 5))),
    ]);
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

#[test]
fn kinds() {
    refused(&[
        ("zip-symlink", with(&good().attributes(0o120_777 << 16))),
        ("zip-special-file", with(&good().attributes(0o010_644 << 16))),
        ("zip-special-file", with(&good().attributes(0o020_644 << 16))),
        ("zip-directory-kind", with(&good().attributes(0o040_755 << 16))),
        ("zip-directory-kind", with(&good().attributes(0x10))),
        ("zip-directory-kind", with(&ZipMember::directory("d/").attributes(0o100_644 << 16))),
        ("zip-directory-data", with(&ZipMember::stored("d/", b"data").attributes(0o040_755 << 16))),
    ]);
}

#[test]
fn layout() {
    let hidden = ZipMember::deflated("hidden", b"hidden");
    let nested = ZipBuilder::new().file("inner", b"1").finish();
    let end = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut trailing = with(&good());
    trailing.push(0);
    let mut cut = ZipBuilder::new().file("a", b"1").comment(b"comment").finish();
    cut.pop();
    refused(&[
        ("zip-prefix", ZipBuilder::new().raw(b"#!/bin/sh\n").file("a", b"1").finish()),
        ("zip-gap", ZipBuilder::new().file("a", b"1").raw(b"gap").file("b", b"2").finish()),
        ("zip-gap", ZipBuilder::new().file("a", b"1").raw(b"gap").finish()),
        ("zip-gap", ZipBuilder::new().file("a", b"1").local_only(&hidden).finish()),
        ("zip-prefix", ZipBuilder::new().local_only(&hidden).file("a", b"1").finish()),
        (
            "zip-overlap",
            ZipBuilder::new().file("a", b"1").central_only(&ZipMember::deflated("b", b"1")).finish(),
        ),
        (
            "zip-overlap",
            ZipBuilder::new().file("z", b"1").member(&good().central(42, &[5, 0, 0, 0])).finish(),
        ),
        ("zip-prefix", with(&good().central(42, &[1, 0, 0, 0]))),
        ("zip-directory-place", [b"x".to_vec(), ZipBuilder::new().finish()].concat()),
        ("zip-directory-place", [b"x".to_vec(), with(&good())].concat()),
        ("zip-directory-place", ZipBuilder::new().file("a", b"1").before_end(b"gap").finish()),
        ("zip-directory-place", ZipBuilder::new().file("a", b"1").end(16, &[0; 4]).finish()),
        ("zip-directory-place", ZipBuilder::new().file("a", b"1").end(12, &[0xff; 8]).finish()),
        ("zip-trailing-data", trailing),
        ("zip-truncated", cut),
        ("zip-no-end", Vec::new()),
        ("zip-no-end", b"PK\x05\x06".to_vec()),
        ("zip-no-end", vec![b'x'; 100_000]),
        ("zip-many-ends", ZipBuilder::new().file("a", b"1").comment(end).finish()),
        ("zip-many-ends", ZipBuilder::new().file("a", b"1").comment(&nested).finish()),
        ("zip-comment", ZipBuilder::new().file("a", b"1").comment(b"PK\x03\x04").finish()),
        ("zip-multi-disk", ZipBuilder::new().file("a", b"1").end(4, &[1, 0]).finish()),
        ("zip-multi-disk", ZipBuilder::new().file("a", b"1").end(6, &[1, 0]).finish()),
        ("zip-multi-disk", with(&good().central(34, &[1, 0]))),
        ("zip-entry-count", ZipBuilder::new().file("a", b"1").end(8, &[2, 0]).finish()),
        ("zip-entry-count", ZipBuilder::new().file("a", b"1").end(8, &[2, 0, 2, 0]).finish()),
        ("zip-entry-count", ZipBuilder::new().file("a", b"1").end(8, &[0; 4]).finish()),
        ("zip-directory", with(&good().central(0, b"PK\x01\x01"))),
        ("zip-directory", ZipBuilder::new().member(&good().central(32, &[9, 0])).finish()),
        ("zip-extra", with(&good().raw_extra(&[7, 7, 9, 0, 1]))),
        ("zip-extra", with(&good().raw_extra(&[0]))),
    ]);
}

#[test]
fn zip64() {
    let wide = || ZipBuilder::new().file("a", b"1").zip64();
    refused(&[
        ("zip64-disagrees", wide().end(8, &[2, 0, 2, 0]).finish()),
        ("zip64-disagrees", wide().end(12, &[2, 0, 0, 0]).finish()),
        ("zip64-disagrees", wide().end(16, &[2, 0, 0, 0]).finish()),
        ("zip64-extensible", wide().end64(4, &[45]).finish()),
        ("zip64-extensible", extensible()),
        ("zip64-end", wide().end64(64, &[0]).finish()),
        ("zip64-end", wide().end64(0, b"PK\x06\x05").finish()),
        ("zip-multi-disk", wide().end64(72, &[2]).finish()),
        ("zip-multi-disk", wide().end64(16, &[1]).finish()),
        ("zip-entry-count", wide().end64(24, &[2]).finish()),
        ("zip-entry-count", wide().end64(24, &[2]).end64(32, &[2]).finish()),
        ("zip-directory-place", wide().end64(48, &[1]).finish()),
        ("zip-directory-place", wide().end64(40, &[0xff; 16]).finish()),
        ("zip64-extra", with(&good().central(24, &[0xff; 4]))),
        ("zip64-extra", with(&good().central_extra(1, &[0; 8]))),
        ("zip64-extra", with(&good().zip64().central_extra(1, &[0; 8]))),
        ("zip64-extra", with(&good().local_extra(1, &[0; 8]))),
    ]);
}

/// A ZIP64 end record that has four bytes more than its fixed fields, as its size says.
fn extensible() -> Vec<u8> {
    let whole = ZipBuilder::new().file("a", b"1").zip64().finish();
    let record = whole.len() - 22 - 20 - 56;
    let mut bytes = whole[..record + 56].to_vec();
    bytes[record + 4] = 48;
    bytes.extend(b"evil");
    bytes.extend(&whole[record + 56..]);
    bytes
}

#[test]
fn bombs() {
    let limits =
        Limits { entries: 3, expanded: 1 << 20, member: 1 << 19, headers: 1 << 10, ..Limits::default() };
    let many = |count: usize| (0..count).fold(ZipBuilder::new(), |zip, n| zip.file(&format!("{n}"), b"1"));
    zip(&many(3).finish(), &limits).unwrap();
    refuse_all(
        &[
            ("limit", many(4).finish()),
            // The count lies; the directory tells.
            ("limit", many(4).end(8, &[1, 0, 1, 0]).finish()),
            ("limit", ZipBuilder::new().file("a", &vec![0; (1 << 19) + 1]).finish()),
            ("limit", many(3).file("a", &[0; 9]).finish()),
            (
                "limit",
                (0..3).fold(ZipBuilder::new(), |zip, n| zip.file(&n.to_string(), &vec![0; 1 << 19])).finish(),
            ),
            ("limit", ZipBuilder::new().file(&("x/".repeat(120) + "z"), b"").finish()),
            (
                "limit",
                ZipBuilder::new().file(&"x".repeat(255), b"").file(&("y/".repeat(400) + "z"), b"").finish(),
            ),
        ],
        |bytes| zip(bytes, &limits),
    );
    // 64 MiB of zeros in 64 KiB.
    let bomb = ZipBuilder::new().file("a", &vec![0; 64 << 20]).finish();
    assert_eq!(rule(zip(&bomb, &Limits::default())), "limit");
}
