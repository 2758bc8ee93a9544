//! What a Python package needs, from the `Requires-Dist` lines of the file itself, and what goes together.

mod draft;
mod gather;
mod peek;
mod remote;
mod universe;
mod world;

use std::collections::BTreeSet;

use async_trait::async_trait;
use reservoir_core::{
    Error, Result,
    depends::{Dependencies, Draft, Gather, Peek},
    ecosystem::{Inspection, RepositoryConfig, Requirement},
};

use self::{draft::Offers, gather::Published, world::World};
use crate::{
    name::{ProjectName, normalize},
    options::Options,
    requirement::PyRequirement,
    select,
};

/// Reads `Requires-Dist` lines under a repository's targets and the extras that were asked for. Extras may
/// add extras through the package itself (`pkg[all]` needs `pkg[a,b]`); those are followed here. What sdists are
/// built with is followed where the repository says that clients build (`builds`).
#[derive(Debug, Clone, Copy, Default)]
pub struct PypiDependencies;

#[async_trait]
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
        let built_with = if options.builds { world::built_with(&inspection.attributes)? } else { Vec::new() };
        let built_with = built_with.iter().filter(|line| line.may_apply(&options.targets, &[]));
        for line in applying.into_iter().filter(|line| line.name != own).chain(built_with) {
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

    /// # Errors
    /// [`Error::Invalid`] without targets: what can be installed depends on where.
    fn targets(&self, repository: &RepositoryConfig) -> Result<Vec<String>> {
        let options = Options::of(repository)?;
        if options.targets.is_empty() {
            return Err(Error::invalid(
                format!("repository `{}`, key `targets`", repository.name),
                "is missing: whether something can be installed depends on the interpreter and the platform, such as \
                 `targets = [{ python = \"3.12\", platform = \"manylinux_2_28_x86_64\" }]`",
            ));
        }
        Ok(options.targets.iter().map(ToString::to_string).collect())
    }

    fn gather(&self, repository: &RepositoryConfig, target: &str) -> Result<Box<dyn Gather>> {
        let roots = select::roots(repository, &[])?;
        Ok(Box::new(Published(World::new(repository, target, &roots)?)))
    }

    fn draft(
        &self,
        repository: &RepositoryConfig,
        target: &str,
        roots: &[Requirement],
    ) -> Result<Box<dyn Draft>> {
        Ok(Box::new(Offers::new(World::new(repository, target, roots)?)))
    }

    async fn peek(&self, file: &Peek<'_>) -> Result<Option<Inspection>> {
        peek::peek(file).await
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
