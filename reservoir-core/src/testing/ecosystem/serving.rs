//! What clients get, through a whole engine.

use futures::TryStreamExt as _;
use http::{HeaderMap, Method, StatusCode, Uri, header};

use super::{Fixture, GoodFile};
use crate::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    digest::Sha256Digest,
    ecosystem::{Ecosystem as _, Registry},
    name::Actor,
    serve::{Body, Response},
    snapshot::InstanceKey,
    store::Store,
    testing::memory::MemoryStore,
};

pub(super) async fn suite(fixture: &impl Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(fixture, folder.path()).await;
    let repository = fixture.repository();
    let actor = Actor::policy();
    let sync = || async { engine.sync(&repository.name, actor.clone()).await.unwrap().wait().await.unwrap() };

    let report = sync().await;
    assert!(report.is_complete(), "{report:?}");
    let files = fixture.files();
    assert_eq!(report.fetched_files, files.len() as u64, "every good file is selected and pulled");
    for file in &files {
        served(&engine, fixture, file).await;
    }
    for page in fixture.pages() {
        let response = ask(&engine, Method::GET, &format!("/{}/{page}", repository.name)).await;
        assert_eq!(response.status, StatusCode::OK, "{page}");
    }
    for unknown in ["unheard/of", "unheard/of.html", "%2e%2e/etc/passwd", "unheardof/"] {
        let response = ask(&engine, Method::GET, &format!("/{}/{unknown}", repository.name)).await;
        assert!(response.status.is_client_error(), "{unknown}: {}", response.status);
    }
    let again = sync().await;
    assert_eq!((again.fetched_files, again.published), (0, None), "nothing changed: {again:?}");

    // What is rejected is gone under every address, old snapshots included; the rest is not.
    let out = &files[0];
    let reject =
        engine.reject(&repository.name, &out.artifact, &out.revision, actor.clone(), "suite".into()).await;
    reject.unwrap();
    for file in &files {
        if (&file.artifact, &file.revision) != (&out.artifact, &out.revision) {
            served(&engine, fixture, file).await;
            continue;
        }
        for base in [repository.name.to_string(), format!("{}@1", repository.name)] {
            let address = format!("/{base}/{}", fixture.address(&file.path));
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(ask(&engine, method, &address).await.status, StatusCode::FORBIDDEN, "{address}");
            }
        }
    }
    engine.catalog().close().await;
}

async fn engine(fixture: &impl Fixture, folder: &std::path::Path) -> Engine {
    let url = format!("sqlite:{}", folder.join("catalog.db").display());
    let options = CatalogOptions { durable: false, ..CatalogOptions::default() };
    let catalog = Catalog::open(&url, options).await.unwrap();
    let registry = Registry {
        name: "upstream".parse().unwrap(),
        ecosystem: fixture.ecosystem().id(),
        url: Some(fixture.registry()),
        allowed_hosts: Vec::new(),
        options: fixture.registry_options(),
    };
    catalog.put_registry(&registry, &Actor::policy()).await.unwrap();
    catalog.put_repository(&fixture.repository(), &Actor::policy()).await.unwrap();
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::new(MemoryStore::new());
    let builder = Engine::builder();
    let builder = match fixture.signer() {
        Some(signer) => builder.signer(signer),
        None => builder,
    };
    builder
        .catalog(catalog)
        .store(store)
        .ecosystem(fixture.ecosystem())
        .key(InstanceKey::generate().unwrap())
        .scratch(folder.join("scratch"))
        .build()
        .unwrap()
}

/// The file is there under its address, with its own bytes; `HEAD` says what `GET` does.
async fn served(engine: &Engine, fixture: &impl Fixture, file: &GoodFile) {
    let address = format!("/{}/{}", fixture.repository().name, fixture.address(&file.path));
    let get = ask(engine, Method::GET, &address).await;
    let head = ask(engine, Method::HEAD, &address).await;
    assert_eq!((get.status, head.status), (StatusCode::OK, StatusCode::OK), "{address}");
    for name in [header::CONTENT_LENGTH, header::ETAG, header::CONTENT_TYPE] {
        assert_eq!(get.headers.get(&name), head.headers.get(&name), "{address}: {name}");
    }
    assert!(matches!(head.body, Body::Empty));
    let bytes = match get.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Stream(stream) => stream.try_collect::<Vec<_>>().await.unwrap().concat(),
    };
    assert_eq!(Sha256Digest::of(&bytes), Sha256Digest::of(&file.bytes), "{address}");
}

async fn ask(engine: &Engine, method: Method, address: &str) -> Response {
    engine.respond(&method, &address.parse::<Uri>().unwrap(), &HeaderMap::new()).await
}
