//! What a whole suite costs: the first time, when little changed, and when nothing did.
//!
//! `RESERVOIR_SCALE=60000 cargo nextest run --release --test scale --no-capture` prints figures for a real size.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{fmt::Write as _, time::Instant};

use reservoir_core::{archive::Compression, digest::Sha256Digest};
use serde_json::json;

use self::support::archive::{SuiteFiles, World};

fn stanza(number: usize, version: usize) -> String {
    let name = format!("package-{number:06}");
    let digest = Sha256Digest::of(format!("{name} {version}").as_bytes());
    let mut text = format!(
        "Package: {name}\nVersion: {version}.0-1\nInstalled-Size: 1234\nMaintainer: Debian Example <example@example.com>\n\
         Architecture: amd64\nDepends: libc6 (>= 2.36), libgcc-s1 (>= 3.0), package-{:06}\nSection: libs\n\
         Priority: optional\nFilename: pool/main/p/{name}/{name}_{version}.0-1_amd64.deb\nSize: 123456\n\
         Description: a package of the tests\nHomepage: https://example.com/{name}\n",
        number / 2
    );
    for line in 0..5 {
        writeln!(text, "Tag: role::program, implemented-in::c, interface::commandline {line}").unwrap();
        text = text.replace("\nTag:", &format!("\nX-Tag-{line}:"));
    }
    format!(
        "{text}Description-md5: 0123456789abcdef0123456789abcdef\nMD5sum: 0123456789abcdef0123456789abcdef\nSHA256: {digest}"
    )
}

fn index(count: usize, changed: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        // Changes are spread over the whole.
        let version = if changed > 0 && number % (count / changed) == 0 { 2 } else { 1 };
        text += &stanza(number, version);
        text += "\n\n";
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn recording_a_suite_again_records_what_changed() {
    let count: usize =
        std::env::var("RESERVOIR_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let world = World::new(json!({ "packages": ["package-000000"] })).await;
    let serve = |hours, changed| {
        let text = index(count, changed);
        world.suite(&SuiteFiles::new("stable", hours).index(
            "main/binary-amd64/Packages",
            &text,
            Compression::Zstd,
        ));
    };
    let scan = async |what: &str| {
        let start = Instant::now();
        let report = world.scan().await;
        let took = start.elapsed();
        // How long it takes is for whoever runs this with a large RESERVOIR_SCALE to read.
        eprintln!("{what}: {took:?}, {} new files", report.new_files);
        assert!(report.alarms.is_empty(), "{report:#?}");
        report
    };
    serve(-10, 0);
    let report = scan("first").await;
    assert_eq!(report.new_files as usize, count + 1);
    serve(-9, 0);
    // The Release is another one; none of its packages is.
    assert_eq!(scan("the same packages again").await.new_files, 1);
    serve(-8, count / 100);
    let report = scan("one in a hundred changed").await;
    assert_eq!(report.new_files as usize, count / 100 + 1);
    assert_eq!(scan("the same Release").await.new_files, 0);
}
