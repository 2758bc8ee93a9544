mod cost;
mod golden;
mod hostile;
mod memory;
mod model;
mod refused;

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use self::memory::Memory;
use super::*;
use crate::{digest::Blake3Digest, error::ErrorKind, store::Blob};

/// Room for every page a test makes.
const CAPACITY: u64 = 256 << 20;

/// Boundaries of every kind within a few dozen entries.
const SMALL: Cutting = Cutting { mask: 3, entries: 8, bytes: 2000 };

fn pages(store: &Arc<Memory>) -> Pages {
    Pages::new(Arc::clone(store) as Arc<dyn Store>, CAPACITY)
}

fn entry(path: &str, size: u64) -> Entry {
    let sha256 = Sha256Digest::of(path.as_bytes());
    let blake3 = Blake3Digest::from_bytes(*Sha256Digest::of(&size.to_le_bytes()).as_bytes());
    let attributes = BTreeMap::from([
        ("requires-python".to_owned(), json!(">=3.8")),
        ("yanked".to_owned(), json!({"reason": "broken \"\n", "by": [1, null, true]})),
    ]);
    Entry {
        path: path.parse().unwrap(),
        blob: Blob { sha256, blake3, size },
        artifact: size.is_multiple_of(2).then(|| "six".parse().unwrap()),
        revision: size.is_multiple_of(2).then(|| "1.17.0".parse().unwrap()),
        attributes: if size.is_multiple_of(3) { BTreeMap::new() } else { attributes },
    }
}

fn put(path: &str, size: u64) -> Edit {
    Edit::Put(Box::new(entry(path, size)))
}

async fn write(
    pages: &Pages,
    parent: Option<&Manifest>,
    edits: Vec<Edit>,
    store: &Memory,
) -> Result<Written> {
    pages.write(parent, stream::iter(edits).map(Ok).boxed(), store).await
}

/// A manifest of `count` entries with sorted, even paths.
async fn numbered(pages: &Pages, store: &Memory, count: u64) -> Manifest {
    let edits = stream::iter(0..count).map(|number| Ok(put(&numbered_path(number), number)));
    let written = pages.write(None, edits.boxed(), store).await.unwrap();
    assert_eq!(written.entries, count);
    pages.open(written.root).await.unwrap()
}

fn numbered_path(number: u64) -> String {
    format!("packages/{:02x}/name-{number:09}.whl", number / 50_000)
}

async fn all(manifest: &Manifest, prefix: &str) -> Vec<Entry> {
    manifest.scan(prefix).try_collect().await.unwrap()
}
