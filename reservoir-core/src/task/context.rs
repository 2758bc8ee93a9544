//! What the code of a task holds while it runs.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{sync::broadcast, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Progress, TaskEvent};
use crate::{
    catalog::{Catalog, Fence, TaskId},
    error::{Error, Result},
};

/// How long a lease lives without a heartbeat.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// How long pins of a running task live without a heartbeat.
pub(crate) const PIN: Duration = Duration::from_mins(15);

/// The running task: its lease, its cancel signal and where it reports.
#[derive(Debug, Clone)]
pub struct TaskContext {
    id: TaskId,
    fence: Fence,
    leases: Arc<std::sync::Mutex<Vec<Fence>>>,
    cancel: CancellationToken,
    lost: CancellationToken,
    events: broadcast::Sender<TaskEvent>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    files: AtomicU64,
    bytes: AtomicU64,
    fetched: AtomicU64,
    discovered: AtomicU64,
}

impl TaskContext {
    pub(crate) fn new(id: TaskId, fence: Fence, events: broadcast::Sender<TaskEvent>) -> Self {
        Self {
            id,
            fence,
            leases: Arc::default(),
            cancel: CancellationToken::new(),
            lost: CancellationToken::new(),
            events,
            counters: Arc::default(),
        }
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The owner under which the task pins digests.
    #[must_use]
    pub fn pin_owner(&self) -> String {
        format!("task/{}", self.id)
    }

    /// Ends the task at its next [`checkpoint`](Self::checkpoint).
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// [`Error::Cancelled`] once somebody asked for it, [`Error::Fenced`] once another process took over.
    pub fn checkpoint(&self) -> Result<()> {
        if self.lost.is_cancelled() {
            return Err(Error::Fenced { lease: self.fence.lease.clone() });
        }
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Runs `future` until it ends or the task is cancelled; then the future is dropped.
    pub async fn or_cancelled<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => Err(Error::Fenced { lease: self.fence.lease.clone() }),
            () = self.cancel.cancelled() => Err(Error::Cancelled),
            result = future => result,
        }
    }

    /// Keeps a further lease alive together with the task's own.
    pub(crate) fn keep(&self, fence: Fence) {
        self.leases.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(fence);
    }

    /// Tells those who watch.
    pub fn report(&self, progress: Progress) {
        match &progress {
            Progress::FileDone { size, fetched, .. } => {
                self.counters.files.fetch_add(1, Ordering::Relaxed);
                self.counters.bytes.fetch_add(*size, Ordering::Relaxed);
                self.counters.fetched.fetch_add(u64::from(*fetched), Ordering::Relaxed);
            }
            Progress::Discovered { .. } => {
                self.counters.discovered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        // Nobody watching is fine.
        let _ = self.events.send(TaskEvent { task: self.id, progress });
    }

    fn totals(&self) -> serde_json::Value {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "files": read(&self.counters.files),
            "bytes": read(&self.counters.bytes),
            "fetched": read(&self.counters.fetched),
            "discovered": read(&self.counters.discovered),
        })
    }

    /// Keeps the task's leases and pins alive, writes its totals, and listens for a cancel.
    pub(crate) fn start_heartbeat(&self, catalog: Catalog) -> AbortOnDropHandle<()> {
        let context = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut last_beat = tokio::time::Instant::now();
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                match catalog.is_cancel_requested(context.id).await {
                    Ok(true) => context.cancel.cancel(),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "cannot ask whether the task was cancelled"),
                }
                if last_beat.elapsed() < LEASE / 6 {
                    continue;
                }
                match context.beat(&catalog).await {
                    Ok(()) => last_beat = tokio::time::Instant::now(),
                    Err(Error::Fenced { lease }) => {
                        tracing::warn!(lease, "lost to another process");
                        context.lost.cancel();
                        return;
                    }
                    // A catalog that is away for longer than the lease is as bad as a lost lease:
                    // the fence check inside the next transaction decides.
                    Err(error) => tracing::warn!(%error, "heartbeat failed"),
                }
            }
        }))
    }

    async fn beat(&self, catalog: &Catalog) -> Result<()> {
        catalog.heartbeat(&self.fence, LEASE).await?;
        let leases = self.leases.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for fence in &leases {
            catalog.heartbeat(fence, LEASE).await?;
        }
        catalog.extend_pins(&self.pin_owner(), catalog.clock().now().plus(PIN)).await?;
        catalog.update_task_progress(self.id, &self.totals()).await
    }

    /// Gives the further leases back; the task's own is given back by the runner.
    pub(crate) async fn release(&self, catalog: &Catalog) {
        let leases =
            std::mem::take(&mut *self.leases.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for fence in leases {
            if let Err(error) = catalog.release(&fence).await {
                tracing::warn!(%error, lease = fence.lease, "cannot release; it will expire");
            }
        }
    }
}

/// A task that was started. Dropping the handle does not stop it.
#[derive(Debug)]
pub struct TaskHandle<T> {
    pub(crate) id: TaskId,
    pub(crate) context: TaskContext,
    pub(crate) join: JoinHandle<Result<T>>,
}

impl<T> TaskHandle<T> {
    /// The task's id in the journal.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Asks the task to stop; it stays resumable. From elsewhere, in this process or another, ask
    /// [`Catalog::request_cancel`] with its [`id`](Self::id): the process that runs it looks twice a second.
    pub fn cancel(&self) {
        self.context.cancel();
    }

    /// What stops the task after [`wait`](Self::wait) has taken the handle.
    #[must_use]
    pub fn canceller(&self) -> TaskContext {
        self.context.clone()
    }

    /// Waits for the result. Dropping this future leaves the task running.
    pub async fn wait(self) -> Result<T> {
        match self.join.await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(Error::Cancelled),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
