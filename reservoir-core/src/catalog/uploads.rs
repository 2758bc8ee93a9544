//! Recording what was put into a hosted repository.

use serde_json::json as object;

use super::{
    Catalog, Fence, RepositoryId,
    discovery::collision,
    internal::UPLOADED,
    rows::{Columns as _, json, sql},
    write::Write,
};
use crate::{
    digest::Sha256Digest,
    ecosystem::Accepted,
    error::{Error, Result},
    lifecycle::RevisionId,
    name::Actor,
    store::Blob,
};

/// What stands in the place of a scheme: the bytes cannot be fetched again.
const UPLOAD: &str = UPLOADED;

impl Catalog {
    /// Records files whose bytes are in the store, all in one transaction: new revisions are SCANNED, as if a
    /// registry offered them. Gives the revision of each, or why it cannot be: [`Error::Conflict`] where other
    /// bytes have that path. The same bytes again change nothing.
    pub async fn record_uploads(
        &self,
        repository: RepositoryId,
        files: &[(Accepted, Blob)],
        actor: &Actor,
        fence: Option<&Fence>,
    ) -> Result<Vec<Result<RevisionId>>> {
        let mut write = self.fenced("record uploads", fence).await?;
        let mut recorded = Vec::with_capacity(files.len());
        for (file, blob) in files {
            recorded.push(match write.record_upload(repository, file, blob, actor).await {
                Err(error @ Error::Conflict { .. }) => Err(error),
                other => Ok(other?),
            });
        }
        write.commit().await?;
        Ok(recorded)
    }
}

impl Write {
    async fn record_upload(
        &mut self,
        repository: RepositoryId,
        file: &Accepted,
        blob: &Blob,
        actor: &Actor,
    ) -> Result<RevisionId> {
        let artifact = self.artifact_id(repository, &file.artifact).await?;
        self.claim_name(repository, artifact, &file.artifact, &[&file.path], actor).await?;
        let collision = collision(&file.path);
        let known = sql("SELECT f.path, f.sha256, f.revision, r.name, a.name AS artifact FROM file f \
                         JOIN revision r ON r.id = f.revision JOIN artifact a ON a.id = r.artifact \
                         WHERE f.repository = $1 AND f.collision = $2");
        let known = self.optional(known.bind(repository.0).bind(collision.as_str())).await?;
        if let Some(known) = known {
            let id = RevisionId(known.int("revision")?);
            let same = known.parsed_or_none::<Sha256Digest>("sha256")? == Some(blob.sha256)
                && known.text("path")? == file.path.as_str()
                && known.text("name")? == file.revision.as_str()
                && known.text("artifact")? == file.artifact.as_str();
            if !same {
                return Err(Error::Conflict {
                    what: format!("`{}`", file.path),
                    detail: format!(
                        "`{}@{}` is here with other bytes; what was published keeps its bytes, so give it another version",
                        known.text("artifact")?,
                        known.text("name")?
                    ),
                });
            }
            // After a cleanup the bytes are back.
            self.store_upload(repository, file, blob).await?;
            return Ok(id);
        }
        let revision = sql("SELECT id FROM revision WHERE artifact = $1 AND name = $2");
        let revision = self.optional(revision.bind(artifact).bind(file.revision.as_str())).await?;
        let revision = if let Some(row) = revision {
            RevisionId(row.int("id")?)
        } else {
            let made = self.insert_revisions(repository, artifact, &[&file.revision], actor).await?;
            made.first().map(|(id, _)| *id).ok_or_else(|| Error::not_found("revision", &file.revision))?
        };
        let insert =
            sql("INSERT INTO file (repository, revision, path, collision, registry, url, size, sha256, \
                          attributes, wanted) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)");
        let insert = insert.bind(repository.0).bind(revision.0).bind(file.path.as_str());
        let insert = insert.bind(collision.as_str()).bind(UPLOAD).bind(format!("{UPLOAD}:{}", blob.sha256));
        let insert = insert.bind(blob.size as i64).bind(blob.sha256.to_string());
        self.execute(insert.bind(json(&file.attributes)?)).await?;
        self.store_upload(repository, file, blob).await?;
        let subject = format!("{}@{}", file.artifact, file.revision);
        let detail = object!({ "repository": repository, "path": file.path, "sha256": blob.sha256 });
        self.audit(actor, "revision.upload", &subject, &detail).await?;
        Ok(revision)
    }

    async fn store_upload(&mut self, repository: RepositoryId, file: &Accepted, blob: &Blob) -> Result<()> {
        let update = sql("UPDATE file SET stored_sha256 = $1, stored_blake3 = $2, stored_size = $3 \
                          WHERE repository = $4 AND path = $5");
        let update =
            update.bind(blob.sha256.to_string()).bind(blob.blake3.to_string()).bind(blob.size as i64);
        self.execute(update.bind(repository.0).bind(file.path.as_str().to_owned())).await.map(drop)
    }
}
