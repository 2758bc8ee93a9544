//! Bringing in what a lock file names, and nothing else.

use std::collections::BTreeSet;

use super::{SyncReport, Syncer};
use crate::{
    ecosystem::{LockFile, Requirement},
    error::Result,
    name::ArtifactName,
};

impl Syncer<'_> {
    /// Asks the registries about the packages of a lock and brings its files. What is not to be had is in the report.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) async fn bring_locked(&self, lock: &LockFile) -> Result<SyncReport> {
        let mut report = SyncReport { missing: lock.missing.clone(), ..SyncReport::default() };
        let wanted: Vec<Requirement> =
            lock.packages.iter().map(|locked| locked.requirement.clone()).collect();
        let artifacts: BTreeSet<ArtifactName> =
            wanted.iter().map(|requirement| requirement.artifact.clone()).collect();
        self.discover(artifacts.into_iter().collect(), &wanted, &mut report).await?;
        let (id, config) = (self.repository.id, &self.repository.config);
        let mut picks = Vec::with_capacity(lock.packages.len());
        for locked in &lock.packages {
            self.task.checkpoint()?;
            let candidates = self.catalog.candidates(id, &locked.requirement.artifact).await?;
            let found = self.ecosystem.choose_locked(config, locked, &candidates)?;
            self.catalog.promise_digests(id, &found.digests).await?;
            report.missing.extend(found.missing);
            picks.push((locked.requirement.clone(), found.chosen));
        }
        self.refuse_too_much(&picks).await?;
        self.import(&picks, &mut BTreeSet::new(), &mut report).await?;
        Ok(report)
    }
}
