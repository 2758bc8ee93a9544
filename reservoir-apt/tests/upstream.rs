//! Archives of others: what is read, what is left out, what is refused, and what it costs.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;

use reservoir_core::{
    archive::Compression,
    clock::Timestamp,
    digest::Sha256Digest,
    lifecycle::Status,
    openpgp::{Signer, SigningKey},
    sync::SyncReport,
    testing::upstream::Reply,
};
use serde_json::{Value, json};

use self::support::{
    archive::{SuiteFiles, World, date, path},
    deb::Deb,
};

fn hello() -> Deb {
    Deb::new("hello", "1.0-1", "amd64")
}

fn jq(version: &str) -> Deb {
    Deb::new("jq", version, "amd64")
}

fn has_alarm(report: &SyncReport, rule: &str) -> bool {
    report.alarms.iter().any(|alarm| alarm.contains(rule))
}

/// A suite with one package, in a world that mirrors it.
async fn one() -> (World, SuiteFiles) {
    let world = World::new(json!({})).await;
    let suite = SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]);
    world.suite(&suite);
    (world, suite)
}

#[tokio::test]
async fn a_suite_is_mirrored_and_costs_one_request_when_nothing_changed() {
    let (world, _) = one().await;
    let first = world.sync().await;
    assert!(first.is_complete(), "{first:#?}");
    assert_eq!(first.admitted, 2, "the package and its suite: {first:#?}");
    let hello = world.candidates("hello").await;
    assert_eq!((hello.len(), hello[0].status), (1, Status::Available));
    assert_eq!(hello[0].revision.as_str(), "1.0-1:amd64");
    let stanza = hello[0].files[0].attributes["stanzas"]["stable/main"].as_str().unwrap();
    assert!(stanza.starts_with("Package: hello\n") && !stanza.ends_with('\n'), "{stanza}");
    let suite = world.candidates("dists/stable").await;
    assert_eq!(suite[0].files[0].attributes["release"]["origin"], "Example");
    assert_eq!(suite[0].files[0].attributes["signed-by"][0][0], world.signer.fingerprints()[0].as_str());
    assert!(suite[0].files[0].path.as_str().starts_with("upstream/up/stable/"), "{suite:#?}");

    let before = world.requests().len();
    let second = world.sync().await;
    assert_eq!((second.asked, second.unchanged), (1, 1), "{second:#?}");
    assert_eq!(world.requests()[before..], ["dists/stable/InRelease"]);
}

#[tokio::test]
async fn every_compression_is_read() {
    for compression in [&Compression::ALL[..], &[Compression::None]].concat() {
        let world = World::new(json!({})).await;
        let text = format!("{}\n", world.deb(&hello()));
        let suite = SuiteFiles::new("stable", -1).index("main/binary-amd64/Packages", &text, compression);
        world.suite(&suite);
        let report = world.sync().await;
        assert!(report.is_complete(), "{compression:?}: {report:#?}");
        assert_eq!(world.revisions("hello").await, ["1.0-1:amd64"], "{compression:?}");
    }
}

#[tokio::test]
async fn indexes_are_asked_for_by_their_digest_where_that_is_offered() {
    let (world, suite) = one().await;
    let suite = suite.field("Acquire-By-Hash: yes");
    world.suite(&suite);
    let name = "main/binary-amd64/Packages.xz";
    let by_hash = format!("main/binary-amd64/by-hash/SHA256/{}", Sha256Digest::of(&suite.files[name]));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let asked = world.requests();
    assert_eq!(
        asked[1..3],
        [format!("dists/stable/{by_hash}"), format!("dists/stable/{name}")],
        "{asked:#?}"
    );

    // The name may be gone by then.
    let world = World::new(json!({})).await;
    let suite = SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]).field("Acquire-By-Hash: yes");
    world.suite(&suite);
    world.upstream.route(path("", &suite, name), Reply::status(404));
    let by_hash = format!("main/binary-amd64/by-hash/SHA256/{}", Sha256Digest::of(&suite.files[name]));
    world.upstream.route(path("", &suite, &by_hash), Reply::ok(suite.files[name].clone()));
    assert!(world.sync().await.is_complete());
}

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
async fn stanzas_that_others_read_differently_are_left_out_and_the_rest_is_read() {
    let world = World::new(json!({})).await;
    let bad =
        |name: &str, change: &dyn Fn(String) -> String| change(world.deb(&Deb::new(name, "1-1", "amd64")));
    let stanzas = vec![
        bad("no-package", &|stanza| stanza.replace("Package: no-package\n", "")),
        bad("no-colon", &|stanza| format!("{stanza}\ngarbage")),
        bad("twice", &|stanza| format!("{stanza}\nfilename: pool/other.deb")),
        bad("blank", &|stanza| stanza.replace(" with two lines", " with two lines\n \t\n more")),
        bad("comment", &|stanza| format!("{stanza}\n# Filename: pool/other.deb")),
        bad("control", &|stanza| stanza.replace("two lines", "two\u{7}lines")),
        bad("no-digest", &|stanza| stanza.replace("SHA256:", "SHA1:")),
        bad("no-size", &|stanza| stanza.replace("Size:", "Saize:")),
        bad("escape", &|stanza| stanza.replace("Filename: pool", "Filename: ../../etc")),
        bad("absolute", &|stanza| stanza.replace("Filename: pool", "Filename: http://example.com/pool")),
        bad("coded", &|stanza| stanza.replace("Filename: pool", "Filename: %2e%2e/pool")),
        bad("slashes", &|stanza| stanza.replace("Filename: pool", "Filename: //pool")),
        bad("backslash", &|stanza| stanza.replace("Filename: pool/", "Filename: pool\\")),
        bad("version", &|stanza| stanza.replace("Version: 1-1", "Version: 1_1")),
        world.deb(&hello()),
    ];
    let names: Vec<&str> =
        stanzas.iter().filter_map(|stanza| stanza.strip_prefix("Package: ")?.lines().next()).collect();
    world.suite(&SuiteFiles::new("stable", -1).packages(&stanzas));
    let report = world.sync().await;
    assert_eq!(report.alarms.len(), stanzas.len() - 1, "{report:#?}");
    for rule in
        ["control-missing-field", "control-line", "control-duplicate", "control-blank-line", "filename"]
    {
        assert!(has_alarm(&report, rule), "{rule}: {report:#?}");
    }
    for name in names.into_iter().filter(|name| *name != "hello") {
        assert!(world.revisions(name).await.is_empty(), "{name}");
    }
    assert_eq!(world.candidates("hello").await[0].status, Status::Available);
}

#[tokio::test]
async fn bombs_end_in_an_error() {
    let world = World::new(json!({})).await;
    for compression in [Compression::Xz, Compression::Zstd] {
        let mut suite = SuiteFiles::new("stable", -1).index("main/binary-amd64/Packages", "", compression);
        suite.absent.clear();
        let bomb = support::archive::compress(compression, &vec![b'x'; 300 << 20]);
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
async fn upper_case_digests_are_folded_and_everything_else_is_kept() {
    let world = World::new(json!({})).await;
    let deb = hello().field("X-Vendor", "Käse  mit   Löchern").field("Phased-Update-Percentage", "10");
    let stanza = world.deb(&deb);
    let digest = stanza.rsplit_once(' ').unwrap().1.to_owned();
    let upper = stanza.replace(&digest, &digest.to_uppercase());
    world.suite(&SuiteFiles::new("stable", -1).packages(&[upper]));
    assert!(world.sync().await.is_complete());
    assert_eq!(
        world.candidates("hello").await[0].files[0].attributes["stanzas"]["stable/main"],
        stanza.as_str()
    );
}

#[tokio::test]
async fn flat_repositories_are_read_as_they_are() {
    let world = World::new(json!({ "suites": ["/"], "architectures": ["amd64"] })).await;
    let deb = Deb::new("cuda", "12.0-1", "amd64");
    let bytes = deb.build();
    world.upstream.route("/debian/cuda_12.0-1_amd64.deb", Reply::ok(bytes.clone()));
    let text = format!("{}\n", deb.stanza("./cuda_12.0-1_amd64.deb", &bytes));
    let suite = SuiteFiles::flat(-1).index("Packages", &text, Compression::Gzip);
    let mut release = suite.release();
    release += "Acquire-By-Hash: no\n";
    world.files("", &suite);
    let signed = world.signer.clearsign(&release, Timestamp::now()).unwrap();
    world.in_release("", &suite, signed.into_bytes());
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let found = &world.candidates("cuda").await[0].files[0];
    assert_eq!(found.path.as_str(), "cuda_12.0-1_amd64.deb");
    assert!(found.attributes["stanzas"]["/"].as_str().unwrap().contains("Filename: ./cuda"));
    let suite = &world.candidates("dists:flat").await[0].files[0];
    assert!(suite.path.as_str().starts_with("upstream/up/flat:/"), "{}", suite.path);
}

#[tokio::test]
async fn suites_and_registries_add_up_and_what_one_drops_stays_with_the_other() {
    let world = World::new(json!({ "suites": ["stable", "updates"] })).await;
    world.registry("second", "/second", json!({})).await;
    world.repository(&["up", "second"], json!({ "suites": ["stable", "updates"] })).await;
    let (hello, jq_stanza) = (world.deb(&hello()), world.deb(&jq("1.6-1")));
    let bytes = self::hello().build();
    world.upstream.route(format!("/debian/second/{}", self::hello().pool()), Reply::ok(bytes));
    world.suite(&SuiteFiles::new("stable", -10).packages(&[hello.clone(), jq_stanza.clone()]));
    world.suite_below("/second", &SuiteFiles::new("updates", -10).packages(std::slice::from_ref(&hello)));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let keys = async || {
        let candidates = world.candidates("hello").await;
        let stanzas = candidates[0].files[0].attributes["stanzas"].as_object().unwrap();
        stanzas.keys().cloned().collect::<Vec<String>>()
    };
    assert_eq!(keys().await, ["stable/main", "updates/main"]);

    // Nothing flaps, however often they are read.
    for registry in ["", "/second"] {
        let suite = if registry.is_empty() { "stable" } else { "updates" };
        let stanzas =
            if registry.is_empty() { vec![hello.clone(), jq_stanza.clone()] } else { vec![hello.clone()] };
        world.suite_below(registry, &SuiteFiles::new(suite, -9).packages(&stanzas));
    }
    let report = world.sync().await;
    assert_eq!((report.new_files, report.alarms.len()), (2, 0), "two new states of suites: {report:#?}");
    assert_eq!(keys().await, ["stable/main", "updates/main"]);

    // `stable` drops both: one is still offered elsewhere, the other is gone.
    world.suite(&SuiteFiles::new("stable", -8).packages(&[]));
    assert!(world.sync().await.alarms.is_empty());
    assert_eq!(keys().await, ["updates/main"]);
    let jq = world.catalog.files(world.candidates("jq").await[0].id).await.unwrap();
    assert!(jq[0].gone && jq[0].blob.is_some(), "{jq:#?}");
    let hello = world.catalog.files(world.candidates("hello").await[0].id).await.unwrap();
    assert!(!hello[0].gone && hello[0].registry.as_str() == "second", "{hello:#?}");

    // A suite that no registry has is told.
    world.repository(&["up", "second"], json!({ "suites": ["stable", "updates", "nowhere"] })).await;
    let report = world.sync().await;
    assert_eq!(report.missing, ["no registry knows `dists/nowhere`"], "{report:#?}");
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

#[tokio::test]
async fn architectures_components_and_versions_are_selected() {
    let world = World::new(json!({ "architectures": ["arm64"], "packages": ["jq (<< 2)", "hello"] })).await;
    let stanzas: Vec<String> = [
        jq("1.6-1"),
        jq("1.7-1"),
        jq("2.0-1"),
        Deb::new("jq", "1.5-1", "arm64"),
        Deb::new("jq", "1.7-1", "arm64"),
        Deb::new("jq", "2.0-1", "arm64"),
        Deb::new("hello", "1.0-1", "arm64"),
        Deb::new("hello", "1.10-1", "all"),
        Deb::new("other", "1", "arm64"),
    ]
    .iter()
    .map(|deb| world.deb(deb))
    .collect();
    let text = stanzas.join("\n\n") + "\n";
    let suite = SuiteFiles::new("stable", -1).index("main/binary-arm64/Packages", &text, Compression::Zstd);
    world.suite(&suite);
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let available = async |artifact: &str| {
        let candidates = world.candidates(artifact).await;
        let available = candidates.iter().filter(|candidate| candidate.status == Status::Available);
        available.map(|candidate| candidate.revision.to_string()).collect::<Vec<String>>()
    };
    assert_eq!(available("jq").await, ["1.5-1:arm64", "1.7-1:arm64"]);
    assert_eq!(available("hello").await, ["1.10-1:all"]);
    assert!(available("other").await.is_empty());
}

#[tokio::test]
async fn sections_and_priorities_narrow_the_whole() {
    let world = World::new(json!({ "sections": ["net"], "priorities": ["optional"] })).await;
    let deb = |name: &str, section: &str, priority: &str| {
        world.deb(&Deb::new(name, "1", "amd64").field("Section", section).field("Priority", priority))
    };
    world.suite(&SuiteFiles::new("stable", -1).packages(&[
        deb("a", "net", "optional"),
        deb("b", "universe/net", "optional"),
        deb("c", "admin", "optional"),
        deb("d", "net", "extra"),
    ]));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    for (name, expected) in
        [("a", Status::Available), ("b", Status::Available), ("c", Status::Scanned), ("d", Status::Scanned)]
    {
        assert_eq!(world.candidates(name).await[0].status, expected, "{name}");
    }
}

#[tokio::test]
async fn a_verbatim_suite_has_every_index_that_upstream_has() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    let suite = SuiteFiles::new("stable", -1)
        .packages(&[world.deb(&hello())])
        .index("main/i18n/Translation-en", "Package: hello\n", Compression::Bzip2)
        .index("main/binary-arm64/Packages", "Package: hello\n", Compression::Xz)
        .index("main/Contents-amd64", "usr/bin/hello hello\n", Compression::Gzip);
    world.suite(&suite);
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let suite = &world.candidates("dists/stable").await[0];
    let kept: Vec<&str> = suite
        .files
        .iter()
        .filter_map(|file| file.attributes.get("dists-path").and_then(Value::as_str))
        .collect();
    assert_eq!(
        kept,
        ["main/Contents-amd64.gz", "main/binary-amd64/Packages.xz", "main/i18n/Translation-en.bz2"]
    );
    assert_eq!(suite.status, Status::Available);
}

#[tokio::test]
async fn source_packages_come_whole_when_they_are_wanted() {
    let world = World::new(json!({ "sources": true })).await;
    let files = |version: &str| {
        let dsc = |list: &str| {
            format!("Format: 3.0 (quilt)\nSource: hello\nVersion: {version}\nChecksums-Sha256:\n{list}")
        };
        let (orig, debian) = ("upstream", format!("debian {version}"));
        let line = |bytes: &str, name: &str| {
            format!(" {} {} {name}\n", Sha256Digest::of(bytes.as_bytes()), bytes.len())
        };
        let list =
            line(orig, "hello_1.0.orig.tar.gz") + &line(&debian, &format!("hello_{version}.debian.tar.xz"));
        let dsc = dsc(&list);
        let name = format!("hello_{version}.dsc");
        let stanza = format!(
            "Package: hello\nVersion: {version}\nDirectory: pool/main/h/hello\nChecksums-Sha256:\n{}{list}",
            line(&dsc, &name)
        );
        for (name, bytes) in [
            (name, dsc),
            ("hello_1.0.orig.tar.gz".to_owned(), orig.to_owned()),
            (format!("hello_{version}.debian.tar.xz"), debian),
        ] {
            world.upstream.route(format!("/debian/pool/main/h/hello/{name}"), Reply::ok(bytes));
        }
        stanza
    };
    let text = files("1.0-1") + "\n" + &files("1.0-2");
    let suite = SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]).index(
        "main/source/Sources",
        &text,
        Compression::Xz,
    );
    world.suite(&suite);
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let sources = world.candidates("src:hello").await;
    let names: BTreeSet<&str> = sources.iter().map(|candidate| candidate.revision.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["1.0-1:source", "1.0-2:source", "1.0:orig"]));
    assert!(sources.iter().all(|candidate| candidate.status == Status::Available), "{sources:#?}");
}

#[tokio::test]
async fn sha512_alone_is_enough_and_compared() {
    let world = World::new(json!({})).await;
    let sha512 = |bytes: &[u8]| {
        use sha2::Digest as _;
        format!("{:x}", sha2::Sha512::digest(bytes))
    };
    let alone = |deb: &Deb, sha512: &str| {
        let stanza = world.deb(deb);
        let lines = stanza.lines().map(|line| match line.strip_prefix("SHA256:") {
            Some(_) => format!("SHA512: {sha512}"),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (good, bad) = (alone(&hello(), &sha512(&hello().build())), alone(&jq("1.6-1"), &sha512(b"other")));
    let suite = SuiteFiles::new("stable", -1).packages(&[good, bad]);
    let release = |suite: &SuiteFiles, wrong: bool| {
        let files = suite.files.iter().chain(&suite.absent);
        let lines = files.map(|(path, bytes)| {
            let digest = if wrong { sha512(b"other") } else { sha512(bytes) };
            format!(" {digest} {} {path}", bytes.len())
        });
        let text = format!("{}SHA512:\n{}\n", suite.head, lines.collect::<Vec<_>>().join("\n"));
        world.signer.clearsign(&text, Timestamp::now()).unwrap().into_bytes()
    };
    world.files("", &suite);
    world.in_release("", &suite, release(&suite, true));
    let report = world.sync().await;
    assert!(has_alarm(&report, "index-digest"), "{report:#?}");
    assert!(world.candidates("hello").await.is_empty());
    world.in_release("", &suite, release(&suite, false));
    let report = world.sync().await;
    assert_eq!(world.candidates("hello").await[0].status, Status::Available, "{report:#?}");
    assert_ne!(world.candidates("jq").await[0].status, Status::Available, "{report:#?}");
}

/// Descriptions are found by their MD5, and a suite is read anew when only they changed.
#[tokio::test]
async fn descriptions_come_with_their_packages() {
    let world = World::new(json!({})).await;
    let md5 = "0123456789abcdef0123456789abcdef";
    let stanza = format!("{}\nDescription-md5: {md5}", world.deb(&hello()).trim_end());
    let translation = |text: &str| {
        format!("Package: hello\nDescription-md5: {md5}\nDescription-en: a greeting\n {text}\n\nbroken\n\n")
    };
    let suite = |hours, text: &str| {
        SuiteFiles::new("stable", hours).packages(std::slice::from_ref(&stanza)).index(
            "main/i18n/Translation-en",
            &translation(text),
            Compression::Bzip2,
        )
    };
    let known = async || {
        let candidates = world.candidates("hello").await;
        let descriptions = candidates[0].files[0].attributes.get("descriptions").cloned();
        descriptions.map(|known| known["stable/main"].as_str().unwrap().to_owned())
    };
    world.suite(&suite(-9, "It greets."));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    assert!(known().await.unwrap().ends_with("a greeting\n It greets."));
    world.suite(&suite(-8, "It greets better."));
    world.sync().await;
    assert!(known().await.unwrap().ends_with("It greets better."));
    // Upstream lists them and does not have them: packages do without.
    let mut absent = suite(-7, "Nobody reads this.");
    absent.files.retain(|path, _| !path.contains("i18n"));
    let listed = suite(-7, "Nobody reads this.");
    let signed = world.signer.clearsign(&listed.release(), Timestamp::now()).unwrap();
    world.in_release("", &listed, signed.into_bytes());
    world.files("", &absent);
    world.upstream.route("/debian/dists/stable/main/i18n/Translation-en.bz2", Reply::status(404));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    assert_eq!(known().await, None);
}

/// A state whose files are of other sizes than it says is read once more, and then left: nothing of it is known as read.
#[tokio::test]
async fn a_verbatim_file_of_another_size_holds_the_state_back() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    let old = SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]);
    world.suite(&old);
    assert!(world.sync().await.is_complete());
    let new = SuiteFiles::new("stable", -5).packages(&[world.deb(&hello()), world.deb(&jq("1.6-1"))]).index(
        "main/Contents-amd64",
        "usr/bin/hello hello\n",
        Compression::Gzip,
    );
    world.suite(&new);
    let contents = path("", &new, "main/Contents-amd64.gz");
    world.upstream.route(contents.clone(), Reply::ok("an older one, and longer than what is listed"));
    let report = world.sync().await;
    assert!(has_alarm(&report, "index-digest"), "{report:#?}");
    assert_eq!(world.revisions("dists/stable").await.len(), 1);
    assert!(world.revisions("jq").await.is_empty());
    // The archive has come to rest, its Release is the same.
    world.files("", &new);
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let suite = &world.candidates("dists/stable").await[1];
    assert!(suite.files.iter().any(|file| file.path.as_str().ends_with("Contents-amd64.gz")), "{suite:#?}");
}

/// Buckets refuse what they do not have, where nobody may list them.
#[tokio::test]
async fn what_a_bucket_refuses_is_absent_and_what_takes_no_head_is_there() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    let mut suite = SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]);
    suite.absent.insert("main/i18n/Translation-en".into(), b"Package: hello\n".to_vec());
    world.suite(&suite);
    world.upstream.route(path("", &suite, "main/i18n/Translation-en"), Reply::status(403));
    world.upstream.route(path("", &suite, "main/binary-amd64/Packages"), Reply::status(403));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    assert_eq!(world.candidates("dists/stable").await[0].status, Status::Available);
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

/// A new state says that clients can have what it lists, so it comes when that is here; what is refused for good does
/// not hold it back for ever.
#[tokio::test]
async fn a_verbatim_state_waits_for_its_packages() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    world.suite(&SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]));
    assert!(world.sync().await.is_complete());
    let (jq, gone) = (jq("1.6-1"), Deb::new("gone", "1", "amd64"));
    let stanzas = [world.deb(&hello()), world.deb(&jq), world.deb(&gone)];
    world.suite(&SuiteFiles::new("stable", -9).packages(&stanzas));
    world.upstream.route(format!("/debian/{}", gone.pool()), Reply::status(404));
    let mut bytes = jq.build();
    *bytes.last_mut().unwrap() ^= 1;
    world.upstream.route(format!("/debian/{}", jq.pool()), Reply::ok(bytes));
    for _ in 0..2 {
        let report = world.sync().await;
        assert_eq!(report.failed.len(), 2, "{report:#?}");
        assert!(report.skipped.iter().any(|line| line.contains("stays as it was")), "{report:#?}");
        let states = world.candidates("dists/stable").await;
        let statuses: Vec<Status> = states.iter().map(|state| state.status).collect();
        assert_eq!(statuses, [Status::Available, Status::Scanned]);
    }
    world.deb(&jq);
    let report = world.sync().await;
    assert_eq!(report.failed.len(), 1, "{report:#?}");
    assert_eq!(world.candidates("dists/stable").await[1].status, Status::Available);
}

/// What a registry signed about its packages is nothing that a person could approve by itself.
#[tokio::test]
async fn a_suite_waits_for_nobody_where_packages_do() {
    let world = World::new(json!({})).await;
    let mut config = world.row().await.config;
    config.approval = reservoir_core::ecosystem::Approval::Manual;
    world.catalog.put_repository(&config, &support::archive::ann()).await.unwrap();
    world.suite(&SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]));
    let report = world.sync().await;
    assert_eq!(report.waiting.len(), 1, "{report:#?}");
    assert_eq!(world.candidates("hello").await[0].status, Status::NeedsApproval);
    assert_eq!(world.candidates("dists/stable").await[0].status, Status::Available);
}

/// In upstream's own words the new digest is the only one that clients believe: what is here is of no use to them (A48).
#[tokio::test]
async fn a_verbatim_mirror_brings_what_was_replaced_and_tells() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    world.suite(&SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]));
    assert!(world.sync().await.is_complete());
    let mut other = hello();
    other.files[0].1 = b"replaced".to_vec();
    world.suite(&SuiteFiles::new("stable", -1).packages(&[world.deb(&other)]));
    let report = world.sync().await;
    assert!(has_alarm(&report, "changed-digest"), "{report:#?}");
    let now = world.candidates("hello").await;
    assert_eq!((now.len(), now[0].status), (1, Status::Available));
    let files = world.catalog.files(now[0].id).await.unwrap();
    assert_eq!(files[0].blob.unwrap().sha256, Sha256Digest::of(&other.build()));
    assert!(files[0].admitted);
    assert_eq!(world.candidates("dists/stable").await[1].status, Status::Available);
    // Nobody else's word counts.
    world.registry("second", "/second", json!({})).await;
    world.repository(&["up", "second"], json!({ "view": "verbatim" })).await;
    let mut third = hello();
    third.files[0].1 = b"replaced again".to_vec();
    world.suite_below("/second", &SuiteFiles::new("stable", -1).packages(&[world.deb(&third)]));
    let report = world.sync().await;
    assert!(has_alarm(&report, "changed-digest"), "{report:#?}");
    let files = world.catalog.files(now[0].id).await.unwrap();
    assert_eq!(files[0].blob.unwrap().sha256, Sha256Digest::of(&other.build()));
}

/// Tools that mirror ask for the detached signature, too.
#[tokio::test]
async fn a_verbatim_mirror_has_both_signatures_where_they_say_the_same() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    let suite = SuiteFiles::new("stable", -2).packages(&[world.deb(&hello())]);
    let detached = |suite: &SuiteFiles| {
        let release = suite.release();
        let signature = world.signer.sign_detached(release.as_bytes(), Timestamp::now()).unwrap();
        world.upstream.route(path("", suite, "Release"), Reply::ok(release));
        world.upstream.route(path("", suite, "Release.gpg"), Reply::ok(signature));
    };
    world.suite(&suite);
    detached(&suite);
    assert!(world.sync().await.is_complete());
    let names = async || {
        let states = world.candidates("dists/stable").await;
        let newest = states.into_iter().max_by(|a, b| a.revision.cmp(&b.revision)).unwrap();
        let names = newest.files.iter().map(|file| file.path.file_name().to_owned());
        names.filter(|name| name.contains("Release")).collect::<BTreeSet<String>>()
    };
    assert_eq!(names().await.into_iter().collect::<Vec<_>>(), ["InRelease", "Release", "Release.gpg"]);
    // One of them is still of the state before.
    world.suite(&SuiteFiles::new("stable", -1).packages(&[world.deb(&hello()), world.deb(&jq("1.6-1"))]));
    assert!(world.sync().await.is_complete());
    assert_eq!(names().await.into_iter().collect::<Vec<_>>(), ["InRelease"]);
}

/// A mirror holds one state of a suite, not every one it has ever seen; and that one until the next is here.
#[tokio::test]
async fn states_that_are_over_leave_the_content() {
    let world = World::new(json!({ "view": "verbatim" })).await;
    let suite = |hours: i64| {
        let contents = format!("usr/bin/hello {hours}\n");
        SuiteFiles::new("stable", hours).packages(&[world.deb(&hello())]).index(
            "main/Contents-amd64",
            &contents,
            Compression::Gzip,
        )
    };
    let here = async || {
        let mut here = Vec::new();
        for state in world.candidates("dists/stable").await {
            let files = world.catalog.files(state.id).await.unwrap();
            let fetched = |file: &&reservoir_core::catalog::FileRow| file.url.scheme() != "inline";
            let bytes = files.iter().filter(fetched).filter(|file| file.blob.is_some()).count();
            here.push((files.iter().filter(|file| file.admitted).count() > 0, bytes > 0));
        }
        here
    };
    for hours in [-10, -9, -8] {
        world.suite(&suite(hours));
        let report = world.sync().await;
        assert!(report.is_complete(), "{report:#?}");
        world.engine.publish(&"debian".parse().unwrap(), support::archive::ann(), "test").await.unwrap();
    }
    assert_eq!(here().await, [(false, false), (false, false), (true, true)]);
    let mut broken = suite(-7);
    world.suite(&broken);
    let contents = broken.files.get_mut("main/Contents-amd64.gz").unwrap();
    *contents.last_mut().unwrap() ^= 1;
    world.files("", &broken);
    let report = world.sync().await;
    assert_eq!(report.failed.len(), 1, "{report:#?}");
    assert_eq!(here().await[2], (true, true));
}
