//! A cache of a Hub: nothing is here until a client asks, and what was asked for stays when the Hub is gone.

use std::time::{Duration, Instant};

use http::Method;
use reservoir_core::{digest::Sha256Digest, testing::upstream::Reply};
use reservoir_hf::name::ObjectId;
use serde_json::json;

use super::support::{
    home::{Home, Run, Server},
    hub::{File, Hub, lfs, noise, regular, safetensors},
    hub_client,
    web::{ask, get},
};

const CARD: &str = "---\nlicense: apache-2.0\ntags: [tiny]\n---\n# Tiny\n";

fn cache(address: &str, keys: &str) -> String {
    format!(
        "[[registry]]\nname = \"upstream\"\necosystem = \"hf\"\nurl = \"{address}\"\n\n[[repository]]\n\
         name = \"hub\"\necosystem = \"hf\"\nregistry = \"upstream\"\nmode = \"cache\"\n{keys}\n"
    )
}

pub(super) fn serving(hub: &Hub, keys: &str) -> (Home, Server) {
    let home = Home::with(&cache(hub.url().as_str(), keys));
    let server = home.serve();
    (home, server)
}

fn model(weights: File) -> [(&'static str, File); 4] {
    [
        ("README.md", regular(CARD)),
        ("config.json", regular("{\"model_type\": \"bert\"}")),
        ("empty.txt", regular("")),
        ("model.safetensors", weights),
    ]
}

/// A Hub with one model, whose large file comes slowly.
pub(super) async fn slow(size: usize, pause: u64) -> (Hub, ObjectId, Vec<u8>) {
    let mut hub = Hub::start().await;
    let bytes = safetensors(&noise(size, 5));
    let commit = hub.commit("org/tiny", "First", model(lfs(bytes.clone())));
    let reply = Reply::ok(bytes.clone()).etag("\"1\"").drip(64 << 10, Duration::from_millis(pause));
    hub.upstream.route(hub.file("org/tiny", commit, "model.safetensors"), reply);
    (hub, commit, bytes)
}

pub(super) fn count(hub: &Hub, commit: ObjectId, path: &str) -> usize {
    hub.upstream.requests_to(&hub.file("org/tiny", commit, path)).len()
}

/// A second Reservoir is the Hub, every client comes, the Hub goes, every client comes again.
#[tokio::test(flavor = "multi_thread")]
async fn clients_bring_what_they_ask_for_and_have_it_when_the_hub_is_gone() {
    let first = Home::with("[[repository]]\nname = \"hub\"\necosystem = \"hf\"\nmode = \"hosted\"\n");
    let hosted = first.serve_with(&["--allow-anonymous-writes"]);
    let author = hub_client::newest();
    let run = author.script(&hosted.url("/hub"), include_str!("hub/upload.py")).expect(0);
    let argument = json!({ "commit": run.stdout.trim() });
    let home = Home::with(&cache(&hosted.url("/hub"), "fresh_for = \"1s\"\nfold_every = \"1s\""));
    let server = home.serve();
    let everybody = |server: &Server| {
        for client in hub_client::all() {
            let run = client.run(&server.url("/hub"), include_str!("hub/pinned.py"), &argument).expect(0);
            assert_eq!(run.stdout.trim(), "done");
        }
    };
    everybody(&server);
    drop(hosted);
    tokio::time::sleep(Duration::from_secs(2)).await;
    everybody(&server);
    drop(server);
    // Another process knows it too, and what arrived is in a snapshot like any mirror's.
    let server = home.serve();
    everybody(&server);
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
    assert!(home.done(["history", "hub", "org/m@main"]).contains("AVAILABLE"));
    let nobody = get(&server.url("/hub/api/models/org/never"), &[]).await;
    assert!(nobody.status >= 500, "away is not unknown: {}", nobody.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_answered_at_once_and_fetch_nothing() {
    let (hub, commit, bytes) = slow(2 << 20, 1000).await;
    let (_home, server) = serving(&hub, "");
    let begun = Instant::now();
    for path in ["model.safetensors", "config.json", "empty.txt"] {
        let file = hub.get("org/tiny", commit).files[path].clone();
        let url = server.url(&format!("/hub/org/tiny/resolve/main/{path}"));
        let head = ask(Method::HEAD, &url, &[("accept-encoding", "identity")]).await.unwrap();
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.header("x-repo-commit"), commit.to_string());
        assert_eq!(head.header("content-length"), file.bytes.len().to_string());
        let etag = if file.lfs { file.sha256().to_string() } else { file.oid().to_string() };
        assert_eq!(head.header("etag"), format!("\"{etag}\""));
        assert_eq!(
            head.header("x-linked-size"),
            if file.lfs { bytes.len().to_string() } else { String::new() }
        );
        assert_eq!(count(&hub, commit, path), 0, "{path}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for (path, status, code) in [
        ("org/tiny/resolve/main/nothing", 404, "EntryNotFound"),
        ("org/tiny/resolve/nowhere/config.json", 404, "RevisionNotFound"),
        ("org/other/resolve/main/config.json", 404, "RepoNotFound"),
    ] {
        let answer = get(&server.url(&format!("/hub/{path}")), &[]).await;
        assert_eq!((answer.status, answer.header("x-error-code")), (status, code), "{path}");
    }
    let asked = hub.upstream.requests().len();
    get(&server.url("/hub/org/other/resolve/main/config.json"), &[]).await;
    assert_eq!(hub.upstream.requests().len(), asked, "what nobody knows is remembered for a while");
}

/// Case 49: one fetch for all who ask; bytes pass while they arrive; who broke off goes on in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn thirty_clients_cause_one_fetch_and_follow_it() {
    let (hub, commit, bytes) = slow(3 << 20, 60).await;
    let (home, server) = serving(&hub, "");
    let url = server.url(&format!("/hub/org/tiny/resolve/{commit}/model.safetensors"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut first = client.get(&url).send().await.unwrap();
    let status = first.status();
    let piece = first.chunk().await.unwrap().unwrap();
    assert!(status == 200 && bytes.starts_with(&piece), "{status}");
    assert!(!home.blob(&Sha256Digest::of(&bytes).to_string()).exists(), "not all of it is here");
    let clients: Vec<_> = (0..30)
        .map(|number| {
            let url = url.clone();
            tokio::spawn(async move {
                let from = number * 1000;
                let range = format!("bytes={from}-");
                let headers = [("range", range.as_str())];
                let answer = get(&url, if number == 0 { &[] } else { &headers }).await;
                (number, from, answer)
            })
        })
        .collect();
    for client in clients {
        let (number, from, answer) = client.await.unwrap();
        assert_eq!(answer.status, if number == 0 { 200 } else { 206 });
        assert!(answer.body == bytes[from..], "client {number}");
    }
    assert_eq!(count(&hub, commit, "model.safetensors"), 1);
    // The Rust client of the Hub asks for the first byte first.
    let one = get(&url, &[("range", "bytes=0-0")]).await;
    assert_eq!(
        (one.status, one.header("content-range")),
        (206, format!("bytes 0-0/{}", bytes.len()).as_str())
    );
}

/// Case 49 with a real client: thirty downloads of the whole at once, nothing of it here yet.
#[tokio::test(flavor = "multi_thread")]
async fn thirty_cold_downloads_cause_one_fetch_of_each_file() {
    let (hub, commit, _) = slow(1 << 20, 20).await;
    let (_home, server) = serving(&hub, "");
    let script = "import hashlib, pathlib\n\
                  from concurrent.futures import ThreadPoolExecutor\n\
                  from huggingface_hub import snapshot_download\n\
                  def one(number):\n    \
                  folder = pathlib.Path(snapshot_download('org/tiny', cache_dir=f'cache-{number}', max_workers=2))\n    \
                  return sorted((p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in folder.iterdir())\n\
                  with ThreadPoolExecutor(30) as pool:\n    found = list(pool.map(one, range(30)))\n\
                  assert len(found[0]) == 4 and all(one == found[0] for one in found), found\n\
                  print(dict(found[0])['model.safetensors'])\n";
    let client = hub_client::newest();
    let run = client.run(&server.url("/hub"), script, &json!({})).expect(0);
    let files = &hub.get("org/tiny", commit).files;
    assert_eq!(run.stdout.trim(), files["model.safetensors"].sha256().to_string());
    for (path, file) in files {
        // Nobody has to ask for nothing.
        let expected = if file.bytes.is_empty() { 0..=1 } else { 1..=1 };
        assert!(expected.contains(&count(&hub, commit, path)), "{path}");
    }
}

/// Case 49: whoever was served when the server died has less than the whole; the next one goes on where it stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on_with_a_model_where_it_stopped() {
    let (hub, commit, bytes) = slow(2 << 20, 100).await;
    let path = hub.file("org/tiny", commit, "model.safetensors");
    let whole = Reply::ok(bytes.clone()).etag("\"1\"");
    hub.upstream
        .sequence(path.clone(), [whole.clone().drip(64 << 10, Duration::from_millis(100)), whole.clone()]);
    let (home, server) = serving(&hub, "");
    let file = format!("/hub/org/tiny/resolve/{commit}/model.safetensors");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut response = client.get(server.url(&file)).send().await.unwrap();
    let mut taken = 0;
    while taken < 600_000 {
        taken += response.chunk().await.unwrap().unwrap().len();
    }
    server.end("KILL");
    while let Ok(Some(piece)) = response.chunk().await {
        taken += piece.len();
    }
    assert!(taken < bytes.len());
    assert!(!home.blob(&Sha256Digest::of(&bytes).to_string()).exists());
    let server = home.serve();
    // The client resumes as well.
    let range = format!("bytes={taken}-");
    let rest = get(&server.url(&file), &[("range", &range)]).await;
    assert!(rest.status == 206 && rest.body == bytes[taken..], "{}", rest.status);
    let requests = hub.upstream.requests_to(&path);
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let from = requests[1].header("range").strip_prefix("bytes=").unwrap().trim_end_matches('-');
    assert!(from.parse::<usize>().unwrap() >= 256 << 10, "{from}");
}

/// What arrived is in lists at once, before a snapshot has it, and once it has.
#[tokio::test(flavor = "multi_thread")]
async fn lists_show_what_arrived() {
    let (hub, ..) = slow(100_000, 1).await;
    let (home, server) = serving(&hub, "fold_every = \"1h\"");
    let list = async |query: &str| -> Vec<String> {
        let found = get(&server.url(&format!("/hub/api/models?{query}")), &[]).await.json();
        found.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(list("").await.is_empty());
    get(&server.url("/hub/api/models/org/tiny"), &[]).await;
    for query in ["search=tin", "author=org", "filter=license:apache-2.0", "sort=lastModified&limit=1"] {
        assert_eq!(list(query).await, ["org/tiny"], "{query}");
    }
    assert!(list("search=other").await.is_empty());
    let expanded = get(&server.url("/hub/api/models?full=true&cardData=true&config=true"), &[]).await.json();
    assert_eq!(expanded[0]["cardData"]["license"], "apache-2.0", "{expanded:#}");
    assert_eq!(expanded[0]["config"]["model_type"], "bert");
    home.done(["publish", "hub"]);
    // Published by another process, which the server has not looked at yet.
    for _ in 0..20 {
        assert_eq!(list("").await, ["org/tiny"], "neither twice nor not at all");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Case 39: equal in size, and other bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_lies_is_never_passed_on() {
    let (hub, commit, mut bytes) = slow(1 << 20, 10).await;
    *bytes.last_mut().unwrap() ^= 1;
    let wrong = Reply::ok(bytes.clone()).drip(128 << 10, Duration::from_millis(100));
    hub.upstream.route(hub.file("org/tiny", commit, "model.safetensors"), wrong);
    hub.upstream.route(hub.file("org/tiny", commit, "config.json"), Reply::ok("{\"model_type\": \"evil\"}"));
    let (home, server) = serving(&hub, "");
    let url = |path: &str| server.url(&format!("/hub/org/tiny/resolve/main/{path}"));
    assert!(ask(Method::GET, &url("model.safetensors"), &[]).await.is_err(), "broken off");
    assert_eq!(get(&url("model.safetensors"), &[]).await.status, 502, "told plainly, once it is known");
    let regular = get(&url("config.json"), &[]).await;
    assert_eq!(regular.status, 502, "{}", regular.text());
    assert!(!regular.text().contains("evil"));
    assert!(!home.blob(&Sha256Digest::of(&bytes).to_string()).exists());
    // The rest of the commit is not hurt.
    assert_eq!(get(&url("README.md"), &[]).await.text(), CARD);
}

/// Case 38, and what a cache may be asked for.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_stay_on_their_side() {
    let (hub, ..) = slow(100_000, 1).await;
    let address = hub.url().as_str().replace("://", "://:hf_ours@");
    let home = Home::with(&cache(&address, "models = [\"org/tiny\"]"));
    let server = home.serve();
    let client = hub_client::newest();
    let script = "from huggingface_hub import snapshot_download\nprint(snapshot_download('org/tiny'))";
    let mut command = client.command(&server.url("/hub"));
    Run::of(command.env("HF_TOKEN", "hf_theirs").args(["-c", script])).expect(0);
    let asked = hub.upstream.requests();
    assert!(asked.len() > 4);
    for request in &asked {
        assert_eq!(request.header("authorization"), "Bearer hf_ours");
        assert!(!format!("{request:?}").contains("hf_theirs"));
    }
    for path in ["api/models/org/tiny?blobs=true", "org/tiny/resolve/main/config.json", "api/models/org/no"] {
        let answer =
            get(&server.url(&format!("/hub/{path}")), &[("authorization", "Bearer hf_theirs")]).await;
        let told = format!("{:?}{}", answer.headers, answer.text());
        assert!(!told.contains("hf_ours") && !told.contains(&hub.upstream.address().to_string()), "{told}");
        assert!(!told.to_lowercase().contains("xet"), "{told}");
    }
    let log = std::fs::read_to_string(home.path().join("serve.log")).unwrap();
    assert!(!log.contains("hf_ours") && !log.contains("hf_theirs"), "{log}");
    let before = hub.upstream.requests().len();
    let other = get(&server.url("/hub/api/models/org/other"), &[]).await;
    assert_eq!((other.status, other.header("x-error-code")), (404, "RepoNotFound"));
    assert_eq!(hub.upstream.requests().len(), before, "only what is named may be asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_moves_is_followed_and_old_commits_stay() {
    let mut hub = Hub::start().await;
    let old = hub.commit("org/tiny", "First", model(lfs(safetensors(&noise(1000, 1)))));
    hub.set_ref("org/tiny", "refs/tags/v1", old);
    let (_home, server) = serving(&hub, "fresh_for = \"1s\"\nfold_every = \"1s\"");
    let commit = async |rev: &str| {
        let url = server.url(&format!("/hub/api/models/org/tiny/revision/{rev}"));
        let answer = get(&url, &[]).await;
        (answer.status, answer.json()["sha"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(commit("main").await, (200, old.to_string()));
    let info = get(&server.url("/hub/api/models/org/tiny"), &[]).await.json();
    assert_eq!(info["cardData"]["license"], "apache-2.0");
    assert_eq!(info["config"]["model_type"], "bert");
    assert_eq!(info["siblings"].as_array().unwrap().len(), 4);
    let new = hub.commit("org/tiny", "Second", model(lfs(safetensors(&noise(1000, 2)))));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(commit("main").await, (200, new.to_string()));
    assert_eq!(commit("v1").await, (200, old.to_string()));
    assert_eq!(commit(&old.to_string()).await, (200, old.to_string()));
    assert_eq!(commit("v2").await.0, 404);
    let trees = |commit: ObjectId| {
        let path = hub.api("org/tiny", &["tree", &commit.to_string()]);
        hub.upstream.requests().iter().filter(|request| request.target.starts_with(&path)).count()
    };
    assert_eq!((trees(old), trees(new)), (1, 1), "a commit is read once");
    let refs = get(&server.url("/hub/api/models/org/tiny/refs"), &[]).await.json();
    assert_eq!(refs["branches"][0]["targetCommit"], new.to_string());
    assert_eq!(refs["tags"][0]["targetCommit"], old.to_string());
}

/// A person decides about a commit; until then clients are told so, and nothing leaves.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_is_explained() {
    let (hub, ..) = slow(100_000, 1).await;
    let (home, server) = serving(&hub, "approval = \"manual\"");
    let url = server.url("/hub/org/tiny/resolve/main/config.json");
    let refused = get(&url, &[]).await;
    assert_eq!((refused.status, refused.header("x-error-code")), (403, "GatedRepo"), "{}", refused.text());
    home.run(["import", "hub", "org/tiny"]).expect(3);
    home.done(["approve", "hub", "org/tiny@main"]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let approved = get(&url, &[]).await;
    assert_eq!((approved.status, approved.text()), (200, "{\"model_type\": \"bert\"}"));
}
