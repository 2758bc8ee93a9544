//! Suites in upstream's own words: which files they have, and when a new state is shown.

use std::collections::BTreeSet;

use reservoir_core::{
    archive::Compression, clock::Timestamp, digest::Sha256Digest, lifecycle::Status, testing::upstream::Reply,
};
use serde_json::{Value, json};

use super::{
    has_alarm, hello, jq,
    support::{
        archive::{SuiteFiles, World, ann, path},
        deb::Deb,
    },
};

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
        world.engine.publish(&"debian".parse().unwrap(), ann(), "test").await.unwrap();
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
