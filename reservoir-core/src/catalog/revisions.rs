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
        let query = built(listing(filter));
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

/// A page of revisions in the order of an index: with another, each page would sort all that is left.
fn listing(filter: &RevisionFilter) -> String {
    let found = match filter {
        RevisionFilter { artifact: Some(_), .. } => {
            "r.artifact = (SELECT id FROM artifact WHERE repository = $1 AND name = $4)"
        }
        RevisionFilter { status: Some(_), .. } => "r.repository = $1 AND r.status = $3",
        // The plus has SQLite pass over the indexes that begin with the repository, none of which is in this order.
        RevisionFilter { .. } => "+r.repository = $1",
    };
    format!(
        "SELECT r.id, r.repository, a.name AS artifact, r.name, r.status, r.attempt, r.changed_at \
         FROM revision r JOIN artifact a ON a.id = r.artifact WHERE {found} AND r.id > $2 \
         AND ($3 IS NULL OR r.status = $3) AND ($4 IS NULL OR a.name = $4) ORDER BY r.id LIMIT $5"
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogOptions;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_page_of_revisions_sorts_those_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        let (hammer, status) = ("hammer".parse().unwrap(), Some(Status::Available));
        for (filter, index) in [
            (RevisionFilter::default(), "PRIMARY KEY"),
            (RevisionFilter { status, artifact: None }, "revision_by_status"),
            (RevisionFilter { status, artifact: Some(hammer) }, "(artifact=?"),
        ] {
            let query = built(format!("EXPLAIN QUERY PLAN {}", listing(&filter))).bind(1_i64).bind(0_i64);
            let query = query.bind(filter.status.map(Status::as_str));
            let name = filter.artifact.as_ref().map(ArtifactName::as_str);
            let steps = catalog.all("explain a query", query.bind(name).bind(500_i64)).await.unwrap();
            let steps: Vec<String> = steps.iter().map(|step| step.text("detail").unwrap()).collect();
            assert!(steps.iter().any(|step| step.contains(index)), "{steps:?}");
            let is_sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert_eq!(is_sorted, filter.artifact.is_some(), "all of an artifact are few: {steps:?}");
        }
    }
}
