//! [`ObjectBlobs`]: the store over a local directory, memory, or any backend of `object_store`.

mod record;

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory,
    path::Path as Key, signer::Signer,
};
use quick_cache::sync::Cache;

use super::{
    Blob, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, StagedBlob, Store, StoredBlob,
    adopt,
    disk::{self, Disk},
    failure::backend,
    ingest::{self, BlobHasher, Content},
    keys, listing, probe, read,
    remembered::{Remembered, Seen, Version},
    tree::{self, Tree},
    upload,
};
use crate::{
    archive::read_blocking,
    blocking,
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
};

/// The longest life of a presigned link.
const MAX_PRESIGN: Duration = Duration::from_mins(5);

/// Requests in flight while a batch is adopted.
const ADOPTED_AT_ONCE: usize = 8;

/// Defaults that can be changed when a store is opened.
#[derive(Debug, Clone)]
pub struct ObjectStoreOptions {
    /// Whether local writes wait for the disk. `false` breaks the promise of durability: for tests only.
    pub fsync: bool,
    /// How long a group that was verified need not be hashed again, while its file (inode, size, times) or
    /// object (tag, version) is unchanged: a minute at most, whatever is said here. `None`: every read verifies every
    /// byte.
    pub remember_verified: Option<Duration>,
    /// Where uploads of more than 8 MiB to a remote backend are staged. Local stores stage inside themselves.
    pub scratch: PathBuf,
    /// Memory for decoded verification trees, in bytes; a tree takes 1/2048 of its blob, 2 MiB at most.
    pub tree_cache: u64,
}

impl Default for ObjectStoreOptions {
    fn default() -> Self {
        Self {
            fsync: true,
            remember_verified: None,
            scratch: std::env::temp_dir(),
            tree_cache: 64 * 1024 * 1024,
        }
    }
}

/// Blobs over a local directory or any backend of `object_store`.
///
/// On a local directory every put replaces what had the name, which repairs a rotten blob. On other backends an
/// object of the right size is left as it is unless [`PutOptions::replace`] is set or it is adopted.
pub struct ObjectBlobs {
    label: String,
    /// Visible to `testing::vandal`.
    pub(crate) objects: Arc<dyn ObjectStore>,
    signer: Option<Signing>,
    disk: Option<Arc<Disk>>,
    scratch: PathBuf,
    capability: Capability,
    trees: Cache<Blake3Digest, Arc<Tree>, TreeWeight>,
    remembered: Option<Remembered>,
}

/// Makes links; keys are relative to the prefix.
pub(super) struct Signing {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) prefix: Key,
}

#[derive(Clone)]
struct TreeWeight;

impl quick_cache::Weighter<Blake3Digest, Arc<Tree>> for TreeWeight {
    fn weight(&self, _: &Blake3Digest, tree: &Arc<Tree>) -> u64 {
        tree.weight()
    }
}

impl fmt::Debug for ObjectBlobs {
    /// Never shows credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBlobs")
            .field("at", &self.label)
            .field("capability", &self.capability)
            .finish_non_exhaustive()
    }
}

impl ObjectBlobs {
    /// A directory of this machine, created if absent.
    pub async fn local(root: impl Into<PathBuf>, options: ObjectStoreOptions) -> Result<Self> {
        let root = root.into();
        let (disk, objects) = blocking::run(move || {
            let disk = Disk::open(&root, options.fsync)?;
            let objects = LocalFileSystem::new_with_prefix(disk.root()).map_err(backend(
                "open",
                "directory",
                root.display(),
            ))?;
            Ok((disk, objects.with_fsync(options.fsync)))
        })
        .await?;
        let capability = Capability { local: true, conditional_put: true, ..Capability::default() };
        let label = disk.root().display().to_string();
        let mut store = Self::new(label, Arc::new(objects), capability, options);
        store.disk = Some(Arc::new(disk));
        Ok(store)
    }

    /// Memory of this process, for tests.
    #[must_use]
    pub fn memory(options: ObjectStoreOptions) -> Self {
        let capability = Capability { conditional_put: true, ..Capability::default() };
        Self::new("memory".into(), Arc::new(InMemory::new()), capability, options)
    }

    /// Any backend; `label` is what `Debug` shows of it. It is probed first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the probe finds it unfit.
    pub async fn over(
        objects: Arc<dyn ObjectStore>,
        label: impl Into<String>,
        options: ObjectStoreOptions,
    ) -> Result<Self> {
        let capability = probe::probe(&*objects).await?;
        Ok(Self::new(label.into(), objects, capability, options))
    }

    /// Adds the maker of links.
    pub(super) fn with_signing(mut self, signing: Signing) -> Self {
        self.signer = Some(signing);
        self.capability.presign = true;
        self
    }

    fn new(
        label: String,
        objects: Arc<dyn ObjectStore>,
        capability: Capability,
        options: ObjectStoreOptions,
    ) -> Self {
        // A tree of an ordinary package takes a few kilobytes.
        let items = (options.tree_cache / 4096).clamp(1, 1 << 20) as usize;
        Self {
            label,
            objects,
            signer: None,
            disk: None,
            scratch: options.scratch,
            capability,
            trees: Cache::with_weighter(items, options.tree_cache, TreeWeight),
            remembered: options.remember_verified.map(Remembered::new),
        }
    }

    /// The tree first: a blob that can be seen can be read.
    async fn place(&self, received: ingest::Received, replace: bool) -> Result<Blob> {
        let ingest::Received { blob, tree, content } = received;
        let key = keys::blob(&blob.sha256);
        if let Some(disk) = &self.disk {
            let disk = Arc::clone(disk);
            blocking::run(move || {
                adopt::place_tree(&disk, &blob, &tree)?;
                match content {
                    Content::Memory(parts) => disk.place_bytes(&parts, &key),
                    Content::File(staged) => disk.place(staged, &key),
                }
            })
            .await?;
            return Ok(blob);
        }
        self.upload_tree(&blob, &tree).await?;
        if replace || !self.has(&blob).await? {
            match content {
                Content::Memory(parts) => upload::put_bytes(&*self.objects, &key, parts).await?,
                Content::File(staged) => {
                    let file = staged.file.try_clone().map_err(Error::io("read a staged file"))?;
                    upload::put_file(&*self.objects, &key, Arc::new(file), blob.size).await?;
                    blocking::run(move || {
                        drop(staged);
                        Ok(())
                    })
                    .await?;
                }
            }
        }
        Ok(blob)
    }

    async fn has(&self, blob: &Blob) -> Result<bool> {
        Ok(self.stat(&blob.sha256).await?.is_some_and(|stored| stored.size == blob.size))
    }

    async fn upload_tree(&self, blob: &Blob, tree: &Tree) -> Result<()> {
        if tree::is_stored(blob.size) {
            let key = keys::tree(&blob.sha256);
            upload::put_bytes(&*self.objects, &key, vec![tree.encode()]).await?;
        }
        Ok(())
    }

    /// A few bytes, at most `limit` of them.
    async fn fetch(&self, key: &Key, what: &'static str, name: String, limit: u64) -> Result<Bytes> {
        let object = self.objects.get(key).await.map_err(backend("read", what, &name))?;
        if object.meta.size > limit {
            return Err(Error::LimitExceeded {
                what: format!("{what} `{name}` of {} bytes", object.meta.size),
                limit: format!("{limit} bytes"),
            });
        }
        object.bytes().await.map_err(backend("read", what, &name))
    }

    /// The tree of a blob, from the cache or verified against the blob's root.
    async fn tree(&self, blob: &Blob) -> Result<Arc<Tree>> {
        if let Some(tree) = Tree::single(blob.blake3, blob.size) {
            return Ok(Arc::new(tree));
        }
        if let Some(tree) = self.trees.get(&blob.blake3)
            && tree.size() == blob.size
        {
            return Ok(tree);
        }
        let tree = Arc::new(self.load_tree(blob).await?);
        self.trees.insert(blob.blake3, Arc::clone(&tree));
        Ok(tree)
    }

    async fn load_tree(&self, blob: &Blob) -> Result<Tree> {
        let missing = |actual: &str| Error::Integrity {
            what: format!("the verification tree of blob `{}`", blob.sha256),
            expected: blob.blake3.to_string(),
            actual: actual.into(),
        };
        let name = blob.sha256.to_string();
        let encoded = match self.fetch(&keys::tree(&blob.sha256), "tree", name, tree::MAX_ENCODED).await {
            Err(Error::NotFound { .. }) if self.stat(&blob.sha256).await?.is_none() => {
                return Err(Error::not_found("blob", blob.sha256));
            }
            Err(Error::NotFound { .. }) => return Err(missing("nothing")),
            Err(Error::LimitExceeded { .. }) => return Err(missing("a longer object")),
            result => result?,
        };
        let (root, size) = (blob.blake3, blob.size);
        blocking::run(move || Tree::decode(&encoded, root, size)).await
    }

    async fn rehash_object(&self, sha256: Sha256Digest) -> Result<Option<Blob>> {
        let failed = move || backend("read", "blob", sha256);
        let object = match self.objects.get(&keys::blob(&sha256)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            result => result.map_err(failed())?,
        };
        let body = object.into_stream().map_err(move |error| failed()(error)).boxed();
        let hash = read_blocking(body, |mut bytes| {
            let mut hasher = BlobHasher::default();
            bytes.each(|piece| {
                hasher.update(piece);
                Ok(())
            })?;
            Ok(hasher.finish().0)
        });
        hash.await.map(Some)
    }

    fn seen(&self, sha256: Sha256Digest, version: Version) -> Option<Arc<Seen>> {
        self.remembered.as_ref().and_then(|remembered| remembered.of(sha256, version))
    }
}

#[async_trait]
impl Store for ObjectBlobs {
    fn capability(&self) -> Capability {
        self.capability
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        let in_memory = if self.disk.is_some() { 0 } else { upload::SINGLE as usize };
        let received = ingest::receive(body, &options, &self.staging(), in_memory).await?;
        self.place(received, options.replace).await
    }

    async fn put_file(&self, path: &Path, options: PutOptions) -> Result<Blob> {
        let (source, replace) = (path.to_owned(), options.replace);
        let disk = self.disk.clone();
        let (file, blob, tree) = blocking::run(move || {
            let (file, blob, tree) = adopt::hash_source(&source, &options)?;
            if let Some(disk) = disk {
                adopt::place_tree(&disk, &blob, &tree)?;
                adopt::adopt_or_copy(&disk, &file, &source, &blob)?;
            }
            Ok((file, blob, tree))
        })
        .await?;
        if self.disk.is_none() {
            self.upload_tree(&blob, &tree).await?;
            if replace || !self.has(&blob).await? {
                let key = keys::blob(&blob.sha256);
                upload::put_file(&*self.objects, &key, Arc::new(file), blob.size).await?;
            }
            let source = path.to_owned();
            blocking::run(move || adopt::remove(&source)).await?;
        }
        Ok(blob)
    }

    async fn adopt(&self, staged: Vec<StagedBlob>) -> Result<()> {
        if let Some(disk) = &self.disk {
            let disk = Arc::clone(disk);
            return blocking::run(move || adopt::adopt_staged(&disk, &staged)).await;
        }
        // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
        let puts: Vec<_> = staged
            .iter()
            .map(|StagedBlob { blob, path, .. }| {
                let (expected, size) = (Some(blob.sha256), Some(blob.size));
                self.put_file(path, PutOptions { expected, size, replace: true, ..PutOptions::default() })
            })
            .collect();
        stream::iter(puts).buffer_unordered(ADOPTED_AT_ONCE).try_for_each(async |_| Ok(())).await
    }

    fn staging(&self) -> PathBuf {
        self.disk.as_ref().map_or(&*self.scratch, |disk| disk.staging()).to_owned()
    }

    async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream> {
        read::check_range(blob, &range)?;
        let tree = self.tree(blob).await?;
        let sha256 = blob.sha256;
        let verifier =
            |version| read::Verifier { sha256, tree: Arc::clone(&tree), seen: self.seen(sha256, version) };
        if let Some(disk) = &self.disk {
            let (path, blob) = (disk.path(&keys::blob(&sha256)), *blob);
            let (file, version) = blocking::run(move || read::open_blob(&path, &blob)).await?;
            return Ok(read::from_file(file, verifier(version), range));
        }
        let extent = read::aligned(&tree, &range);
        let key = keys::blob(&sha256);
        // A request for no bytes has no form; looking is enough to know that the blob is there.
        let options = if extent.is_empty() {
            GetOptions { head: true, ..GetOptions::default() }
        } else {
            GetOptions { range: Some(extent.into()), ..GetOptions::default() }
        };
        let object = match self.objects.get_opts(&key, options).await {
            Ok(object) => object,
            Err(error) => {
                // A range beyond the end of an object that was cut off is an error of the backend's own kind.
                if let Ok(meta) = self.objects.head(&key).await {
                    read::check_size(blob, meta.size)?;
                }
                return Err(backend("read", "blob", sha256)(error));
            }
        };
        read::check_size(blob, object.meta.size)?;
        let verifier = verifier(Version::of_object(&object.meta));
        let body = object.into_stream().map_err(move |error| backend("read", "blob", sha256)(error));
        Ok(read::from_stream(body.boxed(), verifier, range))
    }

    async fn read_whole(&self, sha256: &Sha256Digest, limit: u64) -> Result<Bytes> {
        let bytes = self.fetch(&keys::blob(sha256), "blob", sha256.to_string(), limit).await?;
        let expected = *sha256;
        blocking::run(move || {
            let actual = Sha256Digest::of(&bytes);
            if actual == expected {
                return Ok(bytes);
            }
            Err(Error::Integrity {
                what: format!("blob `{expected}`"),
                expected: expected.to_string(),
                actual: actual.to_string(),
            })
        })
        .await
    }

    fn local_file(&self, sha256: &Sha256Digest) -> Option<PathBuf> {
        self.disk.as_ref().map(|disk| disk.path(&keys::blob(sha256)))
    }

    async fn stat(&self, sha256: &Sha256Digest) -> Result<Option<StoredBlob>> {
        match self.objects.head(&keys::blob(sha256)).await {
            Ok(meta) => Ok(Some(listing::stored(*sha256, &meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(backend("look for", "blob", sha256)(error)),
        }
    }

    async fn rehash(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        let name = *sha256;
        let blob = match &self.disk {
            Some(disk) => adopt::rehash_file(disk.path(&keys::blob(sha256)), name).await?,
            None => self.rehash_object(name).await?,
        };
        let Some(blob) = blob else { return Ok(None) };
        // Rotten bytes say nothing of the tree.
        if blob.sha256 == name && tree::is_stored(blob.size) {
            self.load_tree(&blob).await?;
        }
        Ok(Some(blob))
    }

    async fn presign(&self, sha256: &Sha256Digest, options: PresignOptions) -> Result<::url::Url> {
        let Some(Signing { signer, prefix }) = &self.signer else {
            return Err(Error::Unsupported {
                what: "a presigned link".into(),
                detail: format!("`{}` has none; serve the bytes instead", self.label),
            });
        };
        if options.expires.is_zero() || options.expires > MAX_PRESIGN {
            let detail =
                format!("{:?} is not within 1 and {} seconds", options.expires, MAX_PRESIGN.as_secs());
            return Err(Error::invalid("the life of a presigned link", detail));
        }
        let key: Key = prefix.parts().chain(keys::blob(sha256).parts()).collect();
        let url = signer.signed_url(http::Method::GET, &key, options.expires).await;
        url.map_err(backend("sign a link to", "blob", sha256))
    }

    async fn delete(&self, sha256: &Sha256Digest) -> Result<()> {
        for key in [keys::blob(sha256), keys::tree(sha256)] {
            match self.objects.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(backend("delete", "blob", sha256)(error)),
            }
        }
        Ok(())
    }

    fn list(&self) -> BoxStream<'_, Result<StoredBlob>> {
        listing::blobs(&*self.objects)
    }

    /// On a remote backend this takes staging files of this machine only. Parts of uploads that were cut off by
    /// a crash are invisible; let the bucket expire them (`AbortIncompleteMultipartUpload`).
    async fn sweep_leftovers(&self, age: Duration) -> Result<u64> {
        let staging = self.staging();
        blocking::run(move || disk::sweep(&staging, age)).await
    }

    async fn put_record(&self, key: RecordKey, bytes: Bytes) -> Result<()> {
        self.write_record(key, bytes).await
    }

    async fn list_records(&self, line: Option<uuid::Uuid>) -> Result<Vec<RecordKey>> {
        listing::records(&*self.objects, line).await
    }

    async fn read_record(&self, key: RecordKey) -> Result<Bytes> {
        self.fetch_record(key).await
    }
}
