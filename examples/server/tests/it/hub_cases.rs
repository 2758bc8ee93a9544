//! Conformance cases that need a Hub of their own shape.

use std::{fs, path::Path, time::Duration};

use reservoir_core::{digest::Sha256Digest, testing::upstream::Reply};
use reservoir_hf::name::ObjectId;
use serde_json::json;
use sha2::Digest as _;

use super::{
    hub::{HOSTED, World},
    support::{
        home::{Home, Run},
        hub::{File, Hub, lfs, noise, regular, safetensors},
        hub_client,
        tls::Tls,
        web::{ask, get},
    },
};

fn repository(hub: &Hub, mode: &str, keys: &str) -> String {
    format!(
        "[[registry]]\nname = \"upstream\"\necosystem = \"hf\"\nurl = \"{}\"\n\n[[repository]]\nname = \"hub\"\n\
         ecosystem = \"hf\"\nregistry = \"upstream\"\nmode = \"{mode}\"\n{keys}\n",
        hub.url()
    )
}

/// Cases 5, 45 and 50: the files of a commit that somebody refused are gated, with the reason, for every client, and
/// told as unsafe; those of the others are not.
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
                  from huggingface_hub import HfApi, hf_hub_download\n\
                  from huggingface_hub.utils import GatedRepoError\n\
                  want = json.loads(sys.argv[1])\n\
                  try:\n    hf_hub_download('org/m', 'config.json', revision=want['bad'])\n    sys.exit('let through')\n\
                  except GatedRepoError as error:\n    assert 'it copies data out' in str(error), error\n\
                  files = list(HfApi().list_repo_tree('org/m', revision=want['bad'], expand=True))\n\
                  assert [(file.path, file.security['safe'] if isinstance(file.security, dict) else \
                  file.security.safe) for file in files] == [('config.json', False)], files\n\
                  info = HfApi().model_info('org/m', revision=want['bad'], securityStatus=True)\n\
                  assert [file.rfilename for file in info.siblings] == ['config.json'], info\n\
                  assert want['good'] in hf_hub_download('org/m', 'config.json', revision='good')\n\
                  print('done')\n";
    for client in hub_client::all() {
        let run = client.run(&server.url("/hub"), script, &json!({ "bad": bad, "good": good })).expect(0);
        assert_eq!(run.stdout.trim(), "done");
    }
}

/// A Hub with a file of a hundred gigabytes, and its commit. Nobody has the bytes; `reply` is what comes instead.
async fn huge(reply: Reply) -> (Hub, ObjectId) {
    let mut hub = Hub::start().await;
    let commit = hub.commit("org/huge", "First", [("config.json", regular("{}"))]);
    let sha256 = Sha256Digest::of(b"whatever it is");
    let pointer = reservoir_hf::git::lfs_pointer(&sha256, HUGE);
    let listed = json!([
        regular("{}").listed("config.json"),
        { "type": "file", "path": "model.safetensors", "size": HUGE,
          "oid": reservoir_hf::git::blob_id(pointer.as_bytes()),
          "lfs": { "oid": sha256, "size": HUGE, "pointerSize": pointer.len() } },
    ]);
    let tree = format!("{}?recursive=true&expand=false", hub.api("org/huge", &["tree", &commit.to_string()]));
    hub.upstream.route(tree, Reply::ok(listed.to_string()).content_type("application/json"));
    hub.upstream.route(hub.file("org/huge", commit, "model.safetensors"), reply);
    (hub, commit)
}

const HUGE: u64 = 100_000_000_000;

/// Case 19: what no plain download of theirs takes, clients refuse by its size before a byte is fetched, here or there.
#[tokio::test(flavor = "multi_thread")]
async fn files_too_large_for_plain_downloads_are_told_by_their_size() {
    let (hub, commit) = huge(Reply::status(500)).await;
    let home = Home::with(&repository(&hub, "cache", ""));
    let server = home.serve();
    let url = server.url("/hub/org/huge/resolve/main/model.safetensors");
    let head = ask(http::Method::HEAD, &url, &[]).await.unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, HUGE.to_string().as_str()));
    assert_eq!(head.header("x-linked-size"), HUGE.to_string());
    let script =
        "from huggingface_hub import hf_hub_download\nhf_hub_download('org/huge', 'model.safetensors')";
    for client in hub_client::all().iter().skip(1) {
        let run = client.run(&server.url("/hub"), script, &json!({}));
        assert!(run.code != 0 && run.stderr.contains("too large"), "{run:?}");
    }
    let file = hub.file("org/huge", commit, "model.safetensors");
    assert!(hub.upstream.requests_to(&file).is_empty());
}

/// Case 19: who takes such a file as it comes has it through a server that keeps nothing of it in memory: sixty megabytes
/// later it has no more than after the first eight.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_gigabytes_pass_in_bounded_memory() {
    const LATER: usize = 68 << 20;
    let piece = noise(1 << 20, 1);
    let (hub, _commit) = huge(Reply::endless(piece.clone(), Duration::from_millis(5))).await;
    let home = Home::with(&repository(&hub, "cache", ""));
    let server = home.serve();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = server.url("/hub/org/huge/resolve/main/model.safetensors");
    let mut response = client.get(url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.content_length()), (200, Some(HUGE)));
    let (mut taken, mut early) = (0, 0);
    while taken < LATER {
        let bytes = response.chunk().await.unwrap().expect("it goes on for long");
        let at = taken % piece.len();
        let same = bytes.iter().zip(piece[at..].iter().chain(piece.iter().cycle())).all(|(a, b)| a == b);
        assert!(same, "at {taken}");
        taken += bytes.len();
        if early == 0 && taken >= 8 << 20 {
            early = server.resident();
        }
    }
    let late = server.resident();
    assert!(late < early + (40 << 10), "{early} KiB after 8 MiB, {late} KiB after 68 MiB");
}

/// Case 19: a mirror takes such a file as well; where it breaks off it goes on, and it is unfinished and not refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_begins_a_hundred_gigabytes_and_goes_on_where_it_stopped() {
    const FIRST: u64 = 3 << 20;
    let bytes = noise(FIRST as usize, 1);
    let (hub, commit) = huge(Reply::status(500)).await;
    let first = Reply::ok(bytes.clone()).etag("\"1\"").content_length(HUGE);
    let second = Reply::partial(bytes)
        .etag("\"1\"")
        .header("content-range", format!("bytes {FIRST}-{}/{HUGE}", HUGE - 1))
        .content_length(HUGE - FIRST);
    let file = hub.file("org/huge", commit, "model.safetensors");
    hub.upstream.sequence(file.clone(), [first, second, Reply::status(404)]);
    let home = Home::with(&repository(&hub, "mirror", "models = [\"org/huge\"]"));
    let report = home.sync("hub", 3);
    let failed = report["failed"].to_string();
    assert!(failed.contains("404"), "{report:#}");
    let asked = hub.upstream.requests_to(&file);
    let ranges: Vec<&str> = asked.iter().map(|request| request.header("range")).collect();
    assert_eq!(ranges, ["", "bytes=3145728-", "bytes=6291456-"]);
}

/// Mirrored, put into a folder and served: a file of 160 MiB takes no more memory than one of one.
#[tokio::test(flavor = "multi_thread")]
async fn large_files_need_no_more_memory_than_small_ones() {
    const MORE: u64 = 48 << 10;
    let mut peaks = Vec::new();
    for mebibytes in [1, 160] {
        let mut hub = Hub::start().await;
        let bytes = safetensors(&noise(1 << 20, 1).repeat(mebibytes));
        let (size, sha256) = (bytes.len(), Sha256Digest::of(&bytes));
        hub.commit("org/m", "First", [("model.safetensors", lfs(bytes))]);
        let home = Home::with(&repository(&hub, "mirror", "models = [\"org/m\"]"));
        let (run, sync) = home.peak(["sync", "hub"]);
        run.expect(0);
        let place = home.path().join("place");
        let to = place.to_str().unwrap();
        let (run, put) = home.peak(["materialize", "hub", "org/m@main", to, "--files", "copy"]);
        run.expect(0);
        let server = home.serve();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = server.url("/hub/org/m/resolve/main/model.safetensors");
        let mut response = client.get(url).send().await.unwrap();
        let (mut hasher, mut taken) = (sha2::Sha256::new(), 0);
        while let Some(piece) = response.chunk().await.unwrap() {
            hasher.update(&piece);
            taken += piece.len();
        }
        assert_eq!((taken, Sha256Digest::from(hasher)), (size, sha256));
        peaks.push([sync, put, server.peak()]);
    }
    for (small, large) in peaks[0].iter().zip(peaks[1]) {
        assert!(large < small + MORE, "sync, materialize, serve in KiB: {peaks:?}");
    }
}

/// Case 4 over TLS, which a server in front of ours ends: errors are the same, and links lead back the way they came.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_is_answered_the_same_over_tls() {
    let world = World::new().await;
    let home = world.mirrored();
    let server = home.serve();
    let tls = Tls::before(&server.base);
    for client in hub_client::all() {
        let mut command = client.command(&format!("{}/hub", tls.base()));
        command.env("REQUESTS_CA_BUNDLE", tls.authority()).env("SSL_CERT_FILE", tls.authority());
        let argument = world.expected().to_string();
        let run = Run::of(command.args(["-c", include_str!("hub/tls.py"), &argument])).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}

/// Case 32: git makes the same blobs, trees and commits of what the clients uploaded.
#[test]
fn git_agrees_with_what_every_client_commits() {
    for client in hub_client::all() {
        let home = Home::with(HOSTED);
        let server = home.serve_with(&["--allow-anonymous-writes"]);
        let run = client.script(&server.url("/hub"), include_str!("hub/git.py")).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
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

/// The files below a folder, as a repository has them.
fn files_of(folder: &Path) -> Vec<(String, File)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let bytes = fs::read(&path).unwrap();
            files.push((
                name,
                if path.extension().is_some_and(|end| end == "safetensors") {
                    lfs(bytes)
                } else {
                    regular(bytes)
                },
            ));
        }
    }
    files
}

/// Cases 34 and 36: `AutoModel`, a sentence transformer and a diffusion pipeline, made by these libraries, are loaded by
/// name and compute; again without the network.
#[tokio::test(flavor = "multi_thread")]
async fn models_load_whole_in_their_libraries() {
    let client = hub_client::HubClient::new("RESERVOIR_TEST_TORCH");
    let mut making = client.command("http://127.0.0.1:9");
    making.env("HF_HUB_OFFLINE", "1").args(["-c", include_str!("hub/make_torch.py")]);
    assert_eq!(Run::of(&mut making).expect(0).stdout.trim(), "made");
    let mut hub = Hub::start().await;
    for name in ["bert", "sentences", "pipeline"] {
        let files = files_of(&client.path().join(name));
        assert!(files.len() > 3, "{files:?}");
        hub.commit(
            &format!("org/{name}"),
            "First",
            files.iter().map(|(path, file)| (path.as_str(), file.clone())),
        );
    }
    let models = "models = [\"org/bert\", \"org/sentences\", \"org/pipeline\"]";
    let home = Home::with(&repository(&hub, "mirror", models));
    home.sync("hub", 0);
    drop(hub);
    let server = home.serve();
    for offline in ["0", "1"] {
        let mut command = client.command(&server.url("/hub"));
        command.env("HF_HUB_OFFLINE", offline).args(["-c", include_str!("hub/load_torch.py")]);
        let run = Run::of(&mut command).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}

/// Case 36: what vLLM asks for, which is too large to be installed for a test, and the others again with the newest client.
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
