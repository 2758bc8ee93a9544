//! Another Reservoir as a registry, where a network leads to it: `ecosystem = "reservoir"`.
//!
//! A repository that has such a registry takes over the repository of its own name there, whole: the same snapshots,
//! records and blobs that a bundle would carry, checked in the same way.

use async_trait::async_trait;
use url::Url;

use crate::{
    ecosystem::{
        Candidate, Chosen, ClientSetup, Discover, DiscoverySink, Ecosystem, Inspection, Mode, OptionSpec,
        PulledFile, Registry, RepositoryConfig, Requirement, SystemRegistry,
    },
    error::{Error, Result},
    name::EcosystemId,
    snapshot::{Contents, IndexWriter},
};

use super::Engine;
use crate::catalog::Repository;

/// What is written in the place of an ecosystem.
const ID: &str = "reservoir";

/// The kind of registry. Repositories are never of this kind: they have the ecosystem of what they hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer;

impl Peer {
    /// Whether an ecosystem's name means another Reservoir.
    pub(super) fn is_meant(id: &EcosystemId) -> bool {
        id.as_str() == ID
    }
}

impl Engine {
    /// The registry of a repository that takes over what another Reservoir has.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it has other registries beside it: what each of them gives could not be told apart.
    pub(super) async fn peer_of(&self, repository: &Repository) -> Result<Option<Registry>> {
        for name in &repository.config.registries {
            let registry = self.inner.catalog.registry(name).await?;
            if Peer::is_meant(&registry.ecosystem) {
                if repository.config.registries.len() > 1 {
                    return Err(Error::invalid(
                        format!("repository `{}`", repository.config.name),
                        format!(
                            "has other registries beside the Reservoir `{name}`; give those a repository of their own"
                        ),
                    ));
                }
                return Ok(Some(registry));
            }
        }
        Ok(None)
    }
}

fn none(what: &str) -> Error {
    Error::invalid(format!("ecosystem `{ID}`"), format!("{what}; it is a kind of registry"))
}

#[async_trait]
impl Ecosystem for Peer {
    fn id(&self) -> EcosystemId {
        ID.parse().expect("nine lowercase letters are an ecosystem")
    }

    fn modes(&self) -> &'static [Mode] {
        &[]
    }

    fn repository_options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn configure(&self, _: &RepositoryConfig) -> Result<()> {
        Err(none("holds no repositories"))
    }

    async fn system_registry(&self) -> Result<SystemRegistry> {
        Err(none("has no client to be configured; give the address of the other Reservoir"))
    }

    async fn discover(&self, _: Discover<'_>, _: &mut dyn DiscoverySink) -> Result<()> {
        Err(none("offers whole repositories"))
    }

    fn roots(&self, _: &RepositoryConfig, _: &[String]) -> Result<Vec<Requirement>> {
        Err(none("offers whole repositories"))
    }

    fn choose(&self, _: &RepositoryConfig, _: &Requirement, _: &[Candidate]) -> Result<Vec<Chosen>> {
        Err(none("offers whole repositories"))
    }

    async fn inspect(&self, _: &PulledFile<'_>) -> Result<Inspection> {
        Err(none("has no files of its own"))
    }

    async fn index(&self, _: &Contents<'_>, _: &mut IndexWriter<'_>) -> Result<()> {
        Err(none("has no indexes"))
    }

    fn client_setup(&self, _: &RepositoryConfig, _: &Url) -> ClientSetup {
        ClientSetup { command: String::new(), files: Vec::new() }
    }
}
