//! Files of revisions: what the registry claims, and what is here.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json as object};
use sqlx::any::AnyRow;
use url::Url;

use super::{
    Catalog, Fence, RepositoryId,
    internal::UPLOADED,
    rows::{BATCH, Columns as _, built, list, sql},
    write::Write,
};
use crate::{
    digest::Sha256Digest,
    ecosystem::{DiscoveredFile, Inspection},
    error::{Error, Result},
    lifecycle::{RevisionId, Status},
    name::{Actor, RegistryName},
    path::ContentPath,
    store::Blob,
};

/// The catalog's id of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub i64);

/// A file as the catalog has it.
#[derive(Debug, Clone)]
pub struct FileRow {
    /// Its id.
    pub id: FileId,
    /// Its revision.
    pub revision: RevisionId,
    /// Its path within the repository.
    pub path: ContentPath,
    /// The registry that offers it.
    pub registry: RegistryName,
    /// Where to fetch it.
    pub url: Url,
    /// Bytes, when the registry says.
    pub size: Option<u64>,
    /// Its digest, when the registry says.
    pub sha256: Option<Sha256Digest>,
    /// Facts from the registry.
    pub attributes: BTreeMap<String, Value>,
    /// Whether a selection chose it.
    pub wanted: bool,
    /// Whether the registry has stopped offering it.
    pub gone: bool,
    /// Its bytes, once they are here.
    pub blob: Option<Blob>,
    /// What the format found in them.
    pub inspection: Option<Inspection>,
    /// Small files taken out of it.
    pub derived: Vec<(ContentPath, Blob)>,
    /// Whether it may be in a snapshot while its revision is AVAILABLE.
    pub admitted: bool,
}

impl FileRow {
    /// Whether somebody put it here, and no registry offers it.
    #[must_use]
    pub fn is_uploaded(&self) -> bool {
        self.registry.as_str() == UPLOADED
    }

    /// The digests of its bytes: of those that are here, and as the registry says.
    pub fn known_digests(&self) -> impl Iterator<Item = Sha256Digest> + use<> {
        let (here, told) = (self.blob.map(|blob| blob.sha256), self.sha256);
        here.into_iter().chain(told.filter(|told| here != Some(*told)))
    }

    /// Whether its revision can do without it.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.attributes.get(DiscoveredFile::OPTIONAL) == Some(&Value::Bool(true))
    }
}

pub(super) const COLUMNS: &str = "id, revision, path, registry, url, size, sha256, attributes, wanted, gone_at, \
                       stored_sha256, stored_blake3, stored_size, inspection, admitted";

impl Catalog {
    /// The files of a revision, in the order they became known.
    pub async fn files(&self, revision: RevisionId) -> Result<Vec<FileRow>> {
        self.files_of(&[revision]).await
    }

    /// The files of some revisions, in the order they became known.
    pub async fn files_of(&self, revisions: &[RevisionId]) -> Result<Vec<FileRow>> {
        let mut files = Vec::new();
        for part in revisions.chunks(BATCH) {
            let (ids, first) = (list(1, part.len()), files.len());
            let query = built(format!("SELECT {COLUMNS} FROM file WHERE revision IN ({ids}) ORDER BY id"));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            for row in &self.all("list files", query).await? {
                files.push(file(row)?);
            }
            let query = built(format!(
                "SELECT d.file, d.path, d.sha256, d.blake3, d.size FROM derived d \
                 JOIN file f ON f.id = d.file WHERE f.revision IN ({ids}) ORDER BY d.file, d.id"
            ));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            let files: &mut [FileRow] = &mut files[first..];
            for row in self.all("list derived files", query).await? {
                let owner = FileId(row.int("file")?);
                // They are in the order of their ids. One that became known between the two queries is absent.
                if let Ok(index) = files.binary_search_by_key(&owner, |file| file.id) {
                    files[index].derived.push((row.parsed("path")?, derived_blob(&row)?));
                }
            }
        }
        Ok(files)
    }

    /// How many files each of some revisions has; those without any are not among them.
    pub(crate) async fn count_files(&self, revisions: &[RevisionId]) -> Result<HashMap<RevisionId, u64>> {
        let mut counts = HashMap::new();
        for part in revisions.chunks(BATCH) {
            let query = built(format!(
                "SELECT revision, COUNT(*) AS files FROM file WHERE revision IN ({}) GROUP BY revision",
                list(1, part.len())
            ));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            for row in self.all("count files", query).await? {
                counts.insert(RevisionId(row.int("revision")?), row.count("files")?);
            }
        }
        Ok(counts)
    }

    /// Notes that a selection chose these files.
    #[cfg(any(test, feature = "testing"))]
    pub async fn want_files(&self, files: &[FileId]) -> Result<()> {
        let mut write = self.write("note wanted files").await?;
        for files in files.chunks(BATCH) {
            let text = format!("UPDATE file SET wanted = 1 WHERE id IN ({})", list(1, files.len()));
            let update = files.iter().fold(built(text), |update, id| update.bind(id.0));
            write.execute(update).await?;
        }
        write.commit().await
    }

    /// Records that the bytes of a file are in the store. Other bytes than before lose what was found in and
    /// decided on the old ones.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the digest is not the one the registry claims.
    pub async fn store_file(&self, id: FileId, blob: &Blob, fence: Option<&Fence>) -> Result<()> {
        let mut write = self.fenced("record a stored file", fence).await?;
        write.refuse_shadowed(&[id]).await?;
        write.store_files(&[(id, *blob)]).await?;
        write.commit().await
    }

    /// Records what the format found in a stored file, replacing what was found before.
    ///
    /// # Errors
    /// [`Error::Invalid`] when its bytes are not here.
    #[cfg(any(test, feature = "testing"))]
    pub async fn inspected_file(
        &self,
        id: FileId,
        inspection: &Inspection,
        derived: &[(ContentPath, Blob)],
        fence: Option<&Fence>,
    ) -> Result<()> {
        let mut write = self.fenced("record an inspection", fence).await?;
        write.inspected_files(&[(id, inspection, derived)]).await?;
        write.commit().await
    }

    /// Admits the inspected files of a revision whose bytes were judged, and marks it for the next snapshot;
    /// returns how many were not admitted before. A file that came meanwhile was not judged and stays out.
    pub async fn admit_files(
        &self,
        revision: RevisionId,
        judged: &[Sha256Digest],
        fence: Option<&Fence>,
    ) -> Result<u64> {
        let mut write = self.fenced("admit files", fence).await?;
        let admitted = write.admit_files(&[(revision, judged)]).await?;
        write.commit().await?;
        Ok(admitted)
    }

    /// Forgets the bytes of a revision's files and what was found in them; what the registry says stays, and so
    /// do the paths of derived files, so that the next snapshot can drop them.
    ///
    /// # Errors
    /// [`Error::InvalidState`] while the revision is AVAILABLE.
    pub async fn clear_files(&self, revision: RevisionId, actor: &Actor) -> Result<()> {
        let mut write = self.write("clear files").await?;
        let (repository, subject, status) = write.revision_subject(revision).await?;
        if status == Status::Available {
            return Err(Error::InvalidState { subject, from: status, to: Status::Scanned });
        }
        let files = write.forget(revision).await?;
        write.mark_dirty(repository, revision).await?;
        let detail = object!({ "repository": repository, "files": files });
        write.audit(actor, "revision.clear", &subject, &detail).await?;
        write.commit().await
    }

    /// Takes an AVAILABLE revision's files out of the next snapshot and forgets their bytes, as something newer has taken
    /// its place. What came with the metadata stays known.
    pub(crate) async fn let_go(&self, revision: RevisionId, actor: &Actor, fence: &Fence) -> Result<()> {
        let mut write = self.fenced("let go of a revision", Some(fence)).await?;
        let (repository, subject, _) = write.revision_subject(revision).await?;
        let files = write.forget(revision).await?;
        write.mark_dirty(repository, revision).await?;
        let detail = object!({ "repository": repository, "files": files });
        write.audit(actor, "revision.superseded", &subject, &detail).await?;
        write.commit().await
    }

    /// The digests that files refer to, what was taken out of them, headers and records of bundles included, in
    /// order, those after `after`: roots of garbage collection.
    pub async fn referenced_blobs(
        &self,
        after: Option<Sha256Digest>,
        limit: u32,
    ) -> Result<Vec<Sha256Digest>> {
        let query = sql("SELECT f.sha256 FROM (SELECT DISTINCT stored_sha256 AS sha256 FROM file \
                         WHERE stored_sha256 > $1 ORDER BY 1 LIMIT $2) f \
                         UNION SELECT d.sha256 FROM (SELECT DISTINCT x.sha256 FROM derived x \
                         JOIN file g ON g.id = x.file \
                         WHERE (g.stored_sha256 IS NOT NULL OR x.announced = 1) AND x.sha256 > $1 \
                         ORDER BY 1 LIMIT $2) d \
                         UNION SELECT b.sha256 FROM (SELECT DISTINCT records AS sha256 FROM bundle_in \
                         WHERE records > $1 ORDER BY 1 LIMIT $2) b \
                         UNION SELECT h.sha256 FROM (SELECT DISTINCT header AS sha256 FROM bundle_in \
                         WHERE header > $1 ORDER BY 1 LIMIT $2) h ORDER BY 1 LIMIT $2");
        let after = after.map(|digest| digest.to_string()).unwrap_or_default();
        let rows = self.all("list referenced blobs", query.bind(after).bind(i64::from(limit))).await?;
        rows.iter().map(|row| row.parsed("sha256")).collect()
    }
}

impl Write {
    /// Forgets the bytes of a revision's files; how many.
    async fn forget(&mut self, revision: RevisionId) -> Result<u64> {
        let unadmit = sql("UPDATE file SET inspection = NULL, admitted = 0, wanted = 0 WHERE revision = $1");
        self.execute(unadmit.bind(revision.0)).await?;
        // What came with the metadata is metadata, and could not be fetched again.
        let clear = sql("UPDATE file SET stored_sha256 = NULL, stored_blake3 = NULL, stored_size = NULL \
                         WHERE revision = $1 AND url NOT LIKE 'inline:%'");
        self.execute(clear.bind(revision.0)).await
    }
}

impl Write {
    /// A revision's repository, its name for people, and where it stands.
    pub(super) async fn revision_subject(
        &mut self,
        id: RevisionId,
    ) -> Result<(RepositoryId, String, Status)> {
        let query = sql("SELECT r.repository, a.name AS artifact, r.name, r.status \
                         FROM revision r JOIN artifact a ON a.id = r.artifact WHERE r.id = $1");
        let row = self.optional(query.bind(id.0)).await?;
        let row = row.ok_or_else(|| Error::not_found("revision", id.0))?;
        let subject = format!("{}@{}", row.text("artifact")?, row.text("name")?);
        Ok((RepositoryId(row.int("repository")?), subject, row.parsed("status")?))
    }
}

pub(super) fn file(row: &AnyRow) -> Result<FileRow> {
    let blob = match row.parsed_or_none("stored_sha256")? {
        None => None,
        Some(sha256) => {
            Some(Blob { sha256, blake3: row.parsed("stored_blake3")?, size: row.count("stored_size")? })
        }
    };
    Ok(FileRow {
        id: FileId(row.int("id")?),
        revision: RevisionId(row.int("revision")?),
        path: row.parsed("path")?,
        registry: row.parsed("registry")?,
        url: row.parsed("url")?,
        size: row.count_or_none("size")?,
        sha256: row.parsed_or_none("sha256")?,
        attributes: row.decoded("attributes")?,
        wanted: row.flag("wanted")?,
        gone: row.int_or_none("gone_at")?.is_some(),
        blob,
        inspection: row.decoded_or_none("inspection")?,
        derived: Vec::new(),
        admitted: row.flag("admitted")?,
    })
}

fn derived_blob(row: &AnyRow) -> Result<Blob> {
    Ok(Blob { sha256: row.parsed("sha256")?, blake3: row.parsed("blake3")?, size: row.count("size")? })
}
