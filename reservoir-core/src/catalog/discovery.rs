//! Recording what a registry offers. What is known of a file is never overwritten by other bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json as object};
use sqlx::any::AnyRow;

use super::{
    Alarm, Catalog, RepositoryId,
    internal::UPLOADED,
    rows::{BATCH, Columns as _, Statement, built, json, list, plain, sql, tuples},
    write::Write,
};
use crate::{
    digest::Sha256Digest,
    ecosystem::{DiscoveredArtifact, DiscoveredFile},
    error::{Error, Result},
    lifecycle::{RevisionId, Status, Transition},
    name::{Actor, ArtifactName, RegistryName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// What recording one artifact changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryOutcome {
    /// Files that became known.
    pub new_files: u64,
    /// Files that the registry has stopped offering; they stay here.
    pub removed: Vec<ContentPath>,
    /// Files whose facts (yanked…) changed.
    pub changed: u64,
    /// What the registry must not do; those files are as they were.
    pub alarms: Vec<Alarm>,
}

/// A file as known before.
pub(super) struct Known {
    id: i64,
    pub(super) path: ContentPath,
    revision: RevisionName,
    pub(super) revision_id: RevisionId,
    pub(super) available: bool,
    registry: String,
    pub(super) url: String,
    size: Option<u64>,
    sha256: Option<Sha256Digest>,
    stored_size: Option<u64>,
    pub(super) attributes: BTreeMap<String, Value>,
    gone: bool,
}

impl Known {
    /// Whether none of its bytes were ever taken in.
    pub(super) fn was_never_here(&self) -> bool {
        self.stored_size.is_none()
    }
}

/// The revisions of the artifact.
#[derive(Default)]
struct Revisions {
    ids: HashMap<RevisionName, RevisionId>,
    available: Vec<(RevisionId, i64)>,
}

impl Catalog {
    /// [`record_discoveries`](Self::record_discoveries) of one artifact.
    #[cfg(any(test, feature = "testing"))]
    pub async fn record_discovery(
        &self,
        repository: RepositoryId,
        registry: &RegistryName,
        found: &DiscoveredArtifact,
        actor: &Actor,
    ) -> Result<DiscoveryOutcome> {
        let found = std::slice::from_ref(found);
        let outcomes = self.record_discoveries(repository, registry, found, &HashMap::new(), actor).await?;
        Ok(outcomes.into_iter().next().unwrap_or_default())
    }

    /// Records everything a registry offers of some artifacts, in one transaction: new revisions are SCANNED, new files
    /// are known, changed facts are taken over and mark AVAILABLE revisions for the next snapshot. A withdrawn artifact
    /// blocks what was AVAILABLE of it; when that is lifted, a person decides. `stored` are the files whose bytes are in
    /// the store already, because they came with the metadata.
    pub async fn record_discoveries(
        &self,
        repository: RepositoryId,
        registry: &RegistryName,
        found: &[DiscoveredArtifact],
        stored: &HashMap<ContentPath, Blob>,
        actor: &Actor,
    ) -> Result<Vec<DiscoveryOutcome>> {
        self.repository_by_id(repository).await?;
        let mut write = self.write("record a discovery").await?;
        let mut outcomes = Vec::with_capacity(found.len());
        for found in found {
            outcomes.push(write.record_artifact(repository, registry, found, actor).await?);
        }
        for (path, blob) in stored {
            write.store_inline(repository, path, blob).await?;
        }
        write.commit().await?;
        Ok(outcomes)
    }

    /// Adds files of an artifact that a further registry offers; what is known of the artifact and of its other files
    /// stays as it is. Returns how many are new, or on offer again.
    pub async fn record_further(
        &self,
        repository: RepositoryId,
        registry: &RegistryName,
        found: &DiscoveredArtifact,
        actor: &Actor,
    ) -> Result<u64> {
        let mut write = self.write("record further files").await?;
        let added = write.record_further(repository, registry, found, actor).await?;
        write.commit().await?;
        Ok(added)
    }

    /// Notes that no registry knows an artifact any more. Everything that is here stays.
    pub async fn missing(&self, repository: RepositoryId, artifact: &ArtifactName) -> Result<()> {
        let mut write = self.write("note a missing artifact").await?;
        let now = write.now().as_micros();
        let note = sql("UPDATE artifact SET missing_since = $1, cursor = NULL \
                        WHERE repository = $2 AND name = $3 AND missing_since IS NULL");
        write.execute(note.bind(now).bind(repository.0).bind(artifact.as_str())).await?;
        write.commit().await
    }
}

impl Write {
    async fn record_artifact(
        &mut self,
        repository: RepositoryId,
        registry: &RegistryName,
        found: &DiscoveredArtifact,
        actor: &Actor,
    ) -> Result<DiscoveryOutcome> {
        let artifact = self.artifact_id(repository, &found.artifact).await?;
        let mut revisions = self.revisions_of(artifact).await?;
        let known = self.known_files(artifact).await?;
        if known.values().any(|file| file.registry == UPLOADED) && self.keeps_names(repository).await? {
            // It has become internal since the registry was asked.
            return Ok(DiscoveryOutcome::default());
        }
        let mut dirty: BTreeSet<RevisionId> = BTreeSet::new();
        let mut outcome = DiscoveryOutcome::default();

        let (new, seen) = self.compare_files(registry, found, &known, &mut dirty, &mut outcome).await?;
        let new = self.without_taken(repository, new, &mut outcome.alarms).await?;
        let new_revisions =
            self.insert_new(repository, artifact, registry, &new, &mut revisions.ids, actor).await?;
        outcome.new_files = new.len() as u64;

        let gone: Vec<&Known> = known
            .iter()
            .filter(|(key, file)| !found.is_partial() && !file.gone && !seen.contains_key(*key))
            .map(|(_, file)| file)
            .collect();
        self.mark_gone(&gone).await?;
        outcome.removed = gone.iter().map(|file| file.path.clone()).collect();
        outcome.removed.sort_unstable();

        if self.update_artifact(artifact, found).await? {
            dirty.extend(revisions.available.iter().map(|(id, _)| *id));
        }
        for revision in dirty {
            self.mark_dirty(repository, revision).await?;
        }
        if let Some(reason) = &found.quarantined {
            self.block_all(&revisions.available, actor, reason).await?;
        }
        for alarm in &outcome.alarms {
            self.alarm(repository, &found.artifact, alarm).await?;
        }
        if outcome != DiscoveryOutcome::default() || found.quarantined.is_some() {
            let detail = object!({
                "repository": repository,
                "registry": registry,
                "new_files": outcome.new_files,
                "new_revisions": new_revisions,
                "changed": outcome.changed,
                "removed": outcome.removed.len(),
                "alarms": outcome.alarms.len(),
                "quarantined": found.quarantined,
            });
            self.audit(actor, "artifact.discover", found.artifact.as_str(), &detail).await?;
        }
        Ok(outcome)
    }

    /// Takes over what differs of files that are known; the others, and all that were told of.
    async fn compare_files<'f>(
        &mut self,
        registry: &RegistryName,
        found: &'f DiscoveredArtifact,
        known: &HashMap<String, Known>,
        dirty: &mut BTreeSet<RevisionId>,
        outcome: &mut DiscoveryOutcome,
    ) -> Result<(Vec<(String, &'f DiscoveredFile)>, HashMap<String, &'f DiscoveredFile>)> {
        let mut new: Vec<(String, &DiscoveredFile)> = Vec::new();
        let mut seen: HashMap<String, &DiscoveredFile> = HashMap::with_capacity(found.files.len());
        for file in &found.files {
            let collision = collision(&file.path);
            if let Some(first) = seen.insert(collision.clone(), file) {
                if *first != *file {
                    outcome.alarms.push(colliding(&file.path, &first.path));
                }
                seen.insert(collision, first);
                continue;
            }
            match known.get(&collision) {
                None => new.push((collision, file)),
                Some(known) if known.path != file.path => {
                    outcome.alarms.push(colliding(&file.path, &known.path));
                }
                Some(known) => {
                    if let Some(alarm) = contradiction(known, file) {
                        outcome.alarms.push(alarm);
                    } else if self.update_file(known, file, registry).await? {
                        outcome.changed += 1;
                        if known.available {
                            dirty.insert(known.revision_id);
                        }
                    }
                }
            }
        }
        Ok((new, seen))
    }

    async fn record_further(
        &mut self,
        repository: RepositoryId,
        registry: &RegistryName,
        found: &DiscoveredArtifact,
        actor: &Actor,
    ) -> Result<u64> {
        let artifact = self.artifact_id(repository, &found.artifact).await?;
        let known = self.known_files(artifact).await?;
        if known.values().any(|file| file.registry == UPLOADED) && self.keeps_names(repository).await? {
            return Ok(0);
        }
        let (mut added, mut new) = (0, BTreeMap::new());
        for file in &found.files {
            let collision = collision(&file.path);
            match known.get(&collision) {
                None => drop(new.insert(collision, file)),
                Some(known) if known.gone && known.path == file.path && known.sha256 == file.sha256 => {
                    self.update_file(known, file, registry).await?;
                    added += 1;
                }
                Some(_) => {}
            }
        }
        let new = self.without_taken(repository, new.into_iter().collect(), &mut Vec::new()).await?;
        let mut revisions = self.revisions_of(artifact).await?.ids;
        self.insert_new(repository, artifact, registry, &new, &mut revisions, actor).await?;
        added += new.len() as u64;
        if added > 0 {
            let detail = object!({ "repository": repository, "registry": registry, "new_files": added });
            self.audit(actor, "artifact.discover", found.artifact.as_str(), &detail).await?;
        }
        Ok(added)
    }

    /// Bytes that came with the metadata; those of a known file are what they were.
    pub(super) async fn store_inline(
        &mut self,
        repository: RepositoryId,
        path: &ContentPath,
        blob: &Blob,
    ) -> Result<()> {
        let sha256 = blob.sha256.to_string();
        let update = sql("UPDATE file SET stored_sha256 = $1, stored_blake3 = $2, stored_size = $3 \
                          WHERE repository = $4 AND path = $5 AND sha256 = $1 AND stored_sha256 IS NULL");
        let update = update.bind(sha256).bind(blob.blake3.to_string()).bind(blob.size as i64);
        self.execute(update.bind(repository.0).bind(path.as_str().to_owned())).await.map(drop)
    }

    async fn revisions_of(&mut self, artifact: i64) -> Result<Revisions> {
        let rows = sql("SELECT id, name, status, attempt FROM revision WHERE artifact = $1 ORDER BY id");
        let mut revisions = Revisions::default();
        for row in self.all(rows.bind(artifact)).await? {
            let id = RevisionId(row.int("id")?);
            if row.parsed::<Status>("status")? == Status::Available {
                revisions.available.push((id, row.int("attempt")?));
            }
            revisions.ids.insert(row.parsed("name")?, id);
        }
        Ok(revisions)
    }

    async fn known_files(&mut self, artifact: i64) -> Result<HashMap<String, Known>> {
        let rows =
            sql("SELECT f.id, f.path, f.collision, f.registry, f.url, f.size, f.sha256, f.stored_size, \
                        f.attributes, f.gone_at, r.id AS revision, r.name, r.status \
                        FROM file f JOIN revision r ON r.id = f.revision WHERE r.artifact = $1");
        let rows = self.all(rows.bind(artifact)).await?;
        rows.iter().map(|row| Ok((row.text("collision")?, known(row)?))).collect()
    }

    /// Leaves out files whose path another artifact of the repository has.
    async fn without_taken<'f>(
        &mut self,
        repository: RepositoryId,
        new: Vec<(String, &'f DiscoveredFile)>,
        alarms: &mut Vec<Alarm>,
    ) -> Result<Vec<(String, &'f DiscoveredFile)>> {
        let mut taken: HashMap<String, ContentPath> = HashMap::new();
        for new in new.chunks(BATCH) {
            let keys = list(2, new.len());
            let text =
                format!("SELECT collision, path FROM file WHERE repository = $1 AND collision IN ({keys})");
            let query =
                new.iter().fold(built(text).bind(repository.0), |query, (key, _)| query.bind(key.as_str()));
            for row in self.all(query).await? {
                taken.insert(row.text("collision")?, row.parsed("path")?);
            }
        }
        let (free, colliders): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|(key, _)| !taken.contains_key(key));
        alarms.extend(colliders.iter().map(|(key, file)| colliding(&file.path, &taken[key])));
        Ok(free)
    }

    /// New files, and those of their revisions that are new as well; returns how many revisions.
    async fn insert_new(
        &mut self,
        repository: RepositoryId,
        artifact: i64,
        registry: &RegistryName,
        files: &[(String, &DiscoveredFile)],
        revisions: &mut HashMap<RevisionName, RevisionId>,
        actor: &Actor,
    ) -> Result<usize> {
        let names: BTreeSet<&RevisionName> = files.iter().map(|(_, file)| &file.revision).collect();
        let names: Vec<_> = names.into_iter().filter(|name| !revisions.contains_key(*name)).collect();
        let inserted = self.insert_revisions(repository, artifact, &names, actor).await?;
        revisions.extend(inserted.into_iter().map(|(id, name)| (name, id)));
        self.insert_files(repository, registry, files, revisions).await?;
        Ok(names.len())
    }

    async fn insert_files(
        &mut self,
        repository: RepositoryId,
        registry: &RegistryName,
        files: &[(String, &DiscoveredFile)],
        revisions: &HashMap<RevisionName, RevisionId>,
    ) -> Result<()> {
        for files in files.chunks(BATCH) {
            let mut insert = built(format!(
                "INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, attributes) \
                 VALUES {}",
                tuples(files.len(), 9)
            ));
            for (collision, file) in files {
                let revision = revisions.get(&file.revision);
                let revision = revision.ok_or_else(|| Error::not_found("revision", &file.revision))?;
                insert = insert.bind(repository.0).bind(revision.0).bind(file.path.as_str());
                insert = insert.bind(collision.as_str()).bind(registry.as_str()).bind(file.url.as_str());
                insert = bind_claims(insert, file)?;
            }
            self.execute(insert).await?;
        }
        Ok(())
    }

    /// Takes over what changed; whether that matters to readers.
    async fn update_file(
        &mut self,
        known: &Known,
        file: &DiscoveredFile,
        registry: &RegistryName,
    ) -> Result<bool> {
        let changed = known.attributes != file.attributes;
        let same = !changed
            && !known.gone
            && known.url == file.url.as_str()
            && known.registry == registry.as_str()
            && (file.size.is_none() || known.size == file.size)
            && (file.sha256.is_none() || known.sha256 == file.sha256);
        if !same {
            let update =
                sql("UPDATE file SET gone_at = NULL, registry = $1, url = $2, size = COALESCE($3, size), \
                              sha256 = COALESCE($4, sha256), attributes = $5 WHERE id = $6");
            let update = update.bind(registry.as_str()).bind(file.url.as_str());
            self.execute(bind_claims(update, file)?.bind(known.id)).await?;
        }
        Ok(changed)
    }

    async fn mark_gone(&mut self, files: &[&Known]) -> Result<()> {
        let now = self.now().as_micros();
        for files in files.chunks(BATCH) {
            let ids = list(2, files.len());
            let update = built(format!("UPDATE file SET gone_at = $1 WHERE id IN ({ids})")).bind(now);
            self.execute(files.iter().fold(update, |update, file| update.bind(file.id))).await?;
        }
        Ok(())
    }

    /// Takes over what is said of the artifact itself; whether its facts changed.
    async fn update_artifact(&mut self, artifact: i64, found: &DiscoveredArtifact) -> Result<bool> {
        let before = sql("SELECT attributes FROM artifact WHERE id = $1").bind(artifact);
        let before: BTreeMap<String, Value> = self.one(before).await?.decoded("attributes")?;
        let update =
            sql("UPDATE artifact SET attributes = $1, cursor = $2, quarantined = $3, missing_since = NULL \
                          WHERE id = $4");
        let update = update.bind(json(&found.attributes)?).bind(json(&found.cursor)?);
        self.execute(update.bind(found.quarantined.as_deref().map(plain)).bind(artifact)).await?;
        Ok(before != found.attributes)
    }

    async fn block_all(
        &mut self,
        revisions: &[(RevisionId, i64)],
        actor: &Actor,
        reason: &str,
    ) -> Result<()> {
        for &(revision, attempt) in revisions {
            let (from, to, actor) = (Status::Available, Status::Blocked, actor.clone());
            let reason = format!("quarantined by its registry: {reason}");
            self.change_status(&Transition { revision, from, attempt, to, actor, reason }).await?;
        }
        Ok(())
    }
}

/// Size, digest and facts, in this order.
pub(super) fn bind_claims(statement: Statement, file: &DiscoveredFile) -> Result<Statement> {
    // What no catalog has room for is as good as unknown.
    let statement = statement.bind(file.size.and_then(|size| i64::try_from(size).ok()));
    let statement = statement.bind(file.sha256.map(|sha256| sha256.to_string()));
    Ok(statement.bind(json(&file.attributes)?))
}

pub(super) fn known(row: &AnyRow) -> Result<Known> {
    Ok(Known {
        id: row.int("id")?,
        path: row.parsed("path")?,
        revision: row.parsed("name")?,
        revision_id: RevisionId(row.int("revision")?),
        available: row.parsed::<Status>("status")? == Status::Available,
        registry: row.text("registry")?,
        url: row.text("url")?,
        size: row.count_or_none("size")?,
        sha256: row.parsed_or_none("sha256")?,
        stored_size: row.count_or_none("stored_size")?,
        attributes: row.decoded("attributes")?,
        gone: row.int_or_none("gone_at")?.is_some(),
    })
}

/// What a registry may not say of a file that is known.
pub(super) fn contradiction(known: &Known, file: &DiscoveredFile) -> Option<Alarm> {
    let alarm =
        |rule: &str, detail: String| Some(Alarm { rule: rule.into(), path: Some(file.path.clone()), detail });
    if known.revision != file.revision {
        return alarm(
            "changed-revision",
            format!("it belonged to `{}`, now it is said to belong to `{}`", known.revision, file.revision),
        );
    }
    if let (Some(before), Some(now)) = (known.sha256, file.sha256)
        && before != now
    {
        return alarm("changed-digest", format!("its digest was `{before}`, now it is said to be `{now}`"));
    }
    if let (Some(stored), Some(now)) = (known.stored_size, file.size)
        && stored != now
    {
        return alarm("changed-size", format!("it has {stored} bytes, now it is said to have {now}"));
    }
    None
}

pub(super) fn colliding(path: &ContentPath, other: &ContentPath) -> Alarm {
    let detail = format!("it collides with `{other}`, which is known already; it was skipped");
    Alarm { rule: "path-collision".into(), path: Some(path.clone()), detail }
}

/// What no two files of a repository share.
pub(super) fn collision(path: &ContentPath) -> String {
    Sha256Digest::of(path.collision_key().as_bytes()).to_string()
}
