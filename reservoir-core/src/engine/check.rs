//! Whether everything that is published can be installed from what is published.

use futures::TryStreamExt as _;
use serde::Serialize;

use super::Engine;
use crate::{
    blocking,
    depends::{Dependencies, Explanation, Gather, Offered, Solver, Universe},
    ecosystem::RepositoryConfig,
    error::{Error, Result},
    name::{ArtifactName, RepositoryName, RevisionName},
    snapshot::Manifest,
};

/// Packages of a target whose reason is looked for; more are only named.
const EXPLAINED: usize = 500;

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The repository.
    pub repository: RepositoryName,
    /// The snapshot that was looked at.
    pub snapshot: u64,
    /// For each target what cannot be installed.
    pub targets: Vec<CheckedTarget>,
}

/// One target of a check.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedTarget {
    /// Which, in the format's words: a suite and an architecture.
    pub target: String,
    /// Packages that clients of it see.
    pub packages: usize,
    /// Of those, the ones that were in question: not what is only beside them.
    pub checked: usize,
    /// Those that cannot be installed, whatever else is installed with them.
    pub broken: Vec<BrokenPackage>,
    /// What was not looked at, in the format's words.
    pub notes: Vec<String>,
}

/// A package that cannot be installed.
#[derive(Debug, Clone, Serialize)]
pub struct BrokenPackage {
    /// In the format's words.
    pub package: String,
    /// Its artifact and revision; `None` for what is none of the content: something that the selection asks for.
    #[serde(flatten)]
    pub of: Option<BrokenRevision>,
    /// Why; empty for those beyond the first five hundred.
    pub why: Explanation,
}

/// The revision that a package is.
#[derive(Debug, Clone, Serialize)]
pub struct BrokenRevision {
    /// Its artifact.
    pub artifact: ArtifactName,
    /// Its name.
    pub revision: RevisionName,
}

impl Checked {
    /// Whether everything can be installed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.targets.iter().all(|target| target.broken.is_empty())
    }
}

impl Engine {
    /// Says of every package in the newest snapshot of a repository whether it can be installed from it, for each
    /// target that the format knows. Reads only; may be dropped at any time.
    ///
    /// Memory grows with the number of packages: what a format keeps of each to decide by, some hundred bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a format that does not know what goes together, [`Error::NotFound`] when
    /// nothing was published yet.
    pub async fn check(&self, name: &RepositoryName) -> Result<Checked> {
        let (repository, ecosystem) = self.repository(name).await?;
        let unsupported = || Error::Unsupported {
            what: format!("a check of `{}` repositories", repository.config.ecosystem),
            detail: "this ecosystem does not say what goes together".into(),
        };
        let dependencies = ecosystem.dependencies().ok_or_else(unsupported)?;
        let targets = dependencies.targets(&repository.config)?;
        if targets.is_empty() {
            return Err(unsupported());
        }
        let snapshot = self.inner.catalog.resolve(repository.id, "main").await?;
        let mut contents = vec![(self.inner.pages.open(snapshot.content).await?, false)];
        for beside in dependencies.beside(&repository.config)? {
            let beside = self.inner.catalog.repository(&beside).await?;
            let snapshot = self.inner.catalog.resolve(beside.id, "main").await?;
            contents.push((self.inner.pages.open(snapshot.content).await?, true));
        }
        let mut checked =
            Checked { repository: name.clone(), snapshot: snapshot.number, targets: Vec::new() };
        for target in targets {
            let (universe, names) = gather(dependencies, &repository.config, &target, &contents).await?;
            checked.targets.push(blocking::run(move || judge(target, &*universe, &names)).await?);
        }
        Ok(checked)
    }
}

type Names = Vec<(ArtifactName, RevisionName)>;

async fn gather(
    dependencies: &dyn Dependencies,
    repository: &RepositoryConfig,
    target: &str,
    contents: &[(Manifest, bool)],
) -> Result<(Box<dyn Universe>, Names)> {
    let mut gather: Box<dyn Gather> = dependencies.gather(repository, target)?;
    let mut names: Names = Vec::new();
    for (content, beside) in contents {
        let mut entries = content.scan("");
        while let Some(entry) = entries.try_next().await? {
            let (Some(artifact), Some(revision)) = (entry.artifact, entry.revision) else { continue };
            let offered = Offered {
                artifact: &artifact,
                revision: &revision,
                path: &entry.path,
                attributes: &entry.attributes,
                beside: *beside,
            };
            if let Some(package) = gather.add(&offered)?
                && package.index() == names.len()
            {
                names.push((artifact, revision));
            }
        }
    }
    Ok((gather.finish(), names))
}

fn judge(
    target: String,
    universe: &dyn Universe,
    names: &[(ArtifactName, RevisionName)],
) -> Result<CheckedTarget> {
    let mut solver = Solver::new(universe)?;
    let verdicts = solver.check(&mut || Ok(()))?;
    let mut broken = Vec::with_capacity(verdicts.broken.len());
    for (count, package) in verdicts.broken.into_iter().enumerate() {
        let why = if count < EXPLAINED { solver.explain(package)? } else { Explanation::default() };
        let of = names.get(package.index()).cloned();
        let of = of.map(|(artifact, revision)| BrokenRevision { artifact, revision });
        broken.push(BrokenPackage { package: universe.label(package), of, why });
    }
    let (packages, checked, notes) = (universe.len(), verdicts.checked, universe.notes());
    Ok(CheckedTarget { target, packages, checked, broken, notes })
}
