//! Models and datasets with real clients, alone with our Hub.

use reservoir_core::digest::Sha256Digest;
use reservoir_hf::name::ObjectId;
use serde_json::{Value, json};

use super::support::{
    home::{Home, Run, Server},
    hub::{Hub, lfs, noise, regular, safetensors},
    hub_client,
    web::ask,
    wire::Wire,
};

const CARD: &str = include_str!("hub/card.md");
const SLOW: &str = "The first bytes of a file come at once, whatever their number.";

/// A Hub, what is on it, and the commits.
pub(super) struct World {
    hub: Hub,
    old: ObjectId,
    new: ObjectId,
}

impl World {
    pub(super) async fn new() -> Self {
        let mut hub = Hub::start().await;
        let common = |config: &str| {
            [
                (".gitattributes", regular("*.safetensors filter=lfs\n")),
                ("README.md", regular(CARD)),
                ("config.json", regular(config)),
                ("deep/er/é b.txt", regular(SLOW)),
                ("empty.txt", regular("")),
                ("model.safetensors", lfs(safetensors(&noise(300_000, 7)))),
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

    /// A mirror of it named `hub`, by branch, tag and pull request.
    pub(super) fn mirror(&self) -> String {
        let selection = "models = [\"org/tiny@main\", \"org/tiny@v1\", \"org/tiny@refs/pr/1\", \
                         \"org/tiny@dev/x\", \"org/many\"]\ndatasets = [\"org/rows\"]\n\
                         ignore_patterns = [\"many/*\"]";
        mirror(&self.hub, selection)
    }

    /// A home that has mirrored it.
    pub(super) fn mirrored(&self) -> Home {
        let home = Home::with(&self.mirror());
        home.sync("hub", 0);
        home
    }

    fn served(&self) -> (Home, Server) {
        let home = self.mirrored();
        let server = home.serve();
        (home, server)
    }

    /// What `read.py` is to find.
    pub(super) fn expected(&self) -> Value {
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
    // Case 20: nothing that is answered leads to upstream, nor to storage that is not served here.
    let upstream = world.hub.upstream.address().to_string();
    for client in hub_client::all() {
        let wire = Wire::to(&server.base);
        let endpoint = format!("{}/hub", wire.base());
        let run = client.run(&endpoint, include_str!("hub/read.py"), &world.expected()).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
        assert_eq!(wire.has_answered(&["xethash", "x-xet", "xet-auth", "cas.example.com", &upstream]), None);
    }
}

/// Case 14: the connection breaks in the middle of a file; clients go on where they were. The oldest one writes
/// ten megabytes at a time.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_resumes_a_broken_download() {
    let mut hub = Hub::start().await;
    let bytes = safetensors(&noise(25 << 20, 3));
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
        // Case 14: a weak tag is as good for what a client has, and no ground to put pieces together.
        let weak = format!("W/\"{etag}\"");
        assert_eq!(ask(http::Method::GET, &url, &[("if-none-match", &weak)]).await.unwrap().status, 304);
        for (tag, status) in [(head.header("etag"), 206), (&*weak, 200), ("\"other\"", 200)] {
            let asked = [("range", "bytes=0-0"), ("if-range", tag)];
            let answer = ask(http::Method::GET, &url, &asked).await.unwrap();
            assert_eq!(answer.status, if file.bytes.is_empty() { 200 } else { status }, "{path} {tag}");
        }
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
        ("api/there-is-no-xet-storage-here/set-HF_HUB_DISABLE_XET=1", 501, ""),
        ("api/whoami-v2", 401, ""),
        ("api/agent-harnesses", 404, ""),
    ] {
        let answer = ask(http::Method::GET, &server.url(&format!("/hub/{path}")), &[]).await.unwrap();
        assert_eq!((answer.status, answer.header("x-error-code")), (status, code), "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
}

/// A configuration with one hosted repository.
pub(super) const HOSTED: &str = "[[repository]]\nname = \"hub\"\necosystem = \"hf\"\nmode = \"hosted\"\n";

/// Each with a server of its own, all at once: snapshots of one repository are a second apart.
#[test]
fn every_client_creates_uploads_and_commits() {
    std::thread::scope(|scope| {
        for client in hub_client::all() {
            scope.spawn(move || {
                let home = Home::with(HOSTED);
                let server = home.serve_with(&["--allow-anonymous-writes"]);
                let mut command = client.writer("python", &server.url("/hub"));
                let argument = json!({ "repo": "org/new" }).to_string();
                let run = Run::of(command.args(["-c", include_str!("hub/write.py"), &argument])).expect(0);
                assert!(run.stdout.ends_with("done\n"), "{run:?}");
            });
        }
    });
}

/// Case 23: a file too large for one piece.
#[test]
fn large_files_are_uploaded_in_parts() {
    for client in hub_client::all() {
        let home = Home::with(HOSTED);
        let server = home.serve_with(&["--allow-anonymous-writes"]);
        let run = client.script(&server.url("/hub"), include_str!("hub/parts.py")).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}

/// Case 31: knowing the digest of something is no right to it, and other bytes than were promised are refused.
#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_what_they_are_called_and_whose_they_are() {
    let two = format!("{HOSTED}\n{}", HOSTED.replace("\"hub\"", "\"other\""));
    let home = Home::with(&two);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let post = async |path: &str, body: Value| {
        let request = reqwest::Client::new().post(server.url(path)).body(body.to_string());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for hub in ["hub", "other"] {
        let made =
            post(&format!("/{hub}/api/repos/create"), json!({ "name": "m", "organization": "org" })).await;
        assert_eq!(made.0, 200, "{made:?}");
    }
    let bytes = noise(5000, 1);
    let (oid, size) = (Sha256Digest::of(&bytes).to_string(), bytes.len());
    let object = |oid: &str| format!("/hub/org/m.git/info/lfs/objects/{oid}");
    let put = async |oid: &str, bytes: Vec<u8>| {
        reqwest::Client::new()
            .put(server.url(&object(oid)))
            .body(bytes)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let wrong = Sha256Digest::of(b"other").to_string();
    assert_eq!(put(&wrong, bytes.clone()).await, 422);
    assert_eq!(post(&object("verify"), json!({ "oid": oid, "size": size })).await.0, 404);
    let batch =
        json!({ "operation": "upload", "transfers": ["basic"], "objects": [{ "oid": oid, "size": size }] });
    assert!(post(&object("batch"), batch.clone()).await.1.contains("\"upload\""));
    assert_eq!(put(&oid, bytes).await, 200);
    assert_eq!(post(&object("verify"), json!({ "oid": oid, "size": size + 1 })).await.0, 422);
    assert_eq!(post(&object("verify"), json!({ "oid": oid, "size": size })).await.0, 200);
    assert!(!post(&object("batch"), batch).await.1.contains("actions"), "it is here already");

    let line = |key: &str, value: Value| json!({ "key": key, "value": value }).to_string();
    let header = line("header", json!({ "summary": "one" }));
    let large = line("lfsFile", json!({ "path": "m.bin", "algo": "sha256", "oid": oid, "size": size }));
    let commit = async |hub: &str, body: String| {
        let url = server.url(&format!("/{hub}/api/models/org/m/commit/main"));
        let answer = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = commit("other", format!("{header}\n{large}\n")).await;
    assert!(status == 400 && text.contains("was not uploaded here"), "{text}");
    for path in ["../x", ".git/config", "a//b", "/abs", "a\0b"] {
        let file = line("file", json!({ "path": path, "content": "eA==", "encoding": "base64" }));
        assert_eq!(commit("hub", format!("{header}\n{file}\n")).await.0, 400, "{path}");
    }
    let file = line("file", json!({ "path": "m.bin/x", "content": "eA==", "encoding": "base64" }));
    assert_eq!(commit("hub", format!("{header}\n{large}\n{file}\n")).await.0, 400, "file and folder");
    assert_eq!(commit("hub", format!("{header}\n{large}\n")).await.0, 200);
    let stale = line("header", json!({ "summary": "two", "parentCommit": "0".repeat(40) }));
    assert_eq!(commit("hub", format!("{stale}\n{large}\n")).await.0, 412);
    let tree = ask(http::Method::GET, &server.url("/hub/api/models/org/m/tree/main"), &[]).await.unwrap();
    assert_eq!(tree.json().as_array().unwrap().len(), 2, "nothing but the one commit");
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

/// What a server hosts, another mirrors: the same commits, the same bytes, and then without the first one.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_a_hosted_repository_has_its_commits() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let client = hub_client::newest();
    let run = client.script(&server.url("/hub"), include_str!("hub/upload.py")).expect(0);
    let commit = run.stdout.trim().to_owned();

    let registry =
        format!("[[registry]]\nname = \"first\"\necosystem = \"hf\"\nurl = \"{}\"\n", server.url("/hub"));
    let keys = "registry = \"first\"\nmodels = [\"org/m@main\", \"org/m@v1\"]\ndatasets = [\"org/d\"]\n";
    let second = Home::with(&format!("{registry}[[repository]]\nname = \"hub\"\necosystem = \"hf\"\n{keys}"));
    second.sync("hub", 0);
    drop(server);
    let mirror = second.serve();
    let argument = json!({ "commit": commit });
    for client in hub_client::all() {
        let run = client.run(&mirror.url("/hub"), include_str!("hub/pinned.py"), &argument).expect(0);
        assert_eq!(run.stdout.trim(), "done");
    }
    // Labels name revisions on the command line.
    let shown = second.done(["show", "hub", "org/m@v1"]);
    assert!(shown.contains("config.json"), "{shown}");
    let shown = second.done(["show", "hub", "org/m@main"]);
    assert!(shown.contains(&commit), "{shown}");
    assert!(second.done(["history", "hub", "org/m@main"]).contains("AVAILABLE"));
}

/// `hf`, the command.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_client_uploads_and_downloads() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let client = hub_client::newest();
    let folder = client.path().join("mine");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    std::fs::write(folder.join("weights.bin"), noise(100_000, 5)).unwrap();
    let hf = |arguments: &[&str]| Run::of(client.writer("hf", &server.url("/hub")).args(arguments)).expect(0);
    assert!(hf(&["auth", "whoami"]).all().contains("reservoir"));
    hf(&["repos", "create", "org/mine"]);
    hf(&["upload", "org/mine", "mine", "."]);
    hf(&["download", "org/mine", "--local-dir", "down"]);
    assert_eq!(std::fs::read(client.path().join("down/weights.bin")).unwrap(), noise(100_000, 5));
}

/// `transformers` and `datasets`, and both again without the network.
#[tokio::test(flavor = "multi_thread")]
async fn transformers_and_datasets_load() {
    let client = hub_client::HubClient::new("RESERVOIR_TEST_TRANSFORMERS");
    let made =
        Run::of(client.command("http://127.0.0.1:9").args(["-c", include_str!("hub/make.py")])).expect(0);
    assert_eq!(made.stdout.trim(), "made");
    let read = |name: &str| std::fs::read(client.path().join("made").join(name)).unwrap();
    let mut hub = Hub::start().await;
    let text = ["config.json", "tokenizer_config.json", "vocab.txt"].map(|name| (name, regular(read(name))));
    hub.commit(
        "org/bert",
        "First",
        text.into_iter().chain([("model.safetensors", lfs(read("model.safetensors")))]),
    );
    hub.commit("datasets/org/rows", "First", [("data/train.csv", regular("a,b\n1,x\n2,y\n"))]);
    hub.commit(
        "datasets/org/columns",
        "First",
        [("data/train-00000-of-00001.parquet", lfs(read("rows.parquet")))],
    );
    let keys = "models = [\"org/bert\"]\ndatasets = [\"org/rows\", \"org/columns\"]";
    let home = Home::with(&mirror(&hub, keys));
    home.sync("hub", 0);
    let server = home.serve();
    for offline in ["0", "1"] {
        let mut command = client.command(&server.url("/hub"));
        command.env("HF_HUB_OFFLINE", offline).args(["-c", include_str!("hub/load.py")]);
        let run = Run::of(&mut command).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}
