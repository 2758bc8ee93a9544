//! Importing what a lock file names.

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::json;

use super::{Engine, pinned::PinnedStore, run::wait_for_lease};
use crate::{
    ecosystem::Publish,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    sync::{self, Partials, SyncReport, Syncer},
    task::{TaskContext, TaskHandle},
};

/// How long an import waits for whoever changes the repository.
const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Pulls exactly the files that a lock file names for the repository's targets, each with the digest that it
    /// names; publishes unless the repository says `publish = "manual"`. What is not to be had is in the report.
    ///
    /// The task runs on; dropping the handle does not stop it.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no lock file, [`Error::Unsupported`] where the format reads none,
    /// [`Error::Invalid`] for a repository without a registry.
    pub async fn import_lock(
        &self,
        name: &RepositoryName,
        file: &str,
        text: &str,
        actor: Actor,
    ) -> Result<TaskHandle<SyncReport>> {
        let (repository, ecosystem) = self.repository(name).await?;
        if repository.config.registries.is_empty() {
            return Err(Error::invalid(
                format!("repository `{name}`"),
                "has no registry to read from; give it `registry = \"…\"`",
            ));
        }
        let lock = ecosystem.read_lock(&repository.config, file, text)?;
        let payload = json!({ "lock": file, "packages": lock.packages.len() });
        let (engine, target, by) = (self.clone(), repository.clone(), actor.clone());
        let message = format!("import of {file} into {name}");
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<SyncReport>> {
            Box::pin(async move {
                let inner = &engine.inner;
                let fence =
                    wait_for_lease(&inner.catalog, &format!("sync/{}", target.uuid), PATIENCE).await?;
                task.keep(fence.clone());
                let registries = &target.config.registries;
                let sources = sync::sources(&inner.catalog, &*ecosystem, &inner.fetcher, registries).await?;
                let syncer = Syncer {
                    catalog: &inner.catalog,
                    store: PinnedStore::new(inner.store.clone(), inner.catalog.clone(), task.pin_owner()),
                    ecosystem,
                    scanners: &inner.scanners,
                    partials: Partials::open(inner.scratch.join("partial")).await?,
                    sources,
                    repository: &target,
                    task: &task,
                    fence,
                    actor: actor.clone(),
                    follower: None,
                    planning: None,
                };
                let mut report = syncer.bring_locked(&lock).await?;
                if target.config.publish == Publish::Automatic {
                    let published = engine.publish(&target.config.name, actor, message).await?;
                    report.published = published.map(|snapshot| snapshot.number);
                }
                Ok(report)
            })
        };
        self.spawn("import", Some(repository), payload, by, work).await
    }
}
