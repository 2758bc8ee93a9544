//! A host's own scanner keeps a file out until a person decides.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

use std::{path::Path, sync::Arc};

use http::{HeaderMap, Method, StatusCode};
use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    digest::Sha256Digest,
    name::{Actor, RepositoryName},
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
    testing::upstream::Upstream,
};
use reservoir_embed::DenyByDigest;
use reservoir_pypi::Pypi;
use serde_json::json;

/// A host over what is in `folder`, with this list.
async fn host(folder: &Path, list: &[Sha256Digest]) -> Engine {
    let key = folder.join("instance.key");
    if !key.exists() {
        InstanceKey::generate().unwrap().save(&key).unwrap();
    }
    let scratch = folder.join("scratch");
    let options = ObjectStoreOptions { scratch: scratch.clone(), ..ObjectStoreOptions::default() };
    let store: Arc<dyn Store> = Arc::new(ObjectBlobs::local(folder.join("store"), options).await.unwrap());
    let catalog = format!("sqlite:{}", folder.join("catalog.sqlite").display());
    Engine::builder()
        .catalog(Catalog::open(&catalog, CatalogOptions::default()).await.unwrap())
        .store(store)
        .ecosystem(Pypi)
        .scanner(DenyByDigest::new(list.iter().copied()))
        .key(InstanceKey::load(&key).unwrap())
        .scratch(scratch)
        .build()
        .unwrap()
}

/// `python`, which mirrors these projects.
async fn mirror(engine: &Engine, upstream: &Upstream, packages: &[&str]) -> (RepositoryName, Actor) {
    let (python, ann): (RepositoryName, Actor) = ("python".parse().unwrap(), "ann".parse().unwrap());
    let registry = json!({ "name": "index", "ecosystem": "pypi", "url": upstream.url("/simple/") });
    engine.configure_registry(&serde_json::from_value(registry).unwrap(), &ann).await.unwrap();
    let repository = json!({ "name": "python", "ecosystem": "pypi", "registries": ["index"],
                             "options": { "packages": packages } });
    engine.configure(&serde_json::from_value(repository).unwrap(), &ann).await.unwrap();
    (python, ann)
}

async fn status(engine: &Engine, project: &str) -> StatusCode {
    let uri = format!("/python/simple/{project}/").parse().unwrap();
    engine.respond(&Method::GET, &uri, &HeaderMap::new()).await.status
}

#[tokio::test]
async fn a_denied_file_waits_for_a_person() {
    let upstream = Upstream::start().await;
    support::offer(&upstream, "good", "1.0");
    let bad = Sha256Digest::of(&support::offer(&upstream, "bad", "1.0"));
    let folder = tempfile::tempdir().unwrap();
    let engine = host(folder.path(), &[bad]).await;
    let (python, ann) = mirror(&engine, &upstream, &["good", "bad"]).await;

    let report = engine.sync(&python, ann.clone()).await.unwrap().wait().await.unwrap();
    assert_eq!((report.admitted, report.waiting.len()), (1, 1), "{report:?}");
    assert_eq!(report.waiting[0].artifact.as_str(), "bad");
    assert!(report.waiting[0].reason.contains("denied-digest"), "{report:?}");
    let seen = (status(&engine, "good").await, status(&engine, "bad").await);
    assert_eq!(seen, (StatusCode::OK, StatusCode::NOT_FOUND));

    let (bad, one) = ("bad".parse().unwrap(), "1.0".parse().unwrap());
    engine.approve(&python, &bad, &one, ann, "looked at it".into()).await.unwrap();
    assert_eq!(status(&engine, "bad").await, StatusCode::OK);
}

/// What is AVAILABLE was let in by the rules of its day: it is judged by new ones when it comes again, not before.
#[tokio::test]
async fn new_rules_count_for_what_is_judged_from_then_on() {
    let upstream = Upstream::start().await;
    let bytes = Sha256Digest::of(&support::offer(&upstream, "tool", "1.0"));
    let folder = tempfile::tempdir().unwrap();
    let engine = host(folder.path(), &[]).await;
    let (python, ann) = mirror(&engine, &upstream, &["tool"]).await;
    let report = engine.sync(&python, ann.clone()).await.unwrap().wait().await.unwrap();
    assert_eq!(report.admitted, 1, "{report:?}");
    drop(engine);

    let engine = host(folder.path(), &[bytes]).await;
    let report = engine.sync(&python, ann.clone()).await.unwrap().wait().await.unwrap();
    assert!(report.waiting.is_empty(), "{report:?}");
    assert_eq!(status(&engine, "tool").await, StatusCode::OK);

    let (tool, one) = ("tool".parse().unwrap(), "1.0".parse().unwrap());
    engine.cleanup(&python, &tool, &one, ann.clone(), "judge it again".into()).await.unwrap();
    let report = engine.sync(&python, ann).await.unwrap().wait().await.unwrap();
    assert_eq!((report.admitted, report.waiting.len()), (0, 1), "{report:?}");
}
