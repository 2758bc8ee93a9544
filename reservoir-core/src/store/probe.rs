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

#[cfg(test)]
mod tests {
    use futures::stream::BoxStream;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
        PutOptions, PutPayload, PutResult, memory::InMemory, path::Path,
    };

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Flaw {
        None,
        IgnoresConditions,
        IgnoresRanges,
        ListsLate,
        KeepsDeleted,
    }

    /// A backend with one flaw that real ones have had.
    #[derive(Debug)]
    struct Flawed(Flaw, InMemory);

    impl std::fmt::Display for Flawed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }

    type Answer<T> = object_store::Result<T>;

    #[async_trait::async_trait]
    impl ObjectStore for Flawed {
        async fn put_opts(
            &self,
            at: &Path,
            payload: PutPayload,
            mut options: PutOptions,
        ) -> Answer<PutResult> {
            if self.0 == Flaw::IgnoresConditions {
                options = PutOptions::default();
            }
            self.1.put_opts(at, payload, options).await
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            options: PutMultipartOptions,
        ) -> Answer<Box<dyn MultipartUpload>> {
            self.1.put_multipart_opts(at, options).await
        }

        async fn get_opts(&self, at: &Path, mut options: GetOptions) -> Answer<GetResult> {
            if self.0 == Flaw::IgnoresRanges {
                options.range = None;
            }
            self.1.get_opts(at, options).await
        }

        fn delete_stream(&self, paths: BoxStream<'static, Answer<Path>>) -> BoxStream<'static, Answer<Path>> {
            if self.0 == Flaw::KeepsDeleted { paths } else { self.1.delete_stream(paths) }
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
            self.1.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
            let mut listed = self.1.list_with_delimiter(prefix).await?;
            if self.0 == Flaw::ListsLate {
                listed.objects.clear();
            }
            Ok(listed)
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
            self.1.copy_opts(from, to, options).await
        }
    }

    async fn try_out(flaw: Flaw) -> Result<Capability> {
        probe(&Flawed(flaw, InMemory::new())).await
    }

    #[tokio::test]
    async fn conditions_are_tried_not_believed() {
        assert!(try_out(Flaw::None).await.unwrap().conditional_put);
        assert!(!try_out(Flaw::IgnoresConditions).await.unwrap().conditional_put);
    }

    #[tokio::test]
    async fn unfit_backends_are_refused() {
        for flaw in [Flaw::IgnoresRanges, Flaw::ListsLate, Flaw::KeepsDeleted] {
            let result = try_out(flaw).await;
            assert!(matches!(result, Err(Error::Unsupported { .. })), "{flaw:?}: {result:?}");
        }
    }
}
