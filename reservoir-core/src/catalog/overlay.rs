//! What a cache serves beside its newest snapshot, and what it lets go of.

use serde_json::json as object;
use sqlx::any::AnyRow;

use super::{
    Catalog, FileId, FileRow, RepositoryId,
    content::edit,
    discovery::collision,
    files::{COLUMNS, file},
    internal::SHADOWED,
    rows::{BATCH, Columns as _, built, list, sql},
    write::Write,
};
use crate::{
    clock::Timestamp,
    error::Result,
    lifecycle::{RevisionId, Status, Transition},
    name::{Actor, ArtifactName},
    path::ContentPath,
    snapshot::{Edit, Entry},
    store::Blob,
};

/// Files let go of in one transaction.
const EVICTED_AT_ONCE: i64 = 500;

/// What an eviction let go of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Catalog {
    /// What is known of the file at a path, without what was taken out of it. What a registry offered under a name that
    /// has become internal is not known.
    pub async fn file_at(&self, repository: RepositoryId, path: &ContentPath) -> Result<Option<FileRow>> {
        let text =
            format!("SELECT {COLUMNS} FROM file WHERE repository = $1 AND collision = $2 AND NOT {SHADOWED}");
        let query = built(text).bind(repository.0).bind(collision(path));
        let row = self.optional("look a file up", query).await?;
        // Paths that differ in case collide; only the very path is meant.
        Ok(row.as_ref().map(file).transpose()?.filter(|file| file.path == *path))
    }

    /// [`file_at`](Self::file_at) for many paths; in no order, and without those that are not known.
    pub async fn files_at(&self, repository: RepositoryId, paths: &[ContentPath]) -> Result<Vec<FileRow>> {
        let mut found = Vec::new();
        for paths in paths.chunks(BATCH) {
            let keys = list(2, paths.len());
            let text = format!(
                "SELECT {COLUMNS} FROM file WHERE repository = $1 AND collision IN ({keys}) AND NOT {SHADOWED}"
            );
            let query =
                paths.iter().fold(built(text).bind(repository.0), |query, path| query.bind(collision(path)));
            for row in &self.all("look files up", query).await? {
                let row = file(row)?;
                // Paths that differ in case collide; only the very paths are meant.
                if paths.contains(&row.path) {
                    found.push(row);
                }
            }
        }
        Ok(found)
    }

    /// Artifacts of which something AVAILABLE is in no snapshot yet, or differs from the newest; by name, so many at
    /// most.
    pub async fn unfolded(&self, repository: RepositoryId, limit: u32) -> Result<Vec<ArtifactName>> {
        let query = sql("SELECT DISTINCT a.name AS name FROM dirty d JOIN revision r ON r.id = d.revision \
                         JOIN artifact a ON a.id = r.artifact \
                         WHERE d.repository = $1 AND r.status = 'AVAILABLE' ORDER BY a.name LIMIT $2");
        let query = query.bind(repository.0).bind(i64::from(limit));
        self.all("list what is not folded", query).await?.iter().map(|row| row.parsed("name")).collect()
    }

    /// What a snapshot made now would have at a path: the file, and what was taken out of it. Empty unless it
    /// is admitted and its revision AVAILABLE.
    pub async fn entries_at(&self, repository: RepositoryId, path: &ContentPath) -> Result<Vec<Entry>> {
        let query = sql("SELECT f.path AS path, f.stored_sha256 AS sha256, f.stored_blake3 AS blake3, \
                    f.stored_size AS size, NULL AS derived_from, r.status AS status, f.admitted AS admitted, \
                    a.name AS artifact, r.name AS revision, f.attributes AS attributes, \
                    f.inspection AS inspection \
             FROM file f JOIN revision r ON r.id = f.revision JOIN artifact a ON a.id = r.artifact \
             WHERE f.repository = $1 AND f.collision = $2 \
             UNION ALL \
             SELECT x.path, CASE WHEN f.stored_sha256 IS NULL THEN NULL ELSE x.sha256 END, x.blake3, x.size, \
                    f.path, r.status, f.admitted, a.name, r.name, '{}', NULL \
             FROM file f JOIN revision r ON r.id = f.revision JOIN artifact a ON a.id = r.artifact \
             JOIN derived x ON x.file = f.id \
             WHERE f.repository = $1 AND f.collision = $2 AND x.announced = 0");
        let rows = self.all("look up what is served", query.bind(repository.0).bind(collision(path))).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Edit::Put(entry) = edit(row)? {
                entries.push(*entry);
            }
        }
        let found = entries.iter().any(|entry| entry.path == *path);
        Ok(if found { entries } else { Vec::new() })
    }

    /// The small files beside one that were fetched by the digest that the registry announced, see
    /// [`put_announced`](Self::put_announced).
    pub async fn announced(&self, owner: FileId) -> Result<Vec<(ContentPath, Blob)>> {
        let query = sql("SELECT path, sha256, blake3, size FROM derived WHERE file = $1 AND announced = 1");
        let rows = self.all("look small files up", query.bind(owner.0)).await?;
        let blob = |row: &AnyRow| -> Result<Blob> {
            Ok(Blob {
                sha256: row.parsed("sha256")?,
                blake3: row.parsed("blake3")?,
                size: row.count("size")?,
            })
        };
        rows.iter().map(|row| Ok((row.parsed("path")?, blob(row)?))).collect()
    }

    /// Keeps a small file beside one that is not here yet, by the digest that the registry announced. What an
    /// inspection takes out of the file itself replaces it.
    pub async fn put_announced(&self, owner: FileId, path: &ContentPath, blob: &Blob) -> Result<()> {
        let mut write = self.write("keep a small file").await?;
        let known = sql("SELECT inspection FROM file WHERE id = $1").bind(owner.0);
        let known = write.optional(known).await?;
        if known.is_none_or(|row| !matches!(row.text_or_none("inspection"), Ok(None))) {
            return Ok(());
        }
        // Also what was left of an inspection whose file was let go of: one path, one row.
        let forget = sql("DELETE FROM derived WHERE file = $1 AND path = $2");
        write.execute(forget.bind(owner.0).bind(path.to_string())).await?;
        let insert = sql("INSERT INTO derived (file, path, sha256, blake3, size, announced) \
                          VALUES ($1, $2, $3, $4, $5, 1)");
        let insert = insert.bind(owner.0).bind(path.to_string()).bind(blob.sha256.to_string());
        write.execute(insert.bind(blob.blake3.to_string()).bind(blob.size as i64)).await?;
        write.commit().await
    }

    /// Notes when files were last used. Paths that are no files of the repository are passed over.
    pub async fn note_uses(&self, repository: RepositoryId, uses: &[(ContentPath, Timestamp)]) -> Result<()> {
        let mut write = self.write("note uses").await?;
        for (path, at) in uses {
            let note = sql("UPDATE file SET used_at = $1 WHERE repository = $2 AND collision = $3");
            write.execute(note.bind(at.as_micros()).bind(repository.0).bind(collision(path))).await?;
        }
        write.commit().await
    }

    /// Bytes of the files that a repository holds of its registries, whatever their revisions' status. What was
    /// uploaded has no other home, and counts as little as it is let go of.
    pub async fn held_bytes(&self, repository: RepositoryId) -> Result<u64> {
        let query = sql("SELECT CAST(COALESCE(SUM(stored_size), 0) AS BIGINT) AS held FROM file \
                         WHERE repository = $1 AND stored_sha256 IS NOT NULL \
                         AND url NOT LIKE 'inline:%' AND url NOT LIKE 'upload:%'");
        self.one("add sizes up", query.bind(repository.0)).await?.count("held")
    }

    /// Lets go of the files of AVAILABLE revisions that were used least recently, `bytes` of them or some more,
    /// a few hundred files at most. A revision without files is SCANNED again, and denied nothing: it may be
    /// asked for at any time. What older snapshots list is served from them as long as they are kept; so, with
    /// `published`, what is in none yet stays, since clients may have a page that lists it.
    pub async fn evict(
        &self,
        repository: RepositoryId,
        bytes: u64,
        published: bool,
        actor: &Actor,
    ) -> Result<Evicted> {
        let mut write = self.write("let go of files").await?;
        let query = sql("SELECT f.id, f.revision, f.stored_size FROM file f \
                         JOIN revision r ON r.id = f.revision WHERE f.repository = $1 AND f.admitted = 1 \
                         AND f.stored_sha256 IS NOT NULL AND r.status = 'AVAILABLE' \
                         AND f.url NOT LIKE 'inline:%' AND f.url NOT LIKE 'upload:%' \
                         AND ($3 = 0 OR NOT EXISTS (SELECT 1 FROM dirty d WHERE d.revision = f.revision)) \
                         ORDER BY COALESCE(f.used_at, 0), f.id LIMIT $2");
        let mut evicted = Evicted::default();
        let mut files = Vec::new();
        let mut revisions = Vec::new();
        for row in
            write.all(query.bind(repository.0).bind(EVICTED_AT_ONCE).bind(i64::from(published))).await?
        {
            if evicted.bytes >= bytes {
                break;
            }
            evicted.bytes += row.count("stored_size")?;
            evicted.files += 1;
            files.push(row.int("id")?);
            revisions.push(RevisionId(row.int("revision")?));
        }
        if files.is_empty() {
            return Ok(evicted);
        }
        for files in files.chunks(BATCH) {
            let text = format!(
                "UPDATE file SET stored_sha256 = NULL, stored_blake3 = NULL, stored_size = NULL, \
                 inspection = NULL, admitted = 0, used_at = NULL WHERE id IN ({})",
                list(1, files.len())
            );
            write.execute(files.iter().fold(built(text), |update, id| update.bind(*id))).await?;
        }
        revisions.sort_unstable();
        revisions.dedup();
        for revision in revisions {
            write.mark_dirty(repository, revision).await?;
            write.empty_again(repository, revision, actor, "least recently used of a full cache").await?;
        }
        write.forget_complete(repository).await?;
        let detail = object!({ "repository": repository, "files": evicted.files, "bytes": evicted.bytes });
        write.audit(actor, "cache.evict", &format!("{} files", evicted.files), &detail).await?;
        write.commit().await?;
        Ok(evicted)
    }
}

impl Catalog {
    /// Has the next sync look at everything again, because something changed that it did not see.
    pub async fn forget_complete(&self, repository: RepositoryId) -> Result<()> {
        let mut write = self.write("forget a complete sync").await?;
        write.forget_complete(repository).await?;
        write.commit().await
    }
}

impl Write {
    async fn forget_complete(&mut self, repository: RepositoryId) -> Result<()> {
        let forget = sql("UPDATE repository SET complete = NULL WHERE id = $1 AND complete IS NOT NULL");
        self.execute(forget.bind(repository.0)).await.map(drop)
    }

    /// An AVAILABLE revision none of whose files is here is SCANNED; nothing of it is denied.
    pub(super) async fn empty_again(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        actor: &Actor,
        reason: &str,
    ) -> Result<()> {
        let query = sql("SELECT attempt, (SELECT COUNT(*) FROM file f WHERE f.revision = r.id \
                         AND f.stored_sha256 IS NOT NULL) AS held FROM revision r WHERE r.id = $1");
        let row = self.one(query.bind(revision.0)).await?;
        if row.int("held")? > 0 {
            return Ok(());
        }
        self.change_status(&Transition {
            revision,
            from: Status::Available,
            attempt: row.int("attempt")?,
            to: Status::Scanned,
            actor: actor.clone(),
            reason: reason.to_owned(),
        })
        .await?;
        self.lift_denials(repository, &[revision]).await
    }
}
