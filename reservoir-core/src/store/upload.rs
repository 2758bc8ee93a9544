//! Placing bytes in a backend that is not a directory: one request, or several parts that become visible at once.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, WriteMultipart, path::Path as Key,
};

use super::failure::backend;
use crate::{
    blocking,
    error::{Error, Result},
};

/// Objects up to this size are put by one request.
pub(super) const SINGLE: u64 = 8 * 1024 * 1024;

/// S3 takes 10,000 parts.
const MAX_PARTS: u64 = 9_000;

/// Parts in flight.
const CONCURRENCY: usize = 4;

/// Puts bytes that are in memory.
pub(super) async fn put_bytes(objects: &dyn ObjectStore, key: &Key, parts: Vec<Bytes>) -> Result<()> {
    let payload = PutPayload::from_iter(parts);
    objects.put(key, payload).await.map_err(backend("write", "object", key))?;
    Ok(())
}

/// Puts bytes under a name that nothing has, or else says so.
/// Only for backends that were seen to refuse the second of two (see `probe`).
pub(super) async fn put_new(objects: &dyn ObjectStore, key: &Key, bytes: Bytes) -> Result<bool> {
    match objects.put_opts(key, bytes.into(), PutMode::Create.into()).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            Ok(false)
        }
        Err(error) => Err(backend("create", "object", key)(error)),
    }
}

/// Puts the first `size` bytes of an open file. When dropped or failing, the parts are given up.
pub(super) async fn put_file(objects: &dyn ObjectStore, key: &Key, file: Arc<File>, size: u64) -> Result<()> {
    if size <= SINGLE {
        let bytes = read_part(file, 0, size).await?;
        return put_bytes(objects, key, vec![bytes]).await;
    }
    let part = SINGLE.max(size.div_ceil(MAX_PARTS));
    let failed = || backend("upload", "object", key);
    let upload = objects.put_multipart(key).await.map_err(failed())?;
    let mut upload = Abandon(Some(WriteMultipart::new_with_chunk_size(upload, part as usize)));
    let mut offset = 0;
    while offset < size {
        let bytes = read_part(Arc::clone(&file), offset, part.min(size - offset)).await?;
        offset += bytes.len() as u64;
        let write = upload.0.as_mut().expect("taken only at the end");
        write.wait_for_capacity(CONCURRENCY).await.map_err(failed())?;
        write.put(bytes);
    }
    // From here on the backend decides; it completes as a whole or not at all.
    let write = upload.0.take().expect("taken only here");
    write.finish().await.map_err(failed())?;
    Ok(())
}

async fn read_part(file: Arc<File>, offset: u64, length: u64) -> Result<Bytes> {
    blocking::run(move || {
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, offset).map_err(Error::io("read a staged file"))?;
        Ok(bytes.into())
    })
    .await
}

/// Tells the backend to forget the parts when nobody will complete them.
struct Abandon(Option<WriteMultipart>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            // Best effort: a bucket's lifecycle rule takes what this does not.
            runtime.spawn(async move { upload.abort().await });
        }
    }
}
