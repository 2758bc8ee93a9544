//! An engine over real parts (SQLite or PostgreSQL, a directory, the toy ecosystem and its registry).

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part; helpers may fail the test"
)]

pub mod death;
pub mod process;

use std::{path::Path, sync::Arc};

use http::{HeaderMap, Method, StatusCode, Uri};
use reservoir_core::{
    Engine, EngineBuilder,
    catalog::{Catalog, CatalogOptions},
    ecosystem::{Approval, Mode, Publish, Registry, RepositoryConfig},
    fetch::{FetchOptions, Fetcher},
    lifecycle::{ArtifactLifecycle as _, Revision, Status},
    name::{Actor, ArtifactName, RepositoryName, RevisionName},
    serve::{Body, Response},
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
    sync::SyncReport,
    testing::toy::{Toy, ToyFile, ToyRegistry},
};
use serde_json::json;

/// Everything a test needs, in one directory that goes with it.
pub struct World {
    pub folder: tempfile::TempDir,
    pub url: String,
    pub registry: ToyRegistry,
    pub engine: Engine,
}

/// The repository most tests use.
pub fn tools() -> RepositoryName {
    "tools".parse().unwrap()
}

/// A hosted repository beside it.
pub fn own() -> RepositoryName {
    "own".parse().unwrap()
}

pub fn ann() -> Actor {
    "ann".parse().unwrap()
}

/// `tools` as most tests want it: all hammers and what they need, automatic.
pub fn config(name: &str) -> RepositoryConfig {
    RepositoryConfig {
        name: name.parse().unwrap(),
        ecosystem: "toy".parse().unwrap(),
        registries: vec!["upstream".parse().unwrap()],
        mode: Mode::Mirror,
        hosted: false,
        approval: Approval::Automatic,
        publish: Publish::Automatic,
        schedule: None,
        dependencies: true,
        max_import: None,
        options: [("packages".to_owned(), json!(["hammer=*"]))].into(),
    }
}

/// A repository that clients upload into.
pub fn hosted(name: &str) -> RepositoryConfig {
    RepositoryConfig { mode: Mode::Hosted, registries: Vec::new(), dependencies: false, ..config(name) }
}

/// Twelve files in four revisions; hammers need nails, nails need iron.
pub fn stock() -> Vec<ToyFile> {
    let mut files = Vec::new();
    for (name, version, requires) in [
        ("hammer", "1.0", &["nail>=1"][..]),
        ("hammer", "2.0", &["nail=2.0"]),
        ("nail", "2.0", &["iron"]),
        ("iron", "7.0", &[]),
    ] {
        for variant in ["a", "b", "c"] {
            files.push(ToyFile::new(name, version, Some(variant), requires, 3000));
        }
    }
    files
}

/// The parts of an engine at rest in `folder`.
pub async fn builder(folder: &Path, catalog: Catalog) -> EngineBuilder {
    over(folder, catalog, store(folder).await)
}

/// The same over a store that the test wrapped.
pub fn over(folder: &Path, catalog: Catalog, store: Arc<dyn Store>) -> EngineBuilder {
    let key = folder.join("key.json");
    if !key.exists() {
        InstanceKey::generate().unwrap().save(&key).unwrap();
    }
    let fetcher = FetchOptions { backoff: std::time::Duration::from_millis(20), ..FetchOptions::default() };
    Engine::builder()
        .catalog(catalog)
        .store(store)
        .ecosystem(Toy)
        .fetcher(Fetcher::new(fetcher).unwrap())
        .key(InstanceKey::load(&key).unwrap())
        .scratch(folder.join("scratch"))
}

pub async fn store(folder: &Path) -> Arc<dyn Store> {
    // No test here takes the power away: what a killed process wrote is in the kernel's hands.
    let scratch = folder.join("scratch");
    let options = ObjectStoreOptions { scratch, fsync: false, ..ObjectStoreOptions::default() };
    Arc::new(ObjectBlobs::local(folder.join("store"), options).await.unwrap())
}

pub fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("catalog.db").display())
}

/// Makes the registry and a repository known.
pub async fn configure(catalog: &Catalog, registry: &url::Url, config: &RepositoryConfig) {
    let upstream = Registry {
        name: "upstream".parse().unwrap(),
        ecosystem: "toy".parse().unwrap(),
        url: Some(registry.clone()),
        allowed_hosts: Vec::new(),
        options: std::collections::BTreeMap::new(),
    };
    catalog.put_registry(&upstream, &ann()).await.unwrap();
    catalog.put_repository(config, &ann()).await.unwrap();
}

impl World {
    /// SQLite, a directory, the stock on offer and `tools` configured.
    pub async fn new() -> Self {
        Self::with(config("tools")).await
    }

    pub async fn with(config: RepositoryConfig) -> Self {
        Self::on(None, config).await
    }

    /// Over the catalog at `url`; SQLite in the folder when there is none.
    pub async fn on(url: Option<&str>, config: RepositoryConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = url.map_or_else(|| sqlite(folder.path()), str::to_owned);
        let mut registry = ToyRegistry::start().await;
        for file in stock() {
            registry.offer(file);
        }
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        configure(&catalog, &registry.url(), &config).await;
        let engine = builder(folder.path(), catalog).await.build().unwrap();
        Self { folder, url, registry, engine }
    }

    /// Another engine over the same catalog and store, as another process has it.
    pub async fn another(&self) -> Engine {
        let catalog = Catalog::open(&self.url, CatalogOptions::default()).await.unwrap();
        builder(self.folder.path(), catalog).await.build().unwrap()
    }

    pub async fn sync(&self) -> SyncReport {
        sync(&self.engine).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        get(&self.engine, path).await
    }

    pub async fn status(&self, path: &str) -> StatusCode {
        self.get(path).await.0
    }

    pub async fn revision(&self, repository: &str, spec: &str) -> Revision {
        let (artifact, revision) = split(spec);
        let repository = self.engine.catalog().repository(&repository.parse().unwrap()).await.unwrap();
        self.engine.catalog().find_revision(repository.id, &artifact, &revision).await.unwrap()
    }

    pub async fn head(&self) -> reservoir_core::snapshot::Snapshot {
        let repository = self.engine.catalog().repository(&tools()).await.unwrap();
        self.engine.catalog().resolve(repository.id, "main").await.unwrap()
    }

    /// Puts an empty catalog in the place of a lost one; the store is all that is left.
    pub async fn lose_catalog(&mut self) {
        self.engine.catalog().close().await;
        for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            // The last two are there only after an unclean end.
            let _ = std::fs::remove_file(self.folder.path().join(file));
        }
        let catalog = Catalog::open(&self.url, CatalogOptions::default()).await.unwrap();
        self.engine = builder(self.folder.path(), catalog).await.build().unwrap();
    }

    /// What the registry's quarantine does: AVAILABLE to BLOCKED.
    pub async fn block(&self, spec: &str) {
        let revision = self.revision("tools", spec).await;
        let change = reservoir_core::lifecycle::Transition {
            revision: revision.id,
            from: revision.status,
            attempt: revision.attempt,
            to: Status::Blocked,
            actor: Actor::policy(),
            reason: "MAL-0000-0001".into(),
        };
        self.engine.catalog().transition(&[change], None).await.unwrap();
    }
}

pub async fn sync(engine: &Engine) -> SyncReport {
    engine.sync(&tools(), ann()).await.unwrap().wait().await.unwrap()
}

pub fn split(spec: &str) -> (ArtifactName, RevisionName) {
    let (artifact, revision) = spec.split_once('@').unwrap();
    (artifact.parse().unwrap(), revision.parse().unwrap())
}

/// Asks as a client does; a body that breaks off is the status 599.
pub async fn get(engine: &Engine, path: &str) -> (StatusCode, String) {
    let response = respond(engine, path).await;
    let status = response.status;
    match body(response).await {
        Ok(text) => (status, text),
        Err(error) => (StatusCode::from_u16(599).unwrap(), error.to_string()),
    }
}

pub async fn respond(engine: &Engine, path: &str) -> Response {
    engine.respond(&Method::GET, &path.parse::<Uri>().unwrap(), &HeaderMap::new()).await
}

pub async fn body(response: Response) -> reservoir_core::Result<String> {
    use futures::TryStreamExt as _;
    let bytes = match response.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Stream(stream) => stream.try_collect::<Vec<_>>().await?.concat(),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
