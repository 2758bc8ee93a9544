//! A store that fails at a chosen write, for tests of what is left behind.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use uuid::Uuid;

use crate::{
    Error,
    digest::Sha256Digest,
    error::Result,
    store::{
        Blob, ByteStream, Capability, PresignOptions, PutOptions, RecordKey, StagedBlob, Store, StoredBlob,
    },
};

/// What happens instead of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// [`Error::Store`], and nothing is written.
    Fail,
    /// The write is done, its answer is lost: [`Error::Store`].
    FailAfter,
    /// [`Error::NoSpace`], and nothing is written.
    NoSpace,
    /// The body breaks off after its first chunk. Writes without a body fail.
    Torn,
    /// The call never returns; drop it.
    Hang,
    /// The write begins so much later, and is done.
    Slow(Duration),
    /// The process ends before the write, without unwinding or flushing.
    Abort,
    /// The process ends after the write, before the caller learns of it.
    AbortAfter,
}

/// When a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The number of the write (`put`, `put_file`, a third of an `adopt`, `delete`, `put_record`), from 1.
    pub at: u64,
    /// What happens there.
    pub fault: Fault,
    /// Whether it happens at every later write, too, as on a full disk.
    pub lasting: bool,
}

/// Wraps a store; counts its writes and spoils the planned one. Reads are never spoiled.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Option<Plan>>,
    writes: AtomicU64,
    hook: Option<Hook>,
}

/// Told the number of a write before it is begun and after it is done; it may block.
#[derive(Clone)]
pub struct Hook(pub Arc<dyn Fn(u64) + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl FaultStore {
    /// A store that does not fail yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, plan: Mutex::default(), writes: AtomicU64::new(0), hook: None }
    }

    /// A store with a plan.
    #[must_use]
    pub fn with_plan(inner: Arc<dyn Store>, plan: Plan) -> Self {
        Self { inner, plan: Mutex::new(Some(plan)), writes: AtomicU64::new(0), hook: None }
    }

    /// Calls `hook` around every write, spoiled ones included.
    #[must_use]
    pub fn with_hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Replaces the plan; `None` heals the store. Numbering goes on.
    pub fn set_plan(&self, plan: Option<Plan>) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Writes so far, spoiled ones included: run once without a plan to learn how many points there are.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Counts a write and says what is to happen to it.
    fn next(&self) -> Option<Fault> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = *self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.filter(|plan| number == plan.at || plan.lasting && number > plan.at).map(|plan| plan.fault)
    }

    /// Runs one write under the plan.
    async fn write<T>(
        &self,
        what: &str,
        fault: Option<Fault>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let number = self.writes();
        let told = || {
            if let Some(Hook(hook)) = &self.hook {
                hook(number);
            }
        };
        told();
        match fault {
            Some(Fault::Fail) => return Err(injected(what)),
            Some(Fault::NoSpace) => return Err(Error::NoSpace { what: what.into() }),
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::Slow(wait)) => tokio::time::sleep(wait).await,
            Some(Fault::Abort) => std::process::abort(),
            Some(Fault::Torn | Fault::FailAfter | Fault::AbortAfter) | None => {}
        }
        let result = work.await;
        told();
        match fault {
            Some(Fault::AbortAfter) => std::process::abort(),
            Some(Fault::FailAfter) => Err(injected(what)),
            _ => result,
        }
    }
}

fn injected(what: &str) -> Error {
    Error::Store { operation: what.into(), source: "a fault was injected".into() }
}

/// The first chunk, then an error.
fn torn(body: ByteStream) -> ByteStream {
    body.take(1).chain(futures::stream::once(async { Err(injected("read the body")) })).boxed()
}

/// A torn write without a body fails.
fn no_body(fault: Option<Fault>) -> Option<Fault> {
    fault.map(|fault| if fault == Fault::Torn { Fault::Fail } else { fault })
}

#[async_trait]
impl Store for FaultStore {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    async fn put(&self, body: ByteStream, options: PutOptions) -> Result<Blob> {
        let fault = self.next();
        let body = if fault == Some(Fault::Torn) { torn(body) } else { body };
        self.write("put a blob", fault, self.inner.put(body, options)).await
    }

    async fn put_file(&self, path: &Path, options: PutOptions) -> Result<Blob> {
        self.write("put a file", no_body(self.next()), self.inner.put_file(path, options)).await
    }

    /// As many writes as it takes, a third of the blobs each: a batch may also end in its middle.
    async fn adopt(&self, mut staged: Vec<StagedBlob>) -> Result<()> {
        let part = staged.len().div_ceil(3).max(1);
        while !staged.is_empty() {
            let rest = staged.split_off(part.min(staged.len()));
            let adopted = std::mem::replace(&mut staged, rest);
            self.write("adopt", no_body(self.next()), self.inner.adopt(adopted)).await?;
        }
        Ok(())
    }

    fn staging(&self) -> PathBuf {
        self.inner.staging()
    }

    async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream> {
        self.inner.read(blob, range).await
    }

    async fn read_whole(&self, sha256: &Sha256Digest, limit: u64) -> Result<Bytes> {
        self.inner.read_whole(sha256, limit).await
    }

    fn local_file(&self, sha256: &Sha256Digest) -> Option<PathBuf> {
        self.inner.local_file(sha256)
    }

    async fn stat(&self, sha256: &Sha256Digest) -> Result<Option<StoredBlob>> {
        self.inner.stat(sha256).await
    }

    async fn rehash(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        self.inner.rehash(sha256).await
    }

    async fn presign(&self, sha256: &Sha256Digest, options: PresignOptions) -> Result<url::Url> {
        self.inner.presign(sha256, options).await
    }

    async fn delete(&self, sha256: &Sha256Digest) -> Result<()> {
        self.write("delete a blob", no_body(self.next()), self.inner.delete(sha256)).await
    }

    fn list(&self) -> BoxStream<'_, Result<StoredBlob>> {
        self.inner.list()
    }

    async fn sweep_leftovers(&self, age: Duration) -> Result<u64> {
        self.inner.sweep_leftovers(age).await
    }

    async fn put_record(&self, key: RecordKey, bytes: Bytes) -> Result<()> {
        self.write("put a record", no_body(self.next()), self.inner.put_record(key, bytes)).await
    }

    async fn list_records(&self, line: Option<Uuid>) -> Result<Vec<RecordKey>> {
        self.inner.list_records(line).await
    }

    async fn read_record(&self, key: RecordKey) -> Result<Bytes> {
        self.inner.read_record(key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectBlobs, ObjectStoreOptions, StoreExt as _};

    fn store(at: u64, fault: Fault, lasting: bool) -> FaultStore {
        let inner = Arc::new(ObjectBlobs::memory(ObjectStoreOptions::default()));
        FaultStore::with_plan(inner, Plan { at, fault, lasting })
    }

    #[tokio::test]
    async fn spoils_the_planned_write_only() {
        for fault in [Fault::Fail, Fault::Torn, Fault::NoSpace] {
            let store = store(2, fault, false);
            store.put_bytes("one".into()).await.unwrap();
            assert!(store.put_bytes("two".into()).await.is_err());
            assert_eq!(store.stat(&Sha256Digest::of(b"two")).await.unwrap(), None);
            store.put_bytes("two".into()).await.unwrap();
            assert_eq!(store.writes(), 3);
        }
    }

    #[tokio::test]
    async fn lasting_faults_last_until_healed() {
        let store = store(1, Fault::NoSpace, true);
        for _ in 0..3 {
            assert!(matches!(store.put_bytes("x".into()).await, Err(Error::NoSpace { .. })));
        }
        store.set_plan(None);
        store.put_bytes("x".into()).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_can_be_lost() {
        let store = store(1, Fault::FailAfter, false);
        assert!(store.put_bytes("x".into()).await.is_err());
        assert!(store.stat(&Sha256Digest::of(b"x")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_hanging_write_can_be_dropped() {
        let store = store(1, Fault::Hang, false);
        let put = store.put_bytes("x".into());
        assert!(tokio::time::timeout(Duration::from_millis(20), put).await.is_err());
        assert_eq!(store.stat(&Sha256Digest::of(b"x")).await.unwrap(), None);
    }
}
