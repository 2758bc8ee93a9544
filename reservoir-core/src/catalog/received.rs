//! Recording what clients uploaded: the bytes are in the store already, nothing is believed of them yet.

use std::collections::BTreeMap;

use serde_json::{Value, json as object};

use super::{
    Catalog, Fence, RepositoryId,
    internal::UPLOADED,
    rows::{BATCH, Columns as _, built, json, list, sql, tuples},
    write::Write,
};
use crate::{
    digest::Sha256Digest,
    ecosystem::DiscoveredFile,
    error::{Error, Result},
    lifecycle::RevisionId,
    name::{Actor, ArtifactName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// A file that a client uploaded.
#[derive(Debug, Clone)]
pub struct ReceivedFile {
    /// Its path within the repository.
    pub path: ContentPath,
    /// Its bytes.
    pub blob: Blob,
    /// Facts that the format needs again.
    pub attributes: BTreeMap<String, Value>,
    /// Whether it is metadata, which a cleanup keeps.
    pub is_metadata: bool,
}

impl Catalog {
    /// Records files of a revision whose bytes are in the store. A new revision is SCANNED; files that it has
    /// already, with the same bytes, stay as they are.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a path is taken, by other bytes or by another revision: nothing is recorded.
    pub async fn record_received(
        &self,
        repository: RepositoryId,
        (artifact, revision): (&ArtifactName, &RevisionName),
        files: &[ReceivedFile],
        actor: &Actor,
        fence: &Fence,
    ) -> Result<RevisionId> {
        let mut write = self.fenced("record an upload", Some(fence)).await?;
        let owner = write.artifact_id(repository, artifact).await?;
        let paths: Vec<&ContentPath> = files.iter().map(|file| &file.path).collect();
        write.claim_name(repository, owner, artifact, &paths, actor).await?;
        let known = sql("SELECT id FROM revision WHERE artifact = $1 AND name = $2");
        let known = write.optional(known.bind(owner).bind(revision.as_str())).await?;
        let id = if let Some(row) = known {
            RevisionId(row.int("id")?)
        } else {
            let made = write.insert_revisions(repository, owner, &[revision], actor).await?;
            made.first().map(|(id, _)| *id).ok_or_else(|| Error::not_found("revision", revision))?
        };
        for files in files.chunks(BATCH) {
            write.insert_received(repository, id, files).await?;
        }
        let detail = object!({ "repository": repository, "files": files.len() });
        write.audit(actor, "revision.receive", &format!("{artifact}@{revision}"), &detail).await?;
        write.commit().await?;
        Ok(id)
    }

    /// Replaces the facts of files, and marks their revisions for the next snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that is not known: nothing is changed.
    pub async fn annotate_files(
        &self,
        repository: RepositoryId,
        facts: &[(ContentPath, BTreeMap<String, Value>)],
        actor: &Actor,
        fence: &Fence,
    ) -> Result<()> {
        let mut write = self.fenced("annotate files", Some(fence)).await?;
        for (path, attributes) in facts {
            let update =
                sql("UPDATE file SET attributes = $1 WHERE repository = $2 AND path = $3 RETURNING revision");
            let update = update.bind(json(attributes)?).bind(repository.0).bind(path.as_str().to_owned());
            let row = write.optional(update).await?.ok_or_else(|| Error::not_found("file", path))?;
            write.mark_dirty(repository, RevisionId(row.int("revision")?)).await?;
            let detail = object!({ "repository": repository, "attributes": attributes });
            write.audit(actor, "file.annotate", path.as_str(), &detail).await?;
        }
        write.commit().await
    }
}

impl Write {
    async fn insert_received(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        files: &[ReceivedFile],
    ) -> Result<()> {
        let collision = |path: &ContentPath| Sha256Digest::of(path.collision_key().as_bytes()).to_string();
        let mut new: BTreeMap<String, &ReceivedFile> = BTreeMap::new();
        for file in files {
            if let Some(other) = new.insert(collision(&file.path), file) {
                return Err(taken(&file.path, &other.path));
            }
        }
        let text = format!(
            "SELECT collision, path, revision, sha256 FROM file WHERE repository = $1 AND collision IN ({})",
            list(2, new.len())
        );
        let query = new.keys().fold(built(text).bind(repository.0), |query, key| query.bind(key.as_str()));
        for row in self.all(query).await? {
            let (path, key): (ContentPath, _) = (row.parsed("path")?, row.text("collision")?);
            let Some(file) = new.remove(&key) else { continue };
            let is_same = path == file.path
                && row.int("revision")? == revision.0
                && row.parsed_or_none::<Sha256Digest>("sha256")? == Some(file.blob.sha256);
            if !is_same {
                return Err(taken(&file.path, &path));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let mut insert = built(format!(
            "INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, attributes, \
             stored_sha256, stored_blake3, stored_size) VALUES {}",
            tuples(new.len(), 12)
        ));
        for (collision, file) in &new {
            let (sha256, size) = (file.blob.sha256.to_string(), file.blob.size as i64);
            let scheme = if file.is_metadata { DiscoveredFile::INLINE } else { UPLOADED };
            insert = insert.bind(repository.0).bind(revision.0).bind(file.path.as_str());
            insert = insert.bind(collision.as_str()).bind(UPLOADED).bind(format!("{scheme}:{sha256}"));
            insert = insert.bind(size).bind(sha256.clone()).bind(json(&file.attributes)?);
            insert = insert.bind(sha256).bind(file.blob.blake3.to_string()).bind(size);
        }
        self.execute(insert).await.map(drop)
    }
}

fn taken(path: &ContentPath, by: &ContentPath) -> Error {
    Error::Conflict {
        what: format!("file `{path}`"),
        detail: format!("`{by}` is here already; nothing was changed"),
    }
}
