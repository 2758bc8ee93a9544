//! A repository written directly: manifests and pages from a synthetic list, without registry, pull or judging.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions, NewSnapshot, Repository},
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Ecosystem as _, Registry, RepositoryConfig},
    name::{Actor, RefName},
    snapshot::{
        Contents, Edit, Entry, IndexWriter, InstanceKey, Pages, Snapshot,
        record::{Record, sign_record},
    },
    store::{
        Blob, BlobSink, ByteStream, ObjectBlobs, ObjectStoreOptions, PutOptions, RecordKey, Store,
        StoreExt as _,
    },
};
use reservoir_pypi::Pypi;
use serde_json::{Value, json};

use crate::Result;

/// Memory for decoded manifest pages while a large one is written.
const CACHE: u64 = 48 << 20;

/// A home directory's catalog and store, opened in this process.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) repository: Repository,
    pub(crate) actor: Actor,
}

impl Site {
    /// Opens the folder of a home, and makes the registry `index` and the repository `python` in it.
    /// Without `durable`, nothing waits for the disk.
    pub(crate) async fn open(folder: &Path, durable: bool) -> Result<Self> {
        let options = ObjectStoreOptions { fsync: durable, ..ObjectStoreOptions::default() };
        let store = ObjectBlobs::local(folder.join("store"), options).await?;
        let address = format!("sqlite:{}", folder.join("catalog.sqlite").display());
        let catalog =
            Catalog::open(&address, CatalogOptions { durable, ..CatalogOptions::default() }).await?;
        let actor: Actor = "bench".parse()?;
        let registry = Registry {
            name: "index".parse()?,
            ecosystem: "pypi".parse()?,
            url: Some("http://127.0.0.1:9/simple/".parse()?),
            allowed_hosts: Vec::new(),
            options: BTreeMap::new(),
        };
        catalog.put_registry(&registry, &actor).await?;
        let config = json!({ "name": "python", "ecosystem": "pypi", "registries": ["index"] });
        let config: RepositoryConfig = serde_json::from_value(config)?;
        catalog.put_repository(&config, &actor).await?;
        let repository = catalog.repository(&config.name).await?;
        Ok(Self { catalog, store: Arc::new(store), repository, actor })
    }

    /// Makes the first snapshot of the repository, dated a minute back: content, publication, record and ref.
    pub(crate) async fn publish(
        &self,
        entries: BoxStream<'_, reservoir_core::Result<Entry>>,
        key: &InstanceKey,
    ) -> Result<Snapshot> {
        let sink = Unpinned(Arc::clone(&self.store));
        let pages = Pages::new(Arc::clone(&self.store), CACHE);
        let edits = entries.map_ok(|entry| Edit::Put(Box::new(entry))).boxed();
        let content = pages.open(pages.write(None, edits, &sink).await?.root).await?;

        let (number, micros) = (1, Duration::from_mins(1).as_micros());
        let minute = i64::try_from(micros)?;
        let now = Timestamp::now().since(Timestamp::from_micros(0)).as_micros();
        let created_at = Timestamp::from_micros(i64::try_from(now)? - minute);
        let config = &self.repository.config;
        let mut index = IndexWriter::new(&sink);
        Pypi.index(&Contents::new(config, (number, created_at), &content, None, &pages), &mut index).await?;
        let publication = pages.write(None, index.into_edits(), &sink).await?.root;

        let snapshot = Snapshot {
            number,
            content: content.root(),
            publication,
            parent: None,
            author: self.actor.clone(),
            created_at,
            message: "synthetic".into(),
        };
        self.commit(snapshot.clone(), key).await?;
        Ok(snapshot)
    }

    async fn commit(&self, snapshot: Snapshot, key: &InstanceKey) -> Result<()> {
        let lease = self.catalog.acquire_lease("bench", "bench", Duration::from_mins(10)).await?;
        let fence = lease.ok_or("the lease is taken")?;
        let token = u64::try_from(fence.token)?;
        let (line, number) = (self.repository.uuid, snapshot.number);
        let record = Record {
            line,
            number,
            fence: token,
            previous: None,
            repository: self.repository.config.clone(),
            reference: RefName::main(),
            created_at: snapshot.created_at,
            snapshot: snapshot.clone(),
            bundle: None,
        };
        let bytes = sign_record(&record, key)?;
        let digest = Sha256Digest::of(&bytes);
        self.store.put_record(RecordKey { line, number, fence: token }, bytes).await?;
        let new = NewSnapshot {
            repository: self.repository.id,
            snapshot,
            ref_name: Some(RefName::main()),
            expected_parent: None,
            record: digest,
            relies_on: None,
            settles: None,
        };
        self.catalog.commit_snapshot(new, &fence).await?;
        Ok(self.catalog.release(&fence).await?)
    }

    /// The engine over the same catalog and store.
    pub(crate) fn engine(&self, key: InstanceKey, scratch: &Path) -> Result<Engine> {
        let builder = Engine::builder().catalog(self.catalog.clone()).store(Arc::clone(&self.store));
        Ok(builder.ecosystem(Pypi).key(key).scratch(scratch).build()?)
    }
}

/// A file of a project as an entry of the content; its bytes need not exist.
pub(crate) fn entry(project: &str, file: &str, revision: &str, blob: Blob) -> reservoir_core::Result<Entry> {
    Ok(Entry {
        path: format!("{project}/{file}").parse()?,
        blob,
        artifact: Some(project.parse()?),
        revision: Some(revision.parse()?),
        attributes: attributes(&blob.sha256),
    })
}

/// What a real file's entry has; the place under `/packages/` is made up from the digest.
pub(crate) fn attributes(sha256: &Sha256Digest) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("blake2b_256".into(), sha256.to_string().into()),
        ("requires-python".into(), ">=3.9".into()),
        ("upload-time".into(), "2024-05-06T07:08:09.123456Z".into()),
    ])
}

/// A blob that nobody has, named by a text.
pub(crate) fn phantom(text: &str) -> Blob {
    let sha256 = Sha256Digest::of(text.as_bytes());
    let blake3 = reservoir_core::digest::Blake3Digest::from_bytes(*sha256.as_bytes());
    Blob { sha256, blake3, size: 2_000_000 }
}

/// Blobs without pins: nothing collects garbage here.
struct Unpinned(Arc<dyn Store>);

#[async_trait]
impl BlobSink for Unpinned {
    async fn put_bytes(&self, bytes: Bytes) -> reservoir_core::Result<Blob> {
        self.0.put_bytes(bytes).await
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> reservoir_core::Result<Blob> {
        self.0.put(body, options).await
    }
}
