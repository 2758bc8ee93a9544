//! The Rust client of the Hub, in both its generations.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    hub::World,
    hub_cache,
    support::{home::Run, wire::Wire},
};

const FILES: [&str; 4] = ["config.json", "deep/er/é b.txt", "empty.txt", "model.safetensors"];

/// What is fetched of the tiny model.
const WEIGHTS: [&str; 2] = ["config.json", "model.safetensors"];

/// The commit that a client says a revision is, and where it put the files.
fn fetch(
    generation: &str,
    endpoint: &str,
    cache: &Path,
    revision: &str,
    files: &[&str],
) -> (String, Vec<PathBuf>) {
    let program = std::env::var_os("RESERVOIR_TEST_HUB_RUST")
        .expect("RESERVOIR_TEST_HUB_RUST is not set; run scripts/test, which builds it");
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HF_") || text.to_lowercase().ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    command.env("HOME", cache).env("HF_HOME", cache).env("HF_ENDPOINT", endpoint).current_dir(cache);
    command.args([generation, "org/tiny", revision]).args(files).stdin(Stdio::null());
    let run = Run::of(&mut command).expect(0);
    let mut lines = run.stdout.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.map(PathBuf::from).collect())
}

/// Cases 16 to 18: by range requests and without `HEAD` in the first generation; by `HEAD`, and by `If-None-Match` for
/// what it has, in the second.
#[tokio::test(flavor = "multi_thread")]
async fn both_rust_clients_download_and_ask_again() {
    let world = World::new().await;
    let home = world.mirrored();
    let server = home.serve();
    let expected = world.expected();
    let (new, old) = (expected["commit"].as_str().unwrap(), expected["old"].as_str().unwrap());
    for generation in ["0", "1"] {
        let wire = Wire::to(&server.base);
        let endpoint = format!("{}/hub", wire.base());
        let cache = tempfile::tempdir().unwrap();
        let (commit, paths) = fetch(generation, &endpoint, cache.path(), "main", &FILES);
        assert_eq!(commit, new, "{generation}");
        for (name, path) in FILES.iter().zip(&paths) {
            let bytes = std::fs::read(path).unwrap();
            let sha256 = reservoir_core::digest::Sha256Digest::of(&bytes).to_string();
            assert_eq!(expected["files"][*name]["sha256"], sha256, "{generation} {name}");
        }
        let (commit, _) = fetch(generation, &endpoint, cache.path(), "v1", &FILES);
        assert_eq!(commit, old, "{generation}");
        let asked = wire.requests().len();
        fetch(generation, &endpoint, cache.path(), "main", &FILES);
        let again = wire.requests().split_off(asked);
        assert!(
            !again.iter().any(|head| head.starts_with("GET") && head.contains("/resolve/")),
            "{again:#?}"
        );
        if generation == "1" {
            let conditional = |head: &&String| head.to_lowercase().contains("if-none-match");
            assert!(again.iter().filter(conditional).count() >= FILES.len(), "{again:#?}");
        }
        assert_eq!(wire.has_answered(&["x-xet", "xethash"]), None);
    }
}

/// Nothing is here yet, and the large file comes slowly: the first generation, which asks for the first byte to learn
/// what a file is, is told at once, and has the byte when the file is whole.
#[tokio::test(flavor = "multi_thread")]
async fn both_rust_clients_download_through_a_cold_cache() {
    for generation in ["0", "1"] {
        let (hub, commit, bytes) = hub_cache::slow(6 << 20, 40).await;
        let (_home, server) = hub_cache::serving(&hub, "");
        let cache = tempfile::tempdir().unwrap();
        let (found, paths) = fetch(generation, &server.url("/hub"), cache.path(), "main", &WEIGHTS);
        assert_eq!(found, commit.to_string(), "{generation}");
        assert!(std::fs::read(&paths[1]).unwrap() == bytes, "{generation}");
        assert_eq!(hub_cache::count(&hub, commit, "model.safetensors"), 1, "{generation}");
    }
}
