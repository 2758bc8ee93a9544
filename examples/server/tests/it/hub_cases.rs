//! Conformance cases that need a Hub of their own shape.

use reservoir_core::testing::upstream::Reply;
use serde_json::json;

use super::support::{
    home::Home,
    hub::{Hub, lfs, noise, regular, safetensors},
    hub_client,
    web::{ask, get},
};

fn repository(hub: &Hub, mode: &str, keys: &str) -> String {
    format!(
        "[[registry]]\nname = \"upstream\"\necosystem = \"hf\"\nurl = \"{}\"\n\n[[repository]]\nname = \"hub\"\n\
         ecosystem = \"hf\"\nregistry = \"upstream\"\nmode = \"{mode}\"\n{keys}\n",
        hub.url()
    )
}

/// Cases 5, 45 and 50: a commit that somebody refused is gated, with the reason, for every client; the others are not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_gated_for_every_client() {
    let mut hub = Hub::start().await;
    let good = hub.commit("org/m", "First", [("config.json", regular("{}"))]);
    hub.set_ref("org/m", "refs/tags/good", good);
    let bad = hub.commit("org/m", "Second", [("config.json", regular("{\"bad\": 1}"))]);
    let home = Home::with(&repository(&hub, "mirror", "models = [\"org/m@good\", \"org/m@main\"]"));
    home.sync("hub", 0);
    home.done(["reject", "hub", &format!("org/m@{bad}"), "--reason", "it copies data out"]);
    let server = home.serve();
    let script = "import json, sys\n\
                  from huggingface_hub import hf_hub_download\n\
                  from huggingface_hub.utils import GatedRepoError\n\
                  want = json.loads(sys.argv[1])\n\
                  try:\n    hf_hub_download('org/m', 'config.json', revision=want['bad'])\n    sys.exit('let through')\n\
                  except GatedRepoError as error:\n    assert 'it copies data out' in str(error), error\n\
                  assert want['good'] in hf_hub_download('org/m', 'config.json', revision='good')\n\
                  print('done')\n";
    for client in hub_client::all() {
        let run = client.run(&server.url("/hub"), script, &json!({ "bad": bad, "good": good })).expect(0);
        assert_eq!(run.stdout.trim(), "done");
    }
}

/// Case 19: what no plain download of theirs takes, clients refuse by its size before a byte is fetched, here or there.
#[tokio::test(flavor = "multi_thread")]
async fn files_too_large_for_plain_downloads_are_told_by_their_size() {
    const SIZE: u64 = 60_000_000_000;
    let mut hub = Hub::start().await;
    let commit = hub.commit("org/huge", "First", [("config.json", regular("{}"))]);
    let sha256 = reservoir_core::digest::Sha256Digest::of(b"whatever it is");
    let pointer = reservoir_hf::git::lfs_pointer(&sha256, SIZE);
    let listed = json!([
        regular("{}").listed("config.json"),
        { "type": "file", "path": "model.safetensors", "size": SIZE,
          "oid": reservoir_hf::git::blob_id(pointer.as_bytes()),
          "lfs": { "oid": sha256, "size": SIZE, "pointerSize": pointer.len() } },
    ]);
    let tree = format!("{}?recursive=true&expand=false", hub.api("org/huge", &["tree", &commit.to_string()]));
    hub.upstream.route(tree, Reply::ok(listed.to_string()).content_type("application/json"));
    let home = Home::with(&repository(&hub, "cache", ""));
    let server = home.serve();
    let url = server.url("/hub/org/huge/resolve/main/model.safetensors");
    let head = ask(http::Method::HEAD, &url, &[]).await.unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, SIZE.to_string().as_str()));
    assert_eq!(head.header("x-linked-size"), SIZE.to_string());
    let script =
        "from huggingface_hub import hf_hub_download\nhf_hub_download('org/huge', 'model.safetensors')";
    for client in hub_client::all().iter().skip(1) {
        let run = client.run(&server.url("/hub"), script, &json!({}));
        assert!(run.code != 0 && run.stderr.contains("too large"), "{run:?}");
    }
    let file = hub.file("org/huge", commit, "model.safetensors");
    assert!(hub.upstream.requests_to(&file).is_empty());
}

/// The requests of a compute platform's storage proxy, as it writes them.
#[tokio::test(flavor = "multi_thread")]
async fn the_routes_of_a_storage_proxy_answer() {
    let mut hub = Hub::start().await;
    let bytes = safetensors(&noise(3000, 1));
    hub.commit("org/one", "First", [("config.json", regular("{}"))]);
    let commit = hub.commit(
        "org/two",
        "First",
        [("config.json", regular("{}")), ("deep/model.safetensors", lfs(bytes.clone()))],
    );
    let home = Home::with(&repository(&hub, "mirror", "models = [\"org/one\", \"org/two\"]"));
    home.sync("hub", 0);
    let server = home.serve();
    let url = |path: &str| server.url(&format!("/hub/{path}"));
    let list = "api/models?search=org&sort=downloads&direction=-1&limit=1&expand=gated";
    let first = get(&url(list), &[]).await;
    assert_eq!(first.json()[0]["gated"], false, "{}", first.text());
    let next = first.header("link").strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    assert!(next.starts_with(&server.base), "{next}");
    let second = get(&next, &[]).await.json();
    assert_ne!(second[0]["id"], first.json()[0]["id"]);
    let refs = get(&url("api/models/org/two/refs"), &[]).await.json();
    assert_eq!(refs["branches"][0]["targetCommit"], commit.to_string());
    assert_eq!(get(&url("api/models/org/two/revision/main"), &[]).await.json()["sha"], commit.to_string());
    let tree = get(&url("api/models/org/two/tree/main?recursive=True&expand=False"), &[]).await.json();
    let paths: Vec<&str> =
        tree.as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["config.json", "deep", "deep/model.safetensors"]);
    let form = "paths=config.json&paths=deep%2Fmodel.safetensors&paths=nothing&expand=False";
    let request = reqwest::Client::new().post(url("api/models/org/two/paths-info/main")).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let found: serde_json::Value =
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 2, "{found:#}");
    let file = url("org/two/resolve/main/deep/model.safetensors");
    let head = ask(http::Method::HEAD, &file, &[]).await.unwrap();
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    assert_eq!(head.header("accept-ranges"), "bytes");
    let rest = get(&file, &[("range", "bytes=1000-"), ("if-range", head.header("etag"))]).await;
    assert!(rest.status == 206 && rest.body == bytes[1000..]);
    assert_eq!(rest.header("etag"), head.header("etag"));
}

/// Case 36, as far as it goes without PyTorch.
#[tokio::test(flavor = "multi_thread")]
async fn the_fetch_phases_of_larger_libraries_find_their_files() {
    let mut hub = Hub::start().await;
    let weights = || lfs(safetensors(&noise(3000, 1)));
    hub.commit(
        "org/pipeline",
        "First",
        [
            ("model_index.json", regular("{\"_class_name\": \"Pipeline\"}")),
            ("unet/config.json", regular("{}")),
            ("unet/model.safetensors", weights()),
            ("unet/model.bin", lfs(noise(2000, 2))),
        ],
    );
    hub.commit(
        "org/sentences",
        "First",
        [
            ("README.md", regular("# Sentences\n")),
            ("modules.json", regular("[]")),
            ("1_Pooling/config.json", regular("{}")),
        ],
    );
    let home = Home::with(&repository(&hub, "mirror", "models = [\"org/pipeline\", \"org/sentences\"]"));
    home.sync("hub", 0);
    let server = home.serve();
    let client = hub_client::newest();
    let run = client.run(&server.url("/hub"), include_str!("hub/fetch.py"), &json!({})).expect(0);
    assert!(run.stdout.ends_with("done\n"), "{run:?}");
    // llama.cpp asks for a manifest; there is no GGUF file.
    let manifest = get(&server.url("/hub/v2/org/pipeline/manifests/latest"), &[]).await;
    assert_eq!((manifest.status, manifest.header("x-error-code")), (404, "EntryNotFound"));
}
