//! What every task that brings revisions into a repository begins and ends with.

use std::sync::Arc;

use super::{Engine, pinned::PinnedStore};
use crate::{
    catalog::{Fence, Repository},
    ecosystem::{Ecosystem, Publish},
    error::Result,
    name::Actor,
    sync::{Partials, SyncReport, Syncer},
    task::TaskContext,
};

impl Engine {
    /// Who pulls, inspects and judges for `task`, under the repository's `sync/…` lease that `fence` is of. It asks
    /// no registry; who does sets `sources`.
    pub(super) async fn syncer<'a>(
        &'a self,
        repository: &'a Repository,
        ecosystem: Arc<dyn Ecosystem>,
        task: &'a TaskContext,
        fence: Fence,
        actor: &Actor,
    ) -> Result<Syncer<'a>> {
        let inner = &self.inner;
        Ok(Syncer {
            catalog: &inner.catalog,
            store: PinnedStore::new(Arc::clone(&inner.store), inner.catalog.clone(), task.pin_owner()),
            ecosystem,
            scanners: &inner.scanners,
            partials: Partials::open(inner.scratch.join("partial")).await?,
            sources: Vec::new(),
            repository,
            task,
            fence,
            actor: actor.clone(),
            follower: None,
            planning: None,
        })
    }

    /// Publishes what came in, unless the repository says `publish = "manual"`.
    pub(super) async fn publish_brought(
        &self,
        repository: &Repository,
        mut report: SyncReport,
        actor: Actor,
        message: String,
    ) -> Result<SyncReport> {
        if repository.config.publish == Publish::Automatic {
            let published = self.publish(&repository.config.name, actor, message).await?;
            report.published = published.map(|snapshot| snapshot.number);
        }
        Ok(report)
    }
}
