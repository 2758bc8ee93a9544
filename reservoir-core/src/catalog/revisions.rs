//! Finding revisions.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;

use super::{
    Catalog, RepositoryId,
    rows::{BATCH, Columns as _, built, list, sql},
};
use crate::{
    error::{Error, Result},
    lifecycle::{Revision, RevisionId, Status},
    name::{ArtifactName, RevisionName},
};

/// Which revisions to list.
#[derive(Debug, Clone, Default)]
pub struct RevisionFilter {
    /// Only those that stand there.
    pub status: Option<Status>,
    /// Only those of this artifact.
    pub artifact: Option<ArtifactName>,
}

impl Catalog {
    /// A revision by its names.
    pub async fn find_revision(
        &self,
        repository: RepositoryId,
        artifact: &ArtifactName,
        name: &RevisionName,
    ) -> Result<Revision> {
        let query =
            sql("SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                         FROM revision r JOIN artifact a ON a.id = r.artifact \
                         WHERE a.repository = $1 AND a.name = $2 AND r.name = $3");
        let query = query.bind(repository.0).bind(artifact.as_str()).bind(name.as_str());
        let row = self.optional("find a revision", query).await?;
        revision(&row.ok_or_else(|| Error::not_found("revision", format!("{artifact}@{name}")))?)
    }

    /// Some revisions, in no order; those that are not known are not among them.
    pub async fn revisions_of(&self, ids: &[RevisionId]) -> Result<Vec<Revision>> {
        let mut found = Vec::with_capacity(ids.len());
        for part in ids.chunks(BATCH) {
            let query = built(format!(
                "SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                 FROM revision r JOIN artifact a ON a.id = r.artifact WHERE r.id IN ({})",
                list(1, part.len())
            ));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            for row in &self.all("read revisions", query).await? {
                found.push(revision(row)?);
            }
        }
        Ok(found)
    }

    /// Revisions in the order they became known, those after `after`.
    pub async fn revisions(
        &self,
        repository: RepositoryId,
        filter: &RevisionFilter,
        after: Option<RevisionId>,
        limit: u32,
    ) -> Result<Vec<Revision>> {
        let query =
            sql("SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
                         FROM revision r JOIN artifact a ON a.id = r.artifact \
                         WHERE r.repository = $1 AND r.id > $2 \
                         AND ($3 IS NULL OR r.status = $3) AND ($4 IS NULL OR a.name = $4) \
                         ORDER BY r.id LIMIT $5");
        let query = query.bind(repository.0).bind(after.map_or(0, |id| id.0));
        let query = query.bind(filter.status.map(Status::as_str));
        let query = query.bind(filter.artifact.as_ref().map(ArtifactName::as_str)).bind(i64::from(limit));
        self.all("list revisions", query).await?.iter().map(revision).collect()
    }

    /// How many revisions stand where.
    pub async fn count_by_status(&self, repository: RepositoryId) -> Result<BTreeMap<Status, u64>> {
        let query =
            sql("SELECT status, COUNT(*) AS revisions FROM revision WHERE repository = $1 GROUP BY status");
        let rows = self.all("count revisions", query.bind(repository.0)).await?;
        rows.iter().map(|row| Ok((row.parsed("status")?, row.count("revisions")?))).collect()
    }
}

pub(super) fn revision(row: &AnyRow) -> Result<Revision> {
    Ok(Revision {
        id: RevisionId(row.int("id")?),
        repository: RepositoryId(row.int("repository")?),
        artifact: row.parsed("artifact")?,
        revision: row.parsed("name")?,
        status: row.parsed("status")?,
        attempt: row.int("attempt")?,
        changed_at: row.time("changed_at")?,
    })
}
