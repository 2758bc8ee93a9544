//! What persons decided.

use serde::{Deserialize, Serialize};
use serde_json::json as object;

use super::{
    Catalog,
    rows::{Columns as _, json, plain, sql},
};
use crate::{clock::Timestamp, digest::Sha256Digest, error::Result, lifecycle::RevisionId, name::Actor};

/// A person's yes or no, bound to the bytes it was said of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The revision.
    pub revision: RevisionId,
    /// Yes or no.
    pub decision: bool,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// The files it was said of.
    pub digests: Vec<Sha256Digest>,
    /// When.
    pub at: Timestamp,
}

impl Catalog {
    /// Keeps a decision.
    pub async fn put_approval(&self, approval: &Approval) -> Result<()> {
        let mut write = self.write("keep an approval").await?;
        let (repository, subject, _) = write.revision_subject(approval.revision).await?;
        let put = sql("INSERT INTO approval (revision, decision, actor, reason, digests, at) \
                       VALUES ($1, $2, $3, $4, $5, $6)");
        let put =
            put.bind(approval.revision.0).bind(i64::from(approval.decision)).bind(approval.actor.as_str());
        let put =
            put.bind(plain(&approval.reason)).bind(json(&approval.digests)?).bind(approval.at.as_micros());
        write.execute(put).await?;
        let detail = object!({
            "repository": repository,
            "decision": approval.decision,
            "reason": approval.reason,
            "digests": approval.digests,
        });
        write.audit(&approval.actor, "revision.approval", &subject, &detail).await?;
        write.commit().await
    }

    /// Every decision on a revision, oldest first.
    pub async fn approvals(&self, revision: RevisionId) -> Result<Vec<Approval>> {
        let query = sql("SELECT revision, decision, actor, reason, digests, at FROM approval \
                         WHERE revision = $1 ORDER BY id");
        let rows = self.all("list approvals", query.bind(revision.0)).await?;
        rows.iter()
            .map(|row| {
                Ok(Approval {
                    revision: RevisionId(row.int("revision")?),
                    decision: row.flag("decision")?,
                    actor: row.parsed("actor")?,
                    reason: row.text("reason")?,
                    digests: row.decoded("digests")?,
                    at: row.time("at")?,
                })
            })
            .collect()
    }
}
