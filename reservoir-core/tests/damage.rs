//! What is damaged at rest is found, named and mended by what people do anyway; what is refused leaves no trace.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::sync::Arc;

use http::StatusCode;
use reservoir_core::{
    Engine, Error,
    catalog::{Catalog, CatalogOptions},
    ecosystem::{Mode, Registry, RepositoryConfig},
    lifecycle::Status,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
    testing::{
        toy::{ToyFile, ToyRegistry},
        vandal::{Part, Vandal as _},
    },
};
use serde_json::json;

use self::world::{World, ann, config, configure, get, over, split, sqlite, sync, tools};

/// Large enough to have a verification tree.
fn large() -> ToyFile {
    ToyFile::new("hammer", "9.0", None, &[], 300_000)
}

/// An engine over a store whose objects the test can damage.
async fn over_damageable(store: &Arc<ObjectBlobs>) -> (tempfile::TempDir, ToyRegistry, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = ToyRegistry::start().await;
    registry.offer(large());
    let catalog = Catalog::open(&sqlite(folder.path()), CatalogOptions::default()).await.unwrap();
    configure(&catalog, &registry.url(), &config("tools")).await;
    let engine = over(folder.path(), catalog, Arc::clone(store) as Arc<dyn Store>).build().unwrap();
    (folder, registry, engine)
}

/// In a bucket as well, where an object of the right size is not looked into when something is put.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_named_and_mended_by_cleanup_and_sync() {
    let directory = tempfile::tempdir().unwrap();
    let options = || ObjectStoreOptions {
        fsync: false,
        tree_cache: 0,
        scratch: directory.path().join("scratch"),
        ..ObjectStoreOptions::default()
    };
    let local = ObjectBlobs::local(directory.path().join("store"), options()).await.unwrap();
    let (artifact, revision) = split("hammer@9.0");
    let (file, path) = (large(), format!("/tools/{}", large().path()));
    for store in [Arc::new(local), Arc::new(ObjectBlobs::memory(options()))] {
        for part in [Part::Bytes, Part::Tree] {
            let (_folder, _registry, engine) = over_damageable(&store).await;
            assert!(sync(&engine).await.is_complete());
            store.flip(part, &file.sha256(), 100).await;
            assert_ne!(get(&engine, &path).await.0, StatusCode::OK);

            let verified = engine.verify(true).await.unwrap();
            assert_eq!(verified.damaged.len(), 1, "{part:?}: {verified:?}");
            let damaged = &verified.damaged[0];
            assert_eq!(damaged.sha256, file.sha256());
            assert_eq!(damaged.problem.contains("tree"), part == Part::Tree, "{damaged:?}");
            assert_eq!(damaged.used_by, [format!("tools {}", file.path())]);

            engine.cleanup(&tools(), &artifact, &revision, ann(), "damaged".into()).await.unwrap();
            let report = sync(&engine).await;
            assert_eq!((report.fetched_files, report.is_complete()), (1, true), "{part:?}: {report:?}");
            assert!(engine.verify(true).await.unwrap().damaged.is_empty(), "{part:?}");
            assert_eq!(
                get(&engine, &path).await,
                (StatusCode::OK, String::from_utf8_lossy(&file.bytes).into())
            );
        }
    }
}

/// A decision that is refused is not signed: a rebuilt catalog would enforce it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_decision_leaves_nothing_behind() {
    let mut world = World::new().await;
    world.engine.scan(&tools(), ann()).await.unwrap().wait().await.unwrap();
    let (artifact, revision) = split("hammer@1.0");
    assert_eq!(world.revision("tools", "hammer@1.0").await.status, Status::Scanned);
    let refused = world.engine.reject(&tools(), &artifact, &revision, ann(), "too early".into()).await;
    assert!(matches!(refused, Err(Error::InvalidState { from: Status::Scanned, .. })), "{refused:?}");
    assert!(world.engine.store().list_records(None).await.unwrap().is_empty());
    let id = world.revision("tools", "hammer@1.0").await.id;
    assert!(world.engine.catalog().approvals(id).await.unwrap().is_empty());

    assert!(world.sync().await.is_complete());
    world.lose_catalog().await;
    let rebuilt = world.engine.rebuild(&ann()).await.unwrap();
    assert_eq!(rebuilt.decisions, 0, "{rebuilt:?}");
    assert_eq!(world.revision("tools", "hammer@1.0").await.status, Status::Available);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_not_configured() {
    let world = World::new().await;
    let refused = async |config: RepositoryConfig| {
        let error = world.engine.configure(&config, &ann()).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. } | Error::NotFound { .. }), "{error:?}");
        assert!(world.engine.catalog().repository(&config.name).await.is_err());
        error.to_string()
    };
    let new = || config("new");
    let cache = refused(RepositoryConfig { mode: Mode::Cache, ..new() }).await;
    assert!(cache.contains("`mode`"), "{cache}");
    refused(RepositoryConfig { registries: Vec::new(), ..new() }).await;
    refused(RepositoryConfig { registries: vec!["unknown".parse().unwrap()], ..new() }).await;
    refused(RepositoryConfig { ecosystem: "gems".parse().unwrap(), ..new() }).await;
    let key = refused(RepositoryConfig { options: [("colour".into(), json!("red"))].into(), ..new() }).await;
    assert!(key.contains("`colour`"), "{key}");
    refused(RepositoryConfig { options: [("packages".into(), json!(["ham mer"]))].into(), ..new() }).await;
    assert!(world.engine.configure(&new(), &ann()).await.unwrap());
    assert!(!world.engine.configure(&new(), &ann()).await.unwrap());

    for (name, ecosystem) in [("upload", "toy"), ("snapshot", "toy"), ("other", "gems")] {
        let registry = json!({ "name": name, "ecosystem": ecosystem, "url": world.registry.url() });
        let registry: Registry = serde_json::from_value(registry).unwrap();
        let error = world.engine.configure_registry(&registry, &ann()).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert!(world.engine.catalog().registry(&registry.name).await.is_err());
    }
}
