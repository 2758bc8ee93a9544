//! What caches need from time to time: snapshots of what arrived, uses written down, room.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{PARTIALS, actor, lock};
use crate::{
    catalog::{Repository, RepositoryId},
    ecosystem::{CacheOptions, Publish},
    engine::Engine,
    error::Result,
    path::ContentPath,
};

/// How often it is looked at what is due.
const TICK: Duration = Duration::from_secs(2);
/// How often uses are written down.
const NOTE: Duration = Duration::from_secs(30);
/// Uses in one transaction.
const NOTES: usize = 1000;
/// Files that may wait for a snapshot.
const FILES: usize = 500;
/// Of a cache that is full, this part in a hundred is let go of, so that not every file pushes out another.
const ROOM: u64 = 5;
/// Rounds of letting go at a time, some hundred files each.
const ROUNDS: usize = 100;

/// How often downloads that nobody went on with are removed, and how old they are then.
const SWEEP: Duration = Duration::from_hours(1);
const ABANDONED: Duration = Duration::from_hours(24 * 7);

/// What one cache is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Files that arrived since the last snapshot.
    pub(super) arrived: usize,
    /// How many of them its size was looked at with, and what was allowed then.
    sized: Option<(usize, Option<u64>)>,
    folded: Option<Instant>,
}

impl Engine {
    /// Looks after all caches until dropped.
    pub(in crate::engine) async fn keep_caches(&self) {
        let (mut noted, mut swept) = (Instant::now(), None::<Instant>);
        loop {
            tokio::time::sleep(TICK).await;
            if noted.elapsed() >= NOTE {
                noted = Instant::now();
                if let Err(error) = self.note_uses().await {
                    tracing::warn!(%error, "cannot write down which files were used");
                }
            }
            if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
                swept = Some(Instant::now());
                let folder = self.inner.scratch.join(PARTIALS);
                // Joined by hand: the caches are looked after although a sweep panics.
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || sweep(&folder)).await {
                    tracing::warn!(%error, "cannot remove downloads that nobody went on with");
                }
            }
            for (repository, options) in self.caches() {
                if let Err(error) = self.keep_cache(&repository, &options).await {
                    tracing::warn!(%error, repository = %repository.config.name, "cannot look after a cache");
                }
            }
        }
    }

    async fn keep_cache(&self, repository: &Arc<Repository>, options: &CacheOptions) -> Result<()> {
        let through = &self.inner.through;
        let (fold, size) = {
            let mut upkeep = lock(&through.upkeep);
            let due = upkeep.entry(repository.id).or_default();
            // What an earlier process left is folded by the first look.
            let waited = due.folded.is_none_or(|at| at.elapsed() >= options.fold_every);
            let fold = waited || due.arrived >= FILES;
            let seen = (due.arrived, options.cache_size);
            let size = due.sized != Some(seen);
            due.sized = Some(seen);
            if fold {
                (due.folded, due.arrived) = (Some(Instant::now()), 0);
                // What has just got into a snapshot may be let go of.
                due.sized = None;
            }
            (fold, size)
        };
        if size && let Some(limit) = options.cache_size {
            self.make_room(repository, limit).await?;
        }
        if fold
            && repository.config.publish == Publish::Automatic
            && self.inner.catalog.dirty_until(repository.id).await?.is_some()
        {
            self.publish(&repository.config.name, actor(), "what arrived in the cache").await?;
        }
        Ok(())
    }

    /// Lets go of what was least recently used, until the cache is under its limit.
    async fn make_room(&self, repository: &Repository, limit: u64) -> Result<()> {
        let catalog = &self.inner.catalog;
        let held = catalog.held_bytes(repository.id).await?;
        if held <= limit {
            return Ok(());
        }
        self.note_uses().await?;
        let mut surplus = held - (limit - limit / 100 * ROOM);
        for _ in 0..ROUNDS {
            let published = repository.config.publish == Publish::Automatic;
            let evicted = catalog.evict(repository.id, surplus, published, &actor()).await?;
            surplus = surplus.saturating_sub(evicted.bytes);
            if evicted.files == 0 || surplus == 0 {
                break;
            }
        }
        // Others that are in memory are looked up again.
        self.inner.through.overlay.clear();
        Ok(())
    }

    /// Writes down which files were used since the last time.
    async fn note_uses(&self) -> Result<()> {
        let uses = std::mem::take(&mut *lock(&self.inner.through.uses));
        let mut by_repository: std::collections::HashMap<RepositoryId, Vec<(ContentPath, _)>> =
            std::collections::HashMap::new();
        for ((repository, path), at) in uses {
            by_repository.entry(repository).or_default().push((path, at));
        }
        for (repository, uses) in by_repository {
            for uses in uses.chunks(NOTES) {
                self.inner.catalog.note_uses(repository, uses).await?;
            }
        }
        Ok(())
    }
}

/// Removes partial files that were not written to for a week.
fn sweep(folder: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let age = metadata.modified()?.elapsed().unwrap_or_default();
        if metadata.is_file() && age >= ABANDONED {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
