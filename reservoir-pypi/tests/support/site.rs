//! A repository's line of snapshots, rendered by the ecosystem and answered from.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read as _,
};

use bytes::Bytes;
use futures::{TryStreamExt as _, executor::block_on};
use http::{HeaderMap, HeaderName, Method};
use reservoir_core::{
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Ecosystem as _, RepositoryConfig},
    serve::{Body, PageCache, Request, RequestBody, Response, View, problem},
    snapshot::{Edit, Entry},
    store::{Blob, BlobSink, Store as _},
    testing::{line::Line, memory::MemoryStore},
};
use reservoir_pypi::Pypi;
use serde_json::{Value, json};

/// Stores bytes in memory; nothing there ever waits.
pub fn keep(memory: &MemoryStore, bytes: impl Into<Bytes>) -> Blob {
    block_on(BlobSink::put_bytes(memory, bytes.into())).unwrap()
}

#[derive(Default)]
pub struct Site {
    pub line: Line,
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
            blob: keep(&self.line.memory, bytes.to_owned()),
            artifact: Some(path.split('/').next().unwrap().parse().unwrap()),
            revision: Some(revision.parse().unwrap()),
            attributes,
        }
    }

    /// Makes the next snapshot; returns the paths of the publication that were written or removed.
    pub async fn publish(&mut self, edits: Vec<Edit>) -> Vec<String> {
        let time = Timestamp::from_micros((self.line.number as i64 + 1) * 1_000_000);
        self.line.publish((&Pypi, &config()), None, time, edits).await.unwrap()
    }

    pub fn view(&self) -> View {
        self.line.view(self.denials.clone().into(), self.cache.clone())
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
        let (_, publication) = self.line.tip.as_ref().expect("something was published");
        let mut decoded = Vec::new();
        for ending in ["gz", "zst"] {
            let entry =
                publication.get(&format!("{path}.{ending}")).await.unwrap().expect("the page is there");
            let bytes = self.line.memory.read_whole(&entry.blob.sha256, u64::MAX).await.unwrap();
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
