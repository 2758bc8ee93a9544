//! What is written for apt, byte for byte, and what a publish writes anew.

mod support;

use reservoir_core::{ErrorKind, digest::Sha256Digest, snapshot::Edit};
use serde_json::json;
use support::{
    deb::Deb,
    site::{Site, config, plain},
};

const PACKAGES: &str = "dists/bookworm/main/binary-amd64/Packages.gz";

fn debian() -> serde_json::Value {
    json!({
        "origin": "Debian", "label": "Debian", "suite": "stable", "version": "12.11", "codename": "bookworm",
        "date": "Sat, 21 Nov 2026 10:00:00 UTC", "valid-until": "Sun, 22 Nov 2026 10:00:00 UTC",
        "acquire-by-hash": "no", "components": "main updates/contrib", "architectures": "all amd64 arm64",
        "not-in-a-release": "x", "notautomatic": "yes", "butautomaticupgrades": "yes",
        "description": "Debian 12.11 Released 17 May 2026",
    })
}

fn some(site: &Site) -> Vec<Edit> {
    vec![
        site.upstream("bookworm", "20261120T100000Z", json!({ "origin": "older" })),
        site.upstream("bookworm", "20261121T100000Z", debian()),
        site.package(&Deb::new("jq", "1.6-2.1", "amd64").field("Phased-Update-Percentage", "10")),
        site.package(&Deb::new("hello", "2.10-3", "amd64").field("X-Odd_Field", "kept: as it is")),
        site.package(&Deb::new("common", "1.0", "all")),
        site.package(&Deb::new("foreign", "1.0", "arm64")),
    ]
}

#[tokio::test]
async fn a_release_lists_plain_names_and_has_upstreams_fields() {
    let mut site = Site::new(plain());
    let edits = some(&site);
    site.publish(edits).await;
    insta::assert_snapshot!("release", site.text("dists/bookworm/Release").await);
    insta::assert_snapshot!("packages", site.text(PACKAGES).await);
    let clear = site.text("dists/bookworm/InRelease").await;
    assert!(clear.starts_with("-----BEGIN PGP SIGNED MESSAGE-----\n"), "{clear}");
    assert!(clear.contains(&site.text("dists/bookworm/Release").await.replace("\n-", "\n- -")), "{clear}");
}

#[tokio::test]
async fn whatever_is_listed_is_there_and_has_its_digest() {
    let options = json!({
        "suites": ["bookworm", "bookworm-updates"], "components": ["main", "contrib"],
        "architectures": ["amd64", "arm64"], "sources": true,
    });
    let mut site = Site::new(config(options));
    let edits = some(&site);
    site.publish(edits).await;
    for suite in ["bookworm", "bookworm-updates"] {
        let release = site.text(&format!("dists/{suite}/Release")).await;
        let lines: Vec<&str> = release.lines().filter(|line| line.starts_with(' ')).collect();
        assert_eq!(
            lines.len(),
            12,
            "two components of two architectures and of sources, plain and compressed"
        );
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [digest, length, name] = words[..] else { panic!("{line}") };
            let path = format!("dists/{suite}/{name}");
            let bytes = match path.strip_suffix(".gz") {
                Some(_) => {
                    let (folder, _) = path.rsplit_once('/').unwrap();
                    let by_hash = site.published(&format!("{folder}/by-hash/SHA256/{digest}")).await;
                    assert_eq!(by_hash, site.published(&path).await, "{path}");
                    by_hash
                }
                // The plain file need not be there; its digest must hold all the same.
                None => site.text(&format!("{path}.gz")).await.into(),
            };
            assert_eq!(
                (Sha256Digest::of(&bytes).to_string(), bytes.len().to_string()),
                (digest.to_owned(), length.to_owned()),
                "{path}"
            );
        }
    }
}

/// So many that they fill several pages of the content; the names are spread over it.
fn many(site: &Site, count: usize) -> Vec<Edit> {
    (0..count).map(|index| site.package(&tiny(index, "1"))).collect()
}

fn tiny(index: usize, version: &str) -> Deb {
    let name = format!("p{:08x}-{index}", index.wrapping_mul(2_654_435_761) as u32);
    Deb { files: Vec::new(), ..Deb::new(&name, version, "amd64") }
}

#[tokio::test]
async fn history_leaves_no_trace_in_the_bytes() {
    let (mut at_once, mut step_by_step) = (Site::new(plain()), Site::new(plain()));
    let edits = many(&at_once, 4000);
    at_once.publish(edits).await;
    let edits = many(&step_by_step, 4000);
    let (first, rest) = edits.split_at(1500);
    step_by_step.publish([first, &[step_by_step.package(&Deb::new("gone", "1", "amd64"))]].concat()).await;
    step_by_step.publish(rest.to_vec()).await;
    let gone = Edit::Remove(Deb::new("gone", "1", "amd64").pool().parse().unwrap());
    step_by_step.publish(vec![gone]).await;
    assert_eq!(at_once.published(PACKAGES).await, step_by_step.published(PACKAGES).await);
    let digests = |release: String| release[release.find("SHA256:").unwrap()..].to_owned();
    assert_eq!(
        digests(at_once.text("dists/bookworm/Release").await),
        digests(step_by_step.text("dists/bookworm/Release").await)
    );
    let members = at_once.published(PACKAGES).await;
    let members = members.windows(4).filter(|bytes| *bytes == [0x1f, 0x8b, 8, 0]).count();
    assert!((3..=20).contains(&members), "{members} members: a page each");
}

#[tokio::test]
async fn what_did_not_change_is_not_written() {
    let options = json!({ "suites": ["bookworm"], "components": ["main", "contrib"] });
    let mut site = Site::new(config(options));
    let mut edits = some(&site);
    let extra = Deb::new("extra", "1", "amd64");
    edits.push(site.package_at(
        &extra,
        "pool/contrib/e/extra.deb",
        "pool/contrib/e/extra.deb",
        &["bookworm/contrib"],
    ));
    site.publish(edits).await;
    let change = site.package(&Deb::new("jq", "1.7", "amd64"));
    let mut written = site.publish(vec![change]).await;
    written.retain(|path| !path.contains("by-hash"));
    assert_eq!(
        written,
        [
            ".reservoir/members.json",
            "dists/bookworm/InRelease",
            "dists/bookworm/Release",
            "dists/bookworm/Release.gpg",
            PACKAGES
        ]
    );
    // Published again: nothing but dates and signatures.
    let written = site.publish(Vec::new()).await;
    assert_eq!(written, ["dists/bookworm/InRelease", "dists/bookworm/Release", "dists/bookworm/Release.gpg"]);
    let release = site.text("dists/bookworm/Release").await;
    assert!(release.contains("Date: Sat, 21 Nov 2026 14:00:03 UTC\n"), "{release}");
}

#[tokio::test]
async fn stanzas_are_upstreams_bytes_where_they_say_the_truth() {
    let mut site = Site::new(plain());
    let deb = Deb::new("odd", "1:1.0", "amd64");
    let bytes = deb.build();
    let sha256 = Sha256Digest::of(&bytes).to_string();
    let raw = format!(
        "Package: odd\nversion:1:1.0\nArchitecture: amd64\nFilename: ./pool/o/odd_1%3a1.0.deb\nSize:  {}\nMD5sum: ABCDEF\n\
         SHA256: {}\nDescription: häßlich\n .\n  deep\nPhased-Update-Percentage: 10\nTask: a,\n b",
        bytes.len(),
        sha256.to_uppercase(),
    );
    let stanzas = [("bookworm/main".to_owned(), raw)].into();
    let edit = site.listed(&deb, "pool/o/odd_1:1.0.deb", bytes, stanzas);
    site.publish(vec![edit]).await;
    insta::assert_snapshot!("odd", site.text(PACKAGES).await);
    site.config.options.insert("strip_phasing".into(), true.into());
    site.publish(Vec::new()).await;
    assert!(!site.text(PACKAGES).await.contains("Phased"), "another plan renders known pages anew");
}

#[tokio::test]
async fn what_clients_remember_of_a_suite_does_not_change_unless_forced() {
    let mut site = Site::new(plain());
    let edits = some(&site);
    site.publish(edits).await;
    let mut renamed = debian();
    renamed["suite"] = "oldstable".into();
    let edit = site.upstream("bookworm", "20261121T110000Z", renamed.clone());
    site.publish(vec![edit]).await;
    assert!(site.text("dists/bookworm/Release").await.contains("Suite: oldstable\n"));
    for field in ["origin", "label", "codename"] {
        let mut changed = renamed.clone();
        changed[field] = "changed".into();
        let edit = site.upstream("bookworm", "20261121T120000Z", changed);
        let error = site.try_publish(vec![edit]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("allow_release_change"), "{error}");
    }
    site.config.options.insert("allow_release_change".into(), true.into());
    let mut changed = renamed;
    changed["label"] = "changed".into();
    let edit = site.upstream("bookworm", "20261121T120000Z", changed);
    site.publish(vec![edit]).await;
    assert!(site.text("dists/bookworm/Release").await.contains("Label: changed\n"));
}

#[tokio::test]
async fn flat_suites_have_their_indexes_beside_the_packages() {
    let mut site = Site::new(config(json!({ "suites": ["/"] })));
    let deb = Deb::new("cuda", "13.0-1", "amd64");
    let edits = vec![site.package_at(&deb, "cuda.deb", "./cuda.deb", &["/"])];
    site.publish(edits).await;
    insta::assert_snapshot!("flat_release", site.text("Release").await);
    assert!(site.text("Packages.gz").await.contains("Filename: ./cuda.deb\n"));
    let paths = site.paths().await;
    assert!(paths.iter().any(|path| path.starts_with("by-hash/SHA256/")), "{paths:?}");
}

#[tokio::test]
async fn what_goes_from_the_configuration_goes_from_the_publication() {
    let mut site =
        Site::new(config(json!({ "suites": ["bookworm", "sid"], "components": ["main", "contrib"] })));
    let edits = some(&site);
    site.publish(edits).await;
    site.config = plain();
    site.publish(Vec::new()).await;
    let paths = site.paths().await;
    assert!(paths.iter().all(|path| !path.contains("sid") && !path.contains("contrib")), "{paths:?}");
}

#[tokio::test]
async fn private_files_and_writes_are_refused() {
    let mut site = Site::new(plain());
    let edits = some(&site);
    site.publish(edits).await;
    assert!(site.paths().await.contains(&".reservoir/members.json".to_owned()));
    assert_eq!(site.get(".reservoir/members.json").await.status, 404);
    assert_eq!(site.get("dists/bookworm/main/binary-amd64/Packages").await.status, 404, "never decompressed");
    let answer = site.get(PACKAGES).await;
    assert_eq!((answer.status, answer.headers.get("content-encoding")), (200, None));
}

#[tokio::test]
async fn a_verbatim_suite_is_upstreams_bytes_under_every_name() {
    let mut site = Site::new(config(json!({ "suites": ["bookworm"], "view": "verbatim" })));
    let sha512 = "0123456789abcdef".repeat(8);
    let release =
        format!("Origin: x\nSHA256:\n 00 1 main/x\nSHA512:\n {sha512} 3 main/binary-amd64/Packages.xz\n");
    let at = |revision: &str, name: &str, bytes: &str, attributes: serde_json::Value| {
        let entry = reservoir_core::snapshot::Entry {
            path: format!("upstream/debian/bookworm/{revision}/{name}").parse().unwrap(),
            blob: site.keep(bytes.to_owned()),
            artifact: Some("dists/bookworm".parse().unwrap()),
            revision: Some(revision.parse().unwrap()),
            attributes: serde_json::from_value(attributes).unwrap(),
        };
        Edit::Put(Box::new(entry))
    };
    let generation = |revision: &str, index: &str| {
        vec![
            at(
                revision,
                "InRelease",
                &format!("{release}{revision}"),
                json!({ "release": { "origin": "x" } }),
            ),
            at(
                revision,
                "main/binary-amd64/Packages.xz",
                index,
                json!({ "dists-path": "main/binary-amd64/Packages.xz" }),
            ),
            at(revision, "Contents-amd64.gz", "contents", json!({ "dists-path": "Contents-amd64.gz" })),
        ]
    };
    let edits = [generation("20261121T100000Z", "old"), generation("20261121T110000Z", "new")].concat();
    site.publish(edits).await;
    assert!(site.text("dists/bookworm/InRelease").await.ends_with("20261121T110000Z"));
    assert_eq!(site.published("dists/bookworm/main/binary-amd64/Packages.xz").await, "new");
    let digest = Sha256Digest::of(b"new");
    assert_eq!(
        site.published(&format!("dists/bookworm/main/binary-amd64/by-hash/SHA256/{digest}")).await,
        "new"
    );
    assert_eq!(
        site.published(&format!("dists/bookworm/main/binary-amd64/by-hash/SHA512/{sha512}")).await,
        "new"
    );
    assert_eq!(site.published("dists/bookworm/Contents-amd64.gz").await, "contents");
    let paths = site.paths().await;
    insta::assert_debug_snapshot!("verbatim", paths);
}
