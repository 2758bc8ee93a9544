//! What packages need and exclude.

mod archive;
mod offers;
mod order;
mod relation;

use reservoir_core::{
    Result,
    depends::Dependencies,
    ecosystem::{Inspection, RepositoryConfig, Requirement},
};

pub use self::archive::Archive;

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
}
