//! The conformance suite of [`Scanner`]: one call that every implementation survives.
#![expect(clippy::missing_panics_doc, reason = "a suite panics where a test would")]

use std::{collections::BTreeMap, ops::Range, path::Path, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};

use super::memory::MemoryStore;
use crate::{
    digest::Sha256Digest,
    ecosystem::Inspection,
    error::{Error, Result},
    gate::{Scanner, Subject, Verdict},
    name::{ArtifactName, EcosystemId, RevisionName},
    path::ContentPath,
    store::{
        Blob, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, Store, StoreExt as _, StoredBlob,
    },
};

/// A file that the scanner under test finds nothing in.
#[derive(Debug, Clone)]
pub struct CleanFile {
    /// Its ecosystem.
    pub ecosystem: EcosystemId,
    /// Its artifact.
    pub artifact: ArtifactName,
    /// Its revision.
    pub revision: RevisionName,
    /// Its path within a repository.
    pub path: ContentPath,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Runs every check of the contract of [`Scanner`].
pub async fn suite(scanner: &dyn Scanner, file: &CleanFile) {
    assert!(!scanner.id().is_empty(), "a scanner has a name");
    let rules = scanner.rules().await.expect("rules can be asked for");
    assert_eq!(scanner.rules().await.expect("rules can be asked for"), rules, "rules are stable");

    let store = MemoryStore::new();
    let blob = store.put_bytes(file.bytes.clone()).await.expect("memory takes it");
    let good = scan(scanner, file, &blob, &store).await.expect("a clean file is scanned");
    assert_eq!(good, Verdict::Clean);
    // Dropped after its first step, it leaves nothing that changes the next verdict.
    let _ = scan(scanner, file, &blob, &store).now_or_never();
    assert_eq!(scan(scanner, file, &blob, &store).await.expect("it is scanned again"), good, "same rules");

    let gone = scan(scanner, file, &blob, &MemoryStore::new()).await;
    assert!(not_clean(&gone), "missing bytes are no clean bytes: {gone:?}");
    let unreadable = scan(scanner, file, &blob, &Unreadable).await;
    assert!(not_clean(&unreadable), "what cannot be read is not clean: {unreadable:?}");
}

fn not_clean(verdict: &Result<Verdict>) -> bool {
    matches!(verdict, Ok(Verdict::Incomplete { .. }) | Err(_))
}

async fn scan(scanner: &dyn Scanner, file: &CleanFile, blob: &Blob, store: &dyn Store) -> Result<Verdict> {
    let inspection = Inspection { attributes: BTreeMap::new(), ..Inspection::default() };
    let subject = Subject {
        ecosystem: &file.ecosystem,
        artifact: &file.artifact,
        revision: &file.revision,
        path: &file.path,
        blob,
        store,
        inspection: &inspection,
    };
    scanner.scan(&subject).await
}

/// A store of which nothing can be read.
#[derive(Debug)]
struct Unreadable;

fn failed<T>() -> Result<T> {
    Err(Error::Store { operation: "read".into(), source: "the disk is away".into() })
}

#[async_trait]
impl Store for Unreadable {
    fn capability(&self) -> Capability {
        Capability::default()
    }

    async fn put(&self, _: ByteStream, _: PutOptions) -> Result<Blob> {
        failed()
    }

    async fn put_file(&self, _: &Path, _: PutOptions) -> Result<Blob> {
        failed()
    }

    async fn read(&self, _: &Blob, _: Range<u64>) -> Result<ByteStream> {
        failed()
    }

    async fn read_whole(&self, _: &Sha256Digest, _: u64) -> Result<Bytes> {
        failed()
    }

    async fn stat(&self, _: &Sha256Digest) -> Result<Option<StoredBlob>> {
        failed()
    }

    async fn rehash(&self, _: &Sha256Digest) -> Result<Option<Blob>> {
        failed()
    }

    async fn presign(&self, _: &Sha256Digest, _: PresignOptions) -> Result<url::Url> {
        failed()
    }

    async fn delete(&self, _: &Sha256Digest) -> Result<()> {
        failed()
    }

    fn list(&self) -> BoxStream<'_, Result<StoredBlob>> {
        futures::stream::once(async { failed() }).boxed()
    }

    async fn sweep_leftovers(&self, _: Duration) -> Result<u64> {
        failed()
    }

    async fn put_record(&self, _: RecordKey, _: Bytes) -> Result<()> {
        failed()
    }

    async fn list_records(&self, _: Option<uuid::Uuid>) -> Result<Vec<RecordKey>> {
        failed()
    }

    async fn read_record(&self, _: RecordKey) -> Result<Bytes> {
        failed()
    }
}
