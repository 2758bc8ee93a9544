//! What a load or an export acknowledged survives power loss.

use std::{env, path::PathBuf, process::Command, sync::Arc};

use reservoir_core::{
    ExportOptions,
    bundle::StreamKey,
    catalog::{Accept, Catalog, CatalogOptions},
    store::{ObjectBlobs, ObjectStoreOptions, Store},
};

use super::{
    gap::{Gap, Inside, engine, export, load, options, tree},
    power::{self, acknowledge},
    world::{builder, sqlite},
};

const INSIDE: &str = "RESERVOIR_LOAD_INSIDE";
const MEDIA: &str = "RESERVOIR_LOAD_MEDIA";
const FSYNC: &str = "RESERVOIR_LOAD_FSYNC";

/// Run by the other tests, under strace.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the other tests"]
async fn child() {
    let inside = PathBuf::from(env::var_os(INSIDE).expect("started by the other tests"));
    let media = PathBuf::from(env::var_os(MEDIA).expect("started by the other tests"));
    let fsync = env::var_os(FSYNC).is_some_and(|value| value == "true");
    let scratch = inside.join("scratch");
    let options = ObjectStoreOptions { scratch, fsync, ..ObjectStoreOptions::default() };
    let store: Arc<dyn Store> = Arc::new(ObjectBlobs::local(inside.join("store"), options).await.unwrap());
    let before = tree(&inside.join("store"));
    let loaded = load(&engine(&inside, store).await, &[media], false).await.unwrap();
    assert!(loaded[0].applied);
    let after = tree(&inside.join("store"));
    let new = after.keys().filter(|path| !before.contains_key(*path) && !path.starts_with("staging"));
    let new: Vec<String> = new.map(|path| path.display().to_string()).collect();
    assert!(new.iter().any(|path| path.starts_with("records")), "{new:?}");
    new.chunks(50).for_each(acknowledge);
}

/// Loads the full bundle undisturbed, and the delta behind it under strace.
async fn replay(fsync: bool) -> power::Found {
    let mut gap = Gap::with(CatalogOptions::default()).await;
    let whole = || ExportOptions { volume_size: None, ..options() };
    gap.export("1", whole()).await;
    gap.release("3.0").await;
    gap.export("2", whole()).await;
    let inside = Inside::new().await;
    inside.trust(&gap.stream_key(), Accept::Evidence).await;
    inside.load(&[gap.path("1")]).await.unwrap();
    let root = inside.folder.path().canonicalize().unwrap();
    inside.engine.catalog().close().await;
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "durability::child", "--nocapture"]);
    child.env(INSIDE, &root).env(MEDIA, gap.path("2")).env(FSYNC, fsync.to_string());
    tokio::task::spawn_blocking(move || power::replay(&root, &child)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_load_acknowledged_survives() {
    let found = replay(true).await;
    assert_eq!(found.violations, Vec::<String>::new());
    assert!(found.acknowledged > 0, "the child ran to its end");
}

const OUTSIDE: &str = "RESERVOIR_EXPORT_OUTSIDE";

/// Run by the next test, under strace.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the next test"]
async fn export_child() {
    let outside = PathBuf::from(env::var_os(OUTSIDE).expect("started by the next test"));
    let media = PathBuf::from(env::var_os(MEDIA).expect("started by the next test"));
    let catalog = Catalog::open(&sqlite(&outside), CatalogOptions::default()).await.unwrap();
    let key = StreamKey::load(outside.join("bundle.key")).unwrap();
    let engine = builder(&outside, catalog).await.bundle_key(key).build().unwrap();
    let small = ExportOptions { volume_size: None, ..options() };
    let large = ExportOptions { site: "south".into(), parity: Some(10), ..options() };
    for (name, options) in [("far/small", small), ("far/large", large)] {
        let exported = export(&engine, &media.join(name), options).await.unwrap();
        assert!(exported.sequence.is_some());
        let files: Vec<String> =
            tree(&media.join(name)).into_keys().map(|path| format!("{name}/{}", path.display())).collect();
        assert!(files.len() > 7, "{files:?}");
        files.chunks(50).for_each(acknowledge);
    }
}

/// The model calls the media a store.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_export_acknowledged_survives() {
    let gap = Gap::large().await;
    let root = gap.media.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("store")).unwrap();
    gap.outside.engine.catalog().close().await;
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "durability::export_child", "--nocapture"]);
    child.env(OUTSIDE, gap.outside.folder.path()).env(MEDIA, root.join("store"));
    let found = tokio::task::spawn_blocking(move || power::replay(&root, &child)).await.unwrap();
    assert_eq!(found.violations, Vec::<String>::new());
    assert_eq!(found.acknowledged, 2);
}

/// The model would notice: where the store does not sync, nothing survives.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_sees_what_a_load_did_not_sync() {
    assert!(!replay(false).await.violations.is_empty());
}
