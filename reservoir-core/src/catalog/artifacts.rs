//! Artifacts, and what there is to choose from.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::any::AnyRow;

use super::{
    Catalog, RepositoryId,
    internal::SHADOWED,
    rows::{Columns as _, built, sql},
};
use crate::{
    ecosystem::{Candidate, CandidateFile, Cursor},
    error::Result,
    lifecycle::RevisionId,
    name::ArtifactName,
};

/// An artifact as the catalog has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactRow {
    /// Its name.
    pub name: ArtifactName,
    /// Facts from the registry.
    pub attributes: BTreeMap<String, Value>,
    /// Why the registry has withdrawn it, if it has.
    pub quarantined: Option<String>,
    /// Revisions known.
    pub revisions: u64,
}

impl Catalog {
    /// What was remembered of an artifact the last time its registry was asked.
    pub async fn cursor(&self, repository: RepositoryId, artifact: &ArtifactName) -> Result<Option<Cursor>> {
        let query = sql("SELECT cursor FROM artifact WHERE repository = $1 AND name = $2");
        let query = query.bind(repository.0).bind(artifact.as_str());
        match self.optional("read a cursor", query).await? {
            Some(row) => row.decoded_or_none("cursor"),
            None => Ok(None),
        }
    }

    /// Artifacts by name, those after `after`.
    pub async fn artifacts(
        &self,
        repository: RepositoryId,
        after: Option<&ArtifactName>,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>> {
        let query = sql("SELECT a.name, a.attributes, a.quarantined, \
                         (SELECT COUNT(*) FROM revision r WHERE r.artifact = a.id) AS revisions \
                         FROM artifact a WHERE a.repository = $1 AND a.name > $2 ORDER BY a.name LIMIT $3");
        let query =
            query.bind(repository.0).bind(after.map_or("", ArtifactName::as_str)).bind(i64::from(limit));
        self.all("list artifacts", query).await?.iter().map(artifact).collect()
    }

    /// One artifact.
    pub async fn artifact(
        &self,
        repository: RepositoryId,
        name: &ArtifactName,
    ) -> Result<Option<ArtifactRow>> {
        let query = sql("SELECT a.name, a.attributes, a.quarantined, \
                         (SELECT COUNT(*) FROM revision r WHERE r.artifact = a.id) AS revisions \
                         FROM artifact a WHERE a.repository = $1 AND a.name = $2");
        let row = self.optional("read an artifact", query.bind(repository.0).bind(name.as_str())).await?;
        row.as_ref().map(artifact).transpose()
    }

    /// Every revision of one artifact with its files, in the order they became known. Files that are gone
    /// from the registry are there only if their bytes are here and their name is not internal.
    pub async fn candidates(
        &self,
        repository: RepositoryId,
        artifact: &ArtifactName,
    ) -> Result<Vec<Candidate>> {
        let query = built(format!(
            "SELECT r.id, r.name, r.status, file.path, file.size, file.stored_size, file.sha256, \
                         file.attributes, file.inspection \
                         FROM artifact a JOIN revision r ON r.artifact = a.id \
                         LEFT JOIN file ON file.revision = r.id \
                         AND (file.gone_at IS NULL OR file.stored_sha256 IS NOT NULL AND NOT {SHADOWED}) \
                         WHERE a.repository = $1 AND a.name = $2 ORDER BY r.id, file.id"
        ));
        let rows = self.all("list candidates", query.bind(repository.0).bind(artifact.as_str())).await?;
        let mut candidates: Vec<Candidate> = Vec::new();
        for row in &rows {
            let id = RevisionId(row.int("id")?);
            if candidates.last().is_none_or(|last| last.id != id) {
                let (revision, status) = (row.parsed("name")?, row.parsed("status")?);
                candidates.push(Candidate { id, revision, status, files: Vec::new() });
            }
            let Some(path) = row.parsed_or_none("path")? else { continue };
            if let Some(candidate) = candidates.last_mut() {
                candidate.files.push(CandidateFile {
                    path,
                    size: row.count_or_none("size")?.or(row.count_or_none("stored_size")?),
                    sha256: row.parsed_or_none("sha256")?,
                    attributes: row.decoded("attributes")?,
                    inspection: row.decoded_or_none("inspection")?,
                });
            }
        }
        Ok(candidates)
    }
}

fn artifact(row: &AnyRow) -> Result<ArtifactRow> {
    Ok(ArtifactRow {
        name: row.parsed("name")?,
        attributes: row.decoded("attributes")?,
        quarantined: row.text_or_none("quarantined")?,
        revisions: row.count("revisions")?,
    })
}
