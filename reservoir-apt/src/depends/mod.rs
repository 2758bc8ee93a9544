//! What packages need and exclude.

mod archive;
mod offers;
mod order;
mod relation;
mod target;

use reservoir_core::{
    Result,
    depends::{Dependencies, Gather},
    ecosystem::{Inspection, RepositoryConfig, Requirement},
    name::RepositoryName,
};

pub use self::archive::Archive;
use self::target::{Suites, Target};
use crate::options::Options;

/// The adapter of this ecosystem. What packages need is known from the index before anything is pulled, so
/// everything is decided over an [`Archive`], and nothing file by file.
#[derive(Debug, Clone, Copy, Default)]
pub struct AptDependencies;

impl Dependencies for AptDependencies {
    fn requirements(
        &self,
        _repository: &RepositoryConfig,
        _wanted: &Requirement,
        _owner: &str,
        _inspection: &Inspection,
    ) -> Result<Vec<Requirement>> {
        Ok(Vec::new())
    }

    fn targets(&self, repository: &RepositoryConfig) -> Result<Vec<String>> {
        Ok(Target::all(&Options::of(repository)?)?.iter().map(ToString::to_string).collect())
    }

    fn gather(&self, repository: &RepositoryConfig, target: &str) -> Result<Box<dyn Gather>> {
        Ok(Box::new(Suites::of(repository, target)?))
    }

    fn beside(&self, repository: &RepositoryConfig) -> Result<Vec<RepositoryName>> {
        Ok(Options::of(repository)?.base)
    }

    fn ahead(&self) -> bool {
        true
    }
}
