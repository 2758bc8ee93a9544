//! Artifacts that say something of others, and letting go of those that something newer has taken the place of.

use std::collections::BTreeSet;

use super::Syncer;
use crate::{ecosystem::Requirement, error::Result, name::ArtifactName};

impl Syncer<'_> {
    /// Whether an artifact says of others that clients can have them.
    pub(super) fn promises(&self, artifact: &ArtifactName) -> bool {
        self.ecosystem.promises_others(&self.repository.config, artifact)
    }

    /// Remembers which of the artifacts that are wanted say something of others.
    pub(super) fn note_statements(&self, wave: &[Requirement], statements: &mut BTreeSet<ArtifactName>) {
        let named = wave.iter().map(|requirement| &requirement.artifact);
        statements.extend(named.filter(|artifact| self.ecosystem.is_statement(artifact)).cloned());
    }

    /// Takes revisions out of the content that the format says are over, and forgets their bytes. Snapshots that have
    /// them keep them; clients that have read them find them for a while.
    pub(super) async fn let_go(&self, artifacts: &BTreeSet<ArtifactName>) -> Result<()> {
        if self.planning.is_some() {
            return Ok(());
        }
        for artifact in artifacts {
            let candidates = self.catalog.candidates(self.repository.id, artifact).await?;
            for id in self.ecosystem.superseded(artifact, &candidates) {
                self.task.checkpoint()?;
                self.catalog.let_go(id, &self.actor, &self.fence).await?;
            }
        }
        Ok(())
    }
}
