//! What persons decided.

use serde::{Deserialize, Serialize};
use serde_json::json as object;

use super::{
    Catalog, Fence, RepositoryId,
    rows::{BATCH, Columns as _, built, json, list, plain, sql},
    write::Write,
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    lifecycle::{ArtifactLifecycle as _, NewRevision, RevisionId, Status, Transition},
    name::Actor,
    snapshot::decision::{Decision, Said},
};

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
        write.put_approval(approval).await?;
        write.commit().await
    }

    /// Keeps what was said; a cleanup is no decision of its own, its change of status says it.
    pub(crate) async fn put_decision(&self, revision: RevisionId, said: &Decision) -> Result<()> {
        match Approval::of(revision, said) {
            Some(approval) => self.put_approval(&approval).await,
            None => Ok(()),
        }
    }

    /// Keeps again what was said before the catalog was lost; the revision becomes known if it is not.
    pub(crate) async fn restore_decision(
        &self,
        repository: RepositoryId,
        said: &Decision,
        fence: &Fence,
    ) -> Result<RevisionId> {
        let known = NewRevision { artifact: said.artifact.clone(), revision: said.revision.clone() };
        let ids = self.register(repository, &[known], &said.actor).await?;
        let revision = *ids.first().ok_or_else(|| Error::not_found("revision", &said.revision))?;
        if let Some(approval) = Approval::of(revision, said) {
            let mut write = self.fenced("restore a decision", Some(fence)).await?;
            write.put_approval(&approval).await?;
            write.commit().await?;
        }
        Ok(revision)
    }

    /// Rejects a revision whose rejection was lost with the catalog, and denies the bytes it was said of.
    pub(crate) async fn refuse_again(
        &self,
        revision: RevisionId,
        digests: &[Sha256Digest],
        actor: &Actor,
        reason: &str,
        fence: &Fence,
    ) -> Result<()> {
        let now = self.revision(revision).await?;
        let steps: &[Status] = match now.status {
            Status::Rejected => &[],
            Status::Scanned | Status::Failed => &[Status::Pulling, Status::Pulled, Status::Rejected],
            Status::Pulling => &[Status::Pulled, Status::Rejected],
            _ => &[Status::Rejected],
        };
        let mut write = self.fenced("reject again", Some(fence)).await?;
        let (mut from, mut attempt) = (now.status, now.attempt);
        for &to in steps {
            let (actor, reason) = (actor.clone(), reason.to_owned());
            let changed =
                write.change_status(&Transition { revision, from, attempt, to, actor, reason }).await?;
            (from, attempt) = (changed.status, changed.attempt);
        }
        write.deny_digests(now.repository, revision, digests, reason).await?;
        write.commit().await
    }

    /// Every decision on a revision, oldest first.
    #[cfg(any(test, feature = "testing"))]
    pub async fn approvals(&self, revision: RevisionId) -> Result<Vec<Approval>> {
        self.approvals_of(&[revision]).await
    }

    /// Every decision on some revisions, oldest first.
    pub(crate) async fn approvals_of(&self, revisions: &[RevisionId]) -> Result<Vec<Approval>> {
        let mut approvals = Vec::new();
        for part in revisions.chunks(BATCH) {
            let query = built(format!(
                "SELECT revision, decision, actor, reason, digests, at FROM approval WHERE revision IN ({}) \
                 ORDER BY id",
                list(1, part.len())
            ));
            let query = part.iter().fold(query, |query, id| query.bind(id.0));
            for row in self.all("list approvals", query).await? {
                approvals.push(Approval {
                    revision: RevisionId(row.int("revision")?),
                    decision: row.flag("decision")?,
                    actor: row.parsed("actor")?,
                    reason: row.text("reason")?,
                    digests: row.decoded("digests")?,
                    at: row.time("at")?,
                });
            }
        }
        Ok(approvals)
    }
}

impl Approval {
    fn of(revision: RevisionId, said: &Decision) -> Option<Self> {
        let decision = match said.said {
            Said::Approve => true,
            Said::Reject => false,
            Said::Cleanup => return None,
        };
        let Decision { actor, reason, digests, at, .. } = said.clone();
        Some(Self { revision, decision, actor, reason, digests, at })
    }
}

impl Write {
    async fn put_approval(&mut self, approval: &Approval) -> Result<()> {
        let (repository, subject, _) = self.revision_subject(approval.revision).await?;
        let put = sql("INSERT INTO approval (revision, decision, actor, reason, digests, at) \
                       VALUES ($1, $2, $3, $4, $5, $6)");
        let put =
            put.bind(approval.revision.0).bind(i64::from(approval.decision)).bind(approval.actor.as_str());
        let put =
            put.bind(plain(&approval.reason)).bind(json(&approval.digests)?).bind(approval.at.as_micros());
        self.execute(put).await?;
        let detail = object!({
            "repository": repository,
            "decision": approval.decision,
            "reason": approval.reason,
            "digests": approval.digests,
        });
        self.audit(&approval.actor, "revision.approval", &subject, &detail).await
    }
}
