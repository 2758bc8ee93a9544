//! From rows to entries of a content manifest, and back.

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use serde_json::{Value, json as object};
use sqlx::any::AnyRow;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Catalog, Fence, RepositoryId,
    failure::failed,
    internal::UPLOADED,
    rows::{Columns as _, built, json, list, sql},
    write::Write,
};
use crate::{
    digest::Sha256Digest,
    ecosystem::{Accepted, Inspection},
    error::{Error, Result},
    lifecycle::{ArtifactLifecycle as _, NewRevision, RevisionId, Status, Transition},
    name::{Actor, ArtifactName, RevisionName},
    path::ContentPath,
    snapshot::{Edit, Entry},
    store::Blob,
};

/// The attribute of an entry that was taken out of another file: that file's path.
pub(crate) const DERIVED_FROM: &str = "derived-from";
/// The registry of files that came from a snapshot instead of a registry.
pub(super) const ADOPTED: &str = "snapshot";

/// Edits that are read together.
const CHUNK: usize = 200;
/// Chunks read ahead of who takes them.
const AHEAD: usize = 2;

/// What came with the metadata of a revision.
#[derive(Debug, Clone)]
pub struct RevisionMetadata {
    /// Where the revision stands.
    pub status: Status,
    /// Whether what was decided on it, or what is known of it, waits for a snapshot.
    pub is_unpublished: bool,
    /// The file, as it is in a snapshot, or would be.
    pub entry: Entry,
}

impl Catalog {
    /// The mark up to which changes wait for a snapshot; `None` when none do. What changes later has a later
    /// mark.
    pub async fn dirty_until(&self, repository: RepositoryId) -> Result<Option<i64>> {
        let query = sql("SELECT MAX(seq) AS mark FROM dirty WHERE repository = $1").bind(repository.0);
        match self.optional("ask what changed", query).await? {
            Some(row) => row.int_or_none("mark"),
            None => Ok(None),
        }
    }

    /// The edits of a content manifest for everything that changed up to `mark`, sorted by path, as they were when this
    /// was called. They are read a few hundred ahead; an end that was not reached is an error.
    #[must_use]
    pub fn dirty_edits(&self, repository: RepositoryId, mark: i64) -> BoxStream<'static, Result<Edit>> {
        let query = sql("SELECT f.path AS path, f.stored_sha256 AS sha256, f.stored_blake3 AS blake3, \
                    f.stored_size AS size, NULL AS derived_from, r.status AS status, f.admitted AS admitted, \
                    a.name AS artifact, r.name AS revision, f.attributes AS attributes, f.inspection AS inspection \
             FROM dirty d JOIN revision r ON r.id = d.revision JOIN artifact a ON a.id = r.artifact \
             JOIN file f ON f.revision = r.id \
             WHERE d.repository = $1 AND d.seq <= $2 \
             UNION ALL \
             SELECT x.path, CASE WHEN f.stored_sha256 IS NULL THEN NULL ELSE x.sha256 END, x.blake3, x.size, \
                    f.path, r.status, f.admitted, a.name, r.name, '{}', NULL \
             FROM dirty d JOIN revision r ON r.id = d.revision JOIN artifact a ON a.id = r.artifact \
             JOIN file f ON f.revision = r.id JOIN derived x ON x.file = f.id \
             WHERE d.repository = $1 AND d.seq <= $2 \
             ORDER BY path");
        let query = query.bind(repository.0).bind(mark);
        let catalog = self.clone();
        let (sender, receiver) = mpsc::channel(AHEAD);
        let reading = AbortOnDropHandle::new(tokio::spawn(async move {
            let rows = query.fetch(&catalog.inner.pool);
            let read = |row: Result<AnyRow, _>| edit(&row.map_err(failed("list changed files"))?);
            let mut edits = rows.map(read).try_chunks(CHUNK);
            loop {
                let read = match edits.try_next().await {
                    Ok(edits) => Ok(edits),
                    Err(error) => Err(error.1),
                };
                let goes_on = matches!(read, Ok(Some(_)));
                // Nobody listens any more when the caller gave up.
                if sender.send(read).await.is_err() || !goes_on {
                    return;
                }
            }
        }));
        let chunks = stream::try_unfold((receiver, reading), |(mut receiver, reading)| async move {
            // Without a word the reader does not end unless it was stopped.
            let read: Result<Option<Vec<Edit>>> = receiver.recv().await.unwrap_or(Err(Error::Cancelled));
            Ok(read?.map(|edits| (stream::iter(edits.into_iter().map(Ok)), (receiver, reading))))
        });
        chunks.try_flatten().boxed()
    }

    /// What came with the metadata of revisions (a Hub commit's list of files) that stand at one of `statuses`, of one
    /// artifact or of all, in the order of paths.
    pub async fn metadata(
        &self,
        repository: RepositoryId,
        artifact: Option<&ArtifactName>,
        statuses: &[Status],
    ) -> Result<Vec<RevisionMetadata>> {
        let query = built(format!(
            "SELECT r.status AS status, \
             CASE WHEN EXISTS (SELECT 1 FROM dirty d WHERE d.revision = r.id) THEN 1 ELSE 0 END AS unpublished, f.path AS path, f.stored_sha256 AS sha256, f.stored_blake3 AS blake3, \
             f.stored_size AS size, CAST(NULL AS TEXT) AS derived_from, a.name AS artifact, r.name AS revision, \
             f.attributes AS attributes, f.inspection AS inspection \
             FROM revision r JOIN artifact a ON a.id = r.artifact JOIN file f ON f.revision = r.id \
             WHERE r.repository = $1 AND a.name = COALESCE($2, a.name) AND f.stored_sha256 IS NOT NULL \
             AND f.url LIKE 'inline:%' AND r.status IN ({}) ORDER BY f.path",
            list(3, statuses.len())
        ));
        let query = query.bind(repository.0).bind(artifact.map(|name| name.as_str().to_owned()));
        let query = statuses.iter().fold(query, |query, status| query.bind(status.as_str()));
        let rows = self.all("list the metadata of revisions", query).await?;
        let metadata = |row: &AnyRow| {
            let entry = entry(row, row.parsed("path")?, row.parsed("sha256")?)?;
            Ok(RevisionMetadata {
                status: row.parsed("status")?,
                is_unpublished: row.flag("unpublished")?,
                entry,
            })
        };
        rows.iter().map(metadata).collect()
    }

    /// Forgets the changes up to `mark`, because the newest snapshot shows them already.
    pub async fn settle(&self, repository: RepositoryId, mark: i64, fence: &Fence) -> Result<()> {
        let mut write = self.fenced("settle changes", Some(fence)).await?;
        let settle = sql("DELETE FROM dirty WHERE repository = $1 AND seq <= $2");
        write.execute(settle.bind(repository.0).bind(mark)).await?;
        write.commit().await
    }

    /// Makes entries of another snapshot (of another repository, or of a lost catalog) known here, with their
    /// bytes. With `available` their revisions become AVAILABLE, unless they are rejected or blocked here;
    /// otherwise they wait for a person. Returns the paths that are AVAILABLE now.
    pub async fn adopt_entries(
        &self,
        repository: RepositoryId,
        entries: &[Entry],
        available: bool,
        actor: &Actor,
        reason: &str,
        fence: Option<&Fence>,
    ) -> Result<BTreeSet<ContentPath>> {
        let mut groups: BTreeMap<(ArtifactName, RevisionName), Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            if let (Some(artifact), Some(revision)) = (entry.artifact.clone(), entry.revision.clone()) {
                groups.entry((artifact, revision)).or_default().push(entry);
            }
        }
        let wanted: Vec<NewRevision> = groups
            .keys()
            .map(|(artifact, revision)| NewRevision {
                artifact: artifact.clone(),
                revision: revision.clone(),
            })
            .collect();
        let ids = self.register(repository, &wanted, actor).await?;
        let mut write = self.fenced("adopt files", fence).await?;
        for (entries, id) in groups.values().zip(&ids) {
            // Files before what was taken out of them.
            for entry in entries.iter().filter(|entry| !entry.attributes.contains_key(DERIVED_FROM)) {
                write.adopt_file(repository, *id, entry, available).await?;
            }
            for entry in entries {
                write.adopt_derived(repository, entry).await?;
            }
            write.mark_dirty(repository, *id).await?;
        }
        let detail = object!({ "repository": repository, "files": entries.len(), "reason": reason });
        write.audit(actor, "file.adopt", &format!("{} revisions", ids.len()), &detail).await?;
        write.commit().await?;

        let mut admitted = BTreeSet::new();
        for (entries, id) in groups.values().zip(&ids) {
            if self.settle_adopted(*id, available, actor, reason, fence).await? == Status::Available {
                admitted.extend(entries.iter().map(|entry| entry.path.clone()));
            }
        }
        Ok(admitted)
    }

    /// Walks an adopted revision to AVAILABLE or to where a person decides; returns where it stands.
    async fn settle_adopted(
        &self,
        id: RevisionId,
        available: bool,
        actor: &Actor,
        reason: &str,
        fence: Option<&Fence>,
    ) -> Result<Status> {
        let revision = self.revision(id).await?;
        let last = if available { Status::Available } else { Status::NeedsApproval };
        let steps: &[Status] = match revision.status {
            Status::Scanned | Status::Failed => &[Status::Pulling, Status::Pulled, Status::Verifying, last],
            Status::Pulling => &[Status::Pulled, Status::Verifying, last],
            Status::Pulled => &[Status::Verifying, last],
            Status::Verifying => &[last],
            Status::NeedsApproval if available => &[last],
            standing => return Ok(standing),
        };
        let (mut from, mut attempt) = (revision.status, revision.attempt);
        for &to in steps {
            let change = Transition {
                revision: id,
                from,
                attempt,
                to,
                actor: actor.clone(),
                reason: reason.to_owned(),
            };
            for changed in self.transition(&[change], fence).await? {
                (from, attempt) = (changed.status, changed.attempt);
            }
        }
        Ok(last)
    }
}

impl Write {
    async fn adopt_file(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        entry: &Entry,
        admitted: bool,
    ) -> Result<()> {
        let collision = Sha256Digest::of(entry.path.collision_key().as_bytes()).to_string();
        let inspection = Inspection::of_facts(entry.attributes.clone());
        let sha256 = entry.blob.sha256.to_string();
        let upsert = sql(
            "INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, \
                          attributes, stored_sha256, stored_blake3, stored_size, inspection, admitted) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '{}', $8, $9, $7, $10, $11) \
                          ON CONFLICT (repository, collision) DO UPDATE SET \
                          stored_sha256 = excluded.stored_sha256, stored_blake3 = excluded.stored_blake3, \
                          stored_size = excluded.stored_size, inspection = excluded.inspection, \
                          admitted = excluded.admitted WHERE file.sha256 = excluded.sha256 OR file.sha256 IS NULL",
        );
        // What is internal where it was published is internal here.
        let is_internal = entry.attributes.get(Accepted::INTERNAL) == Some(&Value::Bool(true));
        let registry = if is_internal { UPLOADED } else { ADOPTED };
        let url = format!("reservoir:{sha256}");
        let upsert = upsert.bind(repository.0).bind(revision.0).bind(entry.path.as_str().to_owned());
        let upsert =
            upsert.bind(collision).bind(registry).bind(url).bind(entry.blob.size as i64).bind(sha256);
        let upsert = upsert.bind(entry.blob.blake3.to_string()).bind(json(&inspection)?);
        self.execute(upsert.bind(i64::from(admitted))).await.map(drop)
    }

    async fn adopt_derived(&mut self, repository: RepositoryId, entry: &Entry) -> Result<()> {
        let Some(owner) = entry.attributes.get(DERIVED_FROM).and_then(Value::as_str) else { return Ok(()) };
        let find = sql("SELECT id FROM file WHERE repository = $1 AND path = $2");
        let Some(row) = self.optional(find.bind(repository.0).bind(owner.to_owned())).await? else {
            return Ok(());
        };
        let file = row.int("id")?;
        let forget = sql("DELETE FROM derived WHERE file = $1 AND path = $2");
        self.execute(forget.bind(file).bind(entry.path.as_str().to_owned())).await?;
        let insert =
            sql("INSERT INTO derived (file, path, sha256, blake3, size) VALUES ($1, $2, $3, $4, $5)");
        let insert =
            insert.bind(file).bind(entry.path.as_str().to_owned()).bind(entry.blob.sha256.to_string());
        self.execute(insert.bind(entry.blob.blake3.to_string()).bind(entry.blob.size as i64)).await.map(drop)
    }
}

/// What is AVAILABLE, admitted and stored is put; everything else that changed is removed.
pub(super) fn edit(row: &AnyRow) -> Result<Edit> {
    let path: ContentPath = row.parsed("path")?;
    let status: Status = row.parsed("status")?;
    let sha256: Option<Sha256Digest> = row.parsed_or_none("sha256")?;
    let Some(sha256) = sha256.filter(|_| status == Status::Available) else { return Ok(Edit::Remove(path)) };
    if !row.flag("admitted")? {
        return Ok(Edit::Remove(path));
    }
    Ok(Edit::Put(Box::new(entry(row, path, sha256)?)))
}

/// The entry of a file with these bytes, wherever its revision stands.
pub(super) fn entry(row: &AnyRow, path: ContentPath, sha256: Sha256Digest) -> Result<Entry> {
    let mut attributes: BTreeMap<String, Value> = row.decoded("attributes")?;
    if let Some(inspection) = row.decoded_or_none::<Inspection>("inspection")? {
        // What the bytes say stands over what the registry says.
        attributes.extend(inspection.into_facts());
    }
    if let Some(owner) = row.text_or_none("derived_from")? {
        attributes.insert(DERIVED_FROM.to_owned(), Value::String(owner));
    }
    Ok(Entry {
        path,
        blob: Blob { sha256, blake3: row.parsed("blake3")?, size: row.count("size")? },
        artifact: Some(row.parsed("artifact")?),
        revision: Some(row.parsed("revision")?),
        attributes,
    })
}
