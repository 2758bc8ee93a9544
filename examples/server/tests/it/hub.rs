//! Models and datasets with real clients, alone with our Hub.

use reservoir_core::digest::Sha256Digest;
use reservoir_hf::name::ObjectId;
use serde_json::{Value, json};

use super::support::{
    home::{Home, Run, Server},
    hub::{Hub, lfs, noise, regular},
    hub_client,
    web::ask,
    wire::Wire,
};

const CARD: &str = include_str!("hub/card.md");
const SLOW: &str = "The first bytes of a file come at once, whatever their number.";

/// A Hub, what is on it, and the commits.
struct World {
    hub: Hub,
    old: ObjectId,
    new: ObjectId,
}

impl World {
    async fn new() -> Self {
        let mut hub = Hub::start().await;
        let common = |config: &str| {
            [
                (".gitattributes", regular("*.safetensors filter=lfs\n")),
                ("README.md", regular(CARD)),
                ("config.json", regular(config)),
                ("deep/er/é b.txt", regular(SLOW)),
                ("empty.txt", regular("")),
                ("model.safetensors", lfs(noise(300_000, 7))),
            ]
        };
        let old = hub.commit("org/tiny", "First", common("{\"model_type\": \"old\"}"));
        for name in ["refs/tags/v1", "refs/pr/1", "refs/heads/dev/x"] {
            hub.set_ref("org/tiny", name, old);
        }
        let new = hub.commit("org/tiny", "Second", common("{\"model_type\": \"new\"}"));
        let rows = "a,b\n1,2\n";
        hub.commit(
            "datasets/org/rows",
            "Rows",
            [("data/train.csv", regular(rows)), ("README.md", regular("# Rows\n"))],
        );
        let many: Vec<String> = (0..2500).map(|number| format!("many/{number:05}.txt")).collect();
        hub.page = 999;
        hub.commit("org/many", "Many", many.iter().map(|path| (path.as_str(), regular(path.as_str()))));
        Self { hub, old, new }
    }

    fn served(&self) -> (Home, Server) {
        let selection = "models = [\"org/tiny@main\", \"org/tiny@v1\", \"org/tiny@refs/pr/1\", \
                         \"org/tiny@dev/x\", \"org/many\"]\ndatasets = [\"org/rows\"]\n\
                         ignore_patterns = [\"many/*\"]";
        let home = Home::with(&mirror(&self.hub, selection));
        home.sync("hub", 0);
        let server = home.serve();
        (home, server)
    }

    fn expected(&self) -> Value {
        let files = &self.hub.get("org/tiny", self.new).files;
        let described = files.iter().map(|(path, file)| {
            let value = json!({
                "sha256": file.sha256(), "oid": file.oid(), "size": file.bytes.len(), "lfs": file.lfs,
            });
            (path.clone(), value)
        });
        json!({
            "model": "org/tiny",
            "commit": self.new,
            "old": self.old,
            "files": described.collect::<serde_json::Map<_, _>>(),
            "dataset": "org/rows",
            "dataset_files": ["train.csv", "README.md"],
            "many": "org/many",
            "many_entries": 2501,
            "first_66": Sha256Digest::of(&files["model.safetensors"].bytes[..66]),
        })
    }
}

/// The configuration of a mirror named `hub`.
fn mirror(hub: &Hub, keys: &str) -> String {
    format!(
        "[[registry]]\nname = \"upstream\"\necosystem = \"hf\"\nurl = \"{}\"\n\n[[repository]]\nname = \"hub\"\n\
         ecosystem = \"hf\"\nregistry = \"upstream\"\nmode = \"mirror\"\n{keys}\n",
        hub.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_reads_everything() {
    let world = World::new().await;
    let (_home, server) = world.served();
    for client in hub_client::all() {
        let run = client.run(&server.url("/hub"), include_str!("hub/read.py"), &world.expected()).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}

/// Case 14: the connection breaks in the middle of a file; clients go on where they were. The oldest one writes
/// ten megabytes at a time.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_resumes_a_broken_download() {
    let mut hub = Hub::start().await;
    let bytes = noise(25 << 20, 3);
    let expected = Sha256Digest::of(&bytes).to_string();
    hub.commit("org/tiny", "First", [("model.safetensors", lfs(bytes))]);
    let home = Home::with(&mirror(&hub, "models = [\"org/tiny\"]"));
    home.sync("hub", 0);
    let server = home.serve();
    for client in hub_client::all() {
        let wire = Wire::to(&server.base);
        wire.cut_after(15 << 20);
        let endpoint = format!("{}/hub", wire.base());
        let run = client.run(&endpoint, include_str!("hub/resume.py"), &json!({})).expect(0);
        assert_eq!(run.stdout.trim(), expected);
        assert!(wire.was_cut());
        assert!(wire.lines().iter().any(|line| line.ends_with("(range)")), "{:#?}", wire.lines());
    }
}

/// Case 13: what clients recognise files by; and no trace of upstream's storage or addresses.
#[tokio::test(flavor = "multi_thread")]
async fn heads_follow_the_contract() {
    let world = World::new().await;
    let (_home, server) = world.served();
    let files = &world.hub.get("org/tiny", world.new).files;
    for (path, file) in files {
        let encoded = path.replace(' ', "%20").replace('é', "%C3%A9");
        let url = server.url(&format!("/hub/org/tiny/resolve/main/{encoded}"));
        let head = ask(http::Method::HEAD, &url, &[("accept-encoding", "identity")]).await.unwrap();
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.header("x-repo-commit"), world.new.to_string());
        assert_eq!(head.header("content-length"), file.bytes.len().to_string());
        assert_eq!(head.header("accept-ranges"), "bytes");
        let etag = if file.lfs { file.sha256().to_string() } else { file.oid().to_string() };
        assert_eq!(head.header("etag"), format!("\"{etag}\""));
        let linked = if file.lfs { file.bytes.len().to_string() } else { String::new() };
        assert_eq!(head.header("x-linked-size"), linked);
        let get = ask(http::Method::GET, &url, &[]).await.unwrap();
        assert_eq!(get.body, file.bytes);
        // Case 16: an empty file has no ranges; the whole of it is legal.
        let one = ask(http::Method::GET, &url, &[("range", "bytes=0-0")]).await.unwrap();
        let (status, range) = if file.bytes.is_empty() {
            (200, "bytes */0".to_owned())
        } else {
            (206, format!("bytes 0-0/{}", file.bytes.len()))
        };
        assert_eq!((one.status, one.header("content-range")), (status, range.as_str()), "{path}");
        for answer in [head, get, one] {
            let text = format!("{:?}", answer.headers).to_lowercase();
            assert!(!text.contains("xet") && !text.contains("link\":"), "{text}");
        }
    }
    for page in [
        "api/models/org/tiny?blobs=true",
        "api/models/org/tiny/tree/main?recursive=true&expand=true",
        "api/models",
    ] {
        let answer = ask(http::Method::GET, &server.url(&format!("/hub/{page}")), &[]).await.unwrap();
        let text = answer.text().to_lowercase();
        assert!(!text.contains("xet") && !text.contains(&world.hub.upstream.address().to_string()), "{text}");
    }
    for (path, status, code) in [
        ("org/tiny/resolve/main/nothing", 404, "EntryNotFound"),
        ("org/tiny/resolve/nowhere/config.json", 404, "RevisionNotFound"),
        ("org/other/resolve/main/config.json", 404, "RepoNotFound"),
        ("org/many/resolve/main/many/00001.txt", 404, "EntryNotFound"),
        ("api/models/org/tiny/xet-read-token/main", 501, ""),
        ("api/whoami-v2", 401, ""),
        ("api/agent-harnesses", 404, ""),
    ] {
        let answer = ask(http::Method::GET, &server.url(&format!("/hub/{path}")), &[]).await.unwrap();
        assert_eq!((answer.status, answer.header("x-error-code")), (status, code), "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
}

/// A configuration with one hosted repository.
const HOSTED: &str = "[[repository]]\nname = \"hub\"\necosystem = \"hf\"\nmode = \"hosted\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_client_creates_uploads_and_commits() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    for (number, client) in hub_client::all().iter().enumerate() {
        let mut command = client.command(&server.url("/hub"));
        command.env("HF_TOKEN", "hf_test").env("HF_HUB_DISABLE_XET", "1");
        let argument = json!({ "repo": format!("org/new-{number}") }).to_string();
        let run = Run::of(command.args(["-c", include_str!("hub/write.py"), &argument])).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}

/// Case 24, and writes where nobody allowed them.
#[tokio::test(flavor = "multi_thread")]
async fn refused_uploads_say_why() {
    let home = Home::with(HOSTED);
    let script = "from huggingface_hub import HfApi\napi = HfApi(token='hf_test')\n\
                  api.create_repo('org/m', exist_ok=True)\n\
                  api.upload_file(repo_id='org/m', path_or_fileobj=b'x' * 2000000, path_in_repo='m.bin')\n";
    let client = hub_client::newest();
    let closed = home.serve();
    let run = client.run(&closed.url("/hub"), script, &json!({}));
    assert!(run.code != 0 && run.stderr.contains("403"), "{run:?}");
    drop(closed);
    let open = home.serve_with(&["--allow-anonymous-writes"]);
    let run = client.run(&open.url("/hub"), script, &json!({}));
    assert!(run.code != 0 && run.stderr.contains("HF_HUB_DISABLE_XET=1"), "{run:?}");
    let everywhere = home.run(["serve", "--listen", "0.0.0.0:0", "--allow-anonymous-writes"]);
    assert_eq!(everywhere.code, 2, "{everywhere:?}");
}
