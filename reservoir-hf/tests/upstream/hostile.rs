//! Hubs that lie: bytes, commits, lists and pages that are none.

use std::time::Duration;

use http::{HeaderMap, Method};
use reservoir_core::testing::upstream::Reply;
use serde_json::{Value, json};

use super::{
    MODEL, Site, head, hub, models,
    support::hub::{Hub, lfs, noise, regular},
};

/// Case 39.
#[tokio::test(flavor = "multi_thread")]
async fn tampered_bytes_of_equal_size_are_refused() {
    for path in ["config.json", "model.bin"] {
        let hub = hub().await;
        let commit = head(&hub);
        let mut bytes = hub.get(MODEL, commit).files[path].bytes.clone();
        bytes[0] ^= 1;
        hub.upstream.route(hub.file(MODEL, commit, path), Reply::ok(bytes));
        let site = Site::new(&hub, &models()).await;
        let report = site.sync().await;
        assert_eq!(report.failed.len(), 1, "{path}: {report:?}");
        assert_eq!(site.get(&format!("{MODEL}/resolve/{commit}/{path}")).await.0, 404);
    }
}

/// Case 39: fewer bytes than the commit has, more of them, and more without end: what is read stops at the first byte
/// too many.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_another_size_are_refused() {
    const SIZE: usize = 300_000;
    for path in ["config.json", "model.bin"] {
        let mut hub = Hub::start().await;
        let bytes = noise(SIZE, 1);
        let weights = if path == "model.bin" { lfs(bytes.clone()) } else { regular(bytes.clone()) };
        let commit = hub.commit(MODEL, "First", [(path, weights)]);
        let longer = [bytes.clone(), noise(SIZE, 2)].concat();
        for reply in [
            Reply::ok(bytes[..SIZE - 1].to_vec()),
            Reply::ok(bytes[..SIZE - 1].to_vec()).chunked(),
            Reply::ok(longer.clone()),
            Reply::ok(longer.clone()).chunked(),
            Reply::ok(bytes.clone()).content_length(60_000_000_000),
            Reply::endless(noise(64 << 10, 3), Duration::ZERO),
        ] {
            hub.upstream.route(hub.file(MODEL, commit, path), reply.clone());
            let site = Site::new(&hub, &models()).await;
            let report = tokio::time::timeout(Duration::from_mins(1), site.sync()).await.unwrap();
            assert_eq!((report.admitted, report.failed.len()), (0, 1), "{path} {reply:?}: {report:?}");
            assert_eq!(site.get(&format!("{MODEL}/resolve/{commit}/{path}")).await.0, 404);
        }
    }
}

/// Case 40: what a file's own answer says of it — commits and ids that are paths, lines within lines, other sizes — is
/// not believed and not passed on: the commit's list is.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_files_are_not_passed_on() {
    let hub = hub().await;
    let commit = head(&hub);
    for (path, file) in &hub.get(MODEL, commit).files {
        let reply = Reply::ok(file.bytes.clone())
            .etag("\"../../../evil\"")
            .header("x-repo-commit", "../../x")
            .header("x-repo-commit", "../../y")
            .header("x-linked-etag", "\"/etc/passwd\"")
            .header("x-linked-size", "-1")
            .header("x-error-code", "RepoNotFound")
            .header("set-cookie", "evil=1")
            .header("location", "http://169.254.169.254/");
        hub.upstream.route(hub.file(MODEL, commit, path), reply);
    }
    let site = Site::new(&hub, &models()).await;
    assert!(site.sync().await.is_complete());
    for (path, file) in &hub.get(MODEL, commit).files {
        let uri = format!("/hub/{MODEL}/resolve/main/{path}").parse().unwrap();
        let answer = site.engine.respond(&Method::GET, &uri, &HeaderMap::new()).await;
        let id = if file.lfs { file.sha256().to_string() } else { file.oid().to_string() };
        assert_eq!(answer.headers["etag"], format!("\"{id}\""));
        assert_eq!(answer.headers["x-repo-commit"], commit.to_string());
        let told = format!("{:?}", answer.headers);
        for evil in ["..", "evil", "passwd", "169.254", "-1", "RepoNotFound"] {
            assert!(!told.contains(evil), "{told}");
        }
    }
}

/// Case 40: ids that are paths, sizes that are none, text that is none.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_commit_is_refused() {
    let hub = hub().await;
    let commit = head(&hub);
    for (rest, body) in [
        (vec!["revision", "main"], json!({ "sha": "../x" }).to_string()),
        (vec!["revision", "main"], json!({ "sha": commit.to_string().to_uppercase() }).to_string()),
        (vec!["revision", "main"], json!({ "id": MODEL }).to_string()),
        (vec!["revision", "main"], "[".repeat(100_000)),
        (
            vec!["refs"],
            json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": 1 }] })
                .to_string(),
        ),
        (vec!["refs"], "no JSON".to_owned()),
    ] {
        let hub = self::hub().await;
        hub.upstream.route(hub.api(MODEL, &rest), Reply::ok(body.clone()));
        let report = Site::new(&hub, &models()).await.sync().await;
        assert!(!report.alarms.is_empty() && report.published.is_none_or(|n| n == 1), "{rest:?} {report:?}");
        assert_eq!(report.admitted, 0, "{rest:?} {body:.80}");
    }
}

/// Cases 40, 41, 43: one entry that git cannot have condemns the list.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_trees_are_refused() {
    let good = regular("x");
    let with = |key: &str, value: Value| {
        let mut item = good.listed("a");
        item[key] = value;
        json!([item]).to_string()
    };
    let pointer = |key: &str, value: Value| {
        let mut item = lfs("x").listed("a");
        item["lfs"][key] = value;
        json!([item]).to_string()
    };
    for body in [
        with("path", json!("../x")),
        with("path", json!("/abs")),
        with("path", json!("a//b")),
        with("path", json!(".git/config")),
        with("path", json!("a\0b")),
        with("path", json!("a/".repeat(2048))),
        with("oid", json!("../../../e")),
        with("size", json!(-1)),
        with("size", json!(1e30)),
        with("size", json!(u64::MAX)),
        with("type", json!("symlink")),
        pointer("oid", json!("../../../evil")),
        pointer("size", json!(2)),
        pointer("pointerSize", json!(1)),
        pointer("oid", json!("0".repeat(64))),
        json!([good.listed("a"), good.listed("a")]).to_string(),
        "[".repeat(100_000),
    ] {
        let hub = hub().await;
        let target =
            format!("{}?recursive=true&expand=false", hub.api(MODEL, &["tree", &head(&hub).to_string()]));
        hub.upstream.route(target, Reply::ok(body.clone()));
        let report = Site::new(&hub, &models()).await.sync().await;
        assert!(!report.alarms.is_empty() && report.admitted == 0, "{body:.120} {report:?}");
        assert_eq!(report.fetched_files, 0, "{body:.120}");
    }
}

/// Case 41: what other systems cannot keep is told and left out; the commit lists it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_left_out_and_listed() {
    let mut hub = Hub::start().await;
    let files = ["README.md", "readme.MD", "e\u{301}.txt", "aux.json"];
    hub.commit(MODEL, "Odd", files.map(|path| (path, regular(path))));
    let site = Site::new(&hub, &models()).await;
    let report = site.sync().await;
    assert_eq!((report.admitted, report.skipped.len()), (1, 2), "{report:?}");
    let listed = site.json(&format!("api/models/{MODEL}/tree/main")).await;
    assert_eq!(listed.as_array().unwrap().len(), 4);
    let served = [("README.md", 200), ("readme.MD", 404), ("e%CC%81.txt", 404), ("aux.json", 200)];
    for (path, status) in served {
        assert_eq!(site.get(&format!("{MODEL}/resolve/main/{path}")).await.0, status, "{path}");
    }
}

/// Case 43: links that lead to another host or nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_read_from_the_hub_alone() {
    let other = reservoir_core::testing::upstream::Upstream::start().await;
    for link in [
        other.url("/hub/api/models/org/tiny/tree/x?cursor=1").to_string(),
        "?recursive=true&expand=false".to_owned(),
        "http://127.0.0.1/elsewhere?cursor=1".to_owned(),
    ] {
        let hub = hub().await;
        let target =
            format!("{}?recursive=true&expand=false", hub.api(MODEL, &["tree", &head(&hub).to_string()]));
        let page = json!([regular("{}").listed("config.json")]).to_string();
        hub.upstream.route(target, Reply::ok(page).header("link", format!("<{link}>; rel=\"next\"")));
        let report = Site::new(&hub, &models()).await.sync().await;
        assert!(report.alarms.iter().any(|alarm| alarm.contains("hub-link")), "{report:?}");
        assert!(other.requests().is_empty());
    }
}

/// Case 43: pages that lead to each other.
#[tokio::test(flavor = "multi_thread")]
async fn pages_in_a_circle_are_left() {
    let hub = hub().await;
    let address = hub.api(MODEL, &["tree", &head(&hub).to_string()]);
    let targets =
        ["", "&cursor=1", "&cursor=2"].map(|rest| format!("{address}?recursive=true&expand=false{rest}"));
    for (at, next) in [(0, 1), (1, 2), (2, 1)] {
        let next = hub.upstream.url(&targets[next]);
        let reply = Reply::ok("[]").header("link", format!("<{next}>; rel=\"next\""));
        hub.upstream.route(targets[at].clone(), reply);
    }
    let report = Site::new(&hub, &models()).await.sync().await;
    assert!(report.alarms.iter().any(|alarm| alarm.contains("hub-link")), "{report:?}");
    let asked = hub.upstream.requests().iter().filter(|one| one.target.contains("/tree/")).count();
    assert_eq!(asked, 3);
}

/// Case 43: more entries than any repository has.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_is_left() {
    let hub = hub().await;
    let commit = head(&hub).to_string();
    let target = format!("{}?recursive=true&expand=false", hub.api(MODEL, &["tree", &commit]));
    let item = format!(r#"{{"type":"file","path":"a","oid":"{commit}","size":1}}"#);
    let endless = format!("[{}{item}]", format!("{item},").repeat(400_000));
    hub.upstream.route(target, Reply::ok(endless));
    let report = Site::new(&hub, &models()).await.sync().await;
    assert!(report.alarms.iter().any(|alarm| alarm.contains("hub-limit")), "{report:?}");
    assert_eq!(report.fetched_files, 0);
}
