//! Importing what a lock file names.

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::json;

use super::{Engine, run::wait_for_lease};
use crate::{
    error::{Error, Result},
    name::{Actor, RepositoryName},
    sync::{self, SyncReport},
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
    /// At once: [`Error::NotFound`] for the repository, [`Error::Invalid`] for one without a registry and for what is no
    /// lock file, [`Error::Unsupported`] where the format reads none. From the task: those of [`import`](Self::import).
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
        let lock = ecosystem.read_lock(&repository.config, file, text).map_err(Error::of_the_caller)?;
        let payload = json!({ "lock": file, "packages": lock.packages.len() });
        let (engine, target, by) = (self.clone(), repository.clone(), actor.clone());
        let message = format!("import of {file} into {name}");
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<SyncReport>> {
            Box::pin(async move {
                let lease = format!("sync/{}", target.uuid);
                let fence = wait_for_lease(&engine.inner.catalog, &lease, PATIENCE).await?;
                task.keep(fence.clone());
                let mut syncer = engine.syncer(&target, ecosystem, &task, fence, &actor).await?;
                let (catalog, fetcher, registries) =
                    (syncer.catalog, &engine.inner.fetcher, &target.config.registries);
                syncer.sources = sync::sources(catalog, &*syncer.ecosystem, fetcher, registries).await?;
                let report = syncer.bring_locked(&lock).await?;
                engine.publish_brought(&target, report, actor, message).await
            })
        };
        self.spawn("import", Some(repository), payload, by, work).await
    }
}
