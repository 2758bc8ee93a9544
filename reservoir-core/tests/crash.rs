//! A process that is killed at any of its writes leaves a state that the next one goes on from: nothing that
//! was acknowledged is lost, nothing is half there, nothing that was stored is fetched again.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::{
    collections::HashMap,
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use reservoir_core::{
    Engine,
    name::RepositoryName,
    testing::{
        postgres::TestDatabase,
        toy::{ToyFile, ToyRegistry},
    },
};
use tempfile::TempDir;

use self::world::{
    builder, config, configure, hosted, own,
    process::{self, Job, Kind, catalog, life, uploaded, work},
    sqlite, stock, tools,
};

/// Points tried at the same time.
const AT_ONCE: usize = 3;
/// Stored before the life begins, referenced by nothing: something for garbage collection to take.
const STRAYS: [&[u8]; 3] = [b"stray 1", b"stray 2", b"stray 3"];

#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    work().await;
}

/// Where a process dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    Catalog(u64),
    Store(u64, bool),
    /// SIGKILL after so long.
    Kill(Duration),
}

/// Parts that the points are dealt out to, each a test of its own, so that they run side by side.
const PARTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_part_1() {
    every_write_on_sqlite(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_part_2() {
    every_write_on_sqlite(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_part_3() {
    every_write_on_sqlite(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_part_4() {
    every_write_on_sqlite(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_part_1() {
    every_write_on_postgres(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_part_2() {
    every_write_on_postgres(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_part_3() {
    every_write_on_postgres(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_part_4() {
    every_write_on_postgres(4).await;
}

async fn every_write_on_sqlite(part: usize) {
    every_write(part, &Template::sqlite().await).await;
}

async fn every_write_on_postgres(part: usize) {
    let template = Template::postgres().await;
    every_write(part, &template).await;
    template.remove().await;
}

/// Every commit of the catalog and every write of the store, before and after it.
async fn every_write(part: usize, template: &Template) {
    let Whole { calls, writes, content, .. } = uninterrupted(template).await;
    assert!(calls > 150 && writes > 25, "{calls} {writes}");
    let points = (1..=writes).flat_map(|at| [Death::Store(at, false), Death::Store(at, true)]);
    let points = (1..=calls).map(Death::Catalog).chain(points);
    // Some three hundred lives; RESERVOIR_TEST_CRASH_STRIDE=3 tries every third, for a quick look.
    let stride: usize =
        std::env::var("RESERVOIR_TEST_CRASH_STRIDE").map_or(1, |stride| stride.parse().unwrap());
    try_all(points.skip((part - 1) * stride).step_by(PARTS * stride).collect(), &content, template).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_time() {
    let template = Template::sqlite().await;
    let whole = uninterrupted(&template).await;
    let seed = std::process::id();
    println!("seed {seed}");
    // Several at once are slower than one alone, so that nearly all end before their life does.
    let part = |n: u32| f64::from(seed.wrapping_add(n).wrapping_mul(2_654_435_761)) / f64::from(u32::MAX);
    let points = (0..20).map(|n| Death::Kill(whole.lasted.mul_f64(0.8 * part(n))));
    try_all(points.collect(), &whole.content, &template).await;
}

/// A home before its life: keys, strays in the store, a catalog with its schema. Made once and copied for each
/// life.
struct Template {
    folder: TempDir,
    database: Option<TestDatabase>,
}

/// A copy of the template, and the registry it reads from.
struct Home {
    folder: TempDir,
    database: Option<TestDatabase>,
    url: String,
    registry: ToyRegistry,
}

impl Template {
    async fn sqlite() -> Self {
        Self::over(None).await
    }

    async fn postgres() -> Self {
        Self::over(Some(TestDatabase::create().await)).await
    }

    async fn over(database: Option<TestDatabase>) -> Self {
        let folder = folder();
        let url = database.as_ref().map_or_else(|| sqlite(folder.path()), TestDatabase::url);
        let catalog = catalog(&url, Duration::ZERO).await;
        let engine = builder(folder.path(), catalog).await.build().unwrap();
        for stray in STRAYS {
            use reservoir_core::store::StoreExt as _;
            engine.store().put_bytes(stray.into()).await.unwrap();
        }
        engine.catalog().close().await;
        Self { folder, database }
    }

    async fn home(&self) -> Home {
        let folder = folder();
        copy(self.folder.path(), folder.path());
        let database = match &self.database {
            Some(database) => Some(database.copy().await),
            None => None,
        };
        let url = database.as_ref().map_or_else(|| sqlite(folder.path()), TestDatabase::url);
        let mut registry = ToyRegistry::start().await;
        for file in stock() {
            registry.offer(file);
        }
        let catalog = catalog(&url, Duration::ZERO).await;
        configure(&catalog, &registry.url(), &config("tools")).await;
        configure(&catalog, &registry.url(), &hosted("own")).await;
        catalog.close().await;
        Home { folder, database, url, registry }
    }

    async fn remove(self) {
        if let Some(database) = self.database {
            database.remove().await;
        }
    }
}

impl Home {
    fn job(&self) -> Job {
        Job::new(Kind::Life, self.folder.path(), &self.url)
    }

    /// The engine of the next process. An hour has passed, so that nobody waits for the clock.
    async fn recovered(&self) -> Engine {
        let catalog = process::catalog(&self.url, Duration::from_hours(1)).await;
        let clock = catalog.clock().clone();
        catalog.on_write(std::sync::Arc::new(move |operation| {
            if operation == "commit a snapshot" {
                clock.advance(Duration::from_secs(2));
            }
        }));
        builder(self.folder.path(), catalog).await.build().unwrap()
    }

    async fn remove(self) {
        if let Some(database) = self.database {
            database.remove().await;
        }
    }
}

/// In memory where the system has a place for that: a life is some hundreds of small files, which a disk takes
/// five times as long for as for all the rest, and no test here takes the power away.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Copies the content of a folder into one that exists.
fn copy(from: &Path, to: &Path) {
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

/// A life without a death.
struct Whole {
    /// Calls of the catalog's hook.
    calls: u64,
    /// Writes of the store.
    writes: u64,
    lasted: Duration,
    /// What is served at the end.
    content: String,
}

async fn uninterrupted(template: &Template) -> Whole {
    let home = template.home().await;
    let begun = Instant::now();
    let said = home.job().run().await;
    let lasted = begun.elapsed();
    let count = said.iter().find_map(|line| line.strip_prefix("count ")).expect("the job ran to its end");
    let (calls, writes) = count.split_once(' ').unwrap();
    let engine = home.recovered().await;
    let content = served(&engine).await;
    engine.catalog().close().await;
    home.remove().await;
    Whole { calls: calls.parse().unwrap(), writes: writes.parse().unwrap(), lasted, content }
}

async fn try_all(points: Vec<Death>, content: &str, template: &Template) {
    let count = points.len();
    let mut results = stream::iter(points)
        .map(|death| async move {
            let home = template.home().await;
            let died = try_one(death, &home, content).await;
            home.remove().await;
            died
        })
        .buffer_unordered(AT_ONCE);
    let mut died = 0;
    while let Some(result) = results.next().await {
        died += usize::from(result);
    }
    // Tasks run side by side, so that the last points may lie behind the end of a life.
    assert!(died * 10 >= count * 8, "only {died} of {count} processes died where they should");
}

/// Kills one life and lives it again; whether it was killed before its end.
async fn try_one(death: Death, home: &Home, content: &str) -> bool {
    let registry = &home.registry;
    let mut job = home.job();
    match death {
        Death::Catalog(at) => job.catalog_abort = Some(at),
        Death::Store(at, after) => job.store_abort = Some((at, after)),
        Death::Kill(_) => {}
    }
    let said = match death {
        Death::Kill(delay) => {
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
    let died = !said.iter().any(|line| line.starts_with("count "));

    let engine = home.recovered().await;
    let numbers = numbers(&engine).await;
    let acknowledged: Vec<u64> =
        said.iter().filter_map(|line| line.strip_prefix("published ")?.parse().ok()).collect();
    for number in &acknowledged {
        assert!(numbers.contains(number), "{death:?}: acknowledged {number}, there are {numbers:?}");
    }
    intact(&engine, death).await;
    if said.iter().any(|line| line == "uploaded") {
        let served = served_of(&engine, &own()).await;
        for file in uploaded() {
            assert!(served.contains(&file.file), "{death:?}: acknowledged `{}` is lost", file.file);
        }
    }
    let stored: HashMap<String, usize> = stored(&engine, registry).await;

    life(&engine, acknowledged.len() < 3).await;
    intact(&engine, death).await;
    for (file, fetched) in stored {
        assert_eq!(registry.fetched(&file), fetched, "{death:?}: `{file}` was stored and is fetched again");
    }
    for file in registry.files() {
        assert!(registry.fetched(&file.file) <= 2, "{death:?}: `{}`", file.file);
    }
    assert_eq!(served(&engine).await, content, "{death:?}: it does not end where an undisturbed life ends");
    for stray in STRAYS {
        let digest = reservoir_core::digest::Sha256Digest::of(stray);
        assert_eq!(engine.store().stat(&digest).await.unwrap(), None, "{death:?}: garbage is left");
    }
    assert!(engine.catalog().deleting().await.unwrap().is_empty(), "{death:?}");
    engine.catalog().close().await;
    died
}

/// Snapshot numbers, which have no gaps.
async fn numbers(engine: &Engine) -> Vec<u64> {
    let repository = engine.catalog().repository(&tools()).await.unwrap();
    let snapshots = engine.catalog().snapshots(repository.id, None, 100).await.unwrap();
    let numbers: Vec<u64> = snapshots.iter().rev().map(|snapshot| snapshot.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    for snapshot in snapshots {
        assert_eq!(snapshot.parent, snapshot.number.checked_sub(1).filter(|parent| *parent > 0));
    }
    numbers
}

async fn intact(engine: &Engine, death: Death) {
    let verified = engine.verify(true).await.unwrap();
    assert!(verified.damaged.is_empty(), "{death:?}: {:?}", verified.damaged);
    assert!(verified.audit_records > 0);
}

/// What the newest snapshots serve: paths and digests.
async fn served(engine: &Engine) -> String {
    served_of(engine, &tools()).await + &served_of(engine, &own()).await
}

async fn served_of(engine: &Engine, repository: &RepositoryName) -> String {
    use futures::TryStreamExt as _;
    let repository = engine.catalog().repository(repository).await.unwrap();
    let head = engine.catalog().resolve(repository.id, "main").await.unwrap();
    let mut lines = format!("content {}\n", head.content);
    for root in [head.content, head.publication] {
        let manifest = engine.pages().open(root).await.unwrap();
        let mut entries = manifest.scan("");
        while let Some(entry) = entries.try_next().await.unwrap() {
            let _ = writeln!(lines, "{} {}", entry.path, entry.blob.sha256);
        }
    }
    lines
}

/// The files whose bytes are stored, and how often they were asked for.
async fn stored(engine: &Engine, registry: &ToyRegistry) -> HashMap<String, usize> {
    let mut stored = HashMap::new();
    for ToyFile { file, bytes, .. } in registry.files() {
        let digest = reservoir_core::digest::Sha256Digest::of(bytes);
        if engine.store().stat(&digest).await.unwrap().is_some() {
            stored.insert(file.clone(), registry.fetched(file));
        }
    }
    stored
}
