//! What a backend can do, found by trying, not by believing.

use bytes::Bytes;
use object_store::{Error as Failure, ObjectStore, ObjectStoreExt as _};

use super::{keys, upload};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// What a backend was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capability {
    /// Whether `presign` works.
    pub presign: bool,
    /// Whether the blobs are files of this machine.
    pub local: bool,
    /// Whether creating an object that exists is refused, as tried once. Two writers at the same instant may
    /// still both succeed on some look-alikes of S3: mutual exclusion lives in the catalog.
    pub conditional_put: bool,
}

/// Puts, reads, lists and deletes one small blob of random content.
///
/// # Errors
/// [`Error::Unsupported`] for a backend that answers anything else than what was put; the backend's own
/// failure when it cannot be reached or written.
pub(super) async fn probe(objects: &dyn ObjectStore) -> Result<Capability> {
    let content = Bytes::from(format!("reservoir probe {}", uuid::Uuid::new_v4()));
    // A blob like any other: what an interrupted probe leaves behind is garbage that is collected.
    let key = keys::blob(&Sha256Digest::of(&content));
    upload::put_bytes(objects, &key, vec![content.clone()]).await?;
    let found = examine(objects, &key, &content).await;
    let deleted = objects.delete(&key).await.map_err(failed("delete an object"));
    let conditional_put = found?;
    deleted?;
    match objects.head(&key).await {
        Err(Failure::NotFound { .. }) => Ok(Capability { conditional_put, ..Capability::default() }),
        Err(error) => Err(failed("look for a deleted object")(error)),
        Ok(_) => Err(unfit("a deleted object is still there")),
    }
}

async fn examine(objects: &dyn ObjectStore, key: &object_store::path::Path, content: &Bytes) -> Result<bool> {
    let meta = objects.head(key).await.map_err(failed("look for an object"))?;
    if meta.size != content.len() as u64 {
        return Err(unfit("a written object has another size"));
    }
    let all = objects.get(key).await.map_err(failed("read an object"))?;
    if all.bytes().await.map_err(failed("read an object"))? != content {
        return Err(unfit("a written object has other bytes"));
    }
    let part = objects.get_range(key, 3..9).await.map_err(failed("read a range"))?;
    if part != content[3..9] {
        return Err(unfit("a range is not the bytes that were asked for"));
    }
    let directory = key.parts().take(3).collect::<object_store::path::Path>();
    let listed = objects.list_with_delimiter(Some(&directory)).await.map_err(failed("list objects"))?;
    if !listed.objects.iter().any(|object| object.location == *key) {
        return Err(unfit("a written object is not listed"));
    }
    match upload::put_new(objects, key, content.clone()).await {
        Ok(created) => Ok(!created),
        Err(error) => {
            tracing::debug!(%error, "the backend has no conditional put");
            Ok(false)
        }
    }
}

fn failed(operation: &'static str) -> impl FnOnce(Failure) -> Error {
    move |error| Error::Store {
        operation: format!("{operation} while it was probed"),
        source: Box::new(error),
    }
}

fn unfit(detail: &str) -> Error {
    Error::Unsupported {
        what: "this object store".into(),
        detail: format!("{detail}; choose a backend that is consistent after writes"),
    }
}
