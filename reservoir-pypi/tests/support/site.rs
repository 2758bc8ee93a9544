//! A repository's line of snapshots, rendered by the ecosystem and answered from.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read as _,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, executor::block_on, stream};
use http::{HeaderMap, HeaderName, Method};
use reservoir_core::{
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Ecosystem as _, RepositoryConfig},
    name::Actor,
    serve::{Body, PageCache, Request, RequestBody, Response, View, problem},
    snapshot::{Contents, Edit, Entry, IndexWriter, Manifest, Pages, Snapshot},
    store::{Blob, BlobSink, Store as _},
    testing::memory::MemoryStore,
};
use reservoir_pypi::Pypi;
use serde_json::{Value, json};

/// Stores bytes in memory; nothing there ever waits.
pub fn keep(memory: &MemoryStore, bytes: impl Into<Bytes>) -> Blob {
    block_on(BlobSink::put_bytes(memory, bytes.into())).unwrap()
}

pub struct Site {
    pub memory: MemoryStore,
    pub pages: Pages,
    pub number: u64,
    pub tip: Option<(Manifest, Manifest)>,
    pub denials: HashMap<Sha256Digest, String>,
    cache: PageCache,
}

/// An answer with its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Default for Site {
    fn default() -> Self {
        let memory = MemoryStore::new();
        let pages = Pages::new(Arc::new(memory.clone()), 1 << 20);
        let cache = PageCache::default();
        Self { memory, pages, number: 0, tip: None, denials: HashMap::new(), cache }
    }
}

pub fn config() -> RepositoryConfig {
    serde_json::from_value(json!({ "name": "python", "ecosystem": "pypi" })).unwrap()
}

/// The `BLAKE2b` digest that tests pretend a file has.
pub fn blake2b(seed: u8) -> String {
    format!("{seed:02x}").repeat(32)
}

impl Site {
    /// An entry of the content, its bytes stored; a `BLAKE2b` digest is made up unless given.
    pub fn entry(&self, path: &str, revision: &str, bytes: &str, attributes: Value) -> Entry {
        let mut attributes: BTreeMap<String, Value> = serde_json::from_value(attributes).unwrap();
        if !path.ends_with(".metadata") {
            attributes.entry("blake2b_256".into()).or_insert_with(|| blake2b(bytes.len() as u8).into());
        }
        Entry {
            path: path.parse().unwrap(),
            blob: keep(&self.memory, bytes.to_owned()),
            artifact: Some(path.split('/').next().unwrap().parse().unwrap()),
            revision: Some(revision.parse().unwrap()),
            attributes,
        }
    }

    /// Makes the next snapshot; returns the paths of the publication that were written or removed.
    pub async fn publish(&mut self, edits: Vec<Edit>) -> Vec<String> {
        self.number += 1;
        let edits = stream::iter(edits.into_iter().map(Ok)).boxed();
        let parent = self.tip.as_ref().map(|(content, _)| content);
        let written = self.pages.write(parent, edits, &self.memory).await.unwrap();
        let content = self.pages.open(written.root).await.unwrap();
        let (config, time) = (config(), Timestamp::from_micros(self.number as i64 * 1_000_000));
        let parent = self.tip.as_ref().map(|(content, publication)| (content, publication));
        let contents = Contents::new(&config, (self.number, time), &content, parent, &self.pages);
        let mut out = IndexWriter::new(&self.memory);
        Pypi.index(&contents, &mut out).await.unwrap();
        let edits: Vec<Edit> = out.into_edits().try_collect().await.unwrap();
        let paths = edits
            .iter()
            .map(|edit| match edit {
                Edit::Put(entry) => entry.path.to_string(),
                Edit::Remove(path) => format!("-{path}"),
            })
            .collect();
        let publication = self.tip.as_ref().map(|(_, publication)| publication);
        let edits = stream::iter(edits.into_iter().map(Ok)).boxed();
        let written = self.pages.write(publication, edits, &self.memory).await.unwrap();
        let publication = self.pages.open(written.root).await.unwrap();
        self.tip = Some((content, publication));
        paths
    }

    pub fn view(&self) -> View {
        let (content, publication) = self.tip.clone().expect("something was published");
        let snapshot = Snapshot {
            number: self.number,
            content: content.root(),
            publication: publication.root(),
            parent: None,
            author: Actor::policy(),
            created_at: Timestamp::from_micros(self.number as i64 * 1_000_000),
            message: String::new(),
        };
        let (store, denials) = (Arc::new(self.memory.clone()), Arc::new(self.denials.clone().into()));
        View::new(Arc::new(snapshot), content, publication, store, denials, self.cache.clone())
    }

    pub async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)]) -> Answer {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let request = Request {
            method: method.clone(),
            path: path.to_owned(),
            raw_path: path.to_owned(),
            query,
            headers,
            base: "/python".to_owned(),
            origin: String::new(),
            body: RequestBody::default(),
        };
        let response = Pypi.respond(&self.view(), &request).await.unwrap_or_else(|error| problem(&error));
        read(response.for_method(&method)).await
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target, &[]).await
    }

    /// A file of the publication, decompressed.
    pub async fn published(&self, path: &str) -> String {
        let (_, publication) = self.tip.as_ref().expect("something was published");
        let mut decoded = Vec::new();
        for ending in ["gz", "zst"] {
            let entry =
                publication.get(&format!("{path}.{ending}")).await.unwrap().expect("the page is there");
            let bytes = self.memory.read_whole(&entry.blob.sha256, u64::MAX).await.unwrap();
            let mut text = String::new();
            if ending == "gz" {
                flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
            } else {
                zstd::Decoder::new(&*bytes).unwrap().read_to_string(&mut text).unwrap();
            }
            assert_eq!(entry.attributes["size"], text.len());
            decoded.push(text);
        }
        assert_eq!(decoded[0], decoded[1], "both codings hold the same page");
        decoded.swap_remove(0)
    }
}

async fn read(response: Response) -> Answer {
    let body = match response.body {
        Body::Empty => Bytes::new(),
        Body::Bytes(bytes) => bytes,
        Body::Stream(stream) => {
            let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
            chunks.concat().into()
        }
    };
    Answer { status: response.status.as_u16(), headers: response.headers, body }
}
