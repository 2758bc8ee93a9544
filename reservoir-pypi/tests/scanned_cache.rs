//! A cache whose host wants every byte looked at before one leaves.
#![expect(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

mod support;

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, header::RETRY_AFTER};
use reservoir_core::{
    Engine, Result,
    catalog::{Catalog, CatalogOptions},
    gate::{Scanner, Subject, Verdict},
    serve::{Body, Response},
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
    testing::upstream::{Reply, Upstream},
};
use reservoir_pypi::Pypi;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use support::dist::Wheel;
use tokio::sync::Semaphore;

const NAMES: [&str; 2] = ["alpha", "beta"];

/// It takes as long as it is made to, and finds something in `beta`.
#[derive(Debug)]
struct Slow(Arc<Semaphore>);

#[async_trait]
impl Scanner for Slow {
    fn id(&self) -> &'static str {
        "slow"
    }

    async fn rules(&self) -> Result<String> {
        Ok("1".into())
    }

    async fn scan(&self, subject: &Subject<'_>) -> Result<Verdict> {
        let _turn = self.0.acquire().await.unwrap();
        Ok(if subject.artifact.as_str() == "beta" {
            Verdict::Finding { rule: "phones-home".into(), detail: "in `beta/__init__.py`".into() }
        } else {
            Verdict::Clean
        })
    }
}

async fn engine(folder: &std::path::Path, scanner: Slow) -> Engine {
    let scratch = folder.join("scratch");
    let options = ObjectStoreOptions { scratch: scratch.clone(), ..ObjectStoreOptions::default() };
    let store: Arc<dyn Store> = Arc::new(ObjectBlobs::local(folder.join("store"), options).await.unwrap());
    let catalog = format!("sqlite:{}", folder.join("catalog.sqlite").display());
    Engine::builder()
        .catalog(Catalog::open(&catalog, CatalogOptions::default()).await.unwrap())
        .store(store)
        .ecosystem(Pypi)
        .scanner(scanner)
        .key(InstanceKey::generate().unwrap())
        .scratch(scratch)
        .build()
        .unwrap()
}

async fn get(engine: &Engine, uri: &str) -> (Response, Vec<u8>) {
    let mut response = engine.respond(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new()).await;
    let body = match std::mem::replace(&mut response.body, Body::Empty) {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Stream(stream) => stream.try_collect::<Vec<_>>().await.unwrap().concat(),
    };
    (response, body)
}

/// Asks again as often as a client is told to, for some minutes at most.
async fn settled<F: Future<Output = (Response, Vec<u8>)>>(ask: impl Fn() -> F) -> (Response, Vec<u8>) {
    for _ in 0..200 {
        let answer = ask().await;
        if answer.0.status != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is on its way for ever");
}

/// Nothing follows a download that a scanner has to see first: whoever asks is told to come again, has all of it once it
/// was let in, and none of it where something was found.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_before_a_scanner_has_looked() {
    let upstream = Upstream::start().await;
    let mut wheels = Vec::new();
    for name in NAMES {
        // Longer than what is withheld of files that may be followed.
        let noise: Vec<u8> =
            (0..400_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let bytes = Wheel::new(name, "1.0").with(&format!("{name}/data.bin"), noise).build();
        let file = format!("{name}-1.0-py3-none-any.whl");
        let url = upstream.url(&format!("/files/{file}"));
        let page = json!({ "meta": { "api-version": "1.1" }, "name": name, "versions": ["1.0"], "files": [
            { "filename": file, "url": url, "size": bytes.len(),
              "hashes": { "sha256": format!("{:x}", Sha256::digest(&bytes)) } },
        ]});
        let page = Reply::ok(page.to_string()).content_type("application/vnd.pypi.simple.v1+json");
        upstream.route(format!("/simple/{name}/"), page);
        upstream.route(format!("/files/{file}"), Reply::ok(bytes.clone()));
        wheels.push(bytes);
    }
    let (folder, turns) = (tempfile::tempdir().unwrap(), Arc::new(Semaphore::new(0)));
    let engine = engine(folder.path(), Slow(Arc::clone(&turns))).await;
    let me = "tester".parse().unwrap();
    let registry = json!({ "name": "index", "ecosystem": "pypi", "url": upstream.url("/simple/") });
    engine.configure_registry(&serde_json::from_value(registry).unwrap(), &me).await.unwrap();
    let repository =
        json!({ "name": "python", "ecosystem": "pypi", "registries": ["index"], "mode": "cache" });
    engine.configure(&serde_json::from_value(repository).unwrap(), &me).await.unwrap();

    let mut addresses = Vec::new();
    for name in NAMES {
        let (page, body) =
            get(&engine, &format!("/python/simple/{name}/?format=application/vnd.pypi.simple.v1%2Bjson"))
                .await;
        assert_eq!(page.status, 200);
        let page: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let url = page["files"][0]["url"].as_str().unwrap();
        addresses.push(url.replacen("../../", "/python/", 1));
    }
    // Each is waited for as long as clients wait: at the same time.
    let both = tokio::join!(get(&engine, &addresses[0]), get(&engine, &addresses[1]));
    for (early, body) in [both.0, both.1] {
        assert_eq!(early.status, 503, "{early:?}");
        assert!(early.headers.contains_key(RETRY_AFTER));
        assert!(!body.windows(4).any(|piece| piece == b"PK\x03\x04"));
    }
    turns.add_permits(1);
    let (clean, body) = settled(|| get(&engine, &addresses[0])).await;
    assert!(clean.status == 200 && body == wheels[0], "{clean:?}");
    let (found, body) = settled(|| get(&engine, &addresses[1])).await;
    assert_eq!(found.status, 403, "{found:?}");
    assert!(String::from_utf8(body).unwrap().contains("phones-home"), "it says why");
    for file in ["alpha", "beta"].map(|name| format!("/files/{name}-1.0-py3-none-any.whl")) {
        assert_eq!(upstream.requests_to(&file).len(), 1, "{file} is not fetched again");
    }
}
