//! A repository's line of snapshots, rendered and answered from without an engine.

use std::{collections::BTreeMap, io::Read as _, sync::Arc};

use bytes::Bytes;
use futures::{TryStreamExt as _, executor::block_on};
use http::{HeaderMap, Method};
use reservoir_apt::Apt;
use reservoir_core::{
    Result,
    clock::Timestamp,
    ecosystem::{Ecosystem as _, Mode, RepositoryConfig},
    openpgp::{Signer, SigningKey},
    serve::{Denials, PageCache, Request, Response, View, problem},
    snapshot::{Edit, Entry},
    store::{Blob, BlobSink, Store as _},
    testing::line::Line,
};
use serde_json::{Value, json};

use super::deb::Deb;

pub struct Site {
    pub line: Line,
    pub config: RepositoryConfig,
    pub signer: Arc<Signer>,
    /// The time of the first snapshot; each is a second after the one before.
    pub begin: Timestamp,
}

/// An answer with its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Of which no registry has to say anything before it is published.
pub fn config(options: Value) -> RepositoryConfig {
    RepositoryConfig { mode: Mode::Hosted, ..mirror(options) }
}

pub fn mirror(options: Value) -> RepositoryConfig {
    let options: BTreeMap<String, Value> = serde_json::from_value(options).unwrap();
    serde_json::from_value(json!({ "name": "bookworm", "ecosystem": "apt", "options": options })).unwrap()
}

/// One suite, one component, amd64.
pub fn plain() -> RepositoryConfig {
    config(json!({ "suites": ["bookworm"], "components": ["main"], "architectures": ["amd64"] }))
}

impl Site {
    /// The first snapshot is of 2026-11-21T14:00:00Z, whatever the time.
    pub fn new(config: RepositoryConfig) -> Self {
        let signer = Arc::new(Signer::from(SigningKey::generate("Test <test@example.com>").unwrap()));
        let begin = Timestamp::from_micros(1_795_269_600_000_000);
        Self { line: Line::default(), config, signer, begin }
    }

    /// The first snapshot is of now: real clients check dates.
    pub fn now(config: RepositoryConfig) -> Self {
        let now = Timestamp::now().as_seconds() - 3600;
        Self { begin: Timestamp::from_micros(now * 1_000_000), ..Self::new(config) }
    }

    pub fn keep(&self, bytes: impl Into<Bytes>) -> Blob {
        block_on(BlobSink::put_bytes(&self.line.memory, bytes.into())).unwrap()
    }

    /// A package as upstream's `bookworm/main` lists it.
    pub fn package(&self, deb: &Deb) -> Edit {
        self.package_at(deb, &deb.pool(), &deb.pool(), &["bookworm/main"])
    }

    pub fn package_at(&self, deb: &Deb, path: &str, filename: &str, keys: &[&str]) -> Edit {
        let bytes = deb.build();
        let stanza = deb.stanza(filename, &bytes);
        self.listed(deb, path, bytes, keys.iter().map(|key| ((*key).to_owned(), stanza.clone())).collect())
    }

    /// A package with these stanzas.
    pub fn listed(&self, deb: &Deb, path: &str, bytes: Vec<u8>, stanzas: BTreeMap<String, String>) -> Edit {
        let entry = Entry {
            path: path.parse().unwrap(),
            blob: self.keep(bytes),
            artifact: Some(deb.name.parse().unwrap()),
            revision: Some(format!("{}:{}", deb.version, deb.architecture).parse().unwrap()),
            attributes: BTreeMap::from([("stanzas".to_owned(), json!(stanzas))]),
        };
        Edit::Put(Box::new(entry))
    }

    /// A suite as upstream signed it; the fields of its Release.
    pub fn upstream(&self, suite: &str, revision: &str, release: Value) -> Edit {
        self.upstream_of("debian", suite, revision, json!({ "release": release }))
    }

    /// The same by a registry, with these attributes.
    pub fn upstream_of(&self, registry: &str, suite: &str, revision: &str, attributes: Value) -> Edit {
        let bytes = format!("InRelease of {revision}");
        self.signed_file(&format!("{registry}/{suite}/{revision}/InRelease"), &bytes, attributes)
    }

    /// A file of a suite's state, `REGISTRY/SUITE/REVISION/FILE`.
    pub fn signed_file(&self, path: &str, bytes: &str, attributes: Value) -> Edit {
        let parts: Vec<&str> = path.split('/').collect();
        let entry = Entry {
            path: format!("upstream/{path}").parse().unwrap(),
            blob: self.keep(bytes.to_owned()),
            artifact: Some(format!("dists/{}", parts[1]).parse().unwrap()),
            revision: Some(parts[2].parse().unwrap()),
            attributes: serde_json::from_value(attributes).unwrap(),
        };
        Edit::Put(Box::new(entry))
    }

    /// Makes the next snapshot; returns the paths of the publication that were written or removed.
    pub async fn publish(&mut self, edits: Vec<Edit>) -> Vec<String> {
        self.try_publish(edits).await.unwrap()
    }

    pub async fn try_publish(&mut self, edits: Vec<Edit>) -> Result<Vec<String>> {
        let time = self.time(self.line.number + 1);
        self.line.publish((&Apt, &self.config), Some(&self.signer), time, edits).await
    }

    pub fn time(&self, number: u64) -> Timestamp {
        self.begin.plus(std::time::Duration::from_secs(number))
    }

    pub fn view(&self) -> View {
        self.line.view(Denials::default(), PageCache::default())
    }

    pub async fn respond(&self, request: &Request) -> Response {
        Apt.respond(&self.view(), request)
            .await
            .unwrap_or_else(|error| problem(&error))
            .for_method(&request.method)
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = Request {
            method: Method::GET,
            path: path.to_owned(),
            query: None,
            headers: HeaderMap::new(),
            base: "/bookworm".to_owned(),
            raw_path: path.to_owned(),
            origin: String::new(),
            body: reservoir_core::serve::RequestBody::default(),
        };
        let response = self.respond(&request).await;
        let chunks: Vec<Bytes> = response.body.into_stream().try_collect().await.unwrap();
        Answer { status: response.status.as_u16(), headers: response.headers, body: chunks.concat().into() }
    }

    /// A file of the publication.
    pub async fn published(&self, path: &str) -> Bytes {
        let (_, publication) = self.line.tip.as_ref().expect("something was published");
        let entry = publication.get(path).await.unwrap().unwrap_or_else(|| panic!("no `{path}`"));
        self.line.memory.read_whole(&entry.blob.sha256, u64::MAX).await.unwrap()
    }

    pub async fn text(&self, path: &str) -> String {
        let bytes = self.published(path).await;
        let mut text = String::new();
        if path.ends_with(".gz") {
            flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(bytes.to_vec()).unwrap();
        }
        text
    }

    /// Every path of the publication.
    pub async fn paths(&self) -> Vec<String> {
        let (_, publication) = self.line.tip.as_ref().expect("something was published");
        publication.scan("").map_ok(|entry| entry.path.to_string()).try_collect().await.unwrap()
    }
}
