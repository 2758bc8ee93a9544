//! A host's own scanner keeps a package out until a person decides.

mod support;

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    name::{Actor, RepositoryName},
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
    testing::upstream::Upstream,
};
use reservoir_embed::DenyByName;
use reservoir_pypi::Pypi;
use serde_json::json;

#[tokio::test]
async fn a_denied_name_waits_for_a_person() {
    let upstream = Upstream::start().await;
    support::offer(&upstream, "good", "1.0");
    support::offer(&upstream, "bad", "1.0");
    let folder = tempfile::tempdir().unwrap();
    let options =
        ObjectStoreOptions { scratch: folder.path().join("scratch"), ..ObjectStoreOptions::default() };
    let store: Arc<dyn Store> = Arc::new(ObjectBlobs::memory(options));
    let catalog = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
    let engine = Engine::builder()
        .catalog(Catalog::open(&catalog, CatalogOptions::default()).await.unwrap())
        .store(store)
        .ecosystem(Pypi)
        .scanner(DenyByName::new(["bad"]))
        .key(InstanceKey::generate().unwrap())
        .scratch(folder.path().join("scratch"))
        .build()
        .unwrap();
    let (ann, python): (Actor, RepositoryName) = ("ann".parse().unwrap(), "python".parse().unwrap());
    let registry = json!({ "name": "index", "ecosystem": "pypi", "url": upstream.url("/simple/") });
    engine.catalog().put_registry(&serde_json::from_value(registry).unwrap(), &ann).await.unwrap();
    let repository = json!({ "name": "python", "ecosystem": "pypi", "registries": ["index"],
                             "options": { "packages": ["good", "bad"] } });
    engine.catalog().put_repository(&serde_json::from_value(repository).unwrap(), &ann).await.unwrap();

    let report = engine.sync(&python, ann.clone()).await.unwrap().wait().await.unwrap();
    assert_eq!((report.admitted, report.waiting.len()), (1, 1), "{report:?}");
    assert_eq!(report.waiting[0].artifact.as_str(), "bad");
    assert!(report.waiting[0].reason.contains("denied-name"), "{report:?}");
    let status = async |project: &str| {
        let uri = format!("/python/simple/{project}/").parse().unwrap();
        engine.respond(&Method::GET, &uri, &HeaderMap::new()).await.status
    };
    assert_eq!((status("good").await, status("bad").await), (StatusCode::OK, StatusCode::NOT_FOUND));

    let (bad, one) = ("bad".parse().unwrap(), "1.0".parse().unwrap());
    engine.approve(&python, &bad, &one, ann, "looked at it".into()).await.unwrap();
    assert_eq!(status("bad").await, StatusCode::OK);
}
