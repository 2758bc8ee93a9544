//! The store over memory and over a local directory: the conformance suite, and what only files can show.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use reservoir_core::{
    Error,
    digest::Sha256Digest,
    store::{Blob, ObjectBlobs, ObjectStoreOptions, PutOptions, Store, StoreExt as _, open},
    testing::store::suite,
};

/// These tests prove durability elsewhere; a disk that is really synced makes them slow.
fn unsynced(scratch: &Path) -> ObjectStoreOptions {
    ObjectStoreOptions { fsync: false, scratch: scratch.to_owned(), ..ObjectStoreOptions::default() }
}

async fn local(root: &Path) -> Arc<ObjectBlobs> {
    Arc::new(ObjectBlobs::local(root, unsynced(root)).await.unwrap())
}

fn blob_path(root: &Path, blob: &Blob) -> std::path::PathBuf {
    let hex = blob.sha256.to_string();
    root.join("sha256").join(&hex[..2]).join(&hex[2..4]).join(hex)
}

async fn read(store: &dyn Store, blob: &Blob) -> Result<Vec<u8>, Error> {
    let parts: Vec<_> = store.read_all(blob).await?.try_collect().await?;
    Ok(parts.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Arc::new(ObjectBlobs::memory(unsynced(scratch.path())));
    suite(Arc::clone(&store) as _, Some(&*store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probed_backend_conforms() {
    let scratch = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let store = ObjectBlobs::over(objects, "test", unsynced(scratch.path())).await.unwrap();
    assert!(store.capability().conditional_put);
    let store = Arc::new(store);
    suite(Arc::clone(&store) as _, Some(&*store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_conforms() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path()).await;
    assert!(store.capability().local);
    suite(Arc::clone(&store) as _, Some(&*store)).await;
}

/// With its small blobs the suite replaces files, so that even a store that remembers sees every change.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_remembers_conforms() {
    let root = tempfile::tempdir().unwrap();
    let options =
        ObjectStoreOptions { remember_verified: Some(Duration::from_mins(1)), ..unsynced(root.path()) };
    let store = Arc::new(ObjectBlobs::local(root.path(), options).await.unwrap());
    suite(Arc::clone(&store) as _, Some(&*store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_caches_conform() {
    let root = tempfile::tempdir().unwrap();
    let options = ObjectStoreOptions { tree_cache: 0, ..unsynced(root.path()) };
    let store = Arc::new(ObjectBlobs::local(root.path(), options).await.unwrap());
    suite(Arc::clone(&store) as _, Some(&*store)).await;
}

#[tokio::test]
async fn a_file_of_the_same_disk_is_moved_not_copied() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path()).await;
    let source = root.path().join("source");
    fs::write(&source, vec![7; 300_000]).unwrap();
    let inode = fs::metadata(&source).unwrap().ino();
    let blob = store.put_file(&source, PutOptions::default()).await.unwrap();
    assert_eq!(fs::metadata(blob_path(root.path(), &blob)).unwrap().ino(), inode);
}

#[tokio::test]
async fn a_file_that_others_could_write_is_copied() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path()).await;
    let (source, other) = (root.path().join("source"), root.path().join("other"));
    fs::write(&source, "content").unwrap();
    fs::hard_link(&source, &other).unwrap();
    let blob = store.put_file(&source, PutOptions::default()).await.unwrap();
    assert!(!source.exists());
    fs::write(&other, "CONTENT").unwrap();
    assert_eq!(read(&*store, &blob).await.unwrap(), b"content");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_file_of_another_disk_is_copied() {
    let shared = Path::new("/dev/shm");
    let root = tempfile::tempdir().unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(shared), device(root.path()), "this test needs TMPDIR outside of {}", shared.display());
    let store = local(root.path()).await;
    let directory = tempfile::tempdir_in(shared).unwrap();
    let source = directory.path().join("source");
    fs::write(&source, vec![9; 5_000_000]).unwrap();
    let blob = store.put_file(&source, PutOptions::default()).await.unwrap();
    assert!(!source.exists());
    assert_eq!(read(&*store, &blob).await.unwrap(), vec![9; 5_000_000]);
}

#[tokio::test]
async fn a_symbolic_link_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path()).await;
    let (target, link) = (root.path().join("target"), root.path().join("link"));
    fs::write(&target, "content").unwrap();
    symlink(&target, &link).unwrap();
    let error = store.put_file(&link, PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(target.exists() && link.exists());
}

#[tokio::test]
async fn only_old_staging_files_are_swept() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path()).await;
    let staging = root.path().join("staging");
    fs::write(staging.join("reservoir-staged-old"), "x").unwrap();
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    let file = fs::File::options().write(true).open(staging.join("reservoir-staged-old")).unwrap();
    file.set_modified(hour_ago).unwrap();
    fs::write(staging.join("reservoir-staged-new"), "x").unwrap();
    fs::write(staging.join("reservoir-foreign"), "x").unwrap();
    let blob = store.put_bytes("kept".into()).await.unwrap();
    assert_eq!(store.sweep_leftovers(Duration::from_mins(30)).await.unwrap(), 1);
    assert!(!staging.join("reservoir-staged-old").exists());
    assert!(staging.join("reservoir-staged-new").exists() && staging.join("reservoir-foreign").exists());
    assert_eq!(read(&*store, &blob).await.unwrap(), b"kept");
}

#[tokio::test]
async fn foreign_files_are_not_listed() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path()).await;
    let blob = store.put_bytes("kept".into()).await.unwrap();
    let path = blob_path(root.path(), &blob);
    fs::write(path.with_file_name("foreign"), "x").unwrap();
    fs::write(path.with_file_name(format!("{}#1", blob.sha256)), "x").unwrap();
    fs::write(path.with_file_name(Sha256Digest::of(b"elsewhere").to_string()), "x").unwrap();
    let listed: Vec<_> = store.list().map_ok(|blob| blob.sha256).try_collect().await.unwrap();
    assert_eq!(listed, [blob.sha256]);
}

#[tokio::test]
async fn remembered_groups_are_forgotten_when_the_file_changes() {
    let root = tempfile::tempdir().unwrap();
    let options =
        ObjectStoreOptions { remember_verified: Some(Duration::from_mins(1)), ..unsynced(root.path()) };
    let store = ObjectBlobs::local(root.path(), options).await.unwrap();
    let blob = store.put_bytes(vec![1; 500_000].into()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(read(&store, &blob).await.unwrap(), vec![1; 500_000]);
    }
    // The times of a file tick with the kernel's clock, every four milliseconds or so.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let path = blob_path(root.path(), &blob);
    let mut bytes = fs::read(&path).unwrap();
    bytes[250_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(read(&store, &blob).await, Err(Error::Integrity { .. })));
}

#[tokio::test]
async fn the_backend_s_words_reach_the_caller() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path()).await;
    // A file where a directory has to be.
    fs::write(root.path().join("sha256"), "in the way").unwrap();
    let error = store.put_bytes("x".into()).await.unwrap_err();
    assert!(matches!(error, Error::Io { .. } | Error::Store { .. }), "{error:?}");
}

#[tokio::test]
async fn addresses_open() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("with space");
    let url = reqwest::Url::from_file_path(&path).unwrap();
    for address in [path.to_str().unwrap(), url.as_str()] {
        assert!(open(address, unsynced(root.path())).await.unwrap().capability().local);
    }
    assert!(path.join("staging").is_dir());
    open("memory://", unsynced(root.path())).await.unwrap();
}
