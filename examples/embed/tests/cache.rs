//! A cache of a host that has a scanner of its own: nothing leaves before it was judged.

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{HeaderMap, Method, StatusCode};
use reservoir_core::{
    Engine, Result,
    catalog::{Catalog, CatalogOptions},
    gate::{Scanner, Subject, Verdict},
    name::Actor,
    serve::{Body, Response},
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
    testing::upstream::Upstream,
};
use reservoir_pypi::Pypi;
use serde_json::json;

/// Thinks for longer than a client is kept waiting.
#[derive(Debug)]
struct Thorough;

#[async_trait]
impl Scanner for Thorough {
    fn id(&self) -> &'static str {
        "thorough"
    }

    async fn rules(&self) -> Result<String> {
        Ok("1".into())
    }

    async fn scan(&self, _: &Subject<'_>) -> Result<Verdict> {
        tokio::time::sleep(Duration::from_secs(12)).await;
        Ok(Verdict::Clean)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_again_when_scanners_have_spoken() {
    let upstream = Upstream::start().await;
    let wheel = support::offer(&upstream, "alpha", "1.0");
    let folder = tempfile::tempdir().unwrap();
    let options =
        ObjectStoreOptions { scratch: folder.path().join("scratch"), ..ObjectStoreOptions::default() };
    let store: Arc<dyn Store> = Arc::new(ObjectBlobs::memory(options));
    let catalog = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
    let engine = Engine::builder()
        .catalog(Catalog::open(&catalog, CatalogOptions::default()).await.unwrap())
        .store(store)
        .ecosystem(Pypi)
        .scanner(Thorough)
        .key(InstanceKey::generate().unwrap())
        .scratch(folder.path().join("scratch"))
        .build()
        .unwrap();
    let ann: Actor = "ann".parse().unwrap();
    let registry = json!({ "name": "index", "ecosystem": "pypi", "url": upstream.url("/simple/") });
    engine.configure_registry(&serde_json::from_value(registry).unwrap(), &ann).await.unwrap();
    let repository =
        json!({ "name": "python", "ecosystem": "pypi", "registries": ["index"], "mode": "cache" });
    engine.configure(&serde_json::from_value(repository).unwrap(), &ann).await.unwrap();
    let get = async |path: &str| {
        let uri = path.parse().unwrap();
        engine.respond(&Method::GET, &uri, &HeaderMap::new()).await
    };

    let page = get("/python/simple/alpha/").await;
    let status = page.status;
    let page = String::from_utf8(bytes(page).await).unwrap();
    assert!(status == StatusCode::OK && page.contains("../../packages/"), "{status}: {page}");
    let file = page.split("../../").nth(1).unwrap().split('#').next().unwrap();
    let file = format!("/python/{file}");

    let begun = Instant::now();
    let first = get(&file).await;
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(first.headers.contains_key("retry-after"), "{:?}", first.headers);
    assert!(begun.elapsed() >= Duration::from_secs(9), "it was worth waiting: {:?}", begun.elapsed());
    let said = bytes(first).await;
    assert!(!said.windows(2).any(|piece| piece == b"PK"), "nothing of the file");
    // The scanner goes on without the client, and is asked once.
    let mut again = get(&file).await;
    while again.status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(begun.elapsed() < Duration::from_mins(1));
        again = get(&file).await;
    }
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(bytes(again).await, wheel);
    assert_eq!(upstream.requests().iter().filter(|request| request.target.starts_with("/files/")).count(), 1);
}

async fn bytes(response: Response) -> Vec<u8> {
    match response.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Stream(mut stream) => {
            let mut all = Vec::new();
            while let Some(piece) =
                futures::TryStreamExt::try_next(&mut stream).await.expect("the body is whole")
            {
                all.extend_from_slice(&piece);
            }
            all
        }
    }
}
