//! Bringing in what a lock file names, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::{SyncReport, Syncer};
use crate::{
    ecosystem::{LockFile, Locked, LockedFiles, Requirement},
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
        let (mut chosen, mut lacking) = (Vec::with_capacity(lock.packages.len()), BTreeMap::new());
        for locked in &lock.packages {
            self.task.checkpoint()?;
            let found = self.choose_locked(locked).await?;
            if !found.lacking.is_empty() {
                let digests: &mut BTreeSet<_> =
                    lacking.entry(locked.requirement.artifact.clone()).or_default();
                digests.extend(found.lacking.iter().copied());
            }
            chosen.push((locked, found));
        }
        if self.look_further(&lacking, &mut report).await? {
            for (locked, found) in chosen.iter_mut().filter(|(_, found)| !found.lacking.is_empty()) {
                *found = self.choose_locked(locked).await?;
            }
        }
        let mut picks = Vec::with_capacity(chosen.len());
        for (locked, found) in chosen {
            self.catalog.promise_digests(self.repository.id, &found.digests).await?;
            report.missing.extend(found.missing);
            picks.push((locked.requirement.clone(), found.chosen));
        }
        self.refuse_too_much(&picks).await?;
        self.import(&picks, &mut BTreeSet::new(), &mut report).await?;
        Ok(report)
    }

    async fn choose_locked(&self, locked: &Locked) -> Result<LockedFiles> {
        let candidates = self.catalog.candidates(self.repository.id, &locked.requirement.artifact).await?;
        self.ecosystem.choose_locked(&self.repository.config, locked, &candidates)
    }
}
