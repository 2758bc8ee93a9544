//! Packages that lie: about their sizes, their names, what is in them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{collections::BTreeMap, time::Instant};

use proptest::prelude::*;
use reservoir_apt::Apt;
use reservoir_core::{
    Error, Result,
    archive::Compression,
    ecosystem::{Ecosystem as _, Inspection, PulledFile},
    store::BlobSink,
    testing::memory::MemoryStore,
};
use serde_json::{Value, json};

use self::support::{archive::compress, deb::Deb};

fn inspect_as(
    artifact: &str,
    revision: &str,
    path: &str,
    attributes: Value,
    bytes: Vec<u8>,
) -> Result<Inspection> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = MemoryStore::new();
        let blob = BlobSink::put_bytes(&store, bytes.into()).await.unwrap();
        let attributes: BTreeMap<String, Value> = serde_json::from_value(attributes).unwrap();
        let file = PulledFile {
            artifact: &artifact.parse().unwrap(),
            revision: &revision.parse().unwrap(),
            path: &path.parse().unwrap(),
            attributes: &attributes,
            blob: &blob,
            store: &store,
        };
        Apt.inspect(&file).await
    })
}

fn inspect(bytes: Vec<u8>) -> Result<Inspection> {
    inspect_as("hello", "1:1.0-1:amd64", "pool/hello_1.0-1_amd64.deb", json!({}), bytes)
}

fn rule(outcome: Result<Inspection>) -> String {
    match outcome {
        Err(Error::Malformed { rule, .. }) => rule.to_owned(),
        Err(Error::LimitExceeded { .. }) => "limit".to_owned(),
        other => panic!("{other:?}"),
    }
}

const CONTROL: &str =
    "Package: hello\nVersion: 1:1.0-1\nArchitecture: amd64\nDepends: libc6 (>= 2.36), a | b\n";

/// One member of a TAR: name, type, link target, bytes.
type Entry<'a> = (&'a str, u8, &'a str, &'a [u8]);

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, target, bytes) in entries {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[156] = *kind;
        header[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header[257..265].copy_from_slice(b"ustar  \0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn ar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        out.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes(),
        );
        out.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

fn version() -> (&'static str, Vec<u8>) {
    ("debian-binary", b"2.0\n".to_vec())
}

fn control() -> (&'static str, Vec<u8>) {
    ("control.tar", tar(&[("./", b'5', "", b""), ("./control", b'0', "", CONTROL.as_bytes())]))
}

fn data() -> (&'static str, Vec<u8>) {
    (
        "data.tar",
        tar(&[("./", b'5', "", b""), ("./usr/", b'5', "", b""), ("./usr/hello", b'0', "", b"hello")]),
    )
}

fn with_data(entries: &[Entry<'_>]) -> Vec<u8> {
    ar(&[version(), control(), ("data.tar", tar(entries))])
}

#[test]
fn a_good_package_is_read() {
    let found = inspect(ar(&[version(), control(), data()])).unwrap();
    assert_eq!(found.attributes["control"], CONTROL.trim_end());
    assert_eq!(found.requirements, ["Depends: libc6 (>= 2.36), a | b"]);
    let listed = json!({ "stanzas": { "stable/main": CONTROL.trim_end() } });
    let found =
        inspect_as("hello", "1:1.0-1:amd64", "a.deb", listed, ar(&[version(), control(), data()])).unwrap();
    assert!(found.attributes.is_empty(), "the index has it: {found:?}");
    let made = Deb::new("hello", "1:1.0-1", "amd64").build();
    assert!(inspect(made).is_ok());
}

#[test]
fn every_compression_of_both_parts_is_read() {
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let name = |part: &str| format!("{part}.tar.{}", compression.extension());
        let (control_name, data_name) = (name("control"), name("data"));
        let bytes = ar(&[
            version(),
            (&control_name, compress(compression, &control().1)),
            (&data_name, compress(compression, &data().1)),
            ("_gpgorigin", b"x".to_vec()),
        ]);
        inspect(bytes).unwrap_or_else(|error| panic!("{compression:?}: {error}"));
    }
    for compression in [Compression::Bzip2, Compression::Lzma] {
        let name = format!("data.tar.{}", compression.extension());
        let bytes = ar(&[version(), control(), (&name, compress(compression, &data().1))]);
        inspect(bytes).unwrap_or_else(|error| panic!("{compression:?}: {error}"));
    }
}

#[test]
fn archives_that_are_ambiguous_are_refused() {
    let good = ar(&[version(), control(), data()]);
    let patched = |at: usize, bytes: &[u8]| {
        let mut patched = good.clone();
        patched[at..at + bytes.len()].copy_from_slice(bytes);
        patched
    };
    for (bytes, expected) in [
        (Vec::new(), "ar-magic"),
        (b"!<arch>\n".to_vec(), "deb-members"),
        (patched(0, b"!<thin>\n"), "ar-magic"),
        (patched(8, b"#1/20           "), "ar-name"),
        (patched(8, b"//              "), "ar-name"),
        (patched(8, b"/12             "), "ar-name"),
        (patched(8 + 48, b"0x4       "), "ar-size"),
        (patched(8 + 48, b"-4        "), "ar-size"),
        (patched(8 + 48, b"9999999999"), "ar-size"),
        (patched(8 + 48, b"          "), "ar-size"),
        (patched(8 + 58, b"\n`"), "ar-header"),
        (patched(8 + 16, b"yesterday"), "ar-header"),
        (good[..good.len() - 600].to_vec(), "ar-size"),
        ([good.clone(), b"junk".to_vec()].concat(), "ar-truncated"),
        (ar(&[control(), version(), data()]), "deb-members"),
        (ar(&[version(), data(), control()]), "deb-members"),
        (ar(&[version(), control()]), "deb-members"),
        (ar(&[version(), control(), data(), data()]), "deb-members"),
        (ar(&[version(), control(), data(), ("_x", Vec::new()), ("_x", Vec::new())]), "ar-duplicate"),
        (ar(&[version(), control(), data(), ("extra", Vec::new())]), "deb-members"),
        (ar(&[("debian-binary", b"3.0\n".to_vec()), control(), data()]), "deb-version"),
        (ar(&[version(), ("control.tar.bz2", control().1), data()]), "deb-compression"),
    ] {
        assert_eq!(rule(inspect(bytes)), expected);
    }
}

#[test]
fn the_control_file_must_say_what_the_index_says() {
    let with = |text: &str, kind: u8, target: &str| {
        let control = tar(&[("./control", kind, target, if kind == b'0' { text.as_bytes() } else { b"" })]);
        ar(&[version(), ("control.tar", control), data()])
    };
    assert_eq!(rule(inspect(with(&CONTROL.replace("hello", "other"), b'0', ""))), "deb-control");
    assert_eq!(rule(inspect(with(&CONTROL.replace("1:1.0-1", "1.0-1"), b'0', ""))), "deb-control");
    assert_eq!(rule(inspect(with(&CONTROL.replace("amd64", "all"), b'0', ""))), "deb-control");
    assert_eq!(rule(inspect(with(&format!("{CONTROL}package: hello\n"), b'0', ""))), "control-duplicate");
    assert_eq!(rule(inspect(with("", b'2', "/etc/passwd"))), "tar-link-escape");
    assert_eq!(rule(inspect(with("", b'2', "other"))), "deb-control");
    let twice = tar(&[("./control", b'0', "", CONTROL.as_bytes()), ("control", b'0', "", b"Package: x\n")]);
    assert_eq!(rule(inspect(ar(&[version(), ("control.tar", twice), data()]))), "tar-duplicate-entry");
}

#[test]
fn paths_that_lead_elsewhere_are_refused_and_those_of_systems_are_not() {
    for (entries, expected) in [
        (vec![("../etc/passwd", b'0', "", b"x".as_slice())], "tar-name-parent"),
        (vec![("./a/../../etc/passwd", b'0', "", b"x")], "tar-name-parent"),
        (vec![("/etc/passwd", b'0', "", b"x")], "tar-name-absolute"),
        (vec![("./a", b'2', "/etc", b""), ("./a/passwd", b'0', "", b"x")], "tar-through-link"),
        (vec![("./a", b'0', "", b"x"), ("./a", b'0', "", b"y")], "tar-duplicate-entry"),
        (vec![("./dev/sda", b'4', "", b"")], "tar-special-file"),
        (vec![("./a", b'1', "/etc/passwd", b"")], "tar-hardlink-target"),
        (vec![("./a\u{7}", b'0', "", b"x")], "tar-name-control"),
    ] {
        assert_eq!(rule(inspect(with_data(&entries))), expected);
    }
    inspect(with_data(&[
        ("./a", b'2', "/etc/alternatives/a", b""),
        ("./b", b'2', "../../b", b""),
        ("./system\\x2dslice", b'0', "", b"x"),
        ("./Readme", b'0', "", b"x"),
        ("./README", b'0', "", b"x"),
    ]))
    .unwrap();
}

#[test]
fn bombs_are_refused_in_bounded_time() {
    let start = Instant::now();
    let zeros = vec![0; 64 << 20];
    for compression in [Compression::Zstd, Compression::Xz, Compression::Gzip] {
        let name = format!("control.tar.{}", compression.extension());
        let bytes = ar(&[version(), (&name, compress(compression, &zeros)), data()]);
        // Zero blocks are an empty archive; more of them than there may be are a bomb.
        assert_eq!(rule(inspect(bytes)), "limit");
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn mutated_packages_are_read_or_refused(edits in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let mut bytes = ar(&[version(), control(), data()]);
        for (at, byte) in edits {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let _ = inspect(bytes);
    }
}
