//! Recording what was put into a hosted repository: the bytes are in the store already, nothing is believed of them
//! yet.

use std::collections::BTreeMap;

use serde_json::{Value, json as object};

use super::{
    Catalog, Fence, RepositoryId,
    content::ADOPTED,
    discovery::collision,
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

/// A file that was put into a hosted repository.
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

/// Files of one revision that are taken together or not at all.
#[derive(Debug, Clone)]
pub struct ReceivedFiles {
    /// The artifact they belong to.
    pub artifact: ArtifactName,
    /// The revision they belong to.
    pub revision: RevisionName,
    /// They, in the order they are to be known in.
    pub files: Vec<ReceivedFile>,
}

impl Catalog {
    /// Records files whose bytes are in the store, all in one transaction. New revisions are SCANNED, as if a
    /// registry offered them; files that a revision has already, with the same bytes, stay as they are, and have
    /// their bytes back after a cleanup. Gives the revision of each group, or why it cannot be:
    /// [`Error::Conflict`] where a path is taken, by other bytes or by another revision; of that group nothing is
    /// recorded.
    pub async fn record_received(
        &self,
        repository: RepositoryId,
        groups: &[ReceivedFiles],
        actor: &Actor,
        fence: Option<&Fence>,
    ) -> Result<Vec<Result<RevisionId>>> {
        let mut write = self.fenced("record what was received", fence).await?;
        let mut recorded = Vec::with_capacity(groups.len());
        for group in groups {
            recorded.push(match write.receive(repository, group, actor).await {
                Err(error @ Error::Conflict { .. }) => Err(error),
                other => Ok(other?),
            });
        }
        write.commit().await?;
        Ok(recorded)
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

/// What a row of a file is made of, apart from its revision.
pub(super) struct NewFile<'f> {
    pub(super) file: &'f ReceivedFile,
    pub(super) collision: String,
}

impl Write {
    /// Looks at all of a group before it changes anything.
    async fn receive(
        &mut self,
        repository: RepositoryId,
        group: &ReceivedFiles,
        actor: &Actor,
    ) -> Result<RevisionId> {
        let ReceivedFiles { artifact, revision, files } = group;
        let known = self.find_revision(repository, artifact, revision).await?;
        let mut new: BTreeMap<String, &ReceivedFile> = BTreeMap::new();
        for file in files {
            if let Some(other) = new.insert(collision(&file.path), file) {
                return Err(taken(&file.path, &other.path, "the same upload"));
            }
        }
        let back = self.known_already(repository, artifact, known, &mut new).await?;
        let paths: Vec<&ContentPath> = files.iter().map(|file| &file.path).collect();
        self.claim_name(repository, artifact, &paths, actor).await?;
        let id = if let Some(id) = known {
            id
        } else {
            let owner = self.artifact_id(repository, artifact).await?;
            let made = self.insert_revisions(repository, owner, &[revision], actor).await?;
            made.first().map(|(id, _)| *id).ok_or_else(|| Error::not_found("revision", revision))?
        };
        self.bring_back(repository, &back).await?;
        // In the order they were given in.
        let mut rows = Vec::with_capacity(new.len());
        for file in files {
            let collision = collision(&file.path);
            if new.contains_key(&collision) {
                rows.push(NewFile { file, collision });
            }
        }
        for rows in rows.chunks(BATCH) {
            self.insert_received(repository, id, rows).await?;
        }
        if !rows.is_empty() || !back.is_empty() {
            let mut detail = object!({ "repository": repository, "files": rows.len() + back.len() });
            if let [file] = &files[..] {
                detail["path"] = object!(file.path);
                detail["sha256"] = object!(file.blob.sha256);
            }
            self.audit(actor, "revision.receive", &format!("{artifact}@{revision}"), &detail).await?;
        }
        Ok(id)
    }

    async fn find_revision(
        &mut self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        revision: &RevisionName,
    ) -> Result<Option<RevisionId>> {
        let known = sql("SELECT r.id FROM revision r JOIN artifact a ON a.id = r.artifact \
                         WHERE r.repository = $1 AND a.name = $2 AND r.name = $3");
        let known = known.bind(repository.0).bind(artifact.as_str()).bind(revision.as_str());
        Ok(self.optional(known).await?.map(|row| row.int("id")).transpose()?.map(RevisionId))
    }

    /// Takes what is known already out of `new`; what of that has lost its bytes.
    ///
    /// # Errors
    /// [`Error::Conflict`] where something else has the path.
    async fn known_already<'f>(
        &mut self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        revision: Option<RevisionId>,
        new: &mut BTreeMap<String, &'f ReceivedFile>,
    ) -> Result<Vec<&'f ReceivedFile>> {
        let mut back = Vec::new();
        let keys: Vec<String> = new.keys().cloned().collect();
        for keys in keys.chunks(BATCH) {
            let text = format!(
                "SELECT f.collision, f.path, f.revision, f.registry, f.sha256, f.stored_sha256, r.name, \
                 a.name AS artifact FROM file f JOIN revision r ON r.id = f.revision JOIN artifact a ON a.id = r.artifact \
                 WHERE f.repository = $1 AND f.collision IN ({})",
                list(2, keys.len())
            );
            let query =
                keys.iter().fold(built(text).bind(repository.0), |query, key| query.bind(key.clone()));
            for row in self.all(query).await? {
                let is_offered = ![UPLOADED, ADOPTED].contains(&row.text("registry")?.as_str());
                if is_offered && row.text("artifact")? == artifact.as_str() {
                    // It goes when the name becomes internal.
                    continue;
                }
                let Some(file) = new.remove(&row.text("collision")?) else { continue };
                let path: ContentPath = row.parsed("path")?;
                let is_same = path == file.path
                    && revision == Some(RevisionId(row.int("revision")?))
                    && row.parsed_or_none::<Sha256Digest>("sha256")? == Some(file.blob.sha256);
                if !is_same {
                    let owner = format!("{}@{}", row.text("artifact")?, row.text("name")?);
                    return Err(taken(&file.path, &path, &owner));
                }
                if row.text_or_none("stored_sha256")?.is_none() {
                    back.push(file);
                }
            }
        }
        Ok(back)
    }

    /// Notes that the bytes of known files are here again.
    async fn bring_back(&mut self, repository: RepositoryId, files: &[&ReceivedFile]) -> Result<()> {
        for file in files {
            let update = sql("UPDATE file SET stored_sha256 = $1, stored_blake3 = $2, stored_size = $3 \
                              WHERE repository = $4 AND path = $5");
            let update = update.bind(file.blob.sha256.to_string()).bind(file.blob.blake3.to_string());
            let update = update.bind(file.blob.size as i64).bind(repository.0);
            self.execute(update.bind(file.path.as_str().to_owned())).await?;
        }
        Ok(())
    }

    async fn insert_received(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        rows: &[NewFile<'_>],
    ) -> Result<()> {
        let mut insert = built(format!(
            "INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, attributes, \
             wanted, stored_sha256, stored_blake3, stored_size) VALUES {}",
            tuples(rows.len(), 13)
        ));
        for NewFile { file, collision } in rows {
            let (sha256, size) = (file.blob.sha256.to_string(), file.blob.size as i64);
            insert = insert.bind(repository.0).bind(revision.0).bind(file.path.as_str().to_owned());
            insert = insert.bind(collision.clone()).bind(UPLOADED).bind(file.url());
            insert = insert.bind(size).bind(sha256.clone()).bind(json(&file.attributes)?).bind(1_i64);
            insert = insert.bind(sha256).bind(file.blob.blake3.to_string()).bind(size);
        }
        self.execute(insert).await.map(drop)
    }
}

impl ReceivedFile {
    pub(super) fn url(&self) -> String {
        let scheme = if self.is_metadata { DiscoveredFile::INLINE } else { UPLOADED };
        format!("{scheme}:{}", self.blob.sha256)
    }
}

fn taken(path: &ContentPath, by: &ContentPath, owner: &str) -> Error {
    Error::Conflict {
        what: format!("file `{path}`"),
        detail: format!(
            "`{by}` of `{owner}` is here with other bytes; what was published keeps its bytes, so give it another version"
        ),
    }
}
