//! What must not be served any more, whatever snapshot it is in.

use std::collections::HashMap;

use super::{
    Catalog, RepositoryId,
    rows::{BATCH, Columns as _, built, list, plain, sql},
    write::Write,
};
use crate::{digest::Sha256Digest, error::Result, lifecycle::RevisionId};

impl Catalog {
    /// The digests denied in a repository, each with the reason. What an AVAILABLE revision has as well (a licence
    /// text that all models share) was judged there and is not denied; the paths of the denied revision are.
    pub async fn denials(&self, repository: RepositoryId) -> Result<HashMap<Sha256Digest, String>> {
        let query =
            sql("SELECT d.sha256 AS sha256, d.reason AS reason FROM denial d WHERE d.repository = $1 \
                         AND NOT EXISTS (SELECT 1 FROM file f JOIN revision r ON r.id = f.revision \
                         WHERE f.repository = $1 AND f.stored_sha256 = d.sha256 AND f.admitted = 1 \
                         AND f.revision <> d.revision AND r.status = 'AVAILABLE')");
        let rows = self.all("list denials", query.bind(repository.0)).await?;
        rows.iter().map(|row| Ok((row.parsed("sha256")?, row.text("reason")?))).collect()
    }

    /// The paths of rejected and blocked revisions, each with the reason: what a client is told when the path
    /// is in no snapshot any more.
    pub async fn denied_paths(&self, repository: RepositoryId) -> Result<HashMap<String, String>> {
        let query = sql("SELECT f.path AS path, (SELECT h.reason FROM history h WHERE h.revision = r.id \
                         ORDER BY h.id DESC LIMIT 1) AS reason \
                         FROM revision r JOIN file f ON f.revision = r.id \
                         WHERE r.repository = $1 AND r.status IN ('REJECTED', 'BLOCKED') \
                         AND f.stored_sha256 IS NOT NULL");
        let rows = self.all("list denied paths", query.bind(repository.0)).await?;
        rows.iter()
            .map(|row| Ok((row.text("path")?, row.text_or_none("reason")?.unwrap_or_default())))
            .collect()
    }

    /// A number that grows with every change of refs, denials or repositories. One cheap query, for serving
    /// processes to poll.
    pub async fn epoch(&self) -> Result<i64> {
        let query = sql("SELECT value FROM counter WHERE name = 'epoch'");
        self.one("read the epoch", query).await?.int("value")
    }
}

impl Write {
    /// Denies everything stored for a revision, what was taken out of its files too.
    pub(super) async fn deny(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        reason: &str,
    ) -> Result<()> {
        let deny = sql("INSERT INTO denial (repository, revision, sha256, reason) \
                        SELECT $1, $2, stored_sha256, $3 FROM file \
                        WHERE revision = $2 AND stored_sha256 IS NOT NULL \
                        UNION SELECT $1, $2, d.sha256, $3 FROM derived d JOIN file f ON f.id = d.file \
                        WHERE f.revision = $2 \
                        ON CONFLICT (repository, revision, sha256) DO UPDATE SET reason = excluded.reason");
        self.execute(deny.bind(repository.0).bind(revision.0).bind(plain(reason))).await?;
        self.touch_epoch().await
    }

    /// Denies bytes that no file of the revision has any more.
    pub(super) async fn deny_digests(
        &mut self,
        repository: RepositoryId,
        revision: RevisionId,
        digests: &[Sha256Digest],
        reason: &str,
    ) -> Result<()> {
        for digest in digests {
            let deny = sql(
                "INSERT INTO denial (repository, revision, sha256, reason) VALUES ($1, $2, $3, $4) \
                            ON CONFLICT (repository, revision, sha256) DO UPDATE SET reason = excluded.reason",
            );
            let deny = deny.bind(repository.0).bind(revision.0).bind(digest.to_string());
            self.execute(deny.bind(plain(reason))).await?;
        }
        self.touch_epoch().await
    }

    /// Lifts the denials of some revisions; those of others with the same digests stay.
    pub(super) async fn lift_denials(
        &mut self,
        repository: RepositoryId,
        revisions: &[RevisionId],
    ) -> Result<()> {
        for part in revisions.chunks(BATCH) {
            let text =
                format!("DELETE FROM denial WHERE repository = $1 AND revision IN ({})", list(2, part.len()));
            let lift = built(text).bind(repository.0);
            self.execute(part.iter().fold(lift, |lift, id| lift.bind(id.0))).await?;
        }
        self.touch_epoch().await
    }
}
