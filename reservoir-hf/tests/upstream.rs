//! Hubs that lie, break off, move and never end.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

#[path = "upstream/cards.rs"]
mod cards;
#[path = "upstream/hostile.rs"]
mod hostile;
#[path = "upstream/needs.rs"]
mod needs;
#[path = "upstream/redirects.rs"]
mod redirects;
#[path = "upstream/refs.rs"]
mod refs;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use http::{HeaderMap, Method};
use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    ecosystem::{Registry, RepositoryConfig},
    fetch::{FetchOptions, Fetcher},
    name::Actor,
    serve::Body,
    snapshot::InstanceKey,
    store::Store,
    sync::SyncReport,
    testing::memory::MemoryStore,
};
use reservoir_hf::Hf;
use serde_json::{Value, json};

use self::support::hub::{Hub, lfs, noise, regular};

const MODEL: &str = "org/tiny";

/// An engine with one repository, `hub`, that mirrors from a Hub.
struct Site {
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn new(hub: &Hub, options: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions { durable: false, ..CatalogOptions::default() })
            .await
            .unwrap();
        let mut url = hub.url();
        url.set_password(Some("the-token")).unwrap();
        let registry = Registry {
            name: "upstream".parse().unwrap(),
            ecosystem: "hf".parse().unwrap(),
            url: Some(url),
            allowed_hosts: serde_json::from_value(options["allowed_hosts"].clone()).unwrap_or_default(),
            options: BTreeMap::new(),
        };
        catalog.put_registry(&registry, &Actor::policy()).await.unwrap();
        let mut config =
            json!({ "name": "hub", "ecosystem": "hf", "registries": ["upstream"], "options": {} });
        for (key, value) in options.as_object().unwrap() {
            match key.as_str() {
                "allowed_hosts" => {}
                "dependencies" => config[key] = value.clone(),
                _ => config["options"][key] = value.clone(),
            }
        }
        let config: RepositoryConfig = serde_json::from_value(config).unwrap();
        catalog.put_repository(&config, &Actor::policy()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let fetch = FetchOptions { retries: 1, backoff: Duration::from_millis(1), ..FetchOptions::default() };
        let engine = Engine::builder()
            .catalog(catalog)
            .store(store)
            .ecosystem(Hf)
            .fetcher(Fetcher::new(fetch).unwrap())
            .key(InstanceKey::generate().unwrap())
            .scratch(folder.path().join("scratch"))
            .build()
            .unwrap();
        Self { engine, _folder: folder }
    }

    async fn sync(&self) -> SyncReport {
        let name = "hub".parse().unwrap();
        self.engine.sync(&name, Actor::policy()).await.unwrap().wait().await.unwrap()
    }

    /// Status, code of the error, body.
    async fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        let uri = format!("/hub/{path}").parse().unwrap();
        let answer = self.engine.respond(&Method::GET, &uri, &HeaderMap::new()).await;
        let code = answer.headers.get("x-error-code").map(|value| value.to_str().unwrap().to_owned());
        let body = match answer.body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Stream(stream) => stream.try_collect::<Vec<_>>().await.unwrap().concat(),
        };
        (answer.status.as_u16(), code.unwrap_or_default(), body)
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

fn models() -> Value {
    json!({ "models": [MODEL] })
}

async fn hub() -> Hub {
    let mut hub = Hub::start().await;
    hub.commit(MODEL, "First", [("config.json", regular("{}")), ("model.bin", lfs(noise(5000, 1)))]);
    hub
}

fn head(hub: &Hub) -> reservoir_hf::name::ObjectId {
    hub.head(MODEL)
}
