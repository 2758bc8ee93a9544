//! Processes that die at a chosen write: all the places where that may be, a disk that is made once and copied for each of
//! them, and whether enough of them died where they should.

use std::{future::ready, path::Path, time::Duration};

use futures::{StreamExt as _, stream};
use reservoir_core::{Engine, catalog::Catalog, testing::postgres::TestDatabase};
use tempfile::TempDir;

use super::{
    builder,
    process::{self, Job, Kind},
    sqlite,
};

/// Points tried at the same time.
const AT_ONCE: usize = 3;

/// Where a process dies.
#[derive(Debug, Clone, Copy)]
pub enum Death {
    /// At this call of the catalog's hook, two a commit.
    Catalog(u64),
    /// Before or after this write of the store.
    Store(u64, bool),
    /// SIGKILL after so long.
    Kill(Duration),
}

impl Death {
    /// Every commit of the catalog and every write of the store, before and after it.
    pub fn everywhere(count: &Count) -> impl Iterator<Item = Self> {
        let writes = (1..=count.writes).flat_map(|at| [Self::Store(at, false), Self::Store(at, true)]);
        (1..=count.calls).map(Self::Catalog).chain(writes)
    }

    /// Runs a job that dies here, unless it ends before; what it said, and whether it died.
    pub async fn of(self, mut job: Job) -> (Vec<String>, bool) {
        match self {
            Self::Catalog(at) => job.catalog_abort = Some(at),
            Self::Store(at, after) => job.store_abort = Some((at, after)),
            Self::Kill(_) => {}
        }
        let said = match self {
            Self::Kill(delay) => {
                let mut running = job.start();
                tokio::time::sleep(delay).await;
                let _ = running.child.kill().await;
                let mut said = Vec::new();
                while let Some(line) = running.next().await {
                    said.push(line);
                }
                said
            }
            _ => job.run().await,
        };
        let died = Count::of(&said).is_none();
        (said, died)
    }
}

/// What a job says at its end.
pub struct Count {
    /// Calls of the catalog's hook.
    pub calls: u64,
    /// Writes of the store.
    pub writes: u64,
}

impl Count {
    /// Nothing when it did not come to its end.
    pub fn of(said: &[String]) -> Option<Self> {
        let (calls, writes) = said.iter().find_map(|line| line.strip_prefix("count "))?.split_once(' ')?;
        Some(Self { calls: calls.parse().unwrap(), writes: writes.parse().unwrap() })
    }
}

/// The folder and the catalog of a process, and of the one that comes after it.
pub struct Disk {
    pub folder: TempDir,
    pub url: String,
    database: Option<TestDatabase>,
}

impl Disk {
    /// Nothing yet; SQLite in the folder where no database is given.
    pub fn new(database: Option<TestDatabase>) -> Self {
        // In memory where the system has a place for that: what a process writes is some hundreds of small files, which a
        // disk takes five times as long for as for all the rest, and no test here takes the power away.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let url = database.as_ref().map_or_else(|| sqlite(folder.path()), TestDatabase::url);
        Self { folder, url, database }
    }

    pub async fn copy(&self) -> Self {
        let database = match &self.database {
            Some(database) => Some(database.copy().await),
            None => None,
        };
        let copied = Self::new(database);
        copy(self.folder.path(), copied.folder.path());
        copied
    }

    pub fn job(&self, kind: Kind) -> Job {
        Job::new(kind, self.folder.path(), &self.url)
    }

    pub async fn catalog(&self) -> Catalog {
        process::catalog(&self.url, Duration::ZERO).await
    }

    /// As the next process has it. An hour has passed, so that nobody waits for the clock.
    pub async fn catalog_later(&self) -> Catalog {
        process::catalog(&self.url, Duration::from_hours(1)).await
    }

    pub async fn engine(&self, catalog: Catalog) -> Engine {
        builder(self.folder.path(), catalog).await.build().unwrap()
    }

    pub async fn remove(self) {
        if let Some(database) = self.database {
            database.remove().await;
        }
    }
}

/// Copies the content of a folder into one that exists.
pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Tries each death on a copy of its own; `try_one` says whether the process died before its end.
pub async fn try_all(deaths: Vec<Death>, template: &Disk, try_one: impl AsyncFn(Death, &Disk) -> bool) {
    let count = deaths.len();
    let try_one = &try_one;
    let tried = stream::iter(deaths).map(async |death| {
        let disk = template.copy().await;
        let died = try_one(death, &disk).await;
        disk.remove().await;
        died
    });
    let died = tried.buffer_unordered(AT_ONCE).filter(|died| ready(*died)).count().await;
    // Work that is done side by side may be counted in another order, so that the last points lie behind the end.
    assert!(died * 10 >= count * 8, "only {died} of {count} processes died where they should");
}
