//! Dependencies that are known before anything is pulled: chosen at once, so that they go together.

use std::collections::{BTreeMap, BTreeSet};

use super::{SyncReport, Syncer};
use crate::{
    blocking,
    depends::{Cover, Dependencies, Explanation, Gather, Offered, PackageId, Solver, Universe},
    ecosystem::{Chosen, Requirement},
    error::Result,
    lifecycle::RevisionId,
    path::ContentPath,
    task::{Progress, TaskContext},
};

/// Files read of the catalog at a time.
const BATCH: u32 = 1_000;

/// The files of a target: whose package each is.
type Files = Vec<(PackageId, RevisionId, ContentPath)>;

impl Syncer<'_> {
    /// Whether the format decides dependencies ahead, and the repository wants them.
    pub(super) fn decides_ahead(&self) -> bool {
        self.repository.config.dependencies && self.ecosystem.dependencies().is_some_and(Dependencies::ahead)
    }

    /// Whether what is chosen depends on what other repositories have, which may change unseen.
    pub(super) fn depends_on_others(&self) -> Result<bool> {
        let Some(dependencies) = self.ecosystem.dependencies().filter(|_| self.decides_ahead()) else {
            return Ok(false);
        };
        Ok(!dependencies.beside(&self.repository.config)?.is_empty())
    }

    /// What the files picked need, for every target: files that let each of them be installed from the mirror
    /// alone. What cannot be installed whatever is taken is reported with the reason.
    pub(super) async fn choose_ahead(
        &self,
        picked: &BTreeSet<(RevisionId, ContentPath)>,
        report: &mut SyncReport,
    ) -> Result<Vec<Chosen>> {
        let Some(dependencies) = self.ecosystem.dependencies() else { return Ok(Vec::new()) };
        let mut needed: BTreeMap<RevisionId, BTreeSet<ContentPath>> = BTreeMap::new();
        for target in dependencies.targets(&self.repository.config)? {
            self.task.report(Progress::Phase { name: "solve", total: None });
            let (universe, files) = self.gather(dependencies, &target).await?;
            let goals: Vec<PackageId> = goals(&files, picked);
            let goals: Vec<PackageId> =
                goals.into_iter().filter(|package| !universe.only_helps(*package)).collect();
            if goals.len() == universe.len() {
                // Everything is taken anyway.
                continue;
            }
            let task = self.task.clone();
            let (cover, problems) = blocking::run(move || cover(&*universe, &goals, &task)).await?;
            for (package, why) in problems {
                report.missing.push(format!("`{package}` cannot be installed from `{target}`: {why}"));
            }
            for (package, id, path) in files {
                if cover.packages.binary_search(&package).is_ok() {
                    needed.entry(id).or_default().insert(path);
                }
            }
        }
        let chosen = needed.into_iter().map(|(id, paths)| Chosen { id, paths: paths.into_iter().collect() });
        Ok(chosen.collect())
    }

    /// What comes with the files that were chosen.
    pub(super) async fn along(
        &self,
        chosen: &BTreeSet<(RevisionId, ContentPath)>,
    ) -> Result<Vec<Requirement>> {
        let mut along = BTreeSet::new();
        let revisions: BTreeSet<RevisionId> = chosen.iter().map(|(id, _)| *id).collect();
        for id in revisions {
            self.task.checkpoint()?;
            let revision = crate::lifecycle::ArtifactLifecycle::revision(self.catalog, id).await?;
            for file in self.catalog.files(id).await? {
                if chosen.contains(&(id, file.path)) {
                    let of = (&revision.artifact, &revision.revision);
                    along.extend(self.ecosystem.along(&self.repository.config, of, &file.attributes)?);
                }
            }
        }
        Ok(along.into_iter().collect())
    }

    async fn gather(
        &self,
        dependencies: &dyn Dependencies,
        target: &str,
    ) -> Result<(Box<dyn Universe>, Files)> {
        let mut gather: Box<dyn Gather> = dependencies.gather(&self.repository.config, target)?;
        let mut files = Vec::new();
        // What clients have anyway comes first, and so is preferred to the same package from here.
        let mut repositories = Vec::new();
        for name in dependencies.beside(&self.repository.config)? {
            repositories.push((self.catalog.repository(&name).await?.id, true));
        }
        repositories.push((self.repository.id, false));
        for (repository, beside) in repositories {
            let mut after = None;
            loop {
                self.task.checkpoint()?;
                let batch = self.catalog.offered(repository, after, BATCH).await?;
                let Some(last) = batch.last() else { break };
                after = Some(last.id);
                for file in batch.into_iter().filter(|file| file.available || !beside) {
                    let offered = Offered {
                        artifact: &file.artifact,
                        revision: &file.revision,
                        path: &file.path,
                        attributes: &file.attributes,
                        beside,
                    };
                    if let Some(package) = gather.add(&offered)?
                        && !beside
                    {
                        files.push((package, file.revision_id, file.path));
                    }
                }
            }
        }
        Ok((gather.finish(), files))
    }
}

/// The packages of the files picked, each once, in their order.
fn goals(files: &Files, picked: &BTreeSet<(RevisionId, ContentPath)>) -> Vec<PackageId> {
    let wanted = files.iter().filter(|(_, id, path)| picked.contains(&(*id, path.clone())));
    let wanted: BTreeSet<PackageId> = wanted.map(|(package, ..)| *package).collect();
    wanted.into_iter().collect()
}

/// What to have, and of what cannot be installed its name and why.
fn cover(
    universe: &dyn Universe,
    goals: &[PackageId],
    task: &TaskContext,
) -> Result<(Cover, Vec<(String, Explanation)>)> {
    let mut solver = Solver::new(universe)?;
    let cover = solver.cover(goals, &mut || task.checkpoint())?;
    let explain = |package: &PackageId| Ok((universe.label(*package), solver.explain(*package)?));
    let problems = cover.impossible.iter().map(explain).collect::<Result<_>>()?;
    Ok((cover, problems))
}
