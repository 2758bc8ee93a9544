//! What a person decides: approve, reject, cleanup.

use serde::Serialize;
use uuid::Uuid;

use super::Engine;
use crate::{
    catalog::{FileRow, Repository, in_quarantine},
    digest::Sha256Digest,
    ecosystem::Publish,
    error::{Error, Result},
    lifecycle::{ArtifactLifecycle as _, Revision, Status, Transition, is_allowed},
    name::{Actor, ArtifactName, RepositoryName, RevisionName},
    snapshot::decision::{Decision, Said, sign_decision},
};

/// What a cleanup let go of.
#[derive(Debug, Clone, Serialize)]
pub struct CleanupReport {
    /// The revision, SCANNED again.
    pub revision: Revision,
    /// Files that were dropped; their bytes go with the next garbage collection that may take them.
    pub files: u64,
}

impl Engine {
    /// Lets a revision in that waits for a person, or lifts a block. Bound to the digests of its files.
    /// Publishes, unless the repository says `publish = "manual"`. One that is AVAILABLE with nothing new is left as it is.
    ///
    /// The decision is signed before anything changes. Dropping the future leaves it recorded, and the revision let in
    /// or not yet: approving again ends it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidState`] for a revision that does not wait, and [`Error::Denied`] while its
    /// registry has withdrawn the artifact: then nothing was recorded. [`Error::InvalidState`] too where somebody changed
    /// it meanwhile, and those of [`publish`](Self::publish).
    pub async fn approve(
        &self,
        name: &RepositoryName,
        artifact: &ArtifactName,
        revision: &RevisionName,
        actor: Actor,
        reason: String,
    ) -> Result<Revision> {
        let repository = self.inner.catalog.repository(name).await?;
        let found = self.inner.catalog.find_revision(repository.id, artifact, revision).await?;
        let files = self.inner.catalog.files(found.id).await?;
        let pending = files.iter().any(|file| file.inspection.is_some() && !file.admitted);
        if found.status == Status::Available && !pending {
            return Ok(found);
        }
        if !matches!(found.status, Status::NeedsApproval | Status::Blocked | Status::Available) {
            return Err(Error::InvalidState {
                subject: format!("{artifact}@{revision}"),
                from: found.status,
                to: Status::Available,
            });
        }
        let known = self.inner.catalog.artifact(repository.id, artifact).await?;
        if let Some(withdrawn) = known.and_then(|artifact| artifact.quarantined) {
            // Before anything is signed: a rebuild would take the yes for one that was given.
            return Err(in_quarantine(&found, &withdrawn));
        }
        // The decision is about the bytes that are here now; what a sync brings meanwhile is another one.
        let judged = digests(&files);
        self.record_decision(&repository, &found, Said::Approve, judged.clone(), &actor, &reason).await?;
        self.inner.catalog.admit_files(found.id, &judged, None).await?;
        let approved = match found.status {
            Status::Available => found,
            _ => self.change(&found, Status::Available, &actor, &reason).await?,
        };
        self.publish_decision(&repository, actor, format!("approve {artifact}@{revision}")).await?;
        Ok(approved)
    }

    /// Refuses a revision; if it was served, it stops being served at once. One that is REJECTED stays as it is.
    ///
    /// The decision is signed before anything changes. Dropping the future leaves it recorded, and the revision refused
    /// or not yet: rejecting again ends it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidState`] for a revision of which nothing is here that could be judged: then
    /// nothing was recorded. That too where somebody changed it meanwhile, and those of [`publish`](Self::publish).
    pub async fn reject(
        &self,
        name: &RepositoryName,
        artifact: &ArtifactName,
        revision: &RevisionName,
        actor: Actor,
        reason: String,
    ) -> Result<Revision> {
        let repository = self.inner.catalog.repository(name).await?;
        let found = self.inner.catalog.find_revision(repository.id, artifact, revision).await?;
        if found.status == Status::Rejected {
            return Ok(found);
        }
        check_change(&found, Status::Rejected)?;
        let judged = digests(&self.inner.catalog.files(found.id).await?);
        self.record_decision(&repository, &found, Said::Reject, judged, &actor, &reason).await?;
        let rejected = self.change(&found, Status::Rejected, &actor, &reason).await?;
        if found.status == Status::Available {
            self.publish_decision(&repository, actor, format!("reject {artifact}@{revision}")).await?;
        }
        Ok(rejected)
    }

    /// Drops the files of a revision and keeps what is known of it; it is SCANNED again.
    ///
    /// The decision is signed before anything changes. Dropping the future leaves it recorded, and the files dropped or
    /// not yet: cleaning up again ends it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidState`] while the revision is being judged: then nothing was recorded. That
    /// too where somebody changed it meanwhile, and those of [`publish`](Self::publish).
    pub async fn cleanup(
        &self,
        name: &RepositoryName,
        artifact: &ArtifactName,
        revision: &RevisionName,
        actor: Actor,
        reason: String,
    ) -> Result<CleanupReport> {
        let repository = self.inner.catalog.repository(name).await?;
        let found = self.inner.catalog.find_revision(repository.id, artifact, revision).await?;
        if found.status != Status::Scanned {
            check_change(&found, Status::Scanned)?;
        }
        let files = self.inner.catalog.files(found.id).await?;
        let judged = digests(&files);
        self.record_decision(&repository, &found, Said::Cleanup, judged, &actor, &reason).await?;
        let files = files.iter().filter(|file| file.blob.is_some()).count();
        let cleaned = self.forget(&found, &actor, &reason).await?;
        if found.status == Status::Available {
            self.publish_decision(&repository, actor, format!("cleanup {artifact}@{revision}")).await?;
        }
        Ok(CleanupReport { revision: cleaned, files: files as u64 })
    }

    /// Drops the files of a revision, without publishing.
    pub(super) async fn forget(&self, found: &Revision, actor: &Actor, reason: &str) -> Result<Revision> {
        let cleaned = match found.status {
            Status::Scanned => found.clone(),
            _ => self.change(found, Status::Scanned, actor, reason).await?,
        };
        self.inner.catalog.clear_files(found.id, actor).await?;
        Ok(cleaned)
    }

    async fn change(&self, from: &Revision, to: Status, actor: &Actor, reason: &str) -> Result<Revision> {
        let change = Transition {
            revision: from.id,
            from: from.status,
            attempt: from.attempt,
            to,
            actor: actor.clone(),
            reason: reason.to_owned(),
        };
        let changed = self.inner.catalog.transition(&[change], None).await?;
        self.refresh_serving().await;
        changed.into_iter().next().ok_or_else(|| Error::not_found("revision", &from.revision))
    }

    /// Writes down what was said: signed into the store first, then into the catalog. Killed in between, the
    /// person was told nothing; a rebuilt catalog may then hold a decision that this one does not.
    async fn record_decision(
        &self,
        repository: &Repository,
        revision: &Revision,
        said: Said,
        digests: Vec<Sha256Digest>,
        actor: &Actor,
        reason: &str,
    ) -> Result<()> {
        let decision = Decision {
            repository: repository.uuid,
            artifact: revision.artifact.clone(),
            revision: revision.revision.clone(),
            said,
            actor: actor.clone(),
            reason: reason.to_owned(),
            digests,
            at: self.inner.catalog.clock().now(),
        };
        for piece in decision.pieces() {
            let (_, unique) = Uuid::new_v4().as_u64_pair();
            let bytes = sign_decision(&piece, &self.inner.key)?;
            self.inner.store.put_record(piece.key(unique), bytes).await?;
        }
        self.inner.catalog.put_decision(revision.id, &decision).await
    }

    async fn publish_decision(&self, repository: &Repository, actor: Actor, message: String) -> Result<()> {
        if repository.config.publish == Publish::Automatic {
            self.publish(&repository.config.name, actor, message).await?;
        }
        Ok(())
    }
}

/// Refuses what the table does not allow before it is signed: a rebuild enforces whatever was.
fn check_change(found: &Revision, to: Status) -> Result<()> {
    if is_allowed(found.status, to) {
        return Ok(());
    }
    let subject = format!("{}@{}", found.artifact, found.revision);
    Err(Error::InvalidState { subject, from: found.status, to })
}

/// The digests of the files whose bytes are here and were inspected.
fn digests(files: &[FileRow]) -> Vec<Sha256Digest> {
    let inspected = files.iter().filter(|file| file.inspection.is_some());
    inspected.filter_map(|file| file.blob.map(|blob| blob.sha256)).collect()
}
