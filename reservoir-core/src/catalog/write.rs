//! One write transaction.
//!
//! Its futures are boxed: each of the hundred functions that write would otherwise hold code of its own for all that a
//! statement does, in every crate that calls it.

use futures::future::BoxFuture;
use sqlx::{Any, Transaction, any::AnyRow};
use tokio::sync::OwnedMutexGuard;

use super::{
    Catalog,
    failure::failed,
    leases::Fence,
    pool::Wait,
    rows::{Columns as _, Statement, sql},
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    lifecycle::LifecycleEvent,
};

/// Which changes of revisions a write marks for the next snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// All that clients would see.
    All,
    /// Those by which something is served no more. What becomes available is shown by the caller's own snapshot, or not
    /// at all.
    Leaving,
}

/// A write transaction under the catalog's write lock. Dropped without [`commit`](Self::commit), it leaves
/// everything as it was.
pub(super) struct Write {
    // Declared before the guard: the rollback of a dropped transaction is queued first.
    transaction: Transaction<'static, Any>,
    guard: OwnedMutexGuard<()>,
    catalog: Catalog,
    operation: &'static str,
    now: Timestamp,
    pub(super) marks: Marks,
    pub(super) events: Vec<LifecycleEvent>,
}

impl Catalog {
    /// Begins a write; `operation` names it in errors and to the crash tests' hook.
    pub(super) async fn write(&self, operation: &'static str) -> Result<Write> {
        self.write_and(operation, Wait::Durable).await
    }

    /// The same for what may be lost with the power, as long as nothing that was made durable later is kept.
    pub(super) async fn write_relaxed(&self, operation: &'static str) -> Result<Write> {
        self.write_and(operation, Wait::Relaxed).await
    }

    pub(super) fn write_and(&self, operation: &'static str, wait: Wait) -> BoxFuture<'_, Result<Write>> {
        Box::pin(async move {
            let guard = self.inner.writer.clone().lock_owned().await;
            let transaction = self.lock(operation, wait).await?;
            let now = self.clock().now();
            let catalog = self.clone();
            Ok(Write { transaction, guard, catalog, operation, now, marks: Marks::All, events: Vec::new() })
        })
    }

    /// Begins a write that counts only while `fence` (if given) holds.
    pub(super) async fn fenced(&self, operation: &'static str, fence: Option<&Fence>) -> Result<Write> {
        let mut write = self.write(operation).await?;
        if let Some(fence) = fence {
            write.check(fence).await?;
        }
        Ok(write)
    }

    /// The same for what may be lost with the power, as [`write_relaxed`](Self::write_relaxed) may.
    pub(super) async fn fenced_relaxed(&self, operation: &'static str, fence: &Fence) -> Result<Write> {
        let mut write = self.write_relaxed(operation).await?;
        write.check(fence).await?;
        Ok(write)
    }
}

impl Write {
    /// The time of this transaction.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) fn execute(&mut self, query: Statement) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let done = query.execute(&mut *self.transaction).await.map_err(failed(self.operation))?;
            Ok(done.rows_affected())
        })
    }

    /// Runs the statements of a whole file.
    pub(super) async fn script(&mut self, text: String) -> Result<()> {
        let script = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
        script.execute(&mut *self.transaction).await.map_err(failed(self.operation))?;
        Ok(())
    }

    pub(super) fn all(&mut self, query: Statement) -> BoxFuture<'_, Result<Vec<AnyRow>>> {
        Box::pin(async move { query.fetch_all(&mut *self.transaction).await.map_err(failed(self.operation)) })
    }

    pub(super) fn optional(&mut self, query: Statement) -> BoxFuture<'_, Result<Option<AnyRow>>> {
        Box::pin(
            async move { query.fetch_optional(&mut *self.transaction).await.map_err(failed(self.operation)) },
        )
    }

    pub(super) fn one(&mut self, query: Statement) -> BoxFuture<'_, Result<AnyRow>> {
        Box::pin(async move { query.fetch_one(&mut *self.transaction).await.map_err(failed(self.operation)) })
    }

    /// [`Error::Fenced`] unless the lease still belongs to the caller.
    pub(super) async fn check(&mut self, fence: &Fence) -> Result<()> {
        if !self.catalog.fencing() {
            return Ok(());
        }
        let touch = sql("UPDATE lease SET touched = touched + 1 WHERE name = $1 AND token = $2")
            .bind(fence.lease.as_str())
            .bind(fence.token);
        match self.execute(touch).await? {
            1 => Ok(()),
            _ => Err(Error::Fenced { lease: fence.lease.clone() }),
        }
    }

    /// The next value of a counter, from 1.
    pub(super) async fn next(&mut self, counter: &'static str) -> Result<i64> {
        let next = sql("UPDATE counter SET value = value + 1 WHERE name = $1 RETURNING value").bind(counter);
        self.one(next).await?.int("value")
    }

    /// Tells serving processes that refs, denials or repositories changed.
    pub(super) async fn touch_epoch(&mut self) -> Result<()> {
        self.next("epoch").await.map(drop)
    }

    /// Makes the change durable, then tells the watchers.
    pub(super) fn commit(self) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let Self { transaction, guard, catalog, operation, events, .. } = self;
            catalog.call_hook(operation);
            transaction.commit().await.map_err(failed(operation))?;
            catalog.call_hook(operation);
            drop(guard);
            for event in events {
                // Nobody watching is fine.
                let _ = catalog.inner.events.send(event);
            }
            Ok(())
        })
    }
}
