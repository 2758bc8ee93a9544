//! What was found out about a known revision, and where that puts it: one transaction for all of it.

use super::{Catalog, Fence, FileId, arrivals::NewVerdict};
use crate::{
    digest::Sha256Digest,
    ecosystem::Inspection,
    error::Result,
    lifecycle::{Revision, Status, Transition},
    name::Actor,
    path::ContentPath,
    store::Blob,
};

/// A file whose bytes are durable.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) file: FileId,
    /// Its bytes, if the catalog does not have them on record.
    pub(crate) stored: Option<Blob>,
    /// What the format found in them, if that is new, and what it took out of them.
    pub(crate) inspected: Option<(Inspection, Vec<(ContentPath, Blob)>)>,
    /// What scanners said, if that is new.
    pub(crate) verdicts: Vec<(Sha256Digest, NewVerdict)>,
}

/// All that is new about a revision.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) revision: Revision,
    pub(crate) findings: Vec<Finding>,
    /// Where it goes from where it stands, before anything is admitted, and why.
    pub(crate) before: (Vec<Status>, String),
    /// The digests that were judged and are let in.
    pub(crate) admitted: Option<Vec<Sha256Digest>>,
    /// Where it goes then, and why.
    pub(crate) after: Option<(Status, String)>,
}

impl Catalog {
    /// [`transition`](crate::lifecycle::ArtifactLifecycle::transition), which does not wait for the disk: for what is
    /// begun anew when the machine starts again.
    pub(crate) async fn begin(&self, changes: &[Transition], fence: &Fence) -> Result<Vec<Revision>> {
        let mut write = self.write_relaxed("begin").await?;
        write.check(fence).await?;
        let after = write.transition(changes, Some(fence)).await?;
        write.commit().await?;
        Ok(after)
    }

    /// Records all of it, or nothing; gives the revisions as they are then.
    ///
    /// # Errors
    /// Those of the single steps: [`Error::Conflict`](crate::Error::Conflict) and
    /// [`Error::InvalidState`](crate::Error::InvalidState) where somebody changed a revision meanwhile,
    /// [`Error::Denied`](crate::Error::Denied) for what is quarantined,
    /// [`Error::Integrity`](crate::Error::Integrity) for other bytes than the registry claims.
    pub(crate) async fn conclude(
        &self,
        conclusions: &[&Conclusion],
        actor: &Actor,
        fence: &Fence,
    ) -> Result<Vec<Revision>> {
        let mut write = self.fenced("conclude", Some(fence)).await?;
        let mut concluded = Vec::with_capacity(conclusions.len());
        for conclusion in conclusions {
            let mut revision = conclusion.revision.clone();
            for finding in &conclusion.findings {
                if let Some(blob) = &finding.stored {
                    write.store_file(finding.file, blob).await?;
                }
                if let Some((inspection, derived)) = &finding.inspected {
                    write.inspected_file(finding.file, inspection, derived).await?;
                }
                for (sha256, NewVerdict { scanner, rules, verdict }) in &finding.verdicts {
                    write.put_verdict(sha256, scanner, rules, verdict).await?;
                }
            }
            let (before, reason) = &conclusion.before;
            let changes = steps(&revision, before, actor, reason);
            if let Some(now) = write.transition(&changes, Some(fence)).await?.pop() {
                revision = now;
            }
            if let Some(admitted) = &conclusion.admitted {
                write.admit_files(revision.id, admitted).await?;
            }
            if let Some((to, reason)) = &conclusion.after {
                let changes = steps(&revision, &[*to], actor, reason);
                if let Some(now) = write.transition(&changes, Some(fence)).await?.pop() {
                    revision = now;
                }
            }
            concluded.push(revision);
        }
        write.commit().await?;
        Ok(concluded)
    }
}

/// Changes of status, each from where the one before left the revision.
pub(crate) fn steps(revision: &Revision, steps: &[Status], actor: &Actor, reason: &str) -> Vec<Transition> {
    let mut from = revision.status;
    // Starting over from FAILED is a new attempt; the catalog counts it.
    steps
        .iter()
        .map(|&to| {
            let change = Transition {
                revision: revision.id,
                from,
                attempt: revision.attempt,
                to,
                actor: actor.clone(),
                reason: reason.to_owned(),
            };
            from = to;
            change
        })
        .collect()
}
