//! Requirements of packages.

use reservoir_core::{
    Result,
    depends::Dependencies,
    ecosystem::{Inspection, RepositoryConfig, Requirement},
};

/// The adapter of this ecosystem.
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
