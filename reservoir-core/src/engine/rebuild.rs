//! When the catalog is lost: repositories, snapshots and refs come back from the signed records in the store.

mod ledger;
mod survey;

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    path::Path,
    time::Duration,
};

use futures::TryStreamExt as _;
use serde::Serialize;
use uuid::Uuid;

pub use self::ledger::RestoredStream;
use self::{ledger::Arrived, survey::Line};
use super::{Engine, run::wait_for_lease};
use crate::{
    catalog::{Fence, NewSnapshot, Repository},
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    lifecycle::ArtifactLifecycle as _,
    name::{Actor, RefName, RepositoryName},
    snapshot::{
        decision::{self, Decision, Said, open_decision},
        removal::Removal,
    },
    store::RecordKey,
};

/// What a rebuild brought back.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rebuilt {
    /// Repositories brought back, by name.
    pub repositories: Vec<RepositoryName>,
    /// Snapshots brought back.
    pub snapshots: u64,
    /// Snapshots that have a record, but whose manifests are not stored any more: retention had forgotten them.
    pub forgotten: u64,
    /// Files brought back, all of the newest snapshots.
    pub files: u64,
    /// Records that no line continues: written by a process that was killed before it could commit.
    pub dangling: u64,
    /// What persons decided, brought back with its name, time and reason.
    pub decisions: u64,
    /// Streams of bundles that fill repositories here, and where they stand.
    pub streams: Vec<RestoredStream>,
    /// Repositories that have records and were not brought back.
    pub skipped: Vec<Skipped>,
}

/// A repository that a rebuild left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name, as of its last record.
    pub repository: RepositoryName,
    /// Its permanent id, under which its records stay in the store.
    pub line: Uuid,
    /// Why it was left out.
    pub reason: String,
}

impl Engine {
    /// Copies what the store does not have: the catalog. Keys and settings are the host's to copy.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on PostgreSQL, which has `pg_dump`; [`Error::Catalog`] where the file cannot be written.
    pub async fn backup_catalog(&self, file: &Path) -> Result<()> {
        self.inner.catalog.backup_to(file).await
    }

    /// Fills an empty catalog from the store: every record's signature is checked against this instance's key,
    /// every line must be unbroken, and the newest snapshot's files become AVAILABLE revisions again, but for those that
    /// were refused since. Older snapshots come back as far as their manifests are stored.
    ///
    /// Repositories that bundles fill go on with their streams, from the last bundle that published something here; its
    /// key must be trusted again.
    ///
    /// Repositories that were removed stay away, as do those whose newest snapshot is not stored whole; where two had
    /// one name, the younger has it. Each that is left out is told, with the reason.
    ///
    /// All records are read and checked before anything is written. Dropping the future later, or an error of the
    /// catalog, leaves it partly filled: begin again with an empty one.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the catalog already has repositories; [`Error::Untrusted`], [`Error::Malformed`] and
    /// [`Error::Integrity`] for a record of another key or a line that is broken: then nothing was written.
    pub async fn rebuild(&self, actor: &Actor) -> Result<Rebuilt> {
        if !self.inner.catalog.repositories().await?.is_empty() {
            return Err(Error::Conflict {
                what: "the catalog".into(),
                detail: "it has repositories; rebuild fills an empty catalog only".into(),
            });
        }
        let keys = self.inner.store.list_records(None).await?;
        let (mut lines, removals) = self.survey(&keys).await?;
        lines.sort_by_key(|line| std::cmp::Reverse(line.newest_at));
        let decisions: HashMap<Uuid, &[RecordKey]> =
            keys.chunk_by(|a, b| a.line == b.line).map(|keys| (keys[0].line, keys)).collect();
        let mut rebuilt = Rebuilt::default();
        let mut arrived = Arrived::default();
        let mut names = HashSet::new();
        for line in lines {
            rebuilt.dangling += line.dangling;
            if let Some(reason) = reason_to_skip(&line, removals.get(&line.uuid), &names) {
                let (repository, line) = (line.repository.name, line.uuid);
                rebuilt.skipped.push(Skipped { repository, line, reason });
                continue;
            }
            names.insert(line.repository.name.clone());
            let decisions = decisions.get(&decision::line(line.uuid)).copied().unwrap_or_default();
            let filled = line.filled.clone();
            let repository = self.restore(line, decisions, actor, &mut rebuilt).await?;
            if let Some(filled) = filled {
                arrived.add(repository, filled);
            }
        }
        rebuilt.streams = self.restore_ledger(arrived, actor).await?;
        rebuilt.repositories.sort();
        self.refresh_serving().await;
        Ok(rebuilt)
    }

    async fn restore(
        &self,
        line: Line,
        decisions: &[RecordKey],
        actor: &Actor,
        rebuilt: &mut Rebuilt,
    ) -> Result<Repository> {
        let catalog = &self.inner.catalog;
        let repository = catalog.restore_repository(line.uuid, &line.repository, actor).await?;
        let fence = wait_for_lease(catalog, &format!("publish/{}", repository.uuid), Duration::ZERO).await?;
        rebuilt.snapshots += line.snapshots.len() as u64;
        rebuilt.forgotten += line.forgotten;
        let contents = contents(&line);
        for (snapshot, ref_name, record) in line.snapshots {
            let ref_name = Some(ref_name);
            let (repository, expected_parent, relies_on, settles) = (repository.id, None, None, None);
            let snapshot =
                NewSnapshot { repository, snapshot, ref_name, expected_parent, record, relies_on, settles };
            catalog.restore_snapshot(snapshot, &fence).await?;
        }
        for content in contents {
            rebuilt.files += self.restore_files(&repository, content, actor, &fence).await?;
        }
        rebuilt.decisions += self.restore_decisions(&repository, line.newest_at, decisions, &fence).await?;
        catalog.release(&fence).await?;
        rebuilt.repositories.push(repository.config.name.clone());
        Ok(repository)
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

/// What the refs have, `main` last: it says what is true of a path that others have too.
fn contents(line: &Line) -> Vec<Sha256Digest> {
    let newest: BTreeMap<&RefName, Sha256Digest> =
        line.snapshots.iter().map(|(snapshot, name, _)| (name, snapshot.content)).collect();
    let main = RefName::main();
    let others = newest.iter().filter(|(name, _)| **name != &main);
    others.chain(newest.get_key_value(&main)).map(|(_, content)| *content).collect()
}

/// Why a line is not brought back, if it is not. `names` are those that younger repositories have.
fn reason_to_skip(line: &Line, removal: Option<&Removal>, names: &HashSet<RepositoryName>) -> Option<String> {
    if let Some(removal) = removal.filter(|removal| removal.last >= line.newest) {
        return Some(format!("`{}` removed it at {}", removal.actor, removal.at));
    }
    if names.contains(&line.repository.name) {
        return Some("a younger repository has its name".into());
    }
    let whole = line.snapshots.last().is_some_and(|(snapshot, ..)| snapshot.number == line.newest);
    (!whole).then(|| "its newest snapshot is not stored whole".into())
}
