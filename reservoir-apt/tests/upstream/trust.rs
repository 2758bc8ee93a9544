//! What is believed: signatures, dates, changes in the middle, and what is refused and changes nothing.

use std::collections::BTreeSet;

use reservoir_core::{
    archive::Compression,
    clock::Timestamp,
    digest::Sha256Digest,
    lifecycle::Status,
    openpgp::{Signer, SigningKey},
    testing::upstream::Reply,
};
use serde_json::json;

use super::{
    has_alarm, hello, jq, one,
    support::{
        archive::{SuiteFiles, World, compress, date, path},
        deb::Deb,
    },
};

#[tokio::test]
async fn release_with_a_detached_signature_is_read_as_well() {
    let world = World::new(json!({})).await;
    let suite = SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]);
    world.files("", &suite);
    let release = suite.release();
    let signature = world.signer.sign_detached(release.as_bytes(), Timestamp::now()).unwrap();
    world.upstream.route(path("", &suite, "Release"), Reply::ok(release).etag("\"1\""));
    let unsigned = world.sync().await;
    assert!(has_alarm(&unsigned, "release-untrusted"), "{unsigned:#?}");
    world.upstream.route(path("", &suite, "Release.gpg"), Reply::ok(signature));
    let signed = world.sync().await;
    assert!(signed.is_complete(), "{signed:#?}");
    let files: BTreeSet<String> = world.candidates("dists/stable").await[0]
        .files
        .iter()
        .map(|file| file.path.file_name().to_owned())
        .collect();
    assert_eq!(files, BTreeSet::from(["Release".to_owned(), "Release.gpg".to_owned()]));
    let before = world.requests().len();
    assert_eq!(world.sync().await.unchanged, 1);
    assert_eq!(world.requests()[before..], ["dists/stable/InRelease", "dists/stable/Release"]);
}

/// What is refused leaves everything as it was.
async fn refused(world: &World, rule: &str) {
    let before = world.revisions("hello").await;
    let report = world.sync().await;
    assert!(has_alarm(&report, rule), "{rule}: {report:#?}");
    assert_eq!(world.revisions("hello").await, before);
    assert!(world.revisions("jq").await.is_empty());
}

#[tokio::test]
async fn forged_and_stale_suites_are_refused_and_change_nothing() {
    let (world, _) = one().await;
    assert!(world.sync().await.is_complete());
    let next = |hours| SuiteFiles::new("stable", hours).packages(&[world.deb(&jq("1.6-1"))]);

    let other = Signer::new(vec![SigningKey::generate("Other").unwrap()]).unwrap();
    let suite = next(-1);
    let signed = other.clearsign(&suite.release(), Timestamp::now()).unwrap();
    world.files("", &suite);
    world.in_release("", &suite, signed.into_bytes());
    refused(&world, "release-untrusted").await;

    let signed = world.signer.clearsign(&suite.release(), Timestamp::now()).unwrap();
    for (forged, rule) in [
        (format!("Origin: Evil\n{signed}"), "clearsign-frame"),
        (format!("{signed}Origin: Evil\n"), "clearsign-trailing"),
        (format!("{signed}{signed}"), "clearsign-trailing"),
        (signed.replace("Hash: SHA512\n", "Hash: SHA512\nComment: x\n"), "clearsign-header"),
        (signed.replace("Label: Example", "Label: \0Example"), "clearsign-character"),
        (signed.replace("Label: Example", "Label: Evil"), "release-untrusted"),
        ("x".repeat(9 << 20), "index-limit"),
    ] {
        world.in_release("", &suite, forged.into_bytes());
        refused(&world, rule).await;
    }

    world.suite(&next(-11));
    refused(&world, "release-rollback").await;
    world.suite(&next(2));
    refused(&world, "release-future").await;
    world.suite(&next(-1).field(&format!("Valid-Until: {}", date(-1))));
    refused(&world, "release-expired").await;
    let mut changed = next(-1);
    changed.head = changed.head.replace("Label: Example", "Label: Other");
    world.suite(&changed);
    refused(&world, "release-changed").await;
    let mut other = next(-1);
    other.head = other.head.replace("Suite: stable", "Suite: s").replace("Codename: stable", "Codename: c");
    world.suite(&other);
    refused(&world, "release-suite").await;
    let mut weak = next(-1);
    weak.head += "MD5Sum:\n";
    let weak_text = weak.release().replace("SHA256:\n", "");
    let signed = world.signer.clearsign(&weak_text, Timestamp::now()).unwrap();
    world.in_release("", &weak, signed.into_bytes());
    refused(&world, "release-hashes").await;

    world.registry("up", "", json!({ "accept_changes": true })).await;
    world.suite(&changed);
    let report = world.sync().await;
    assert!(!has_alarm(&report, "release"), "{report:#?}");
    assert_eq!(world.revisions("jq").await, ["1.6-1:amd64"]);
}

#[tokio::test]
async fn an_expired_suite_may_be_accepted_on_purpose() {
    let (world, suite) = one().await;
    world.suite(&suite.field(&format!("Valid-Until: {}", date(-1))));
    assert!(has_alarm(&world.sync().await, "release-expired"));
    world.registry("up", "", json!({ "check_valid_until": false })).await;
    assert!(world.sync().await.is_complete());
}

#[tokio::test]
async fn a_change_in_the_middle_is_read_again_once_and_states_are_never_mixed() {
    let world = World::new(json!({ "architectures": ["amd64", "arm64"] })).await;
    let arm = Deb::new("hello", "1.0-1", "arm64");
    let (amd_stanza, arm_stanza) = (world.deb(&hello()), world.deb(&arm));
    let text = |stanza: &str| format!("{stanza}\n");
    let old = SuiteFiles::new("stable", -10)
        .index("main/binary-amd64/Packages", &text(&amd_stanza), Compression::Gzip)
        .index("main/binary-arm64/Packages", &text(&arm_stanza), Compression::Gzip);
    let new_stanza = world.deb(&Deb::new("hello", "2.0-1", "arm64"));
    let new = SuiteFiles::new("stable", -5)
        .index(
            "main/binary-amd64/Packages",
            &text(&world.deb(&Deb::new("hello", "2.0-1", "amd64"))),
            Compression::Gzip,
        )
        .index("main/binary-arm64/Packages", &text(&new_stanza), Compression::Gzip);

    // The old Release, then the new one; the indexes are new all the time.
    let sign = |suite: &SuiteFiles| world.signer.clearsign(&suite.release(), Timestamp::now()).unwrap();
    world.files("", &new);
    world.upstream.sequence(path("", &old, "InRelease"), [Reply::ok(sign(&old)), Reply::ok(sign(&new))]);
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    assert_eq!(world.revisions("hello").await, ["2.0-1:amd64", "2.0-1:arm64"]);

    // One index of the next state never arrives: nothing of it is taken over.
    let mut broken = SuiteFiles::new("stable", -1)
        .index(
            "main/binary-amd64/Packages",
            &text(&world.deb(&Deb::new("hello", "3.0-1", "amd64"))),
            Compression::Gzip,
        )
        .index("main/binary-arm64/Packages", &text(&arm_stanza), Compression::Gzip);
    world.suite(&broken);
    broken.files.insert("main/binary-arm64/Packages.gz".into(), b"something else".to_vec());
    world.files("", &broken);
    let report = world.sync().await;
    assert!(has_alarm(&report, "index-digest"), "{report:#?}");
    assert_eq!(world.revisions("hello").await, ["2.0-1:amd64", "2.0-1:arm64"]);
}

#[tokio::test]
async fn bombs_end_in_an_error() {
    let world = World::new(json!({})).await;
    for compression in [Compression::Xz, Compression::Zstd] {
        let mut suite = SuiteFiles::new("stable", -1).index("main/binary-amd64/Packages", "", compression);
        suite.absent.clear();
        let bomb = compress(compression, &vec![b'x'; 300 << 20]);
        suite.files.insert(format!("main/binary-amd64/Packages.{}", compression.extension()), bomb);
        world.suite(&suite);
        let report = world.sync().await;
        assert!(has_alarm(&report, "index-limit"), "{report:#?}");
        // Larger when decompressed than the Release says.
        suite.absent.insert("main/binary-amd64/Packages".into(), b"Package: x\n".to_vec());
        world.suite(&suite);
        let report = world.sync().await;
        assert!(has_alarm(&report, "index-limit"), "{report:#?}");
    }
}

#[tokio::test]
async fn other_bytes_under_a_known_path_are_an_alarm_and_the_old_stay() {
    let (world, _) = one().await;
    assert!(world.sync().await.is_complete());
    let mut other = hello();
    other.files[0].1 = b"replaced".to_vec();
    world.suite(&SuiteFiles::new("stable", -1).packages(&[world.deb(&other)]));
    let report = world.sync().await;
    assert!(has_alarm(&report, "changed-digest"), "{report:#?}");
    let kept = &world.candidates("hello").await[0];
    assert_eq!(kept.status, Status::Available);
    assert_eq!(kept.files[0].sha256.unwrap(), Sha256Digest::of(&hello().build()));
}

/// Who may sign is part of what was read: fewer certificates under the same path verify anew, and clients are given those.
#[tokio::test]
async fn another_keyring_under_the_same_path_makes_another_state() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    let other = Signer::new(vec![SigningKey::generate("Compromised").unwrap()]).unwrap();
    let both = world.signer.armored_public().unwrap() + &other.armored_public().unwrap();
    world.keyring(&both);
    world.suite(&SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]));
    assert!(world.sync().await.is_complete());
    let keyrings = async || {
        let states = world.candidates("dists/stable").await;
        let files = states.into_iter().flat_map(|state| state.files);
        let own = files.filter(|file| file.path.file_name() == "upstream-keyring.gpg");
        own.map(|file| (file.attributes.contains_key("gone"), file.size.unwrap())).collect::<Vec<_>>()
    };
    let before = keyrings().await;
    world.keyring(&world.signer.armored_public().unwrap());
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let after = keyrings().await;
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after[0], (true, before[0].1));
    assert!(!after[1].0 && after[1].1 < before[0].1, "{after:?} {before:?}");
    assert_eq!(world.sync().await.unchanged, 1);
    // A suite by who is believed no longer is refused although it did not change.
    world.keyring(&other.armored_public().unwrap());
    let report = world.sync().await;
    assert!(has_alarm(&report, "release-untrusted"), "{report:#?}");
}

/// The same date, signed again.
#[tokio::test]
async fn a_state_that_is_signed_again_is_another_state() {
    let world = World::new(json!({})).await;
    let suite = SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]);
    world.suite(&suite);
    assert!(world.sync().await.is_complete());
    world.suite(&suite.field("Changelogs: no"));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let states = world.revisions("dists/stable").await;
    assert_eq!(states[1], format!("{}.01", states[0]));
}

/// Nobody has relied on a digest whose bytes were never here.
#[tokio::test]
async fn what_was_replaced_before_it_was_fetched_is_taken() {
    let world = World::new(json!({ "packages": ["jq"] })).await;
    let suite =
        |hours, hello: String| SuiteFiles::new("stable", hours).packages(&[world.deb(&jq("1.6-1")), hello]);
    world.suite(&suite(-10, world.deb(&hello())));
    assert!(world.sync().await.is_complete());
    let mut other = hello();
    other.files[0].1 = b"replaced".to_vec();
    world.suite(&suite(-9, world.deb(&other)));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    world.repository(&["up"], json!({ "packages": ["jq", "hello"] })).await;
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let kept = &world.candidates("hello").await[0];
    assert_eq!(kept.status, Status::Available);
    assert_eq!(kept.files[0].sha256.unwrap(), Sha256Digest::of(&other.build()));
}

/// A field that appears is a change as well.
#[tokio::test]
async fn a_label_that_appears_is_an_alarm() {
    let world = World::new(json!({})).await;
    let mut suite = SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]);
    suite.head = suite.head.replace("Label: Example\n", "");
    world.suite(&suite);
    assert!(world.sync().await.is_complete());
    world.suite(&SuiteFiles::new("stable", -9).packages(&[world.deb(&hello()), world.deb(&jq("1.6-1"))]));
    refused(&world, "release-changed").await;
}
