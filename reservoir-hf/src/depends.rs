//! What a model needs elsewhere: code that its `auto_map` names in another repository, the base of an adapter, a
//! tokenizer.

use reservoir_core::{
    Result,
    depends::Dependencies,
    ecosystem::{Inspection, RepositoryConfig, Requirement},
};

use crate::{needs::Need, select};

/// Reads what inspection wrote down: `org/name`, `org/name@revision`, and `tokenizer:` before either where the files of
/// a tokenizer are enough.
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
        let needs = inspection.requirements.iter().map(|text| Need::parse(text));
        let requirement = |need: Need| {
            let mut requirement = select::requirement(&need.repo, &need.label, Some(owner))?;
            if need.is_tokenizer {
                requirement.extras.push(select::TOKENIZER.to_owned());
            }
            Ok(requirement)
        };
        needs.map(|need| need.and_then(requirement)).collect()
    }
}
