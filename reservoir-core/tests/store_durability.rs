//! Durable before `Ok`, as a model of a disk that loses power sees the system calls of a child process.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

mod power;

use std::{env, fs, path::PathBuf, process::Command};

use futures::StreamExt as _;
use reservoir_core::{
    digest::Sha256Digest,
    store::{
        Blob, ObjectBlobs, ObjectStoreOptions, PutOptions, RecordKey, StagedBlob, Store as _, StoreExt as _,
        tree::{self, TreeBuilder},
    },
};

use self::power::{Found, acknowledge};

const ROOT: &str = "RESERVOIR_DURABILITY_ROOT";
const FSYNC: &str = "RESERVOIR_DURABILITY_FSYNC";

/// Blobs in the batches: few are synced one by one, many by one call for all of the file system.
const BATCHES: [u32; 3] = [2, 5, 60];

#[test]
fn what_is_acknowledged_survives() {
    let found = replay(true);
    assert_eq!(found.violations, Vec::<String>::new());
    assert_eq!(found.acknowledged, 15 + BATCHES.len(), "the child ran to its end");
}

/// The model would notice: without syncing nothing survives.
#[test]
fn the_model_sees_what_is_not_synced() {
    let found = replay(false);
    assert!(found.violations.len() >= 15 + BATCHES.len(), "{:?}", found.violations);
}

/// Run by the other tests, under strace.
#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    let root = PathBuf::from(env::var_os(ROOT).expect("started by the other tests"));
    let fsync = env::var_os(FSYNC).is_some_and(|value| value == "true");
    let options = ObjectStoreOptions { fsync, ..ObjectStoreOptions::default() };
    let store = ObjectBlobs::local(root.join("store"), options).await.unwrap();
    let line = uuid::Uuid::nil();
    // The last are the first bytes again: nothing is assumed to be durable because it exists.
    for (number, size) in [(1, 10), (2, 200_000), (3, 3_000_000), (1, 10)] {
        let bytes = vec![number as u8; size];
        let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
        acknowledge(&blob_paths(&blob));

        let mut pieces: Vec<_> = bytes.chunks(40_000).map(|piece| Ok(piece.to_vec().into())).collect();
        pieces.push(Ok("+".into()));
        let blob = store.put(futures::stream::iter(pieces).boxed(), PutOptions::default()).await.unwrap();
        acknowledge(&blob_paths(&blob));

        let source = root.join("source");
        fs::write(&source, [&bytes[..], b"-"].concat()).unwrap();
        let blob = store.put_file(&source, PutOptions::default()).await.unwrap();
        acknowledge(&blob_paths(&blob));
    }
    for number in [1, 1, 2] {
        let key = RecordKey { line, number, fence: 7 };
        store.put_record(key, format!("record {number}").into()).await.unwrap();
        acknowledge(&[format!("records/{line}/{number:020}-{:020}", 7)]);
    }
    for batch in BATCHES {
        let staged: Vec<StagedBlob> = (0..batch).map(|number| stage(&store, batch, number)).collect();
        let paths: Vec<String> = staged.iter().flat_map(|staged| blob_paths(&staged.blob)).collect();
        store.adopt(staged).await.unwrap();
        acknowledge(&paths);
    }
}

/// A blob in files of its own, which nobody synced; every third has a tree.
fn stage(store: &ObjectBlobs, batch: u32, number: u32) -> StagedBlob {
    let size = if number.is_multiple_of(3) { 100_000 } else { 100 };
    let bytes: Vec<u8> =
        batch.to_le_bytes().into_iter().chain(number.to_le_bytes()).cycle().take(size).collect();
    let mut builder = TreeBuilder::default();
    builder.update(&bytes);
    let tree = builder.finish();
    let blob = Blob { sha256: Sha256Digest::of(&bytes), blake3: tree.root(), size: size as u64 };
    let folder = store.staging();
    let staged = StagedBlob {
        blob,
        path: folder.join(format!("reservoir-staged-{batch}-{number}")),
        tree: folder.join(format!("reservoir-staged-{batch}-{number}-tree")),
    };
    fs::write(&staged.path, &bytes).unwrap();
    if tree::is_stored(blob.size) {
        fs::write(&staged.tree, tree.encode()).unwrap();
    }
    staged
}

fn blob_paths(blob: &Blob) -> Vec<String> {
    let hex = blob.sha256.to_string();
    let place = |kind: &str| format!("{kind}/{}/{}/{hex}", &hex[..2], &hex[2..4]);
    let mut paths = vec![place("sha256")];
    if blob.size > 64 * 1024 {
        paths.push(place("tree"));
    }
    paths
}

fn replay(fsync: bool) -> Found {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "child", "--nocapture"]);
    child.env(ROOT, &root).env(FSYNC, fsync.to_string());
    power::replay(&root, &child)
}
