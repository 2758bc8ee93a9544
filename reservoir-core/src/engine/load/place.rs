//! The blobs of a verified bundle become the store's.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{ASKED_AT_ONCE, check::Accepted};
use crate::{
    Engine,
    bundle::Stage,
    digest::Sha256Digest,
    engine::pinned::PinnedStore,
    error::{Error, Result},
    store::StagedBlob,
    task::{Progress, TaskContext},
};

/// Blobs placed at a time.
const BATCH: usize = 500;

impl Engine {
    /// Pins what the bundle brings, and moves into the store what is staged of it. Header and
    /// records are evidence: they stay in the store, by the digests that are signed.
    pub(super) async fn place_blobs(
        &self,
        accepted: &Accepted,
        stage: &Stage,
        task: &TaskContext,
    ) -> Result<()> {
        let mut objects = stage.objects()?;
        // Patches are no use to anybody once they have made their blobs.
        let patches = &accepted.header.patches;
        let spent: BTreeSet<Sha256Digest> = patches.iter().map(|patched| patched.patch).collect();
        let mut made = patches.iter();
        let mut batch: Vec<StagedBlob> = vec![stage.records_blob()?, stage.header_blob()?];
        let mut digests: Vec<Sha256Digest> = batch.iter().map(|staged| staged.blob.sha256).collect();
        loop {
            let next = match objects.next()? {
                Some(object) if spent.contains(&object.blob.sha256) => continue,
                Some(object) => Some(object.blob),
                None => made.next().map(|patched| patched.blob),
            };
            let ended = next.is_none();
            if let Some(blob) = next {
                digests.push(blob.sha256);
                batch.extend(stage.staged(&blob));
            }
            if digests.len() >= BATCH || ended {
                task.checkpoint()?;
                self.place_batch(std::mem::take(&mut digests), std::mem::take(&mut batch), task).await?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    async fn place_batch(
        &self,
        digests: Vec<Sha256Digest>,
        batch: Vec<StagedBlob>,
        task: &TaskContext,
    ) -> Result<()> {
        let sink = PinnedStore::new(self.inner.store.clone(), self.inner.catalog.clone(), task.pin_owner());
        sink.pin_all(&digests).await?;
        let staged: BTreeSet<Sha256Digest> = batch.iter().map(|staged| staged.blob.sha256).collect();
        // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
        let checks: Vec<_> = digests
            .iter()
            .filter(|sha256| !staged.contains(sha256))
            .map(|sha256| self.check_pinned(sha256))
            .collect();
        stream::iter(checks).buffer_unordered(ASKED_AT_ONCE).try_for_each(async |()| Ok(())).await?;
        for staged in &batch {
            let path = staged.blob.sha256.to_string().parse()?;
            task.report(Progress::FileDone { path, size: staged.blob.size, fetched: true });
        }
        if batch.is_empty() { Ok(()) } else { self.inner.store.adopt(batch).await }
    }

    /// What was here when the bundle was checked was not pinned yet.
    async fn check_pinned(&self, sha256: &Sha256Digest) -> Result<()> {
        if self.inner.store.stat(sha256).await?.is_some() {
            return Ok(());
        }
        Err(Error::Conflict {
            what: format!("blob `{sha256}`"),
            detail: "garbage collection took it before it was pinned; load again".into(),
        })
    }
}
