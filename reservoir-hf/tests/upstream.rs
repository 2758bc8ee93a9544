//! Hubs that lie, break off, move and never end.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use http::{HeaderMap, Method};
use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    ecosystem::{Registry, RepositoryConfig},
    fetch::{FetchOptions, Fetcher},
    lifecycle::Status,
    name::Actor,
    serve::Body,
    snapshot::InstanceKey,
    store::Store,
    sync::SyncReport,
    testing::{memory::MemoryStore, upstream::Reply},
};
use reservoir_hf::Hf;
use serde_json::{Value, json};

use self::support::hub::{Hub, lfs, noise, regular};

const MODEL: &str = "org/tiny";

/// An engine with one repository, `hub`, that mirrors from a Hub.
struct Site {
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn new(hub: &Hub, options: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions { durable: false, ..CatalogOptions::default() })
            .await
            .unwrap();
        let mut url = hub.url();
        url.set_password(Some("the-token")).unwrap();
        let registry = Registry {
            name: "upstream".parse().unwrap(),
            ecosystem: "hf".parse().unwrap(),
            url: Some(url),
            allowed_hosts: serde_json::from_value(options["allowed_hosts"].clone()).unwrap_or_default(),
            options: BTreeMap::new(),
        };
        catalog.put_registry(&registry, &Actor::policy()).await.unwrap();
        let mut config =
            json!({ "name": "hub", "ecosystem": "hf", "registries": ["upstream"], "options": {} });
        for (key, value) in options.as_object().unwrap() {
            match key.as_str() {
                "allowed_hosts" => {}
                "dependencies" => config[key] = value.clone(),
                _ => config["options"][key] = value.clone(),
            }
        }
        let config: RepositoryConfig = serde_json::from_value(config).unwrap();
        catalog.put_repository(&config, &Actor::policy()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let fetch = FetchOptions { retries: 1, backoff: Duration::from_millis(1), ..FetchOptions::default() };
        let engine = Engine::builder()
            .catalog(catalog)
            .store(store)
            .ecosystem(Hf)
            .fetcher(Fetcher::new(fetch).unwrap())
            .key(InstanceKey::generate().unwrap())
            .scratch(folder.path().join("scratch"))
            .build()
            .unwrap();
        Self { engine, _folder: folder }
    }

    async fn sync(&self) -> SyncReport {
        let name = "hub".parse().unwrap();
        self.engine.sync(&name, Actor::policy()).await.unwrap().wait().await.unwrap()
    }

    /// Status, code of the error, body.
    async fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        let uri = format!("/hub/{path}").parse().unwrap();
        let answer = self.engine.respond(&Method::GET, &uri, &HeaderMap::new()).await;
        let code = answer.headers.get("x-error-code").map(|value| value.to_str().unwrap().to_owned());
        let body = match answer.body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Stream(stream) => stream.try_collect::<Vec<_>>().await.unwrap().concat(),
        };
        (answer.status.as_u16(), code.unwrap_or_default(), body)
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

fn models() -> Value {
    json!({ "models": [MODEL] })
}

async fn hub() -> Hub {
    let mut hub = Hub::start().await;
    hub.commit(MODEL, "First", [("config.json", regular("{}")), ("model.bin", lfs(noise(5000, 1)))]);
    hub
}

fn head(hub: &Hub) -> reservoir_hf::name::ObjectId {
    hub.head(MODEL)
}

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

/// Case 42, and 38: redirects to places that a registry may not lead to; the token stays at home.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_tokens_stay_where_they_belong() {
    let other = reservoir_core::testing::upstream::Upstream::start().await;
    let private = other.url("/secret").to_string();
    for location in [private.as_str(), "file:///etc/passwd", "http://169.254.169.254/latest"] {
        let hub = hub().await;
        let file = hub.file(MODEL, head(&hub), "config.json");
        hub.upstream.route(file, Reply::redirect(302, location));
        let report = Site::new(&hub, &models()).await.sync().await;
        assert_eq!((report.admitted, report.failed.len()), (0, 1), "{location}: {report:?}");
        assert!(!format!("{report:?}").contains("the-token"));
        let sent = hub.upstream.requests();
        assert!(sent.iter().all(|request| request.header("authorization") == "Bearer the-token"));
    }
    assert!(other.requests().is_empty());
}

/// As public Hubs answer: small files by a relative redirect whose query counts, large ones from another host with a
/// signature in the address. Both come, a broken one goes on there, and the token goes to neither.
#[tokio::test(flavor = "multi_thread")]
async fn files_come_by_redirects_and_the_token_stays() {
    let files = reservoir_core::testing::upstream::Upstream::start().await;
    let hub = hub().await;
    let commit = head(&hub);
    let known = &hub.get(MODEL, commit).files;
    let beside = format!("/hub/api/resolve-cache/models/{MODEL}/{commit}/config.json?etag=%22x%22&n=1");
    hub.upstream.route(hub.file(MODEL, commit, "config.json"), Reply::redirect(307, beside.as_str()));
    hub.upstream.route(beside.clone(), Reply::ok(known["config.json"].bytes.clone()));
    let away = "/blobs/1?X-Signature=a%2Bb&Expires=9";
    let location = files.url(away).to_string();
    hub.upstream.route(hub.file(MODEL, commit, "model.bin"), Reply::redirect(302, location));
    let large = Reply::ok(known["model.bin"].bytes.clone()).etag("\"1\"");
    files.sequence(away, [large.clone().cut_after(2000), large]);
    let options = json!({ "models": [MODEL], "allowed_hosts": [files.address().to_string()] });
    let site = Site::new(&hub, &options).await;
    let report = site.sync().await;
    assert!(report.is_complete() && report.admitted == 1, "{report:?}");
    assert_eq!(hub.upstream.requests_to(&beside).len(), 1);
    let asked = files.requests_to(away);
    assert_eq!((asked.len(), asked[1].header("range")), (2, "bytes=2000-"), "{asked:#?}");
    assert!(asked.iter().all(|request| request.header("authorization").is_empty()), "{asked:#?}");
    // Clients are answered here, without a redirect.
    assert_eq!(site.get(&format!("{MODEL}/resolve/main/model.bin")).await.2, known["model.bin"].bytes);
}

/// Case 44: a branch that is forced elsewhere between two requests. What is fetched is fetched by commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_moves_mixes_nothing() {
    let mut hub = hub().await;
    let old = head(&hub);
    let new = hub.commit(
        MODEL,
        "Forced",
        [("config.json", regular("{\"new\": 1}")), ("model.bin", lfs(noise(5000, 2)))],
    );
    // The list of refs is old, the revision is old once, then everything is new.
    let old_refs = json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": old }] });
    let new_refs = json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": new }] });
    let json = |value: Value| Reply::ok(value.to_string());
    hub.upstream.sequence(hub.api(MODEL, &["refs"]), [json(new_refs.clone()), json(new_refs)]);
    let revisions = [json(json!({ "sha": old })), json(json!({ "sha": new }))];
    hub.upstream.sequence(hub.api(MODEL, &["revision", "main"]), revisions);
    let site = Site::new(&hub, &models()).await;
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], old.to_string());
    assert_eq!(site.get(&format!("{MODEL}/resolve/main/config.json")).await.2, b"{}");
    let asked = hub.upstream.requests();
    assert!(
        asked.iter().all(
            |request| !request.target.contains("/resolve/main") && !request.target.contains("/tree/main")
        )
    );
    assert!(!old_refs.is_null());

    // The next sync sees where it stands now; the old commit stays reachable by its id.
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], new.to_string());
    assert_eq!(site.get(&format!("{MODEL}/resolve/main/config.json")).await.2, b"{\"new\": 1}");
    assert_eq!(site.get(&format!("{MODEL}/resolve/{old}/config.json")).await.2, b"{}");
    let commits = site.json(&format!("api/models/{MODEL}/commits/main")).await;
    assert_eq!(commits.as_array().unwrap().len(), 2, "{commits}");

    // Forced back: the commit is known, and main is where the Hub says.
    hub.set_ref(MODEL, "refs/heads/main", old);
    site.sync().await;
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], old.to_string());
    let report = site.sync().await;
    assert_eq!((report.unchanged, report.published), (1, None), "{report:?}");
}

/// A newer commit that waits for a person does not take the branch away from the one that is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_stays_where_it_was_until_its_commit_is_let_in() {
    let mut hub = hub().await;
    let old = head(&hub);
    let site = Site::new(&hub, &models()).await;
    site.sync().await;
    let new = hub.commit(MODEL, "Spoilt", [("config.json", regular("{\"new\": 1}"))]);
    hub.upstream.route(hub.file(MODEL, new, "config.json"), Reply::ok("{\"bad\": 1}"));
    let report = site.sync().await;
    assert_eq!(report.failed.len(), 1, "{report:?}");
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], old.to_string());
}

/// What a person rejects is gone under every address; what other commits share with it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_commit_takes_no_shared_file_with_it() {
    let mut hub = Hub::start().await;
    let licence = || ("LICENSE", regular("the licence of both"));
    let bad = hub.commit("org/bad", "First", [licence(), ("model.bin", lfs(noise(3000, 1)))]);
    let good = hub.commit("org/good", "First", [licence()]);
    let site = Site::new(&hub, &json!({ "models": ["org/bad", "org/good"] })).await;
    assert!(site.sync().await.is_complete());
    let (artifact, revision) = ("org/bad".parse().unwrap(), bad.to_string().parse().unwrap());
    let name = "hub".parse().unwrap();
    site.engine.reject(&name, &artifact, &revision, Actor::policy(), "unsafe".into()).await.unwrap();
    for path in ["LICENSE", "model.bin"] {
        for base in ["", "@1"] {
            let uri = format!("/hub{base}/org/bad/resolve/{bad}/{path}").parse().unwrap();
            let answer = site.engine.respond(&Method::GET, &uri, &HeaderMap::new()).await;
            assert_eq!(answer.status, 403, "{base} {path}");
            assert_eq!(answer.headers["x-error-code"], "GatedRepo");
            assert!(answer.headers["x-error-message"].to_str().unwrap().contains("unsafe"));
        }
    }
    assert_eq!(site.get(&format!("org/good/resolve/{good}/LICENSE")).await.0, 200);
    let list = site.json("api/models").await;
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    // What it was is told.
    let tree = site.json(&format!("api/models/org/bad/tree/{bad}?expand=true")).await;
    let status = |item: &Value| item["securityFileStatus"]["status"] == "unsafe";
    assert_eq!(tree.as_array().unwrap().iter().filter(|item| status(item)).count(), 2, "{tree}");
    // A rollback to before does not bring it back.
    site.engine.rollback(&name, "1", Actor::policy()).await.unwrap();
    assert_eq!(site.get(&format!("org/bad/resolve/{bad}/LICENSE")).await.0, 403);
}

/// Files that the patterns leave out stay listed, and are told as missing.
#[tokio::test(flavor = "multi_thread")]
async fn patterns_leave_files_out_and_listed() {
    let hub = hub().await;
    let site = Site::new(&hub, &json!({ "models": [MODEL], "allow_patterns": ["*.json"] })).await;
    let report = site.sync().await;
    assert_eq!(report.fetched_files, 1, "{report:?}");
    let info = site.json(&format!("api/models/{MODEL}?blobs=true")).await;
    assert_eq!(info["siblings"].as_array().unwrap().len(), 2);
    let (status, code, _) = site.get(&format!("{MODEL}/resolve/main/model.bin")).await;
    assert_eq!((status, code.as_str()), (404, "EntryNotFound"));
}

/// What a model needs elsewhere is pulled when asked for, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn needed_repositories_are_followed() {
    let mut hub = Hub::start().await;
    let adapter = "{\"base_model_name_or_path\": \"org/base\"}";
    let config = "{\"auto_map\": {\"AutoModel\": \"org/code--modeling.Model\"}}";
    let old = "{\"base_model_name_or_path\": \"gpt2\"}";
    hub.commit("org/adapter", "First", [("adapter_config.json", regular(adapter))]);
    hub.commit("org/old", "First", [("adapter_config.json", regular(old))]);
    hub.commit("gpt2", "First", [("config.json", regular("{}"))]);
    hub.commit("org/base", "First", [("config.json", regular(config))]);
    hub.commit("org/code", "First", [("modeling.py", regular("x = 1\n"))]);
    for (dependencies, count) in [(false, 2), (true, 5)] {
        let options = json!({ "models": ["org/adapter", "org/old"], "dependencies": dependencies });
        let site = Site::new(&hub, &options).await;
        let report = site.sync().await;
        assert!(report.is_complete(), "{report:?}");
        let list = site.json("api/models").await;
        assert_eq!(list.as_array().unwrap().len(), count, "{list}");
    }
}

/// A revision of a repository that is known already, but not at that revision: what needs it is met later in the sync.
#[tokio::test(flavor = "multi_thread")]
async fn another_revision_of_the_same_repository_is_followed() {
    let mut hub = Hub::start().await;
    let old = hub.commit("org/base", "First", [("config.json", regular("{\"old\": 1}"))]);
    hub.set_ref("org/base", "refs/tags/v1", old);
    let new = hub.commit("org/base", "Second", [("config.json", regular("{\"new\": 1}"))]);
    let adapter = "{\"base_model_name_or_path\": \"org/base\", \"revision\": \"v1\"}";
    hub.commit("org/adapter", "First", [("adapter_config.json", regular(adapter))]);
    let options = json!({ "models": ["org/base@main", "org/adapter"], "dependencies": true });
    let site = Site::new(&hub, &options).await;
    let report = site.sync().await;
    assert!(report.is_complete() && report.admitted == 3, "{report:?}");
    for (label, commit) in [("main", new), ("v1", old)] {
        let info = site.json(&format!("api/models/org/base/revision/{label}")).await;
        assert_eq!(info["sha"], commit.to_string(), "{label}");
        assert_eq!(site.get(&format!("org/base/resolve/{label}/config.json")).await.0, 200, "{label}");
    }
    // Nothing moved: nothing is read again, and nothing is published.
    let trees =
        |hub: &Hub| hub.upstream.requests().iter().filter(|one| one.target.contains("/tree/")).count();
    let read = trees(&hub);
    let report = site.sync().await;
    assert!(report.is_complete() && report.published.is_none(), "{report:?}");
    assert_eq!(trees(&hub), read);
    // The tag moves; what is found so late is followed as well, and the branch is not touched.
    hub.set_ref("org/base", "refs/tags/v1", new);
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(trees(&hub), read + 1, "the one to which something else points now");
    let refs = site.json("api/models/org/base/refs").await;
    assert_eq!(
        (&refs["branches"][0]["targetCommit"], &refs["tags"][0]["targetCommit"]),
        (&json!(new), &json!(new))
    );
}

/// A model without a tokenizer brings the one of its base, and of the base nothing else; a named one is found too.
#[tokio::test(flavor = "multi_thread")]
async fn a_tokenizer_is_brought_without_the_model_around_it() {
    let mut hub = Hub::start().await;
    let weights = || lfs(support::hub::safetensors(&noise(3000, 1)));
    let base = [
        ("README.md", regular("# Base\n")),
        ("config.json", regular("{}")),
        ("model.safetensors", weights()),
        ("tokenizer.json", regular("{}")),
    ];
    hub.commit("org/base", "First", base.clone());
    hub.commit("org/words", "First", base);
    let card = "---\nbase_model: org/base\n---\n";
    hub.commit(
        "org/tuned",
        "First",
        [("README.md", regular(card)), ("config.json", regular("{}")), ("model.safetensors", weights())],
    );
    let config = "{\"model_cfg\": {\"text_cfg\": {\"hf_tokenizer_name\": \"org/words\"}}}";
    hub.commit("org/clip", "First", [("open_clip_config.json", regular(config))]);
    let options = json!({ "models": ["org/tuned", "org/clip"], "dependencies": true });
    let site = Site::new(&hub, &options).await;
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    for repo in ["org/base", "org/words"] {
        for (path, status) in [("tokenizer.json", 200), ("config.json", 200), ("model.safetensors", 404)] {
            assert_eq!(site.get(&format!("{repo}/resolve/main/{path}")).await.0, status, "{repo} {path}");
        }
    }
    // Later the whole of it.
    let both = json!({ "models": ["org/tuned", "org/base"], "dependencies": true });
    let site = Site::new(&hub, &both).await;
    assert!(site.sync().await.is_complete());
    assert_eq!(site.get("org/base/resolve/main/model.safetensors").await.0, 200);
}

/// A private, gated or unknown repository is said so; the rest is mirrored.
#[tokio::test(flavor = "multi_thread")]
async fn one_refused_repository_spoils_no_other() {
    let mut hub = hub().await;
    hub.commit("org/gated", "First", [("config.json", regular("{}"))]);
    hub.upstream.route(hub.api("org/gated", &["refs"]), Reply::status(403));
    let site =
        Site::new(&hub, &json!({ "models": ["org/gated", MODEL, "org/unknown", "org/tiny@nowhere"] })).await;
    let report = site.sync().await;
    assert!(report.alarms.iter().any(|alarm| alarm.contains("gated")), "{report:?}");
    assert!(report.missing.iter().any(|missing| missing.contains("org/unknown")), "{report:?}");
    assert!(!format!("{report:?}").contains("the-token"));
}

/// The card is kept with the file that has it, and shown.
#[tokio::test(flavor = "multi_thread")]
async fn the_card_is_read_and_shown() {
    let mut hub = Hub::start().await;
    let card = "---\nlicense: mit\ntags: [a]\nmodel-index:\n- name: x\n  results: [{metrics: [{value: 0.25}]}]\n---\n";
    let commit = hub.commit(MODEL, "First", [("README.md", regular(card))]);
    let site = Site::new(&hub, &models()).await;
    site.sync().await;
    let info = site.json(&format!("api/models/{MODEL}")).await;
    assert_eq!(info["cardData"]["model-index"][0]["results"][0]["metrics"][0]["value"], 0.25);
    assert_eq!(info["tags"], json!(["a", "license:mit", "model-index"]));
    let repository = site.engine.catalog().repository(&"hub".parse().unwrap()).await.unwrap();
    let candidates = site.engine.catalog().candidates(repository.id, &MODEL.parse().unwrap()).await.unwrap();
    assert_eq!(candidates[0].status, Status::Available);
    let readme = candidates[0].files.iter().find(|file| file.path.file_name() == "README.md").unwrap();
    assert_eq!(readme.inspection.as_ref().unwrap().attributes["license"], json!(["mit"]));
    assert_eq!(candidates[0].revision.as_str(), commit.to_string());
}

/// What cards say is searched and filtered by, as the Hub writes its tags.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_searched_and_filtered_by_what_cards_say() {
    let mut hub = Hub::start().await;
    let card = "---\nlicense: mit\ntags: [Tiny-Tag]\ndatasets: [org/rows]\nbase_model: org/base\nlanguage: [ko]\n\
                pipeline_tag: fill-mask\nlibrary_name: peft\nmodel-index:\n- name: x\n  results:\n  - task: {type: \
                sentiment}\n    dataset: {type: imdb, name: Movie Reviews}\n    metrics: [{type: accuracy, value: 0.5}]\n\
                ---\n";
    hub.commit("org/b", "First", [("README.md", regular(card))]);
    hub.commit("org/a", "First", [("README.md", regular("---\nlicense: apache-2.0\n---\n"))]);
    let site = Site::new(&hub, &json!({ "models": ["org/a", "org/b"] })).await;
    assert!(site.sync().await.is_complete());
    let ids = async |query: &str| -> Vec<String> {
        let found = site.json(&format!("api/models?{query}")).await;
        found.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    for query in [
        "filter=license:mit",
        "filter=dataset:org/rows&filter=base_model:org/base",
        "filter=license:mit,ko,fill-mask",
        "filter=language:ko",
        "filter=tiny-tag",
        "filter=model-index",
        "pipeline_tag=fill-mask",
        "filter=peft",
        "search=MIT",
        "search=fill-mask",
        "search=sentiment+imdb",
        "search=movie+accuracy+org",
        "search=org/b",
    ] {
        assert_eq!(ids(query).await, ["org/b"], "{query}");
    }
    for query in ["filter=license:gpl", "filter=mit", "search=license:mit+nobody", "filter=language:en"] {
        assert!(ids(query).await.is_empty(), "{query}");
    }
    // Nobody counts downloads here, or likes: all have none, and come by name.
    for sort in ["downloads", "likes", "trendingScore"] {
        assert_eq!(ids(&format!("sort={sort}&direction=-1")).await, ["org/a", "org/b"], "{sort}");
    }
}

/// A ref is listed once its commit is here: each that is listed can be read.
#[tokio::test(flavor = "multi_thread")]
async fn refs_are_listed_with_their_commits() {
    let mut hub = Hub::start().await;
    let old = hub.commit(MODEL, "First", [("config.json", regular("{\"old\": 1}"))]);
    hub.set_ref(MODEL, "refs/tags/v1", old);
    hub.set_ref(MODEL, "refs/pr/1", old);
    let new = hub.commit(MODEL, "Second", [("config.json", regular("{}"))]);
    hub.set_ref(MODEL, "refs/tags/v2", new);
    let all = ["org/tiny", "org/tiny@v1", "org/tiny@refs/pr/1"];
    for (labels, tags, requests) in [(&all[..1], &["v2"][..], 0), (&all, &["v1", "v2"], 1)] {
        let site = Site::new(&hub, &json!({ "models": labels })).await;
        assert!(site.sync().await.is_complete());
        let refs = site.json(&format!("api/models/{MODEL}/refs?include_prs=1")).await;
        let names = |key: &str| -> Vec<&str> {
            refs[key].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
        };
        assert_eq!((names("branches"), names("tags")), (vec!["main"], tags.to_vec()), "{refs:#}");
        assert_eq!(names("pullRequests").len(), requests, "{refs:#}");
        for tag in ["v1", "v2"] {
            let (status, code, _) = site.get(&format!("{MODEL}/resolve/{tag}/config.json")).await;
            let expected = if tags.contains(&tag) { (200, "") } else { (404, "RevisionNotFound") };
            assert_eq!((status, code.as_str()), expected, "{tag}");
        }
    }
}

/// Case 51: a Hub that says when it may be asked again is asked again then.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_asks_for_time_gets_it() {
    let hub = hub().await;
    let refs =
        json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": head(&hub) }] });
    let busy = Reply::status(429).header("ratelimit", "\"api\";r=0;t=2");
    hub.upstream.sequence(hub.api(MODEL, &["refs"]), [busy, Reply::ok(refs.to_string())]);
    let begun = std::time::Instant::now();
    let report = Site::new(&hub, &models()).await.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(hub.upstream.requests_to(&hub.api(MODEL, &["refs"])).len(), 2);
}

/// Case 52: llama.cpp asks which file a tag means.
#[tokio::test(flavor = "multi_thread")]
async fn tags_name_gguf_files() {
    let mut hub = Hub::start().await;
    // No tensors, no keys.
    let gguf = || lfs([&b"GGUF\x03\0\0\0"[..], &[0; 16]].concat());
    let files = [
        "m-BF16-00001-of-00002.gguf",
        "m-BF16-00002-of-00002.gguf",
        "m-Q4_K_M.gguf",
        "m-Q8_0.gguf",
        "left-out-Q2_K.gguf",
        "mmproj-m-F16.gguf",
    ];
    hub.commit(MODEL, "First", files.map(|path| (path, gguf())));
    hub.commit("org/plain", "First", [("config.json", regular("{}"))]);
    let options = json!({ "models": [MODEL, "org/plain"], "ignore_patterns": ["left-out*"] });
    let site = Site::new(&hub, &options).await;
    assert!(site.sync().await.is_complete());
    for (tag, expected) in [
        ("latest", "m-Q4_K_M.gguf"),
        ("Q8_0", "m-Q8_0.gguf"),
        ("q4_k_m", "m-Q4_K_M.gguf"),
        ("BF16", "m-BF16-00001-of-00002.gguf"),
    ] {
        let found = site.json(&format!("v2/{MODEL}/manifests/{tag}")).await;
        assert_eq!(found["ggufFile"]["rfilename"], expected, "{tag}");
        assert_eq!(found["mmprojFile"]["rfilename"], "mmproj-m-F16.gguf");
    }
    for path in [format!("v2/{MODEL}/manifests/Q2_K"), "v2/org/plain/manifests/latest".to_owned()] {
        let (status, code, _) = site.get(&path).await;
        assert_eq!((status, code.as_str()), (404, "EntryNotFound"), "{path}");
    }
}
