//! Below a prefix of a bucket: the files, then the list of them, by which readers know that all are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart, path::Path as Key};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Placed;
use crate::{
    digest::Sha256Digest,
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
/// Bytes of a key, its prefix included, that S3 takes.
const MAX_KEY: usize = 1024;

/// Puts the files below `prefix`, which `objects` leaves out of their keys. What an attempt before left there is read
/// and kept where it is what would be written; whatever else is there is a conflict, and nothing is written.
pub(super) async fn fill(
    store: &dyn Store,
    objects: &Arc<dyn ObjectStore>,
    prefix: &Key,
    of: &str,
    files: &[Placed],
) -> Result<(u64, u64)> {
    let mut missing = keys(prefix, files)?;
    let there = there(objects, &missing).await?;
    // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
    let work: Vec<_> = there.iter().map(|key| compare(objects, key, missing[key])).collect();
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    missing.retain(|key, _| !there.contains(key));
    let work: Vec<_> = missing.iter().map(|(key, file)| put(store, objects, key, file)).collect();
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let listed = files
        .iter()
        .map(|file| json!({ "path": file.place, "size": file.blob.size, "sha256": file.blob.sha256 }));
    let list = json!({ "version": "1", "of": of, "files": listed.collect::<Vec<_>>() });
    let put = objects.put(&Key::from(LIST), list.to_string().into()).await;
    put.map_err(failed("write", LIST))?;
    Ok((0, 0))
}

/// The key of each file: its path, as it is.
fn keys<'a>(prefix: &Key, files: &'a [Placed]) -> Result<BTreeMap<Key, &'a Placed>> {
    let key = |file: &'a Placed| {
        let refused = |detail: String| Error::Unsupported { what: format!("file `{}`", file.place), detail };
        let key = Key::parse(file.place.as_str())
            .map_err(|error| refused(format!("its path cannot be the key of an object: {error}")))?;
        let bytes = prefix.as_ref().len() + 1 + key.as_ref().len();
        if bytes > MAX_KEY {
            return Err(refused(format!("its key would have {bytes} bytes, S3 takes {MAX_KEY}")));
        }
        if key.as_ref() == LIST {
            return Err(refused("the list of all files stands there; materialize into a folder".into()));
        }
        Ok((key, file))
    };
    files.iter().map(key).collect()
}

/// Which of the objects are there already, with the size of theirs.
async fn there(objects: &Arc<dyn ObjectStore>, files: &BTreeMap<Key, &Placed>) -> Result<BTreeSet<Key>> {
    let mut found = BTreeSet::new();
    let mut listed = objects.list(None);
    while let Some(one) = listed.try_next().await.map_err(failed("list", ""))? {
        match files.get(&one.location) {
            Some(file) if file.blob.size == one.size => drop(found.insert(one.location)),
            _ => return Err(foreign(&one.location)),
        }
    }
    Ok(found)
}

/// Whether an object that is there is the file.
async fn compare(objects: &Arc<dyn ObjectStore>, key: &Key, file: &Placed) -> Result<()> {
    let failed = || failed("read", key.as_ref());
    let mut bytes = objects.get(key).await.map_err(failed())?.into_stream();
    let mut hasher = Sha256::new();
    while let Some(piece) = bytes.try_next().await.map_err(failed())? {
        hasher.update(&piece);
    }
    if Sha256Digest::from(hasher) == file.blob.sha256 { Ok(()) } else { Err(foreign(key)) }
}

fn foreign(key: &Key) -> Error {
    let detail = match key.as_ref() {
        LIST => "it is not empty: all of a revision is there already; nothing was changed",
        _ => "it is not empty: that object is none of this revision's files; nothing was changed",
    };
    Error::Conflict { what: format!("the destination, which has `{key}`"), detail: detail.into() }
}

async fn put(store: &dyn Store, objects: &Arc<dyn ObjectStore>, key: &Key, file: &Placed) -> Result<()> {
    let name = file.place.as_str();
    let mut bytes = store.read_all(&file.blob).await?;
    let upload = objects.put_multipart(key).await.map_err(failed("write", name))?;
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
    let size = objects.head(key).await.map_err(failed("look for", name))?.size;
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
    use bytes::Bytes;
    use object_store::memory::InMemory;

    use super::*;
    use crate::store::{ObjectBlobs, ObjectStoreOptions};

    /// A store with files of these names, whose bytes are their names.
    async fn kept(names: &[&str]) -> (ObjectBlobs, Vec<Placed>) {
        let store = ObjectBlobs::memory(ObjectStoreOptions::default());
        let mut files = Vec::new();
        for name in names {
            let blob = store.put_bytes(Bytes::copy_from_slice(name.as_bytes())).await.unwrap();
            files.push(Placed { place: name.parse().unwrap(), blob });
        }
        (store, files)
    }

    async fn put_below(objects: &Arc<dyn ObjectStore>, names: &[&str]) -> Result<(u64, u64)> {
        let (store, files) = kept(names).await;
        fill(&store, objects, &Key::default(), "hub/x@y", &files).await
    }

    async fn read(objects: &Arc<dyn ObjectStore>, key: &str) -> Option<Bytes> {
        let found = objects.get(&Key::parse(key).unwrap()).await.ok()?;
        Some(found.bytes().await.unwrap())
    }

    async fn count(objects: &Arc<dyn ObjectStore>) -> usize {
        objects.list(None).try_collect::<Vec<_>>().await.unwrap().len()
    }

    #[tokio::test]
    async fn keys_are_paths_as_they_are() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let names = ["deep/\u{e9} b.txt", "100%.txt", "a#b~c[1]{2}*?.bin", "\u{d55c}\u{ae00}"];
        put_below(&objects, &names).await.unwrap();
        for name in names {
            assert_eq!(read(&objects, name).await.as_deref(), Some(name.as_bytes()), "{name}");
        }
        assert_eq!(count(&objects).await, names.len() + 1);
    }

    #[tokio::test]
    async fn what_cannot_be_a_key_is_refused_before_anything_is_written() {
        let long = ["x"; 10].map(|letter| letter.repeat(200)).join("/");
        for (name, why) in [(LIST, "the list"), (&long, "2010 bytes")] {
            let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let error = put_below(&objects, &["a", name]).await.unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            let told = error.to_string();
            assert!(told.contains(name) && told.contains(why), "{told}");
            assert_eq!(count(&objects).await, 0, "{name}");
        }
        // The prefix counts, and the list is only at the root.
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (store, files) = kept(&["0123456789"]).await;
        let prefix = Key::from("p".repeat(MAX_KEY - 10));
        assert!(fill(&store, &objects, &prefix, "hub/x@y", &files).await.is_err());
        put_below(&objects, &["below/.reservoir.json"]).await.unwrap();
    }

    #[tokio::test]
    async fn another_attempt_goes_on_and_touches_nothing_foreign() {
        let put = async |objects: &Arc<dyn ObjectStore>, key: &str, bytes: &'static str| {
            objects.put(&Key::parse(key).unwrap(), bytes.into()).await.unwrap();
        };
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        put(&objects, "a/1", "a/1").await;
        let before = objects.head(&Key::from("a/1")).await.unwrap();
        put_below(&objects, &["a/1", "a/2"]).await.unwrap();
        assert_eq!(objects.head(&Key::from("a/1")).await.unwrap().e_tag, before.e_tag, "not written again");
        assert_eq!(read(&objects, "a/2").await.as_deref(), Some(&b"a/2"[..]));
        let again = put_below(&objects, &["a/1", "a/2"]).await.unwrap_err();
        assert!(again.to_string().contains("all of a revision is there"), "{again}");
        // Another name, another size, other bytes of the same size.
        for (key, bytes) in [("b", "b"), ("a/1", "long"), ("a/1", "b/1")] {
            let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            put(&objects, key, bytes).await;
            let error = put_below(&objects, &["a/1", "a/2"]).await.unwrap_err();
            assert!(matches!(&error, Error::Conflict { what, .. } if what.contains(key)), "{error:?}");
            assert_eq!(read(&objects, key).await.as_deref(), Some(bytes.as_bytes()), "{key}");
            assert_eq!(count(&objects).await, 1, "{key}");
        }
    }

    #[test]
    fn no_file_has_more_parts_than_a_bucket_takes() {
        assert_eq!(part(1), PART);
        for size in [50_000_000_000, 100_000_000_000, 1 << 40] {
            let part = part(size);
            assert!(size.div_ceil(part) <= MAX_PARTS && part < 256 << 20, "{size} {part}");
        }
    }
}
