//! A process that is killed at any of its writes leaves a state that the next one goes on from: nothing that
//! was acknowledged is lost, nothing is half there, nothing that was stored is fetched again.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::{collections::HashMap, fmt::Write as _, path::Path, time::Duration};

use futures::{StreamExt as _, stream};
use reservoir_core::{
    Engine,
    testing::{
        postgres::TestDatabase,
        toy::{ToyFile, ToyRegistry},
    },
};

use self::world::{
    builder, config, configure,
    process::{self, Job, Kind, catalog, life, work},
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

#[tokio::test(flavor = "multi_thread")]
async fn any_write_on_sqlite() {
    let (calls, writes, content) = uninterrupted(None).await;
    assert!(calls > 150 && writes > 25, "{calls} {writes}");
    // Calls come in pairs, before and after a commit. After one commit is mostly before the next: of those every
    // fourth is enough.
    let calls = (1..=calls).filter(|call| call % 2 == 1 || call % 8 == 0);
    let points = (1..=writes).flat_map(|at| [Death::Store(at, false), Death::Store(at, true)]);
    let points = calls.map(Death::Catalog).chain(points);
    // About three hundred lives; every third keeps the run short, RESERVOIR_TEST_CRASH_STRIDE=1 tries them all.
    let stride = std::env::var("RESERVOIR_TEST_CRASH_STRIDE").map_or(3, |stride| stride.parse().unwrap());
    try_all(points.step_by(stride).collect(), &content, false).await;
}

/// The same code on the other engine: every seventh point, from a different one on in each dimension.
#[tokio::test(flavor = "multi_thread")]
async fn every_seventh_write_on_postgres() {
    let database = TestDatabase::create().await;
    let (calls, writes, content) = uninterrupted(Some(&database.url())).await;
    database.remove().await;
    let points = (3..=calls).step_by(7).map(Death::Catalog);
    let points = points.chain((2..=writes).step_by(7).map(|at| Death::Store(at, at % 2 == 0)));
    try_all(points.collect(), &content, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_time() {
    let (_, _, content) = uninterrupted(None).await;
    let seed = std::process::id();
    println!("seed {seed}");
    let delay =
        |n: u32| Duration::from_millis(u64::from(seed.wrapping_add(n).wrapping_mul(2_654_435_761) % 700));
    try_all((0..20).map(|n| Death::Kill(delay(n))).collect(), &content, false).await;
}

/// One life without a death: how many points there are, and what is served at the end.
async fn uninterrupted(database: Option<&str>) -> (u64, u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let url = database.map_or_else(|| sqlite(folder.path()), str::to_owned);
    let registry = begin(folder.path(), &url).await;
    let said = Job::new(Kind::Life, folder.path(), &url).run().await;
    let count = said.iter().find_map(|line| line.strip_prefix("count ")).expect("the job ran to its end");
    let (calls, writes) = count.split_once(' ').unwrap();
    let engine = recovered(folder.path(), &url).await;
    let content = served(&engine).await;
    drop(registry);
    (calls.parse().unwrap(), writes.parse().unwrap(), content)
}

async fn try_all(points: Vec<Death>, content: &str, postgres: bool) {
    let count = points.len();
    let mut results = stream::iter(points)
        .map(|death| async move {
            let folder = tempfile::tempdir().unwrap();
            let database = if postgres { Some(TestDatabase::create().await) } else { None };
            let url = database.as_ref().map_or_else(|| sqlite(folder.path()), TestDatabase::url);
            let died = try_one(death, folder.path(), &url, content).await;
            if let Some(database) = database {
                database.remove().await;
            }
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
async fn try_one(death: Death, folder: &Path, url: &str, content: &str) -> bool {
    let registry = begin(folder, url).await;
    let mut job = Job::new(Kind::Life, folder, url);
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

    let engine = recovered(folder, url).await;
    let numbers = numbers(&engine).await;
    let acknowledged: Vec<u64> =
        said.iter().filter_map(|line| line.strip_prefix("published ")?.parse().ok()).collect();
    for number in &acknowledged {
        assert!(numbers.contains(number), "{death:?}: acknowledged {number}, there are {numbers:?}");
    }
    intact(&engine, death).await;
    let stored: HashMap<String, usize> = stored(&engine, &registry).await;

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

/// A configured home, and the registry it reads from.
async fn begin(folder: &Path, url: &str) -> ToyRegistry {
    let mut registry = ToyRegistry::start().await;
    for file in stock() {
        registry.offer(file);
    }
    let catalog = catalog(url, Duration::ZERO).await;
    configure(&catalog, &registry.url(), &config("tools")).await;
    let engine = builder(folder, catalog).await.build().unwrap();
    for stray in STRAYS {
        use reservoir_core::store::StoreExt as _;
        engine.store().put_bytes(stray.into()).await.unwrap();
    }
    engine.catalog().close().await;
    registry
}

/// The engine of the next process. An hour has passed, so that nobody waits for the clock.
async fn recovered(folder: &Path, url: &str) -> Engine {
    let catalog = process::catalog(url, Duration::from_hours(1)).await;
    let clock = catalog.clock().clone();
    catalog.on_write(std::sync::Arc::new(move |operation| {
        if operation == "commit a snapshot" {
            clock.advance(Duration::from_secs(2));
        }
    }));
    builder(folder, catalog).await.build().unwrap()
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

/// What the newest snapshot serves: paths and digests.
async fn served(engine: &Engine) -> String {
    use futures::TryStreamExt as _;
    let repository = engine.catalog().repository(&tools()).await.unwrap();
    let head = engine.catalog().resolve(repository.id, "main").await.unwrap();
    let mut lines = format!("content {}\n", head.content);
    let manifest = engine.pages().open(head.publication).await.unwrap();
    let mut entries = manifest.scan("");
    while let Some(entry) = entries.try_next().await.unwrap() {
        let _ = writeln!(lines, "{} {}", entry.path, entry.blob.sha256);
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
