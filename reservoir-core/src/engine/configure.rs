//! Registries and repositories as people configure them.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Engine,
    peer::Peer,
    run::{release_after, wait_for_lease},
};
use crate::{
    ecosystem::{Registry, RepositoryConfig},
    error::{Error, ErrorKind, Result},
    name::{Actor, RepositoryName},
    snapshot::removal::{Removal, sign_removal},
};

/// How long a removal waits for a snapshot that is being made.
const PATIENCE: Duration = Duration::from_mins(2);

impl Engine {
    /// Adds or changes a registry as a person says; `false` when it was exactly so already. One transaction: dropping
    /// the future changes it or does not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what [`Registry::check`] finds, an ecosystem that is not built in, and a change of
    /// ecosystem.
    pub async fn configure_registry(&self, registry: &Registry, actor: &Actor) -> Result<bool> {
        registry.check(&*self.ecosystem(&registry.ecosystem)?).map_err(|mistake| mistake.error)?;
        self.inner.catalog.put_registry(registry, actor).await
    }

    /// Adds or changes a repository as a person says; `false` when it was exactly so already. One transaction:
    /// dropping the future changes it or does not.
    ///
    /// Where bundles fill it, or another Reservoir, what decides how its content looks travels with that content: its
    /// mode, whether it takes uploads, dependencies, and the format's own keys. Of those, what `config` says is left
    /// aside; registries, schedule, approval and publishing are this side's own.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what [`RepositoryConfig::check`] finds, an ecosystem that is not built in, a registry of
    /// another one, and a change of ecosystem; [`Error::NotFound`] for a registry that is not known.
    pub async fn configure(&self, config: &RepositoryConfig, actor: &Actor) -> Result<bool> {
        let catalog = &self.inner.catalog;
        config.check(&*self.ecosystem(&config.ecosystem)?).map_err(|mistake| mistake.error)?;
        for name in &config.registries {
            let of = catalog.registry(name).await?.ecosystem;
            // Another Reservoir has repositories of every ecosystem.
            if of != config.ecosystem && !Peer::is_meant(&of) {
                let detail = format!("is {}, its registry `{name}` is {of}", config.ecosystem);
                return Err(Error::invalid(format!("repository `{}`", config.name), detail));
            }
        }
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

    /// Takes a repository away with everything known of it. Its bytes go with the next garbage collections; its records
    /// stay in the store, and beside them one that says so, so that a [rebuild](Self::rebuild) leaves it away.
    ///
    /// Dropped or killed between the two, the repository is still there, and goes on when it is published again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that nobody has; [`Error::Conflict`] while a snapshot of it is being made for
    /// longer than two minutes.
    pub async fn remove_repository(&self, name: &RepositoryName, actor: &Actor) -> Result<()> {
        let catalog = &self.inner.catalog;
        let repository = catalog.repository(name).await?;
        // A record that is written meanwhile would say that the repository went on.
        let fence = wait_for_lease(catalog, &format!("publish/{}", repository.uuid), PATIENCE).await?;
        let removed = async {
            let removal = Removal {
                repository: repository.uuid,
                name: name.clone(),
                last: catalog.last_record(repository.id).await?.map_or(0, |(number, _)| number),
                actor: actor.clone(),
                at: catalog.clock().now(),
            };
            let (_, unique) = Uuid::new_v4().as_u64_pair();
            let bytes = sign_removal(&removal, &self.inner.key)?;
            self.inner.store.put_record(removal.key(unique), bytes).await?;
            catalog.remove_repository(name, actor).await
        }
        .await;
        release_after(catalog, &fence, removed).await?;
        self.refresh_serving().await;
        Ok(())
    }
}
