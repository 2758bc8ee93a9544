//! What is stored, in order.

use std::collections::BTreeSet;

use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{ObjectMeta, ObjectStore, path::Path as Key};

use super::{RecordKey, StoredBlob, failure::backend, keys};
use crate::{clock::Timestamp, digest::Sha256Digest, error::Result};

/// Every blob in digest order. Memory: the 1/256 of the blobs that share a first byte.
pub(super) fn blobs(objects: &dyn ObjectStore) -> BoxStream<'_, Result<StoredBlob>> {
    let shards = async move {
        let bytes = stream::iter(occupied(objects).await?);
        // Two at a time: one is listed while the other is consumed.
        Ok(bytes.map(move |byte| shard(objects, byte)).buffered(2))
    };
    stream::once(shards).try_flatten().map_ok(|shard| stream::iter(shard).map(Ok)).try_flatten().boxed()
}

/// The first bytes of the digests that are there: a small store is not asked 256 times.
async fn occupied(objects: &dyn ObjectStore) -> Result<BTreeSet<u8>> {
    let prefix = Key::from(keys::BLOBS);
    let listed = match objects.list_with_delimiter(Some(&prefix)).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(BTreeSet::new()),
        result => result.map_err(backend("list", "blobs", &prefix))?,
    };
    let byte = |name: &str| u8::from_str_radix(name, 16).ok().filter(|byte| format!("{byte:02x}") == name);
    Ok(listed.common_prefixes.iter().filter_map(|prefix| byte(prefix.filename()?)).collect())
}

async fn shard(objects: &dyn ObjectStore, byte: u8) -> Result<Vec<StoredBlob>> {
    let prefix = Key::from(format!("{}/{byte:02x}", keys::BLOBS));
    let mut found: Vec<_> = objects
        .list(Some(&prefix))
        .try_filter_map(async |meta| Ok(keys::parse_blob(&meta.location).map(|sha256| stored(sha256, &meta))))
        .try_collect()
        .await
        .or_else(absent)
        .map_err(backend("list", "blobs", &prefix))?;
    found.sort_unstable_by_key(|blob: &StoredBlob| blob.sha256);
    Ok(found)
}

/// The records of one line or of all, in order.
pub(super) async fn records(objects: &dyn ObjectStore, line: Option<uuid::Uuid>) -> Result<Vec<RecordKey>> {
    let prefix = match line {
        Some(line) => Key::from(format!("{}/{}", keys::RECORDS, line.hyphenated())),
        None => Key::from(keys::RECORDS),
    };
    let mut found: Vec<_> = objects
        .list(Some(&prefix))
        .try_filter_map(async |meta| Ok(keys::parse_record(&meta.location)))
        .try_collect()
        .await
        .or_else(absent)
        .map_err(backend("list", "records", &prefix))?;
    found.sort_unstable();
    Ok(found)
}

/// A prefix that was never written holds nothing.
fn absent<T>(error: object_store::Error) -> object_store::Result<Vec<T>> {
    match error {
        object_store::Error::NotFound { .. } => Ok(Vec::new()),
        error => Err(error),
    }
}

/// What a backend says of a blob's object.
pub(super) fn stored(sha256: Sha256Digest, meta: &ObjectMeta) -> StoredBlob {
    let modified = Timestamp::from_micros(meta.last_modified.timestamp_micros());
    StoredBlob { sha256, size: meta.size, modified }
}
