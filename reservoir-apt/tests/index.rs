//! What is written for apt, byte for byte, and what a publish writes anew.

mod support;

use reservoir_core::{ErrorKind, digest::Sha256Digest, snapshot::Edit};
use serde_json::json;
use support::{
    deb::Deb,
    site::{Site, config, mirror, plain},
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

/// A field that appears is one that changed for apt, which compares what is absent as an empty text.
#[tokio::test]
async fn a_field_that_appears_or_goes_is_a_change() {
    for (before, after) in [(json!({}), json!({ "label": "X" })), (json!({ "label": "X" }), json!({}))] {
        let mut site = Site::new(mirror(json!({ "suites": ["bookworm"], "components": ["main"] })));
        let edit = site.upstream("bookworm", "20261121T100000Z", before);
        site.publish(vec![edit]).await;
        let edit = site.upstream("bookworm", "20261121T110000Z", after);
        let error = site.try_publish(vec![edit]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
}

/// What would be made up of a suite that no registry has signed yet would be held against what upstream says later.
#[tokio::test]
async fn a_mirror_says_nothing_of_a_suite_before_upstream_does() {
    let mut site = Site::new(mirror(json!({ "suites": ["bookworm", "sid"], "components": ["main"] })));
    let edit = site.package(&Deb::new("hello", "1", "amd64"));
    site.publish(vec![edit]).await;
    let paths = site.paths().await;
    assert!(paths.iter().all(|path| !path.starts_with("dists/")), "{paths:?}");
    // One suite is read, the other is not to be had.
    let edit = site.upstream("bookworm", "20261121T100000Z", debian());
    site.publish(vec![edit]).await;
    assert!(site.text("dists/bookworm/Release").await.contains("Origin: Debian\n"));
    assert!(site.text(PACKAGES).await.contains("Package: hello\n"));
    let edit = site.upstream("sid", "20261121T100000Z", debian());
    site.publish(vec![edit]).await;
    assert!(site.text("dists/sid/Release").await.contains("Origin: Debian\n"));
}

/// As soon as a new Release is known the one before is withdrawn, before the new one is here.
#[tokio::test]
async fn a_withdrawn_release_is_believed_until_another_is_here() {
    let mut site = Site::new(mirror(json!({ "suites": ["bookworm"], "components": ["main"] })));
    let edits = some(&site);
    site.publish(edits).await;
    let gone = json!({ "gone": { "release": debian() } });
    let edit = site.upstream_of("debian", "bookworm", "20261121T100000Z", gone);
    site.publish(vec![edit]).await;
    assert!(site.text("dists/bookworm/Release").await.contains("Origin: Debian\n"));
    assert!(site.text(PACKAGES).await.contains("Package: hello\n"));
}

/// Two archives that have a suite of one name: the first of the repository's registries signs, whoever was later.
#[tokio::test]
async fn the_first_registry_that_has_a_suite_says_what_it_is() {
    let mut config = mirror(json!({ "suites": ["bookworm"], "components": ["main"] }));
    config.registries = vec!["first".parse().unwrap(), "second".parse().unwrap()];
    let mut site = Site::new(config);
    let of = |origin: &str| json!({ "release": { "origin": origin } });
    let edits = vec![
        site.upstream_of("first", "bookworm", "20261121T100000Z", of("First")),
        site.upstream_of("second", "bookworm", "20261121T110000Z", of("Second")),
        site.upstream_of("removed", "bookworm", "20261121T120000Z", of("Removed")),
    ];
    site.publish(edits).await;
    assert!(site.text("dists/bookworm/Release").await.contains("Origin: First\n"));
    let edit = site.upstream_of("second", "bookworm", "20261121T130000Z", of("Second"));
    site.publish(vec![edit]).await;
    assert!(site.text("dists/bookworm/Release").await.contains("Origin: First\n"));
    // Who does not have it any more is not asked.
    site.config.options.insert("allow_release_change".into(), true.into());
    let gone = json!({ "gone": of("First") });
    let edit = site.upstream_of("first", "bookworm", "20261121T100000Z", gone);
    site.publish(vec![edit]).await;
    assert!(site.text("dists/bookworm/Release").await.contains("Origin: Second\n"));
}

/// apt believes the strongest digest of a stanza; nobody compared what an uploaded file says of itself.
#[tokio::test]
async fn what_an_upload_says_of_its_digests_is_left_out() {
    let mut site = Site::new(plain());
    let deb = ["MD5sum", "sha1", "SHA512", "Checksum-FileSize", "SHA256", "size", "Filename"]
        .into_iter()
        .fold(Deb::new("hello", "1", "amd64"), |deb, name| deb.field(name, "00\n 11"));
    let blob = site.keep(deb.build());
    let entry = reservoir_core::snapshot::Entry {
        path: deb.pool().parse().unwrap(),
        blob,
        artifact: Some("hello".parse().unwrap()),
        revision: Some("1:amd64".parse().unwrap()),
        attributes: [("control".to_owned(), json!(deb.control().trim_end()))].into(),
    };
    site.publish(vec![Edit::Put(Box::new(entry))]).await;
    let text = site.text(PACKAGES).await;
    assert!(!text.contains("00") && !text.contains("\n 11"), "{text}");
    let expected = format!("SHA256: {}\nsize", blob.sha256).replace("\nsize", "\n");
    assert!(text.contains(&expected) && text.contains(&format!("Size: {}\n", blob.size)), "{text}");
    assert!(text.contains(&format!("Filename: {}\n", deb.pool())), "{text}");
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
        site.signed_file(&format!("debian/bookworm/{revision}/{name}"), bytes, attributes)
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

/// Until a new state is here whole, the one before is shown whole: a failed pull takes nothing away.
#[tokio::test]
async fn a_verbatim_suite_is_shown_until_another_is_here() {
    let mut site = Site::new(mirror(json!({ "suites": ["bookworm"], "view": "verbatim" })));
    let packages = "main/binary-amd64/Packages.xz";
    let state = |revision: &str, index: &str, wrap: &dyn Fn(serde_json::Value) -> serde_json::Value| {
        let at = |name: &str, bytes: &str, attributes| {
            site.signed_file(&format!("debian/bookworm/{revision}/{name}"), bytes, wrap(attributes))
        };
        vec![
            at("InRelease", &format!("SHA256:\n{revision}"), json!({ "release": { "origin": "x" } })),
            at(packages, index, json!({ "dists-path": packages })),
            at("upstream-keyring.gpg", index, json!({})),
        ]
    };
    let (plain, gone) = (|value| value, |value| json!({ "gone": value }));
    let edits = state("20261121T100000Z", "old", &plain);
    let withdrawn = state("20261121T100000Z", "old", &gone);
    // Of one date there may be several states.
    let again = state("20261121T100000Z.01", "new", &plain);
    site.publish(edits).await;
    let before = site.paths().await;
    site.publish(withdrawn).await;
    assert_eq!(site.paths().await, before);
    assert_eq!(site.published(&format!("dists/bookworm/{packages}")).await, "old");
    assert_eq!(site.published("upstream-keyring.gpg").await, "old");
    site.publish(again).await;
    assert_eq!(site.published(&format!("dists/bookworm/{packages}")).await, "new");
    assert_eq!(site.published("upstream-keyring.gpg").await, "new");
}
