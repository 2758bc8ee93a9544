//! Each archive breaks one rule.

use reservoir_core::{
    archive::{Compression, Limits},
    testing::archives::{TarBuilder, TarHeader, gzip},
};

use crate::{
    support::{refuse_all, rule},
    tar,
};

fn refused(cases: &[(&str, Vec<u8>)]) {
    refuse_all(cases, |bytes| tar(bytes, Compression::None, &Limits::default()));
}

fn named(name: impl AsRef<[u8]>) -> Vec<u8> {
    one(&TarHeader::new(b'0', name))
}

fn one(header: &TarHeader) -> Vec<u8> {
    TarBuilder::new().entry(header, b"").finish()
}

fn pax(path: &str) -> Vec<u8> {
    TarBuilder::new().pax(b'x', &[("path", path)]).file("a", b"1").finish()
}

fn link(name: &str, target: &str) -> Vec<u8> {
    TarBuilder::new().link(b'2', name, target).finish()
}

#[test]
fn names() {
    refused(&[
        ("tar-name-empty", named("")),
        ("tar-name-parent", named("../a")),
        ("tar-name-parent", named("a/../../b")),
        ("tar-name-parent", named("./../a")),
        ("tar-name-parent", pax("../a")),
        ("tar-name-parent", TarBuilder::new().long(b'L', "../a").file("a", b"1").finish()),
        ("tar-name-parent", one(&TarHeader::new(b'0', "a").field(345, b".."))),
        ("tar-name-absolute", named("/a")),
        ("tar-name-absolute", pax("/a")),
        ("tar-name-absolute", named("C:/a")),
        ("tar-name-absolute", one(&TarHeader::new(b'0', "a").field(345, b"/"))),
        ("tar-name-backslash", named("a\\b")),
        ("tar-name-component", named("a//b")),
        ("tar-name-component", named("a/./b")),
        ("tar-name-component", named("././a")),
        ("tar-name-control", named("a\nb")),
        ("tar-name-control", pax("a\0b")),
        ("tar-name-control", named("a\u{202e}b")),
        ("tar-name-encoding", named(b"a\xff")),
        ("tar-name-long", pax(&"x".repeat(256))),
        ("tar-name-long", pax(&("x/".repeat(2048) + "x"))),
        ("tar-name-long", TarBuilder::new().long(b'L', &"x/".repeat(2049)).file("a", b"1").finish()),
        ("tar-duplicate-entry", TarBuilder::new().file("a", b"1").file("a", b"2").finish()),
        ("tar-duplicate-entry", TarBuilder::new().file("a", b"1").file("./a", b"2").finish()),
        ("tar-duplicate-entry", TarBuilder::new().file("a", b"1").directory("a/").finish()),
        ("tar-duplicate-entry", TarBuilder::new().directory("a").file("a", b"1").finish()),
        ("tar-file-as-folder", TarBuilder::new().file("a", b"1").file("a/b", b"2").finish()),
        ("tar-file-as-folder", TarBuilder::new().file("a/b", b"1").file("a", b"2").finish()),
        ("tar-directory-kind", named("a/")),
        ("tar-directory-kind", one(&TarHeader::new(0, "a/"))),
    ]);
}

#[test]
fn links() {
    let through = TarBuilder::new().link(b'2', "a", "b").file("a/c", b"1").finish();
    refused(&[
        ("tar-link-escape", link("a", "..")),
        ("tar-link-escape", link("a/b", "../../c")),
        ("tar-link-escape", link("a", "/etc/passwd")),
        ("tar-link-escape", link("a", "b/../../c")),
        ("tar-link-escape", link("a", "")),
        ("tar-link-escape", link("a", "C:\\b")),
        (
            "tar-link-escape",
            TarBuilder::new().pax(b'x', &[("linkpath", "../x")]).link(b'2', "a", "b").finish(),
        ),
        ("tar-link-escape", TarBuilder::new().long(b'K', "../x").link(b'2', "a", "b").finish()),
        ("tar-through-link", through),
        ("tar-file-as-folder", TarBuilder::new().file("a/c", b"1").link(b'2', "a", "b").finish()),
        ("tar-duplicate-entry", TarBuilder::new().link(b'2', "a", "b").file("a", b"1").finish()),
        ("tar-directory-kind", link("a/", "b")),
        ("tar-hardlink-target", TarBuilder::new().link(b'1', "a", "b").finish()),
        ("tar-hardlink-target", TarBuilder::new().link(b'1', "a", "/etc/passwd").finish()),
        ("tar-hardlink-target", TarBuilder::new().link(b'1', "a", "../b").finish()),
        ("tar-hardlink-target", TarBuilder::new().link(b'2', "b", "c").link(b'1', "a", "b").finish()),
        ("tar-size", TarBuilder::new().entry(&TarHeader::new(b'2', "a").link("b").size(1), b"1").finish()),
    ]);
}

#[test]
fn kinds() {
    let hard = TarHeader::new(b'1', "b").link("a").size(1);
    refused(&[
        ("tar-special-file", one(&TarHeader::new(b'3', "a"))),
        ("tar-special-file", one(&TarHeader::new(b'4', "a"))),
        ("tar-special-file", one(&TarHeader::new(b'6', "a"))),
        ("tar-sparse", one(&TarHeader::new(b'S', "a").gnu())),
        ("tar-sparse", TarBuilder::new().pax(b'x', &[("GNU.sparse.major", "1")]).file("a", b"1").finish()),
        ("tar-kind", one(&TarHeader::new(b'7', "a"))),
        ("tar-kind", one(&TarHeader::new(b'V', "a"))),
        ("tar-kind", one(&TarHeader::new(b'Z', "a"))),
        ("tar-size", TarBuilder::new().entry(&TarHeader::new(b'5', "a").size(1), b"1").finish()),
        ("tar-size", TarBuilder::new().entry(&TarHeader::new(b'5', "./").size(1), b"1").finish()),
        ("tar-size", TarBuilder::new().file("a", b"1").entry(&hard, b"1").finish()),
    ]);
}

#[test]
fn headers() {
    let mut checksum = TarBuilder::new().file("a", b"1").finish();
    checksum[0] = b'b';
    refused(&[
        ("tar-checksum", checksum),
        ("tar-checksum", vec![b'x'; 2048]),
        ("tar-magic", one(&TarHeader::new(b'0', "a").field(257, &[0; 8]))),
        ("tar-magic", one(&TarHeader::new(b'0', "a").field(263, b"01"))),
        ("tar-number", one(&TarHeader::new(b'0', "a").field(124, b"0000000000x\0"))),
        ("tar-number", one(&TarHeader::new(b'0', "a").field(124, &[0xff; 12]))),
        ("tar-number", one(&TarHeader::new(b'0', "a").field(124, b"-0000000001\0"))),
        ("tar-number", one(&TarHeader::new(b'0', "a").field(100, b"9999999\0"))),
        ("tar-gnu-prefix", one(&TarHeader::new(b'0', "a").gnu().field(345, b"evil"))),
        ("tar-gnu-prefix", one(&TarHeader::new(b'0', "a").gnu().field(400, b"evil"))),
    ]);
}

#[test]
fn pax_and_gnu_headers() {
    let member = || TarBuilder::new().file("hidden", b"hidden").unfinished();
    let desync = |size: &str, header: u64, data: &[u8]| {
        TarBuilder::new()
            .pax(b'x', &[("size", size)])
            .entry(&TarHeader::new(b'0', "a").size(header), data)
            .finish()
    };
    let records = |bytes: &[u8]| {
        let header = TarHeader::new(b'x', "p").size(bytes.len() as u64);
        TarBuilder::new().entry(&header, bytes).file("a", b"1").finish()
    };
    let long = |bytes: &[u8]| {
        let header = TarHeader::new(b'L', "l").gnu().size(bytes.len() as u64);
        TarBuilder::new().entry(&header, bytes).file("a", b"1").finish()
    };
    refused(&[
        // CVE-2025-62518: an archive within, hidden from those who heed pax, or from those who do not.
        ("tar-pax-size", desync("1024", 0, &member())),
        ("tar-pax-size", desync("0", 1024, &member())),
        ("tar-pax-size", desync("1", 2, b"ab")),
        ("tar-pax-size", desync("-1", 1, b"a")),
        ("tar-pax-size", desync("+1", 1, b"a")),
        ("tar-pax-size", desync("99999999999999999999", 1, b"a")),
        ("tar-pax-global", TarBuilder::new().pax(b'g', &[("path", "b")]).file("a", b"1").finish()),
        ("tar-pax-global", TarBuilder::new().pax(b'g', &[("size", "9")]).file("a", b"1").finish()),
        ("tar-pax-global", TarBuilder::new().pax(b'g', &[("linkpath", "b")]).file("a", b"1").finish()),
        ("tar-pax-duplicate", TarBuilder::new().pax(b'x', &[("path", "b"), ("path", "c")]).finish()),
        ("tar-pax-charset", TarBuilder::new().pax(b'x', &[("hdrcharset", "BINARY")]).finish()),
        ("tar-pax-record", records(b"9 path=ab\n")),
        ("tar-pax-record", records(b"99 path=ab\n")),
        ("tar-pax-record", records(b"path=ab\n")),
        ("tar-pax-record", records(b"010 path=a\n")),
        ("tar-pax-record", records(b"9 path a\n")),
        ("tar-pax-record", records(b"9 path=a\0\0")),
        ("tar-pax-record", records(b"18446744073709551616 a=b\n")),
        ("tar-name-encoding", records(b"10 path=\xff\n")),
        ("tar-header-twice", TarBuilder::new().pax(b'x', &[]).pax(b'x', &[]).file("a", b"1").finish()),
        ("tar-header-twice", TarBuilder::new().long(b'L', "b").long(b'L', "c").file("a", b"1").finish()),
        ("tar-header-twice", TarBuilder::new().long(b'K', "b").long(b'K', "c").file("a", b"1").finish()),
        ("tar-header-mix", TarBuilder::new().pax(b'x', &[("path", "b")]).long(b'L', "c").finish()),
        ("tar-header-mix", TarBuilder::new().long(b'L', "c").pax(b'x', &[("path", "b")]).finish()),
        ("tar-header-mix", TarBuilder::new().pax(b'x', &[]).pax(b'g', &[]).file("a", b"1").finish()),
        ("tar-dangling-header", TarBuilder::new().pax(b'x', &[("path", "b")]).finish()),
        ("tar-dangling-header", TarBuilder::new().long(b'L', "b").finish()),
        ("tar-long-name", long(b"\0")),
        ("tar-long-name", long(b"name")),
        ("tar-long-name", long(b"name\0more\0")),
        ("limit", TarBuilder::new().entry(&TarHeader::new(b'x', "p").size((1 << 20) + 1), b"").finish()),
        ("limit", TarBuilder::new().entry(&TarHeader::new(b'L', "p").size(1 << 33), b"").finish()),
    ]);
}

#[test]
fn ends() {
    let good = TarBuilder::new().file("a", b"1");
    let file = TarHeader::new(b'0', "a").size(600);
    refused(&[
        ("tar-no-end", Vec::new()),
        ("tar-no-end", good.clone().unfinished()),
        ("tar-no-end", good.clone().raw(&[0; 512]).unfinished()),
        ("tar-truncated", good.clone().raw(&[0; 100]).unfinished()),
        ("tar-truncated", TarBuilder::new().entry(&file, b"").unfinished()),
        ("tar-truncated", TarBuilder::new().raw(&file.bytes()).raw(&[1; 600]).unfinished()),
        ("tar-lone-zero-block", good.clone().raw(&[0; 512]).file("b", b"2").finish()),
        ("tar-trailing-data", good.clone().raw(&[0; 1024]).file("b", b"2").finish()),
        ("tar-trailing-data", good.clone().raw(&[0; 9999]).raw(b"x").unfinished()),
    ]);
}

#[test]
fn gzip_layers() {
    let plain = TarBuilder::new().file("a", b"1").finish();
    let whole = gzip(&plain);
    let split = [gzip(&plain[..512]), gzip(&plain[512..])].concat();
    let mut checksum = whole.clone();
    let last = checksum.len() - 8;
    checksum[last] ^= 1;
    let cases = [
        ("gzip-many-members", [&*whole, &*gzip(b"")].concat()),
        ("gzip-trailing-data", [&*whole, b"garbage"].concat()),
        ("gzip-trailing-data", [&*whole, &[0; 8]].concat()),
        ("gzip-truncated", whole[..whole.len() - 1].to_vec()),
        ("gzip-truncated", whole[..20].to_vec()),
        ("gzip-truncated", Vec::new()),
        ("gzip-data", checksum),
        ("gzip-data", plain.clone()),
        // A reader that stops after the first member sees an archive that is cut short.
        ("tar-truncated", split),
    ];
    refuse_all(&cases, |bytes| tar(bytes, Compression::Gzip, &Limits::default()));
}

#[test]
fn bombs() {
    let limits = Limits { entries: 3, member: 1 << 19, headers: 1 << 10, ..Limits::default() };
    let many = |count: usize| (0..count).fold(TarBuilder::new(), |tar, n| tar.file(&format!("{n}"), b"1"));
    tar(&many(3).finish(), Compression::None, &limits).unwrap();
    refuse_all(
        &[
            ("limit", many(4).finish()),
            ("limit", (0..4).fold(TarBuilder::new(), |tar, _| tar.pax(b'g', &[])).finish()),
            ("limit", (0..4).fold(TarBuilder::new(), |tar, _| tar.directory("a")).finish()),
            ("limit", (0..4).fold(TarBuilder::new(), |tar, _| tar.directory("./")).finish()),
            ("limit", TarBuilder::new().entry(&TarHeader::new(b'0', "a").size((1 << 19) + 1), b"").finish()),
            ("limit", pax("x/".repeat(1000).trim_end_matches('/'))),
        ],
        |bytes| tar(bytes, Compression::None, &limits),
    );
    let zeros = TarBuilder::new().file("a", &vec![0; 64 << 20]).finish();
    assert_eq!(rule(tar(&gzip(&zeros), Compression::Gzip, &Limits::default())), "limit");
    // The end may be long, but not without limit.
    let end = TarBuilder::new().raw(&vec![0; 64 << 20]).finish();
    assert_eq!(rule(tar(&gzip(&end), Compression::Gzip, &Limits::default())), "limit");
}
