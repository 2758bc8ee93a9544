//! When the catalog is lost: repositories, snapshots and refs come back from the signed records in the store.

use std::{collections::HashMap, path::Path, time::Duration};

use futures::TryStreamExt as _;
use serde::Serialize;

use super::{Engine, run::wait_for_lease};
use crate::{
    catalog::{Backend, Fence, NewSnapshot},
    digest::Sha256Digest,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    snapshot::record::{choose_line, open_record},
};

/// What a rebuild brought back.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rebuilt {
    /// Repositories brought back.
    pub repositories: Vec<RepositoryName>,
    /// Snapshots brought back.
    pub snapshots: u64,
    /// Files brought back, all of the newest snapshots.
    pub files: u64,
    /// Records that no line continues: written by a process that was killed before it could commit.
    pub dangling: u64,
}

impl Engine {
    /// Copies what the store does not have: the catalog. Keys and settings are the host's to copy.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on PostgreSQL, which has `pg_dump`.
    pub async fn backup_catalog(&self, file: &Path) -> Result<()> {
        match self.inner.catalog.backend() {
            Backend::Sqlite => self.inner.catalog.backup_to(file).await,
            Backend::Postgres => Err(Error::Unsupported {
                what: "backing up a PostgreSQL catalog".into(),
                detail: "use pg_dump; the store and the keys are files".into(),
            }),
        }
    }

    /// Fills an empty catalog from the store: every record's signature is checked against this instance's key,
    /// every line must be unbroken, and the newest snapshot's files become AVAILABLE revisions again.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the catalog already has repositories.
    pub async fn rebuild(&self, actor: &Actor) -> Result<Rebuilt> {
        let catalog = &self.inner.catalog;
        if !catalog.repositories().await?.is_empty() {
            return Err(Error::Conflict {
                what: "the catalog".into(),
                detail: "it has repositories; rebuild fills an empty catalog only".into(),
            });
        }
        let store = &self.inner.store;
        let trusted = [self.inner.key.public()];
        let keys = store.list_records(None).await?;
        let mut rebuilt = Rebuilt::default();
        for line in keys.chunk_by(|a, b| a.line == b.line) {
            let mut records = Vec::with_capacity(line.len());
            let mut digests = HashMap::with_capacity(line.len());
            for &key in line {
                let bytes = store.read_record(key).await?;
                let digest = Sha256Digest::of(&bytes);
                digests.insert(key, digest);
                records.push((key, open_record(&bytes, &trusted)?, digest));
            }
            let total = records.len() as u64;
            let chain = choose_line(records)?;
            rebuilt.dangling += total - chain.len() as u64;
            let Some(newest) = chain.last() else { continue };
            let repository = catalog.restore_repository(newest.line, &newest.repository, actor).await?;
            let fence =
                wait_for_lease(catalog, &format!("publish/{}", repository.uuid), Duration::ZERO).await?;
            for record in &chain {
                let snapshot = NewSnapshot {
                    repository: repository.id,
                    snapshot: record.snapshot.clone(),
                    ref_name: record.reference.clone(),
                    expected_parent: None,
                    record: digests[&record.key()],
                    relies_on: None,
                    settles: None,
                };
                catalog.restore_snapshot(snapshot, &fence).await?;
            }
            rebuilt.snapshots += chain.len() as u64;
            rebuilt.files += self.restore_files(&repository, newest.snapshot.content, actor, &fence).await?;
            catalog.release(&fence).await?;
            rebuilt.repositories.push(newest.repository.name.clone());
        }
        self.refresh_serving().await;
        Ok(rebuilt)
    }

    async fn restore_files(
        &self,
        repository: &crate::catalog::Repository,
        content: Sha256Digest,
        actor: &Actor,
        fence: &Fence,
    ) -> Result<u64> {
        let manifest = self.inner.pages.open(content).await?;
        let mut entries = manifest.scan("").try_chunks(500);
        let mut files = 0;
        while let Some(batch) = entries.try_next().await.map_err(|error| error.1)? {
            self.inner
                .catalog
                .adopt_entries(repository.id, &batch, true, actor, "rebuilt from the store", Some(fence))
                .await?;
            files += batch.len() as u64;
        }
        if let Some(mark) = self.inner.catalog.dirty_until(repository.id).await? {
            self.inner.catalog.settle(repository.id, mark, fence).await?;
        }
        Ok(files)
    }
}
