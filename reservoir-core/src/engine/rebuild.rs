//! When the catalog is lost: repositories, snapshots and refs come back from the signed records in the store.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    path::Path,
    time::Duration,
};

use futures::TryStreamExt as _;
use serde::Serialize;
use uuid::Uuid;

use super::{Engine, run::wait_for_lease};
use crate::{
    catalog::{Backend, Fence, NewSnapshot, Repository},
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    lifecycle::ArtifactLifecycle as _,
    name::{Actor, RefName, RepositoryName},
    snapshot::{
        decision::{self, Decision, Said, open_decision},
        record::{choose_line, open_record},
    },
    store::RecordKey,
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
    /// What persons decided, brought back with its name, time and reason.
    pub decisions: u64,
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
    /// every line must be unbroken, and the newest snapshot's files become AVAILABLE revisions again, but for those that
    /// were refused since.
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
        let lines: HashMap<Uuid, &[RecordKey]> =
            keys.chunk_by(|a, b| a.line == b.line).map(|keys| (keys[0].line, keys)).collect();
        let mut rebuilt = Rebuilt::default();
        for keys in keys.chunk_by(|a, b| a.line == b.line) {
            let mut records = Vec::with_capacity(keys.len());
            let mut digests = HashMap::with_capacity(keys.len());
            for &key in keys {
                let bytes = store.read_record(key).await?;
                if open_decision(&bytes, &trusted).is_ok() {
                    // Read with its repository; one that never published is not brought back.
                    break;
                }
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
                    ref_name: Some(record.reference.clone()),
                    expected_parent: None,
                    record: digests[&record.key()],
                    relies_on: None,
                    settles: None,
                };
                catalog.restore_snapshot(snapshot, &fence).await?;
            }
            rebuilt.snapshots += chain.len() as u64;
            // What other refs have is here too, but `main` says what is true of a path that both have.
            let contents: BTreeMap<_, _> =
                chain.iter().map(|record| (&record.reference, record.snapshot.content)).collect();
            let (mains, others): (Vec<_>, Vec<_>) =
                contents.into_iter().partition(|(name, _)| **name == RefName::main());
            for (_, content) in others.into_iter().chain(mains) {
                rebuilt.files += self.restore_files(&repository, content, actor, &fence).await?;
            }
            let decisions = lines.get(&decision::line(repository.uuid)).copied().unwrap_or_default();
            rebuilt.decisions +=
                self.restore_decisions(&repository, newest.created_at, decisions, &fence).await?;
            catalog.release(&fence).await?;
            rebuilt.repositories.push(newest.repository.name.clone());
        }
        self.refresh_serving().await;
        Ok(rebuilt)
    }

    async fn restore_files(
        &self,
        repository: &Repository,
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

    /// Brings back what persons said of revisions. Refused stays refused, unless something else was said later;
    /// what was dropped after the newest snapshot was made is dropped again.
    async fn restore_decisions(
        &self,
        repository: &Repository,
        newest: Timestamp,
        keys: &[RecordKey],
        fence: &Fence,
    ) -> Result<u64> {
        let trusted = [self.inner.key.public()];
        let mut said = BTreeMap::new();
        for &key in keys {
            let found = open_decision(&self.inner.store.read_record(key).await?, &trusted)?;
            if found.repository != repository.uuid || found.key(key.fence) != key {
                let what = format!("decision {}-{} of line {}", key.number, key.fence, key.line);
                return Err(Error::malformed(what, "record-key", "it was found under the key of another"));
            }
            let piece = (found.at, found.artifact.clone(), found.revision.clone());
            match said.entry(piece) {
                Entry::Vacant(first) => drop(first.insert(found)),
                Entry::Occupied(mut decision) => decision.get_mut().digests.extend(found.digests),
            }
        }
        let count = said.len() as u64;
        let mut last = BTreeMap::new();
        for decision in said.into_values() {
            let revision = self.inner.catalog.restore_decision(repository.id, &decision, fence).await?;
            last.insert(revision, decision);
        }
        for (id, decision) in last {
            let Decision { said, actor, reason, digests, at, .. } = decision;
            match said {
                Said::Reject => {
                    self.inner.catalog.refuse_again(id, &digests, &actor, &reason, fence).await?;
                }
                Said::Cleanup if at > newest => {
                    let revision = self.inner.catalog.revision(id).await?;
                    self.forget(&revision, &actor, &reason).await?;
                }
                Said::Cleanup | Said::Approve => {}
            }
        }
        Ok(count)
    }
}
