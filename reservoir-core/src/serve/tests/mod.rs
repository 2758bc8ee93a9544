//! Files and pages over a store in memory, without manifests; `tests/serve.rs` has the rest.

mod file;
mod hostile;
mod page;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Request, RequestBody, Response};
use crate::{
    clock::Timestamp,
    error::Result,
    snapshot::Entry,
    store::{Blob, BlobSink as _},
    testing::memory::MemoryStore,
};

/// Sun, 06 Nov 1994 08:49:37 GMT.
const MODIFIED: Timestamp = Timestamp::from_micros(784_111_777_000_000);
const MODIFIED_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn request(method: Method, lines: &[(&str, &str)]) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Request {
        method,
        path: "a".into(),
        raw_path: "a".into(),
        query: None,
        headers,
        base: "/python".into(),
        origin: String::new(),
        body: RequestBody::default(),
    }
}

fn entry(path: &str, blob: Blob) -> Entry {
    Entry {
        path: path.parse().unwrap(),
        blob,
        artifact: None,
        revision: None,
        attributes: std::collections::BTreeMap::new(),
    }
}

/// Bytes of which every window is different, for all practical purposes.
fn noise(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes.into()
}

async fn put(store: &MemoryStore, path: &str, bytes: Bytes) -> Entry {
    entry(path, store.put_bytes(bytes).await.unwrap())
}

async fn read(response: Response) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = response.body.into_stream().try_collect().await?;
    Ok(chunks.concat())
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers.get(name).map(|value| value.to_str().unwrap())
}
