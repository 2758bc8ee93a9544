//! What the registries offer as a universe that is found out while it is solved: for `import --solve`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use reservoir_core::{
    Result,
    depends::{Draft, PackageId, Proposal},
    ecosystem::{Candidate, Inspection},
    lifecycle::RevisionId,
    name::ArtifactName,
    path::ContentPath,
};

use super::{
    universe::Builder,
    world::{File, Needs, World},
};
use crate::{filename::DistFilename, name::ProjectName, provenance::Documents};

/// The releases on offer to one target.
#[derive(Debug)]
pub(super) struct Offers {
    world: World,
    asked: HashSet<ProjectName>,
    /// Whose file it is, of those that were chosen as the best of their releases.
    by_path: HashMap<ContentPath, u32>,
    now: Timestamp,
}

impl Offers {
    pub(super) fn new(world: World) -> Self {
        let now = reservoir_core::clock::Timestamp::now().to_jiff();
        Self { world, asked: HashSet::new(), by_path: HashMap::new(), now }
    }
}

impl Draft for Offers {
    fn offer(&mut self, artifact: &ArtifactName, candidates: &[Candidate]) -> Result<()> {
        let project = ProjectName::try_from(artifact)?;
        self.asked.insert(project.clone());
        for candidate in candidates {
            let refused = candidate.status.is_refused();
            let documents = Documents::among(&candidate.files);
            for file in &candidate.files {
                let Ok(name) = DistFilename::parse(file.path.file_name(), &project) else { continue };
                let refusal = if refused {
                    Some(format!("is {} here", candidate.status))
                } else {
                    let refusal =
                        self.world.options.filter.refusal(&name, file.size, &file.attributes, self.now);
                    refusal.map(|why| format!("is not taken: {why}"))
                };
                if let Some(reason) = refusal {
                    self.world.pass_over(&project, name.version(), reason);
                    continue;
                }
                let needs = match &file.inspection {
                    Some(inspection) => self.world.needs(inspection),
                    None => Needs::Unread,
                };
                let facts = file.inspection.as_ref().map_or(&file.attributes, |found| &found.attributes);
                let file = File { name, path: &file.path, attributes: &file.attributes, facts, needs };
                let path = file.path.clone();
                if let Some((number, true)) = self.world.put(file)? {
                    let release = &mut self.world.releases[number as usize];
                    release.revision = Some(candidate.id);
                    release.companion = documents.of(&path);
                    self.by_path.insert(path, number);
                }
            }
        }
        Ok(())
    }

    fn describe(&mut self, path: &ContentPath, told: &Result<Inspection, String>) {
        let Some(number) = self.by_path.get(path).copied() else { return };
        let (needs, built_with) = match told {
            Ok(inspection) => (self.world.needs(inspection), self.world.built_with(&inspection.attributes)),
            Err(because) => {
                let needs = Needs::Never { what: "to be read".to_owned(), because: because.clone() };
                (needs, Arc::default())
            }
        };
        let release = &mut self.world.releases[number as usize];
        if release.file == *path {
            (release.needs, release.built_with) = (needs, built_with);
        }
    }

    fn propose(&self) -> Proposal {
        let is_known = |project: &ProjectName| self.asked.contains(project);
        let built = Builder::new(&self.world, &is_known).build();
        Proposal {
            universe: Box::new(built.universe),
            goals: built.roots.into_iter().map(|root| vec![root]).collect(),
            missing: built.missing.iter().map(ProjectName::to_artifact).collect(),
        }
    }

    fn unread(&self, package: PackageId, more: usize) -> Vec<(RevisionId, ContentPath)> {
        let is_unread = |number: u32| matches!(self.world.releases[number as usize].needs, Needs::Unread);
        let Some(release) = self.world.releases.get(package.index()).filter(|_| is_unread(package.0)) else {
            return Vec::new();
        };
        let Some(project) = self.world.projects.get(&release.project) else { return Vec::new() };
        let older = project.releases.range(..=&release.version).rev().map(|(_, number)| *number);
        let unread = older.filter(|number| is_unread(*number) && !self.world.is_yanked(*number));
        let unread = std::iter::once(package.0).chain(unread.filter(|number| *number != package.0));
        let files = unread.take(more + 1).filter_map(|number| {
            let release = &self.world.releases[number as usize];
            Some((release.revision?, release.file.clone()))
        });
        files.collect()
    }

    fn files(&self, package: PackageId) -> Option<(RevisionId, Vec<ContentPath>)> {
        let release = self.world.releases.get(package.index())?;
        let paths = std::iter::once(release.file.clone()).chain(release.companion.clone());
        Some((release.revision?, paths.collect()))
    }
}
