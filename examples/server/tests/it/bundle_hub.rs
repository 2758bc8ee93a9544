//! Models across the gap: what `huggingface_hub` reads inside has the commits of the outside.

use std::{fs, path::Path};

use reservoir_core::digest::Sha256Digest;
use serde_json::{Value, json};

use super::{
    hub::{HOSTED, World},
    support::{
        home::{Home, Server},
        hub_client,
        web::get,
    },
};

/// An inside that trusts an outside, and a folder for media.
pub(super) struct Crossing {
    pub(super) outside: Home,
    pub(super) inside: Home,
    media: tempfile::TempDir,
}

impl Crossing {
    pub(super) fn from(outside: Home) -> Self {
        let crossing = Self { outside, inside: Home::new(), media: tempfile::tempdir().unwrap() };
        let key = crossing.path("outside.pub");
        fs::write(&key, crossing.outside.done(["key", "show"])).unwrap();
        crossing.inside.done(["key", "trust", &key]);
        crossing
    }

    fn path(&self, name: &str) -> String {
        self.media.path().join(name).to_str().unwrap().to_owned()
    }

    /// Exports what the inside lacks and loads it.
    pub(super) fn carry(&self, name: &str) -> (Value, Value) {
        let (code, exported) = self.outside.json(["export", &self.path(name)]);
        assert_eq!(code, 0, "{exported:#}");
        let (code, loaded) = self.inside.json(["load", &self.path(name)]);
        assert_eq!(code, 0, "{loaded:#}");
        (exported, loaded["bundles"][0].clone())
    }
}

/// Every client does inside all that it does with a mirror that has the network: whole repositories byte for byte,
/// branches, tags and pull requests at the same commits, lists, histories, ids of files.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_reads_everything_inside() {
    let world = World::new().await;
    let crossing = Crossing::from(world.mirrored());
    let (exported, loaded) = crossing.carry("one");
    assert_eq!((&exported["kind"], &loaded["applied"]), (&json!("full"), &json!(true)));
    crossing.inside.done(["verify", "--deep"]);
    let expected = world.expected();
    // Nothing but the bundle is left.
    drop(world);
    let server = crossing.inside.serve();
    for client in hub_client::all() {
        let run = client.run(&server.url("/hub"), include_str!("hub/read.py"), &expected).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}

/// What was uploaded outside is read inside by the commits that were made outside; a commit and a tag that come later
/// bring their own bytes and no others.
#[tokio::test(flavor = "multi_thread")]
async fn uploaded_models_keep_their_commits() {
    let crossing = Crossing::from(Home::with(HOSTED));
    let client = hub_client::newest();
    let outside = crossing.outside.serve_with(&["--allow-anonymous-writes"]);
    let run = client.script(&outside.url("/hub"), include_str!("hub/upload.py")).expect(0);
    let commit = run.stdout.trim().to_owned();
    let (first, _) = crossing.carry("one");
    assert!(first["bytes"].as_u64() > Some(2_000_000), "{first:#}");
    let inside = crossing.inside.serve();
    for client in hub_client::all() {
        let argument = json!({ "commit": commit });
        let run = client.run(&inside.url("/hub"), include_str!("hub/pinned.py"), &argument).expect(0);
        assert_eq!(run.stdout.trim(), "done");
    }
    let more = "from huggingface_hub import HfApi\n\
                api = HfApi()\n\
                made = api.upload_file(repo_id='org/m', path_or_fileobj=b'later', path_in_repo='later.txt')\n\
                api.create_tag('org/m', tag='v2', revision=made.oid)\n\
                api.create_branch('org/m', branch='side', revision='v1')\n\
                print(made.oid)\n";
    let later = client.script(&outside.url("/hub"), more).expect(0).stdout.trim().to_owned();
    let (second, _) = crossing.carry("two");
    assert_eq!(second["kind"], "delta");
    assert!(second["bytes"].as_u64() < Some(100_000), "the large file stays: {second:#}");
    let look = "from huggingface_hub import HfApi, snapshot_download\n\
                import json, pathlib\n\
                refs = HfApi().list_repo_refs('org/m')\n\
                found = {r.name: r.target_commit for r in refs.branches + refs.tags}\n\
                folder = pathlib.Path(snapshot_download('org/m', revision='v2'))\n\
                assert (folder / 'later.txt').read_bytes() == b'later'\n\
                assert (folder / 'model.bin').read_bytes() == bytes(range(256)) * 9000\n\
                print(json.dumps(found))\n";
    for client in hub_client::all() {
        let refs = |server: &Server| -> Value {
            let said = client.script(&server.url("/hub"), look).expect(0).stdout;
            serde_json::from_str(&said).unwrap()
        };
        let (theirs, ours) = (refs(&outside), refs(&inside));
        assert_eq!(ours, theirs);
        assert_eq!((&ours["main"], &ours["v2"]), (&json!(later), &json!(later)));
        assert_eq!(ours["side"], ours["v1"]);
    }
    // What only one side can change is not changed on the other: the next bundle would undo it.
    let inside = {
        drop(inside);
        crossing.inside.serve_with(&["--allow-anonymous-writes"])
    };
    let write = "from huggingface_hub import HfApi\n\
                 HfApi().upload_file(repo_id='org/m', path_or_fileobj=b'x', path_in_repo='x.txt')\n";
    let run = client.script(&inside.url("/hub"), write);
    assert!(run.code != 0 && run.stderr.contains("403"), "{run:?}");
    assert!(Path::new(&crossing.path("two")).exists());
}

/// A checkpoint of which some tensors changed, one of them longer than before, travels as those; both sides have the
/// same bytes afterwards, and so does a destination that gets the whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_checkpoint_travels_as_what_changed() {
    let crossing = Crossing::from(Home::with(HOSTED));
    let client = hub_client::newest();
    let outside = crossing.outside.serve_with(&["--allow-anonymous-writes"]);
    let checkpoint = |title: &str, seed: u32, change: &str| {
        format!(
            "import hashlib, random\n\
             from huggingface_hub import HfApi\n\
             api = HfApi()\n\
             random.seed(1)\n\
             weights = bytearray(random.randbytes(24_000_000))\n\
             random.seed({seed})\n\
             {change}\n\
             api.create_repo('org/m', exist_ok=True)\n\
             api.upload_file(repo_id='org/m', path_or_fileobj=bytes(weights), path_in_repo='model.bin', \
             commit_message='{title}')\n\
             print(hashlib.sha256(weights).hexdigest())\n"
        )
    };
    client.script(&outside.url("/hub"), &checkpoint("First", 1, "")).expect(0);
    crossing.carry("one");
    let change = "weights[5_000_000:5_600_000] = random.randbytes(600_100)\n\
                  weights[20_000_000:20_600_000] = random.randbytes(600_000)";
    let sha256 = client.script(&outside.url("/hub"), &checkpoint("Second", 2, change)).expect(0).stdout;
    let (code, whole) = crossing.outside.json(["export", &crossing.path("whole"), "--whole", "--dry-run"]);
    assert!(code == 0 && whole["bytes"].as_u64() > Some(24_000_000), "{whole:#}");
    let (delta, loaded) = crossing.carry("two");
    assert_eq!((&delta["kind"], &delta["patched"]), (&json!("delta"), &json!(1)));
    let bytes = delta["bytes"].as_u64().unwrap();
    assert!(bytes < 24_000_000 / 12, "5 % changed, {bytes} bytes travel");
    assert!(delta["saved_bytes"].as_u64() > Some(22_000_000), "{delta:#}");
    assert_eq!(loaded["applied"], true);
    let inside = crossing.inside.serve();
    let look = "import hashlib\n\
                from huggingface_hub import hf_hub_download\n\
                print(hashlib.sha256(open(hf_hub_download('org/m', 'model.bin'), 'rb').read()).hexdigest())\n";
    assert_eq!(client.script(&inside.url("/hub"), look).expect(0).stdout, sha256);
    crossing.inside.done(["verify", "--deep"]);
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/1.3.0");

/// A bundle with a patch, kept for the version of the format: what comes out has the bytes of then.
#[tokio::test(flavor = "multi_thread")]
async fn golden_patches_are_taken() {
    let golden = |name: &str| Path::new(GOLDEN).join(name).to_str().unwrap().to_owned();
    let inside = Home::new();
    inside.done(["key", "trust", &golden("key.pub")]);
    for bundle in ["1", "2"] {
        let (code, inspected) = inside.json(["bundle", "inspect", &golden(bundle)]);
        assert_eq!(
            (code, inspected["patched"].as_u64()),
            (0, Some(u64::from(bundle == "2"))),
            "{inspected:#}"
        );
        inside.done(["load", &golden(bundle)]);
    }
    inside.done(["verify", "--deep"]);
    let server = inside.serve();
    let answer = get(&server.url("/hub/org/m/resolve/main/model.dat"), &[]).await;
    let sha256 = Sha256Digest::of(&answer.body).to_string();
    assert_eq!(sha256, fs::read_to_string(golden("sha256")).unwrap().trim());
}

/// Run once for each version of the format: `cargo nextest run --run-ignored all -E 'test(write_golden_patch)'`. Most of
/// the file is zeros, so that it costs little to keep.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixture of a new version"]
async fn write_golden_patch() {
    let crossing = Crossing::from(Home::with(HOSTED));
    let client = hub_client::newest();
    let outside = crossing.outside.serve_with(&["--allow-anonymous-writes"]);
    let script = |change: &str| {
        format!(
            "import hashlib\n\
             from huggingface_hub import HfApi\n\
             api = HfApi()\n\
             weights = bytearray(4_500_000)\n\
             for at in range(0, len(weights), 65536): weights[at:at + 8] = at.to_bytes(8, 'big')\n\
             {change}\n\
             api.create_repo('org/m', exist_ok=True)\n\
             api.upload_file(repo_id='org/m', path_or_fileobj=bytes(weights), path_in_repo='model.dat')\n\
             print(hashlib.sha256(weights).hexdigest())\n"
        )
    };
    let folder = Path::new(GOLDEN);
    for (bundle, change) in [("1", ""), ("2", "weights[2_000_000:2_100_000] = b'changed!' * 12500")] {
        let sha256 = client.script(&outside.url("/hub"), &script(change)).expect(0).stdout;
        let (exported, _) = crossing.carry(bundle);
        assert_eq!(exported["patched"].as_u64(), Some(u64::from(bundle == "2")), "{exported:#}");
        fs::create_dir_all(folder.join(bundle)).unwrap();
        for entry in fs::read_dir(crossing.path(bundle)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(bundle).join(path.file_name().unwrap())).unwrap();
        }
        fs::write(folder.join("sha256"), sha256).unwrap();
    }
    fs::copy(crossing.path("outside.pub"), folder.join("key.pub")).unwrap();
}
