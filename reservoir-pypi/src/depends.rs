//! What a Python package needs, from the `Requires-Dist` lines of the file itself.

use std::collections::BTreeSet;

use reservoir_core::{
    Error, Result,
    depends::Dependencies,
    ecosystem::{Inspection, RepositoryConfig, Requirement},
};

use crate::{
    name::{ProjectName, normalize},
    options::Options,
    requirement::PyRequirement,
};

/// Reads `Requires-Dist` lines under a repository's targets and the extras that were asked for. Extras may
/// add extras through the package itself (`pkg[all]` needs `pkg[a,b]`); those are followed here. Build
/// requirements of sdists are not followed; such files carry the label `needs-build`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PypiDependencies;

impl Dependencies for PypiDependencies {
    /// # Errors
    /// [`Error::Malformed`] (`requirement`) for a line that no repair makes readable, [`Error::Denied`] for a
    /// direct reference that applies; [`Error::Invalid`] for the repository's own keys.
    fn requirements(
        &self,
        repository: &RepositoryConfig,
        wanted: &Requirement,
        owner: &str,
        inspection: &Inspection,
    ) -> Result<Vec<Requirement>> {
        let options = Options::of(repository)?;
        let own = ProjectName::try_from(&wanted.artifact)?;
        let lines: Vec<PyRequirement> =
            inspection.requirements.iter().map(|line| PyRequirement::parse(line)).collect::<Result<_>>()?;

        let mut extras: BTreeSet<String> = wanted.extras.iter().map(|extra| normalize(extra)).collect();
        let applying = loop {
            let known: Vec<String> = extras.iter().cloned().collect();
            let applying: Vec<&PyRequirement> =
                lines.iter().filter(|line| line.may_apply(&options.targets, &known)).collect();
            let itself = applying.iter().filter(|line| line.name == own);
            extras.extend(itself.flat_map(|line| line.extras.iter().cloned()));
            if extras.len() == known.len() {
                break applying;
            }
        };

        let mut found = BTreeSet::new();
        for line in applying.into_iter().filter(|line| line.name != own) {
            line.refuse_url(owner)?;
            found.insert(Requirement {
                artifact: line.name.to_artifact(),
                constraint: line.tail.clone(),
                extras: line.extras.clone(),
                wanted_by: Some(owner.to_owned()),
            });
        }
        Ok(found.into_iter().collect())
    }
}

impl PyRequirement {
    /// Refuses a direct reference: what it points to lies outside any index, unhashed and unseen by policy.
    pub(crate) fn refuse_url(&self, owner: &str) -> Result<()> {
        match &self.url {
            None => Ok(()),
            Some(url) => {
                // The URL may carry a password; its scheme is enough to recognise the line by.
                let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
                Err(Error::Denied {
                    what: format!("the direct reference `{} @ {scheme}:…` of {owner}", self.name),
                    reason: "it bypasses the index; mirror the package under its name instead".into(),
                })
            }
        }
    }
}
