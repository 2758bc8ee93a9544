//! What a model needs elsewhere: code that its `auto_map` names in another repository, the base of an adapter.

use reservoir_core::{
    Result,
    depends::Dependencies,
    ecosystem::{Inspection, RepositoryConfig, Requirement},
};

use crate::{options::parse_spec, select::requirement};

/// Reads what inspection wrote down as `org/name` or `org/name@revision`.
#[derive(Debug, Clone, Copy, Default)]
pub struct HfDependencies;

impl Dependencies for HfDependencies {
    fn requirements(
        &self,
        _: &RepositoryConfig,
        _: &Requirement,
        owner: &str,
        inspection: &Inspection,
    ) -> Result<Vec<Requirement>> {
        let specs = inspection.requirements.iter().map(|spec| parse_spec(spec));
        specs.map(|spec| spec.and_then(|(repo, label)| requirement(&repo, &label, Some(owner)))).collect()
    }
}
