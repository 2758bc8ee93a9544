//! Repositories as people configure them.

use super::Engine;
use crate::{
    ecosystem::RepositoryConfig,
    error::{ErrorKind, Result},
    name::Actor,
};

impl Engine {
    /// Adds or changes a repository as a person says; `false` when it was exactly so already.
    ///
    /// Where bundles fill it, or another Reservoir, what decides how its content looks travels with that content: its
    /// mode, whether it takes uploads, dependencies, and the format's own keys. Of those, what `config` says is left
    /// aside; registries, schedule, approval and publishing are this side's own.
    ///
    /// # Errors
    /// Those of [`Catalog::put_repository`](crate::catalog::Catalog::put_repository).
    pub async fn configure(&self, config: &RepositoryConfig, actor: &Actor) -> Result<bool> {
        let catalog = &self.inner.catalog;
        let mut config = config.clone();
        let known = match catalog.repository(&config.name).await {
            Ok(known) => Some(known),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(known) = known
            && catalog.stream_of(known.id).await?.is_some()
        {
            (config.mode, config.hosted) = (known.config.mode, known.config.hosted);
            (config.dependencies, config.options) = (known.config.dependencies, known.config.options);
        }
        catalog.put_repository(&config, actor).await
    }
}
