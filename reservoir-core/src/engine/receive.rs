//! Taking files into a hosted repository.

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::json;

use super::{Engine, run::wait_for_lease};
use crate::{
    ecosystem::Upload,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    sync::SyncReport,
    task::{TaskContext, TaskHandle},
};

/// How long an upload waits for another one into the same repository.
const PATIENCE: Duration = Duration::from_mins(10);

impl Engine {
    /// Copies files into a hosted repository: stored, accepted and inspected by the format, judged by scanners and
    /// policy, published unless the repository says `publish = "manual"`. What is wrong with one file is in the report.
    ///
    /// The task runs on; dropping the handle does not stop it. What was recorded before a cancel stays and goes
    /// on with the same upload.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a repository that is not hosted.
    pub async fn receive(
        &self,
        name: &RepositoryName,
        uploads: Vec<Upload>,
        actor: Actor,
    ) -> Result<TaskHandle<SyncReport>> {
        let (repository, ecosystem) = self.repository(name).await?;
        if !repository.config.takes_uploads() {
            return Err(Error::invalid(
                format!("repository `{name}`"),
                "takes no uploads: its content comes from registries; with `mode = \"hosted\"`, or `hosted = true` \
                 beside another mode, it does",
            ));
        }
        self.refuse_carried(&repository).await?;
        let names: Vec<&str> = uploads.iter().map(|upload| upload.name.as_str()).take(100).collect();
        let payload = json!({ "files": uploads.len(), "first": names });
        let (engine, target, by) = (self.clone(), repository.clone(), actor.clone());
        let work = move |task: TaskContext| -> BoxFuture<'static, Result<SyncReport>> {
            Box::pin(async move {
                let lease = format!("sync/{}", target.uuid);
                let fence = wait_for_lease(&engine.inner.catalog, &lease, PATIENCE).await?;
                task.keep(fence.clone());
                let syncer = engine.syncer(&target, ecosystem, &task, fence, &actor).await?;
                let report = syncer.receive(&uploads).await?;
                let message = format!("upload into {}", target.config.name);
                engine.publish_brought(&target, report, actor, message).await
            })
        };
        self.spawn("upload", Some(repository), payload, by, work).await
    }
}
