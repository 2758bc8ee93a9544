//! Below a prefix of a bucket: the files, then the list of them, by which readers know that all are there.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart, path::Path as Key};
use serde_json::json;

use super::Placed;
use crate::{
    error::{Error, Result},
    store::{Store, StoreExt as _},
};

/// The name of the list.
const LIST: &str = ".reservoir.json";
/// Files at a time, and parts of one.
const AT_ONCE: usize = 4;
/// Bytes of a part, at least; and how many of them a file has at most, which is less than what S3 takes.
const PART: u64 = 5 << 20;
const MAX_PARTS: u64 = 9_000;

pub(super) async fn fill(
    store: &dyn Store,
    objects: &Arc<dyn ObjectStore>,
    of: &str,
    files: &[Placed],
) -> Result<(u64, u64)> {
    let there = objects.list(None).try_next().await.map_err(failed("list", ""))?;
    if let Some(there) = there {
        let what = format!("the destination, which has `{}`", there.location);
        return Err(Error::Conflict { what, detail: "it is not empty; nothing was changed".into() });
    }
    // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
    let work: Vec<_> = files.iter().map(|file| put(store, objects, file)).collect();
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let listed = files
        .iter()
        .map(|file| json!({ "path": file.place, "size": file.blob.size, "sha256": file.blob.sha256 }));
    let list = json!({ "version": "1", "of": of, "files": listed.collect::<Vec<_>>() });
    let put = objects.put(&Key::from(LIST), list.to_string().into()).await;
    put.map_err(failed("write", LIST))?;
    Ok((0, 0))
}

async fn put(store: &dyn Store, objects: &Arc<dyn ObjectStore>, file: &Placed) -> Result<()> {
    let (key, name) = (Key::from(file.place.as_str()), file.place.as_str());
    let mut bytes = store.read_all(&file.blob).await?;
    let upload = objects.put_multipart(&key).await.map_err(failed("write", name))?;
    let mut writer = WriteMultipart::new_with_chunk_size(upload, part(file.blob.size) as usize);
    loop {
        match bytes.try_next().await {
            Ok(Some(piece)) => {
                writer.wait_for_capacity(AT_ONCE).await.map_err(failed("write", name))?;
                writer.put(piece);
            }
            Ok(None) => break,
            Err(error) => {
                // What is damaged is not finished; the parts may be collected by the bucket's own rules.
                let _ = writer.abort().await;
                return Err(error);
            }
        }
    }
    writer.finish().await.map_err(failed("write", name))?;
    let size = objects.head(&key).await.map_err(failed("look for", name))?.size;
    if size == file.blob.size {
        return Ok(());
    }
    let (expected, actual) = (format!("{} bytes", file.blob.size), format!("{size} bytes"));
    Err(Error::Integrity { what: format!("object `{key}`"), expected, actual })
}

/// Bytes of each part of a file.
fn part(size: u64) -> u64 {
    PART.max(size.div_ceil(MAX_PARTS))
}

fn failed(verb: &str, name: &str) -> impl FnOnce(object_store::Error) -> Error {
    let operation = format!("{verb} `{name}` of the destination");
    move |error| Error::Store { operation, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_has_more_parts_than_a_bucket_takes() {
        assert_eq!(part(1), PART);
        for size in [50_000_000_000, 100_000_000_000, 1 << 40] {
            let part = part(size);
            assert!(size.div_ceil(part) <= MAX_PARTS && part < 256 << 20, "{size} {part}");
        }
    }
}
