//! What people decide, and what clients see of it: approval, rejection, rollback, promotion, keeping.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use super::support::{
    client,
    home::{Home, Server},
    index::{Index, Style, wheel},
    web::{file_url, files, get},
};

/// How long a decision may take to reach every route.
const SOON: Duration = Duration::from_secs(5);

async fn two_versions() -> Index {
    Index::of(Style::Json, [wheel("alpha", "1.0", &[]), wheel("alpha", "2.0", &[])]).await
}

/// Asks until a URL answers with this status.
async fn until(url: &str, status: u16) {
    let start = Instant::now();
    loop {
        let answer = get(url, &[]).await;
        if answer.status == status {
            return;
        }
        assert!(start.elapsed() < SOON, "{url} still answers {} after {SOON:?}", answer.status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn names(report: &serde_json::Value, list: &str) -> Vec<String> {
    let rows = report[list].as_array().unwrap();
    let name = |row: &serde_json::Value| {
        format!("{}@{}", row["artifact"].as_str().unwrap(), row["revision"].as_str().unwrap())
    };
    rows.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_before_a_person_says_yes() {
    let index = two_versions().await;
    let home = Home::with(&index.mirror(&["alpha"], "whole = true\napproval = \"manual\""));
    let report = home.sync("python", 3);
    assert_eq!(names(&report, "waiting"), ["alpha@1.0", "alpha@2.0"]);
    let server = home.serve();
    let simple = server.simple("python");
    assert_ne!(client::pip().install(&simple, &["alpha"]).code, 0);
    home.done(["approve", "python", "alpha@1.0", "--reason", "read it"]);
    until(&format!("{simple}alpha/"), 200).await;
    assert_eq!(files(&simple, "alpha").await, ["alpha-1.0-py3-none-any.whl"]);
    for client in client::all() {
        client.install(&simple, &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0"]);
    }
    let history = home.done(["history", "python", "alpha@1.0"]);
    assert!(
        history.contains("tester") && history.contains("NEEDS_APPROVAL -> AVAILABLE: read it"),
        "{history}"
    );
    // The other one still waits, and a sync says so again.
    assert_eq!(names(&home.sync("python", 3), "waiting"), ["alpha@2.0"]);
}

/// With `publish = "manual"` an approval alone changes nothing that clients see.
#[tokio::test(flavor = "multi_thread")]
async fn publishing_by_hand() {
    let index = two_versions().await;
    let home = Home::with(&index.mirror(&["alpha"], "publish = \"manual\""));
    let report = home.sync("python", 0);
    assert!(report["published"].is_null(), "{report}");
    assert_eq!(home.done(["log", "python"]), "");
    let (_, published) = home.json(["publish", "python", "-m", "the first"]);
    assert_eq!(published["published"]["number"], 1);
    assert_eq!(published["published"]["message"], "the first");
    let server = home.serve();
    assert_eq!(files(&server.simple("python"), "alpha").await, ["alpha-2.0-py3-none-any.whl"]);
}

/// Where only a refused version would do, that is what a sync says, with the reason; not that nothing does.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_wants_what_was_rejected_says_so() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &["beta"]), wheel("beta", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], "dependencies = true"));
    home.sync("python", 0);
    home.done(["reject", "python", "beta@1.0", "--reason", "bad news"]);
    let report = home.sync("python", 3);
    assert_eq!(report["missing"], serde_json::json!([]), "{report:#}");
    let [blocked] = &report["blocked"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!((&blocked["artifact"], &blocked["status"]), (&"beta".into(), &"REJECTED".into()));
    assert_eq!(blocked["reason"], "bad news");
    // Another version is taken as before.
    index.add("beta", wheel("beta", "2.0", &[]));
    home.sync("python", 0);
}

/// A rejected revision is refused on every route, old snapshots included, within seconds, by the running server.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_revision_is_refused_on_every_route() {
    let index = two_versions().await;
    let home = Home::with(&index.mirror(&["alpha"], "whole = true"));
    home.sync("python", 0);
    let server = home.serve();
    let simple = server.simple("python");
    let url = file_url(&simple, "alpha", "alpha-2.0-py3-none-any.whl").await;
    let path = url.strip_prefix(&server.base).unwrap().strip_prefix("/python").unwrap();
    let routes = [
        url.clone(),
        format!("{url}.metadata"),
        server.url(&format!("/python@main{path}")),
        server.url(&format!("/python@1{path}")),
        server.url(&format!("/python@1{path}.metadata")),
    ];
    for route in &routes {
        assert_eq!(get(route, &[]).await.status, 200, "{route}");
    }
    home.done(["reject", "python", "alpha@2.0", "--reason", "bad news"]);
    let start = Instant::now();
    for route in &routes {
        until(route, 403).await;
        let range = get(route, &[("range", "bytes=0-9")]).await;
        assert_eq!(range.status, 403, "{route}");
    }
    while files(&simple, "alpha").await.len() > 1 {
        assert!(start.elapsed() < SOON, "the page still lists it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for client in client::all() {
        assert_ne!(client.install(&simple, &["alpha==2.0"]).code, 0);
        client.install(&simple, &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0"]);
    }
    // A person may change their mind only through the table: REJECTED is cleaned up, then brought in again.
    assert_eq!(home.run(["approve", "python", "alpha@2.0"]).code, 1);
    home.done(["cleanup", "python", "alpha@2.0"]);
    home.sync("python", 0);
    until(&url, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_log_and_diff() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], "whole = true"));
    home.sync("python", 0);
    index.add("alpha", wheel("alpha", "2.0", &[]));
    home.sync("python", 0);
    let (_, diff) = home.json(["diff", "python", "1", "2"]);
    let changes = diff["changes"].as_array().unwrap();
    let found: Vec<_> = changes.iter().map(|row| (row["change"].as_str(), row["path"].as_str())).collect();
    let added = |path| (Some("added"), Some(path));
    assert_eq!(
        found,
        [added("alpha/alpha-2.0-py3-none-any.whl"), added("alpha/alpha-2.0-py3-none-any.whl.metadata")]
    );
    let server = home.serve();
    let simple = server.simple("python");
    let pip = client::pip();
    pip.install(&simple, &["alpha"]).expect(0);
    assert_eq!(pip.installed(), ["alpha==2.0"]);
    let (_, rolled) = home.json(["rollback", "python", "1"]);
    assert_eq!((&rolled["number"], &rolled["parent"]), (&3.into(), &2.into()));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    pip.install(&simple, &["alpha"]).expect(0);
    assert_eq!(pip.installed(), ["alpha==1.0"]);
    // Numbers stay readable as they were.
    assert_eq!(files(&server.url("/python@2/simple/"), "alpha").await.len(), 2);
    let (_, log) = home.json(["log", "python"]);
    let numbers: Vec<_> =
        log["snapshots"].as_array().unwrap().iter().map(|row| row["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(3), Some(2), Some(1)]);
    assert_eq!(log["snapshots"][0]["refs"][0], "main");
}

fn stages(index: &Index, approval: &str) -> String {
    let first = index.mirror(&["alpha"], "whole = true").replace("\"python\"", "\"ns/staging\"");
    let second =
        index.mirror(&["alpha"], &format!("approval = \"{approval}\"")).replace("\"python\"", "\"ns/prod\"");
    format!("{first}\n[[repository]]{}", second.split_once("[[repository]]").unwrap().1)
}

#[tokio::test(flavor = "multi_thread")]
async fn promotion_follows_the_policy_of_the_target() {
    let index = two_versions().await;
    let home = Home::with(&stages(&index, "automatic"));
    home.sync("ns/staging", 0);
    let server: Server = home.serve();
    home.done(["promote", "ns/staging", "ns/prod"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let uv = client::uv();
    uv.install(&server.simple("ns/prod"), &["alpha"]).expect(0);
    assert_eq!(uv.installed(), ["alpha==2.0"]);
    // What is denied there stays out, whatever comes along.
    home.done(["reject", "ns/prod", "alpha@2.0"]);
    index.add("alpha", wheel("alpha", "3.0", &[]));
    home.sync("ns/staging", 0);
    home.done(["promote", "ns/staging", "ns/prod"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let listed = files(&server.simple("ns/prod"), "alpha").await;
    assert_eq!(listed, ["alpha-1.0-py3-none-any.whl", "alpha-3.0-py3-none-any.whl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_and_what_is_needed_stays() {
    let index = two_versions().await;
    let home = Home::with(&index.mirror(&["alpha"], "whole = true"));
    home.sync("python", 0);
    let (_, shown) = home.json(["show", "python", "alpha@2.0"]);
    let blob = home.blob(shown["revisions"][0]["files"][0]["sha256"].as_str().unwrap());
    assert!(blob.exists());
    home.done(["gc", "--grace", "0"]);
    assert!(blob.exists(), "what is served is kept");
    home.done(["cleanup", "python", "alpha@2.0"]);
    home.done(["gc", "--grace", "0"]);
    home.done(["gc", "--grace", "0"]);
    assert!(blob.exists(), "the first snapshot is young and still has it");
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
}

/// A lost catalog comes back from the store; a backup of the catalog is a catalog.
#[tokio::test(flavor = "multi_thread")]
async fn backup_and_rebuild() {
    let index = two_versions().await;
    let home = Home::with(&index.mirror(&["alpha"], "whole = true"));
    home.sync("python", 0);
    let backup = home.path().join("backup");
    let (_, written) = home.json([std::ffi::OsStr::new("backup"), backup.as_os_str()]);
    assert_eq!(written["files"].as_array().unwrap().len(), 5);
    let mode = std::fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "keys lie in it");
    let server = home.serve();
    let before = super::support::web::page(&server.simple("python"), "alpha").await;
    drop(server);
    let remove_catalog = || {
        for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
            // The last two are there only after an unclean end.
            let _ = std::fs::remove_file(home.path().join(name));
        }
    };
    remove_catalog();
    let (_, rebuilt) = home.json(["rebuild"]);
    assert_eq!(rebuilt["repositories"][0], "python");
    let server = home.serve();
    let after = super::support::web::page(&server.simple("python"), "alpha").await;
    assert_eq!(after["files"], before["files"]);
    drop(server);
    // With its registry known again it goes on, and fetches nothing that is here.
    home.run(["apply", "mirror.toml"]).expect(0);
    let report = home.sync("python", 0);
    assert_eq!(report["fetched_files"], 0, "{report}");
    // The copy is worth as much as what was lost.
    remove_catalog();
    std::fs::copy(backup.join("catalog.sqlite"), home.path().join("catalog.sqlite")).unwrap();
    assert!(home.done(["history", "python", "alpha@1.0"]).contains("-> AVAILABLE"));
    let second = home.run([std::ffi::OsStr::new("backup"), backup.as_os_str()]).expect(1);
    assert!(second.stderr.contains("name an empty folder"), "{second:?}");
}

/// Two registries that know the same name: the first that is configured wins, whole.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_registry_wins() {
    let (ours, theirs) = (Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await, two_versions().await);
    theirs.add("beta", wheel("beta", "1.0", &[]));
    let mirror = ours
        .mirror(&["alpha", "beta"], "")
        .replace("registry = \"index\"", "registries = [\"index\", \"theirs\"]");
    let second = format!(
        "[[registry]]\nname = \"theirs\"\necosystem = \"pypi\"\nurl = \"{}/simple/\"\n",
        theirs.base()
    );
    let home = Home::with(&format!("{mirror}{second}"));
    home.sync("python", 0);
    let server = home.serve();
    assert_eq!(files(&server.simple("python"), "alpha").await, ["alpha-1.0-py3-none-any.whl"]);
    assert_eq!(files(&server.simple("python"), "beta").await, ["beta-1.0-py3-none-any.whl"]);
    assert_eq!(theirs.count("/simple/alpha"), 0, "the second is not asked about what the first knows");
}
