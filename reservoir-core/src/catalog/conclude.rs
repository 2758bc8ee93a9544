//! What was found out about a known revision, and where that puts it: one transaction for all of it.

use std::collections::HashMap;

use super::{Catalog, Fence, FileId, findings::Inspected, verdicts::NewVerdict, write::Write};
use crate::{
    digest::Sha256Digest,
    ecosystem::Inspection,
    error::Result,
    lifecycle::{Revision, RevisionId, Status, Transition},
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
    /// [`Error::Denied`](crate::Error::Denied) for what is quarantined, or whose name has become internal,
    /// [`Error::Integrity`](crate::Error::Integrity) for other bytes than the registry claims.
    pub(crate) async fn conclude(
        &self,
        conclusions: &[&Conclusion],
        actor: &Actor,
        fence: &Fence,
    ) -> Result<Vec<Revision>> {
        let mut write = self.fenced("conclude", Some(fence)).await?;
        write.record_findings(conclusions).await?;
        let mut concluded: Vec<Revision> =
            conclusions.iter().map(|conclusion| conclusion.revision.clone()).collect();
        let changes: Vec<Transition> = conclusions
            .iter()
            .flat_map(|conclusion| {
                let (to, reason) = &conclusion.before;
                steps(&conclusion.revision, to, actor, reason)
            })
            .collect();
        write.lead(&mut concluded, &changes, fence).await?;
        let admitted: Vec<(RevisionId, &[Sha256Digest])> = conclusions
            .iter()
            .filter_map(|conclusion| Some((conclusion.revision.id, conclusion.admitted.as_deref()?)))
            .collect();
        write.admit_files(&admitted).await?;
        let changes: Vec<Transition> = conclusions
            .iter()
            .zip(&concluded)
            .filter_map(|(conclusion, now)| Some((conclusion.after.as_ref()?, now)))
            .flat_map(|((to, reason), now)| steps(now, &[*to], actor, reason))
            .collect();
        write.lead(&mut concluded, &changes, fence).await?;
        write.commit().await?;
        Ok(concluded)
    }
}

impl Write {
    async fn record_findings(&mut self, conclusions: &[&Conclusion]) -> Result<()> {
        let findings: Vec<&Finding> =
            conclusions.iter().flat_map(|conclusion| &conclusion.findings).collect();
        self.refuse_shadowed(&findings.iter().map(|finding| finding.file).collect::<Vec<_>>()).await?;
        let stored: Vec<(FileId, Blob)> =
            findings.iter().filter_map(|finding| Some((finding.file, finding.stored?))).collect();
        self.store_files(&stored).await?;
        let inspected: Vec<Inspected<'_>> = findings
            .iter()
            .filter_map(|finding| {
                let (inspection, derived) = finding.inspected.as_ref()?;
                Some((finding.file, inspection, derived.as_slice()))
            })
            .collect();
        self.inspected_files(&inspected).await?;
        let verdicts: Vec<(Sha256Digest, &NewVerdict)> = findings
            .iter()
            .flat_map(|finding| finding.verdicts.iter().map(|(sha256, verdict)| (*sha256, verdict)))
            .collect();
        self.put_verdicts(&verdicts).await
    }

    /// Changes of status of some of these, which are then as they were left.
    async fn lead(
        &mut self,
        revisions: &mut [Revision],
        changes: &[Transition],
        fence: &Fence,
    ) -> Result<()> {
        let mut after: HashMap<RevisionId, Revision> = HashMap::new();
        after.extend(self.transition(changes, Some(fence)).await?.into_iter().map(|now| (now.id, now)));
        for revision in revisions {
            if let Some(now) = after.remove(&revision.id) {
                *revision = now;
            }
        }
        Ok(())
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
