//! Bringing the bytes of one file into the store.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;

use super::{Follower, Source, Syncer, is_fatal};
use crate::{
    catalog::FileRow,
    ecosystem::DiscoveredFile,
    engine::pinned::PinnedStore,
    error::{Error, Result},
    fetch::{Arriving, DownloadOptions, Downloaded},
    store::Blob,
    task::Progress,
};

/// Files larger than this are durable, in store and catalog, before the next thing is done with them: they are not
/// fetched again because something else about their revision was interrupted.
pub(super) const SMALL: u64 = 8 << 20;

/// A pulled file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulled {
    pub(super) blob: Blob,
    /// Whether it had to be fetched.
    pub(super) fetched: bool,
    /// Whether the catalog knows that its bytes are here.
    pub(super) recorded: bool,
}

impl Syncer<'_> {
    /// [`pull_pinned`](Self::pull_pinned), once its bytes are pinned.
    pub(super) async fn pull(&self, file: &FileRow, store: &PinnedStore) -> Result<Pulled> {
        self.store.pin_all(&file.known_digests().collect::<Vec<_>>()).await?;
        self.pull_pinned(file, store).await
    }

    /// Fetches a file unless its bytes are here. Small ones wait in the batch of `store`. What is known of its bytes
    /// is pinned.
    pub(super) fn pull_pinned<'a>(
        &'a self,
        file: &'a FileRow,
        store: &'a PinnedStore,
    ) -> BoxFuture<'a, Result<Pulled>> {
        Box::pin(async move {
            if let Some(blob) = file.blob
                && let Some(stored) = self.store.store().stat(&blob.sha256).await?
                && stored.size == blob.size
            {
                return Ok(Pulled { blob, fetched: false, recorded: true });
            }
            if let Some(sha256) = file.sha256
                && let Some(blob) = self.store.existing(&sha256).await?
            {
                self.report_done(file, &blob, false);
                return Ok(Pulled { blob, fetched: false, recorded: false });
            }
            let source = self.source_of(file)?;
            self.task.report(Progress::FileStarted { path: file.path.clone(), size: file.size });
            let partial = self.partials.path(self.repository.uuid, file);
            let here = AtomicU64::new(0);
            let progress = |bytes: u64| {
                let new = bytes.saturating_sub(here.swap(bytes, Ordering::Relaxed));
                self.task.report(Progress::FileBytes { path: file.path.clone(), bytes: new });
            };
            let arriving = |state: Arriving| {
                if let Some(Follower(follower)) = self.follower {
                    follower(&partial, state);
                }
            };
            let mut options = DownloadOptions {
                progress: &progress,
                arriving: Some(&arriving),
                ..DownloadOptions::announced(file.sha256, file.size)
            };
            let config = &self.repository.config;
            let largest = self.ecosystem.largest_file(config)?;
            let most = if file.is_optional() {
                DiscoveredFile::OPTIONAL_LIMIT
            } else {
                largest.unwrap_or(options.limit)
            };
            // A registry may not tell how large a file is, or tell it wrong.
            options.limit = [largest, config.max_import].into_iter().flatten().fold(most, u64::min);
            let download = Box::pin(source.fetcher.download(&file.url, &partial, options));
            let downloaded = match self.task.or_cancelled(download).await {
                Err(Error::LimitExceeded { .. }) if Some(options.limit) == largest && !file.is_optional() => {
                    let reason =
                        format!("it has more than {} bytes, which is the most that is taken", options.limit);
                    return Err(Error::Denied { what: format!("`{}`", file.path.file_name()), reason });
                }
                downloaded => downloaded?,
            };
            let Downloaded { size, sha256, tree, .. } = downloaded;
            let blob = store.lend(&partial, Blob { sha256, blake3: tree.root(), size }, tree).await?;
            // Whoever follows waits for the end; `bring_one` makes it durable while it is looked at.
            let recorded = size > SMALL && self.follower.is_none();
            if recorded {
                store.settle().await?;
                self.catalog.store_file(file.id, &blob, Some(&self.fence)).await?;
            }
            self.report_done(file, &blob, true);
            Ok(Pulled { blob, fetched: true, recorded })
        })
    }

    /// The registry that offers a file.
    pub(super) fn source_of(&self, file: &FileRow) -> Result<&Source> {
        let source = self.sources.iter().find(|source| source.registry.name == file.registry);
        source.ok_or_else(|| Error::not_found("registry of this repository", &file.registry))
    }

    fn report_done(&self, file: &FileRow, blob: &Blob, fetched: bool) {
        self.task.report(Progress::FileDone { path: file.path.clone(), size: blob.size, fetched });
    }
}

/// Splits an error into one that ends the sync and one that only ends this revision.
pub(super) fn revision_error<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if is_fatal(&error) => Err(error),
        other => Ok(other),
    }
}

/// Whether an error of an optional file only means that the file is not to be had.
pub(super) fn is_absence(error: &Error) -> bool {
    match error {
        Error::Upstream { status, .. } => (400..500).contains(status) && !error.is_retryable(),
        Error::Malformed { .. } | Error::LimitExceeded { .. } | Error::ForbiddenAddress { .. } => true,
        _ => false,
    }
}
