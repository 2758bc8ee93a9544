//! Attestations (PEP 740) on their whole way: from an index, through the engine, to a client.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, Uri};
use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    digest::Sha256Digest,
    ecosystem::{Registry, RepositoryConfig},
    fetch::{FetchOptions, Fetcher},
    name::Actor,
    serve::Body,
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions},
    sync::SyncReport,
    testing::upstream::{Reply, Upstream},
};
use reservoir_pypi::Pypi;
use serde_json::{Value, json};
use support::dist::Wheel;

const JSON: &str = "application/vnd.pypi.simple.v1+json";

struct World {
    upstream: Upstream,
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&database, CatalogOptions::default()).await.unwrap();
        let registry: Registry = serde_json::from_value(
            json!({ "name": "up", "ecosystem": "pypi", "url": upstream.url("/simple") }),
        )
        .unwrap();
        let repository: RepositoryConfig = serde_json::from_value(json!({
            "name": "python", "ecosystem": "pypi", "registries": ["up"],
            "mode": "mirror", "approval": "automatic", "publish": "automatic",
            "options": { "packages": ["demo"] },
        }))
        .unwrap();
        catalog.put_registry(&registry, &ann()).await.unwrap();
        catalog.put_repository(&repository, &ann()).await.unwrap();
        let scratch = folder.path().join("scratch");
        let options =
            ObjectStoreOptions { scratch: scratch.clone(), fsync: false, ..ObjectStoreOptions::default() };
        let store = Arc::new(ObjectBlobs::local(folder.path().join("store"), options).await.unwrap());
        let engine = Engine::builder()
            .catalog(catalog)
            .store(store as Arc<dyn reservoir_core::store::Store>)
            .ecosystem(Pypi)
            .fetcher(Fetcher::new(FetchOptions::default()).unwrap())
            .key(InstanceKey::generate().unwrap())
            .scratch(scratch)
            .build()
            .unwrap();
        Self { upstream, engine, _folder: folder }
    }

    /// Offers a version with what its provenance address answers; tells the digest of its wheel.
    fn offer(&self, version: &str, provenance: impl FnOnce(&str) -> Reply) {
        let name = format!("demo-{version}-py3-none-any.whl");
        let bytes = Wheel::new("demo", version).build();
        let sha256 = Sha256Digest::of(&bytes).to_string();
        self.upstream.route(format!("/files/{name}"), Reply::ok(bytes));
        self.upstream.route("/provenance", provenance(&sha256));
        let page = json!({
            "meta": { "api-version": "1.4" }, "name": "demo",
            "project-status": { "status": "deprecated", "reason": "use another" },
            "files": [{
                "filename": name, "url": format!("/files/{name}"), "hashes": { "sha256": sha256 },
                "provenance": "/provenance",
            }],
        });
        self.upstream.route("/simple/demo/", Reply::ok(page.to_string()).content_type(JSON));
    }

    async fn sync(&self) -> SyncReport {
        self.engine.sync(&"python".parse().unwrap(), ann()).await.unwrap().wait().await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut headers = HeaderMap::new();
        headers.insert("accept", JSON.parse().unwrap());
        headers.insert("accept-encoding", "identity".parse().unwrap());
        let response = self.engine.respond(&Method::GET, &path.parse::<Uri>().unwrap(), &headers).await;
        let bytes = match response.body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Stream(stream) => stream.try_collect::<Vec<_>>().await.unwrap().concat(),
        };
        (response.status.as_u16(), bytes)
    }

    /// The page's only file.
    async fn file(&self) -> Value {
        let (status, page) = self.get("/python/simple/demo/").await;
        assert_eq!(status, 200);
        let page: Value = serde_json::from_slice(&page).unwrap();
        assert_eq!(page["project-status"], json!({ "status": "deprecated", "reason": "use another" }));
        assert_eq!(page["files"].as_array().unwrap().len(), 1, "{page}");
        page["files"][0].clone()
    }
}

fn ann() -> Actor {
    "ann".parse().unwrap()
}

/// A document about a file, with spacing that no serialiser would give it.
fn document(sha256: &str) -> String {
    let statement = json!({ "subject": [{ "name": "x", "digest": { "sha256": sha256 } }] }).to_string();
    let attestation = json!({
        "version": 1, "verification_material": {},
        "envelope": { "statement": BASE64_STANDARD.encode(statement), "signature": "MEU=" },
    });
    format!(
        "{{ \"version\": 1,\n\t\"attestation_bundles\": [{{\"publisher\": {{}}, \"attestations\": [{attestation}]}}] }}\n"
    )
}

#[tokio::test]
async fn a_document_arrives_byte_exact() {
    let world = World::new().await;
    let mut sent = String::new();
    world.offer("1.0", |sha256| {
        sent = document(sha256);
        Reply::ok(sent.clone())
    });
    let report = world.sync().await;
    assert!(report.is_complete() && report.fetched_files == 2, "{report:?}");
    let file = world.file().await;
    let address = file["provenance"].as_str().unwrap().strip_prefix("../..").unwrap();
    let (status, bytes) = world.get(&format!("/python{address}")).await;
    assert_eq!((status, std::str::from_utf8(&bytes)), (200, Ok(sent.as_str())));
    let again = world.sync().await;
    assert_eq!((again.fetched_files, again.published), (0, None), "{again:?}");
}

#[tokio::test]
async fn a_document_that_is_not_to_be_had_costs_only_itself() {
    let many = format!("{{\"version\":1,\"attestation_bundles\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    for (reply, rule) in [
        (Reply::status(404), "404"),
        (Reply::status(410), "410"),
        (Reply::ok("<html>"), "(provenance)"),
        (Reply::ok("{\"version\":2,\"attestation_bundles\":[]}"), "version 2"),
        (Reply::ok(many), "at most"),
        (Reply::ok(vec![b'['; 17 << 20]), "limit"),
        (Reply::redirect(302, "http://localhost:9/elsewhere"), "localhost"),
    ] {
        let world = World::new().await;
        world.offer("1.0", |_| reply);
        let report = world.sync().await;
        assert_eq!((report.admitted, report.failed.len(), report.published), (1, 0, Some(1)), "{report:?}");
        let [alarm] = &report.alarms[..] else { panic!("{rule}: {report:?}") };
        assert!(alarm.contains("demo@1.0") && alarm.contains(rule), "{rule}: {alarm}");
        assert_eq!(world.file().await.get("provenance"), None, "{rule}");
        // It is asked for again, and nothing else happens: the operator was told.
        let again = world.sync().await;
        assert_eq!((again.admitted, again.kept, again.published), (0, 1, None));
        assert!(again.is_complete(), "{rule}: {again:?}");
        assert_eq!(again.skipped, report.alarms);
    }
}

#[tokio::test]
async fn a_document_about_another_file_is_not_shown() {
    let world = World::new().await;
    world.offer("1.0", |_| Reply::ok(document(&"ab".repeat(32))));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(world.file().await.get("provenance"), None);
    let address = "/python/integrity/demo/1.0/demo-1.0-py3-none-any.whl/provenance";
    assert_eq!(world.get(address).await.0, 404);
}
