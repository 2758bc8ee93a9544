//! Names that are internal to a repository, because somebody put a file of that name into it. No registry is asked
//! about one, and nothing that a registry offered under it is listed: whoever publishes the same name outside would
//! otherwise decide what is installed inside (dependency confusion, PEP 708).

use std::collections::BTreeSet;

use serde_json::json as object;

use super::{
    Catalog, FileId, RepositoryId,
    content::ADOPTED,
    discovery::collision,
    rows::{BATCH, Columns as _, built, list, sql},
    write::Write,
};
use crate::{
    ecosystem::RepositoryConfig,
    error::{Error, Result},
    lifecycle::{RevisionId, Status},
    name::{Actor, ArtifactName},
    path::ContentPath,
};

/// What stands in the place of a registry's name where a file was uploaded.
pub(super) const UPLOADED: &str = "upload";

/// SQL that holds for a row of `file` which a registry offered before its name became internal. All of these are marked
/// as gone, and no registry's answer changes that any more.
pub(super) const SHADOWED: &str = "(file.gone_at IS NOT NULL AND file.registry NOT IN ('upload', 'snapshot') \
     AND EXISTS (SELECT 1 FROM revision own JOIN revision other ON other.artifact = own.artifact \
     JOIN file uploaded ON uploaded.revision = other.id \
     WHERE own.id = file.revision AND uploaded.registry = 'upload'))";

impl Catalog {
    /// Which of these names are internal.
    pub async fn internal(
        &self,
        repository: RepositoryId,
        artifacts: &[ArtifactName],
    ) -> Result<BTreeSet<ArtifactName>> {
        let mut internal = BTreeSet::new();
        for artifacts in artifacts.chunks(BATCH) {
            let text = format!(
                "SELECT a.name FROM artifact a WHERE a.repository = $1 AND a.name IN ({}) AND EXISTS \
                 (SELECT 1 FROM revision r JOIN file f ON f.revision = r.id \
                  WHERE r.artifact = a.id AND f.registry = '{UPLOADED}')",
                list(2, artifacts.len())
            );
            let query = built(text).bind(repository.0);
            let query = artifacts.iter().fold(query, |query, name| query.bind(name.as_str()));
            for row in self.all("look internal names up", query).await? {
                internal.insert(row.parsed("name")?);
            }
        }
        Ok(internal)
    }
}

impl Write {
    /// Whether nothing that a registry says of an artifact with an uploaded file counts: as long as the repository takes
    /// uploads.
    pub(super) async fn keeps_names(&mut self, repository: RepositoryId) -> Result<bool> {
        let row = self.one(sql("SELECT config FROM repository WHERE id = $1").bind(repository.0)).await?;
        Ok(row.decoded::<RepositoryConfig>("config")?.takes_uploads())
    }

    /// Refuses what was on its way when its name became internal.
    pub(super) async fn refuse_shadowed(&mut self, files: &[FileId]) -> Result<()> {
        for files in files.chunks(BATCH) {
            let text = format!(
                "SELECT path FROM file WHERE id IN ({}) AND {SHADOWED} ORDER BY id LIMIT 1",
                list(1, files.len())
            );
            let query = files.iter().fold(built(text), |query, id| query.bind(id.0));
            if let Some(row) = self.optional(query).await? {
                let path: ContentPath = row.parsed("path")?;
                return Err(Error::Denied {
                    what: format!("`{}`", path.file_name()),
                    reason: "its name is internal here: no registry's files of that name are taken".into(),
                });
            }
        }
        Ok(())
    }

    /// Makes a name internal before `paths` are recorded under it: what registries offered goes from the next
    /// snapshot on. What came with a snapshot (promoted, carried in a bundle) stays.
    pub(super) async fn claim_name(
        &mut self,
        repository: RepositoryId,
        name: &ArtifactName,
        paths: &[&ContentPath],
        actor: &Actor,
    ) -> Result<()> {
        let artifact = self.artifact_id(repository, name).await?;
        let query = sql("SELECT f.id, f.revision, f.collision, f.path, r.status FROM file f \
                         JOIN revision r ON r.id = f.revision \
                         WHERE r.artifact = $1 AND f.registry NOT IN ($2, $3)");
        let offered = self.all(query.bind(artifact).bind(UPLOADED).bind(ADOPTED)).await?;
        if offered.is_empty() {
            return Ok(());
        }
        let taken: BTreeSet<String> = paths.iter().map(|path| collision(path)).collect();
        let (mut replaced, mut shadowed) = (Vec::new(), Vec::new());
        let mut revisions: BTreeSet<(RevisionId, bool)> = BTreeSet::new();
        for row in &offered {
            let is_replaced = taken.contains(&row.text("collision")?);
            if is_replaced { &mut replaced } else { &mut shadowed }.push(row.int("id")?);
            let is_available = row.parsed::<Status>("status")? == Status::Available;
            revisions.insert((RevisionId(row.int("revision")?), is_available));
        }
        let now = self.now().as_micros();
        for ids in shadowed.chunks(BATCH) {
            let text = format!(
                "UPDATE file SET stored_sha256 = NULL, stored_blake3 = NULL, stored_size = NULL, \
                 inspection = NULL, admitted = 0, wanted = 0, gone_at = COALESCE(gone_at, $1) WHERE id IN ({})",
                list(2, ids.len())
            );
            self.execute(ids.iter().fold(built(text).bind(now), |update, id| update.bind(*id))).await?;
        }
        for ids in replaced.chunks(BATCH) {
            let text = format!("DELETE FROM file WHERE id IN ({})", list(1, ids.len()));
            self.execute(ids.iter().fold(built(text), |delete, id| delete.bind(*id))).await?;
        }
        for (revision, is_available) in revisions {
            self.mark_dirty(repository, revision).await?;
            if is_available {
                self.empty_again(repository, revision, actor, "the name is internal now").await?;
            }
        }
        let forget = sql("UPDATE artifact SET attributes = '{}', cursor = NULL, quarantined = NULL, \
                          missing_since = NULL WHERE id = $1");
        self.execute(forget.bind(artifact)).await?;
        let detail = object!({ "repository": repository, "files": offered.len() });
        self.audit(actor, "artifact.internal", name.as_str(), &detail).await
    }
}
