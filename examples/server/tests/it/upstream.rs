//! Registries as they are: plain, changing, contradicting themselves.

use reservoir_core::{digest::Sha256Digest, testing::upstream::Reply};

use super::support::{
    client,
    home::Home,
    index::{Index, Style, wheel},
    web::files,
};

/// HTML without validators, sizes and metadata: it works, and the second sync fetches pages only.
#[tokio::test(flavor = "multi_thread")]
async fn case_34_the_plainest_index() {
    let index = Index::of(Style::Html, [wheel("alpha", "1.0", &["beta"]), wheel("beta", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], "dependencies = true"));
    let report = home.sync("python", 0);
    assert_eq!((&report["fetched_files"], &report["published"]), (&2.into(), &1.into()), "{report}");
    let fetched = index.count("/files/");
    let report = home.sync("python", 0);
    assert_eq!(index.count("/files/"), fetched, "no file is fetched twice");
    assert_eq!(report["unchanged"], 2, "{report}");
    assert!(report["published"].is_null(), "{report}");
    let server = home.serve();
    for client in client::all() {
        client.install(&server.simple("python"), &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0"]);
    }
}

/// A JSON index with validators is asked once for each project, conditionally.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_nothing_new_is_one_conditional_request_each() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &["beta"]), wheel("beta", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], "dependencies = true"));
    home.sync("python", 0);
    let before = index.upstream.requests().len();
    home.sync("python", 0);
    let requests = index.upstream.requests().split_off(before);
    assert_eq!(requests.len(), 2, "{requests:#?}");
    assert!(requests.iter().all(|request| !request.header("if-none-match").is_empty()), "{requests:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_35_other_bytes_under_a_known_name_are_an_alarm() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], ""));
    home.sync("python", 0);
    let server = home.serve();
    let before = super::support::web::page(&server.simple("python"), "alpha").await;
    index.change("alpha", |project| {
        project.files[0] = wheel("alpha", "1.0", &["evil"]);
    });
    let report = home.sync("python", 3);
    let alarm = report["alarms"][0].as_str().unwrap();
    assert!(alarm.contains("alpha-1.0-py3-none-any.whl"), "{alarm}");
    let after = super::support::web::page(&server.simple("python"), "alpha").await;
    assert_eq!(after["files"], before["files"], "the old bytes stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_36_a_serial_that_goes_back_is_refused() {
    let index = Index::json().await;
    index.change("alpha", |project| {
        project.files = vec![wheel("alpha", "1.0", &[]), wheel("alpha", "2.0", &[])];
        project.serial = Some(20);
    });
    let home = Home::with(&index.mirror(&["alpha"], "whole = true"));
    home.sync("python", 0);
    index.change("alpha", |project| {
        project.files.pop();
        project.serial = Some(10);
    });
    let report = home.sync("python", 3);
    assert!(report["alarms"][0].as_str().unwrap().contains("serial-rollback"), "{report}");
    let server = home.serve();
    assert_eq!(files(&server.simple("python"), "alpha").await.len(), 2, "the newer state stays");
    let (_, history) = home.json(["history", "python", "alpha@2.0"]);
    let records = history["audit"].as_array().unwrap();
    let alarm = records.iter().find(|record| record["action"] == "alarm").expect("it is audited");
    assert_eq!((&alarm["detail"]["rule"], &alarm["actor"]), (&"serial-rollback".into(), &"tester".into()));
    assert!(home.done(["history", "python", "alpha@2.0"]).contains("alarm serial-rollback: "));
    // The registry recovers.
    index.change("alpha", |project| {
        project.files.push(wheel("alpha", "3.0", &[]));
        project.serial = Some(30);
    });
    home.sync("python", 0);
}

/// Wrong bytes, a short answer: nothing is stored, the reason is told; it is right the next time.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_wrong_and_short_bytes_are_not_stored() {
    let (wrong, short) = (wheel("alpha", "1.0", &[]), wheel("beta", "1.0", &[]));
    let index = Index::of(Style::Json, [wrong.clone(), short.clone()]).await;
    let mut other = wrong.bytes.clone();
    other[100] ^= 1;
    index.upstream.route(wrong.path(), Reply::ok(other.clone()));
    index.upstream.route(short.path(), Reply::ok(short.bytes[..200].to_vec()));
    let home = Home::with(&index.mirror(&["alpha", "beta"], ""));
    let report = home.sync("python", 3);
    assert_eq!(report["failed"].as_array().unwrap().len(), 2, "{report:#}");
    assert!(home.done(["history", "python", "alpha@1.0"]).contains("-> FAILED: "));
    for bytes in [&other, &wrong.bytes, &short.bytes] {
        assert!(!home.blob(&Sha256Digest::of(bytes).to_string()).exists());
    }
    index.upstream.route(wrong.path(), Reply::ok(wrong.bytes.clone()));
    // Cut once at half: it goes on from there.
    let cut = Reply::ok(short.bytes.clone()).etag("\"1\"").cut_after(short.bytes.len() / 2);
    index.upstream.sequence(short.path(), [cut, Reply::ok(short.bytes.clone()).etag("\"1\"")]);
    home.sync("python", 0);
    assert!(home.blob(&short.sha256).exists() && home.blob(&wrong.sha256).exists());
}
