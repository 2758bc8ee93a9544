//! Everything that could be chosen of a repository, file by file.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Catalog, FileId, RepositoryId,
    rows::{Columns as _, sql},
};
use crate::{
    ecosystem::Inspection,
    error::Result,
    lifecycle::{RevisionId, Status},
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

/// A file that could be chosen.
#[derive(Debug, Clone)]
pub(crate) struct OfferedFile {
    pub(crate) id: FileId,
    pub(crate) artifact: ArtifactName,
    pub(crate) revision_id: RevisionId,
    pub(crate) revision: RevisionName,
    pub(crate) path: ContentPath,
    /// Facts from the registry and, over them, those from the file itself.
    pub(crate) attributes: BTreeMap<String, Value>,
    /// Whether it is there for clients.
    pub(crate) available: bool,
}

impl Catalog {
    /// The files of a repository that are neither refused nor gone without a trace, in the order in which they
    /// became known, those after `after`.
    pub(crate) async fn offered(
        &self,
        repository: RepositoryId,
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<OfferedFile>> {
        // `+ 0` keeps the engines from reading all files of the repository by another index and sorting them, again
        // for each batch: the order of ids is that of the table.
        let query = sql(
            "SELECT f.id, f.path, f.attributes, f.inspection, f.revision, f.admitted, r.status, r.name, \
                         a.name AS artifact FROM file f JOIN revision r ON r.id = f.revision \
                         JOIN artifact a ON a.id = r.artifact WHERE f.repository + 0 = $1 AND f.id > $2 \
                         AND (f.gone_at IS NULL OR f.stored_sha256 IS NOT NULL) \
                         AND r.status <> $3 AND r.status <> $4 ORDER BY f.id LIMIT $5",
        );
        let query = query.bind(repository.0).bind(after.map_or(0, |after| after.0));
        let query = Status::REFUSED.iter().fold(query, |query, status| query.bind(status.as_str()));
        let rows = self.all("list what is offered", query.bind(i64::from(limit))).await?;
        rows.iter()
            .map(|row| {
                let mut attributes: BTreeMap<String, Value> = row.decoded("attributes")?;
                if let Some(inspection) = row.decoded_or_none::<Inspection>("inspection")? {
                    attributes.extend(inspection.into_facts());
                }
                let available =
                    row.parsed::<Status>("status")? == Status::Available && row.flag("admitted")?;
                Ok(OfferedFile {
                    available,
                    id: FileId(row.int("id")?),
                    artifact: row.parsed("artifact")?,
                    revision_id: RevisionId(row.int("revision")?),
                    revision: row.parsed("name")?,
                    path: row.parsed("path")?,
                    attributes,
                })
            })
            .collect()
    }
}
