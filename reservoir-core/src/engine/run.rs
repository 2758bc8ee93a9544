//! Running work as durable tasks: scan, import, solve, plan, sync.

use std::{future::Future, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::Engine;
use crate::{
    catalog::{Catalog, Fence, Holder, Repository, TaskState},
    ecosystem::Ecosystem,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    sync::{self, Depth, Planning, SyncReport},
    task::{LEASE, PIN, TaskContext, TaskHandle},
};

/// What a task gives back, and whether something expected is missing.
pub(crate) trait Outcome: Serialize + Send + Sync + 'static {
    fn is_complete(&self) -> bool;

    /// Whether all of it was waited for to be durable: then nobody waits for the end of the task.
    fn is_settled(&self) -> bool {
        false
    }
}

impl Outcome for SyncReport {
    fn is_complete(&self) -> bool {
        self.is_complete()
    }
}

/// What a task does.
#[derive(Debug, Clone, Copy)]
struct Work {
    depth: Depth,
    /// Says only what would be pulled.
    dry: bool,
}

impl Work {
    fn publishes(self) -> bool {
        self.depth != Depth::Scan && !self.dry
    }
}

impl Depth {
    fn really(self) -> Work {
        Work { depth: self, dry: false }
    }
}

impl Engine {
    /// Records what the registries offer of the repository's selection; pulls nothing.
    ///
    /// The task runs on; dropping the handle does not stop it, [`TaskHandle::cancel`] does, and whoever begins again goes
    /// on where it was. So do all that are started here.
    ///
    /// # Errors
    /// At once: [`Error::NotFound`] for the repository, [`Error::Invalid`] for one without a registry or for a selection
    /// that makes no sense. From the task: [`Error::Conflict`] while another one works on the repository,
    /// [`Error::Cancelled`], [`Error::Fenced`], [`Error::NoSpace`], [`Error::Upstream`] and [`Error::Unreachable`] for a
    /// registry that cannot be read at all, those of store and catalog. What is wrong with single revisions is in the
    /// report.
    pub async fn scan(&self, name: &RepositoryName, actor: Actor) -> Result<TaskHandle<SyncReport>> {
        self.start_sync("scan", name, Depth::Scan.really(), Vec::new(), actor).await
    }

    /// Pulls `specs` (or the configured selection, when empty), inspects and judges; publishes unless the
    /// repository says `publish = "manual"`.
    ///
    /// # Errors
    /// Those of [`scan`](Self::scan) and [`publish`](Self::publish), and [`Error::LimitExceeded`] for more than the
    /// repository's `max_import`.
    pub async fn import(
        &self,
        name: &RepositoryName,
        specs: Vec<String>,
        actor: Actor,
    ) -> Result<TaskHandle<SyncReport>> {
        self.start_sync("import", name, Depth::Import.really(), specs, actor).await
    }

    /// Picks for each target versions of `specs` (or the configured selection, when empty) and of what they need that
    /// go together, pulls just those, inspects and judges; publishes unless the repository says
    /// `publish = "manual"`.
    ///
    /// # Errors
    /// Those of [`import`](Self::import), and [`Error::Unsupported`] where the format cannot solve. What has no solution is
    /// in the report.
    pub async fn solve(
        &self,
        name: &RepositoryName,
        specs: Vec<String>,
        actor: Actor,
    ) -> Result<TaskHandle<SyncReport>> {
        self.start_sync("solve", name, Depth::Solve.really(), specs, actor).await
    }

    /// Says what [`import`](Self::import), or [`solve`](Self::solve), would pull and how much that is; only records
    /// what the registries offer. What a file needs is read from beside it; where that cannot be, the plan says so.
    ///
    /// # Errors
    /// Those of [`scan`](Self::scan) or [`solve`](Self::solve).
    pub async fn plan_import(
        &self,
        name: &RepositoryName,
        specs: Vec<String>,
        solve: bool,
        actor: Actor,
    ) -> Result<TaskHandle<SyncReport>> {
        let depth = if solve { Depth::Solve } else { Depth::Import };
        self.start_sync("plan", name, Work { depth, dry: true }, specs, actor).await
    }

    /// Scans, imports what the selection wants, and publishes, unless the repository says `publish = "manual"`.
    ///
    /// # Errors
    /// Those of [`import`](Self::import).
    pub async fn sync(&self, name: &RepositoryName, actor: Actor) -> Result<TaskHandle<SyncReport>> {
        self.start_sync("sync", name, Depth::Import.really(), Vec::new(), actor).await
    }

    async fn start_sync(
        &self,
        kind: &'static str,
        name: &RepositoryName,
        work: Work,
        specs: Vec<String>,
        actor: Actor,
    ) -> Result<TaskHandle<SyncReport>> {
        let (repository, ecosystem) = self.repository(name).await?;
        if repository.config.registries.is_empty() {
            return Err(Error::invalid(
                format!("repository `{name}`"),
                "has no registry to read from; give it `registry = \"…\"`",
            ));
        }
        if let Some(peer) = self.peer_of(&repository).await? {
            // A plan for it is what a scan says: there is nothing to pick.
            let depth = if work.dry { Depth::Scan } else { work.depth };
            return self.start_pull(kind, peer, repository, depth, &specs, actor).await;
        }
        // Bad specs are the caller's mistake and are told at once, not by a failed task.
        ecosystem.roots(&repository.config, &specs).map_err(Error::of_the_caller)?;
        let payload = json!({ "specs": specs });
        let (engine, target, by) = (self.clone(), repository.clone(), actor.clone());
        // Boxed here, where every lifetime is known: the compiler cannot see that such a future is Send behind
        // a generic one.
        let run = move |task: TaskContext| -> BoxFuture<'static, Result<SyncReport>> {
            Box::pin(
                async move { engine.run_sync(kind, &target, ecosystem, work, &specs, actor, &task).await },
            )
        };
        self.spawn(kind, Some(repository), payload, by, run).await
    }

    /// The work of a scan, import or sync.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all")]
    async fn run_sync(
        &self,
        kind: &str,
        target: &Repository,
        ecosystem: Arc<dyn Ecosystem>,
        work: Work,
        specs: &[String],
        actor: Actor,
        task: &TaskContext,
    ) -> Result<SyncReport> {
        let lease = format!("sync/{}", target.uuid);
        let fence = wait_for_lease(&self.inner.catalog, &lease, Duration::ZERO).await;
        let fence = fence.map_err(|error| match error {
            Error::Conflict { detail, .. } => {
                Error::Conflict { what: format!("repository `{}`", target.config.name), detail }
            }
            error => error,
        })?;
        task.keep(fence.clone());
        let mut syncer = self.syncer(target, ecosystem, task, fence, &actor).await?;
        let registries = &target.config.registries;
        syncer.sources =
            sync::sources(syncer.catalog, &*syncer.ecosystem, &self.inner.fetcher, registries).await?;
        syncer.planning = work.dry.then(Planning::default);
        let report = syncer.run(work.depth, specs).await?;
        if !work.publishes() {
            return Ok(report);
        }
        self.publish_brought(target, report, actor, format!("{kind} of {}", target.config.name)).await
    }

    /// Runs `work` as a durable task owned by the engine.
    pub(crate) async fn spawn<T, W, F>(
        &self,
        kind: &'static str,
        repository: Option<Repository>,
        payload: Value,
        actor: Actor,
        work: W,
    ) -> Result<TaskHandle<T>>
    where
        T: Outcome,
        W: FnOnce(TaskContext) -> F + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let catalog = self.inner.catalog.clone();
        catalog.reap_tasks().await?;
        let id = catalog.create_task(kind, repository.map(|r| r.id), &payload, &actor).await?.id;
        let Some((_, fence)) = catalog.claim_task(id, &Holder::current().to_string(), LEASE).await? else {
            return Err(Error::Conflict {
                what: format!("task {id}"),
                detail: "another process took it".into(),
            });
        };
        let context = TaskContext::new(id, fence.clone(), self.inner.events.clone());
        let heartbeat = context.start_heartbeat(catalog.clone());
        let inside = context.clone();
        let join = tokio::spawn(async move {
            let result = work(inside.clone()).await;
            drop(heartbeat);
            finish(&catalog, &inside, &fence, &result).await;
            result
        });
        Ok(TaskHandle { id, context, join })
    }
}

/// Writes the end of a task into the journal, and gives back what it held.
async fn finish<T: Outcome>(catalog: &Catalog, task: &TaskContext, fence: &Fence, result: &Result<T>) {
    let (state, value, error) = match result {
        Ok(outcome) => {
            let state = if outcome.is_complete() { TaskState::Succeeded } else { TaskState::Incomplete };
            (state, serde_json::to_value(outcome).ok(), None)
        }
        Err(Error::Cancelled) => (TaskState::Cancelled, None, None),
        Err(Error::Fenced { .. }) => return,
        Err(error) => (TaskState::Failed, None, Some(error.to_string())),
    };
    task.release(catalog).await;
    if let Err(error) = catalog.unpin(&task.pin_owner()).await {
        tracing::warn!(%error, "cannot give pins back; they will expire");
    }
    let ended = if result.as_ref().is_ok_and(Outcome::is_settled) {
        catalog.finish_settled_task(task.id(), state, value.as_ref(), fence).await
    } else {
        catalog.finish_task(task.id(), state, value.as_ref(), error.as_deref(), fence).await
    };
    if let Err(error) = ended {
        tracing::warn!(%error, task = %task.id(), "cannot write the end of the task; it will be reaped");
    }
}

/// Keeps a lease and the pins of `owner` until the handle is dropped.
pub(crate) fn keep_alive(catalog: Catalog, fence: Fence, owner: String) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LEASE / 6).await;
            let kept = match catalog.heartbeat(&fence, LEASE).await {
                Ok(()) => catalog.extend_pins(&owner, catalog.clock().now().plus(PIN)).await,
                Err(error) => Err(error),
            };
            match kept {
                // What is fenced is refused from here on; there is nothing left to keep.
                Err(Error::Fenced { .. }) => return,
                Err(error) => tracing::warn!(%error, "cannot keep a lease"),
                Ok(()) => {}
            }
        }
    }))
}

/// Keeps the pins of `owner`, who has no lease, until the handle is dropped.
pub(crate) fn keep_pins(catalog: Catalog, owner: String, every: Duration) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = catalog.extend_pins(&owner, catalog.clock().now().plus(PIN)).await {
                tracing::warn!(%error, "cannot keep pins");
            }
        }
    }))
}

/// Takes a lease, waiting up to `patience` for its holder to let go.
pub(crate) async fn wait_for_lease(catalog: &Catalog, lease: &str, patience: Duration) -> Result<Fence> {
    let holder = Holder::current().to_string();
    let start = tokio::time::Instant::now();
    loop {
        if let Some(fence) = catalog.acquire_lease(lease, &holder, LEASE).await? {
            return Ok(fence);
        }
        if start.elapsed() >= patience {
            let by = catalog
                .lease_holder(lease)
                .await?
                .map_or_else(String::new, |lease| format!(" by another task ({})", lease.holder));
            return Err(Error::Conflict {
                what: format!("`{lease}`"),
                detail: format!("it is being worked on{by}"),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Gives a lease back that some work was done under. When both failed it is the work's error that is told: a lease that
/// could not be given back runs out.
pub(crate) async fn release_after<T>(catalog: &Catalog, fence: &Fence, worked: Result<T>) -> Result<T> {
    match (worked, catalog.release(fence).await) {
        (Ok(done), released) => released.map(|()| done),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(unreleased)) => {
            tracing::warn!(error = %unreleased, lease = fence.lease, "cannot give a lease back; it will expire");
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::CatalogOptions,
        clock::{Clock, Timestamp},
        digest::Sha256Digest,
    };

    #[tokio::test]
    async fn the_error_of_the_work_comes_before_that_of_its_lease() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        let fence = wait_for_lease(&catalog, "work", Duration::ZERO).await.unwrap();
        let work = || Err::<(), _>(Error::not_found("blob", "x"));
        assert!(matches!(release_after(&catalog, &fence, work()).await, Err(Error::NotFound { .. })));
        let fence = wait_for_lease(&catalog, "work", Duration::ZERO).await.unwrap();
        catalog.close().await;
        assert!(matches!(release_after(&catalog, &fence, work()).await, Err(Error::NotFound { .. })));
        assert!(matches!(release_after(&catalog, &fence, Ok(())).await, Err(Error::Catalog { .. })));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn pins_are_kept_for_as_long_as_somebody_holds_them() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let options = CatalogOptions { clock: Clock::manual(Timestamp::now()), ..CatalogOptions::default() };
        let catalog = Catalog::open(&url, options).await.unwrap();
        let digest = Sha256Digest::of(b"long work");
        let pinned = async || catalog.is_pinned_by("long", &digest).await.unwrap();
        catalog.pin("long", catalog.clock().now().plus(PIN), &[digest]).await.unwrap();

        let kept = keep_pins(catalog.clone(), "long".into(), Duration::from_millis(5));
        for _ in 0..3 {
            catalog.clock().advance(PIN);
            let asked = tokio::time::Instant::now();
            while !pinned().await {
                assert!(asked.elapsed() < Duration::from_secs(20), "nobody extended the pin");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        drop(kept);
        tokio::time::sleep(Duration::from_millis(50)).await;
        catalog.clock().advance(PIN);
        assert!(!pinned().await, "nobody holds it any more");
    }
}
