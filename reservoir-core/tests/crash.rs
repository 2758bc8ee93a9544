//! A process that is killed at any of its writes leaves a state that the next one goes on from: nothing that
//! was acknowledged is lost, nothing is half there, nothing that was stored is fetched again.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use reservoir_core::{
    Engine,
    name::RepositoryName,
    testing::{
        postgres::TestDatabase,
        toy::{ToyFile, ToyRegistry},
    },
};

use self::world::{
    config, configure,
    death::{Count, Death, Disk, try_all},
    hosted, own,
    process::{Kind, life, uploaded, work},
    stock, tools,
};

/// Stored before the life begins, referenced by nothing: something for garbage collection to take.
const STRAYS: [&[u8]; 3] = [b"stray 1", b"stray 2", b"stray 3"];

#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    work().await;
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
    every_write(part, &template(None).await).await;
}

async fn every_write_on_postgres(part: usize) {
    let template = template(Some(TestDatabase::create().await)).await;
    every_write(part, &template).await;
    template.remove().await;
}

/// Every commit of the catalog and every write of the store, before and after it.
async fn every_write(part: usize, template: &Disk) {
    let Whole { count, content, .. } = uninterrupted(template).await;
    assert!(count.calls > 150 && count.writes > 25, "{} {}", count.calls, count.writes);
    // Some three hundred lives; RESERVOIR_TEST_CRASH_STRIDE=3 tries every third, for a quick look.
    let stride: usize =
        std::env::var("RESERVOIR_TEST_CRASH_STRIDE").map_or(1, |stride| stride.parse().unwrap());
    let deaths = Death::everywhere(&count).skip((part - 1) * stride).step_by(PARTS * stride);
    try_all(deaths.collect(), template, async |death, disk| try_one(death, disk, &content).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_time() {
    let template = template(None).await;
    let Whole { lasted, content, .. } = uninterrupted(&template).await;
    let seed = std::process::id();
    println!("seed {seed}");
    // Several at once are slower than one alone, so that nearly all end before their life does.
    let part = |n: u32| f64::from(seed.wrapping_add(n).wrapping_mul(2_654_435_761)) / f64::from(u32::MAX);
    let deaths = (0..20).map(|n| Death::Kill(lasted.mul_f64(0.8 * part(n))));
    try_all(deaths.collect(), &template, async |death, disk| try_one(death, disk, &content).await).await;
}

/// What a life begins with: keys, strays in the store, a catalog with its schema.
async fn template(database: Option<TestDatabase>) -> Disk {
    use reservoir_core::store::StoreExt as _;
    let disk = Disk::new(database);
    let engine = disk.engine(disk.catalog().await).await;
    for stray in STRAYS {
        engine.store().put_bytes(stray.into()).await.unwrap();
    }
    engine.catalog().close().await;
    disk
}

/// The registry that a life reads from, made known to it.
async fn registry(disk: &Disk) -> ToyRegistry {
    let mut registry = ToyRegistry::start().await;
    for file in stock() {
        registry.offer(file);
    }
    let catalog = disk.catalog().await;
    configure(&catalog, &registry.url(), &config("tools")).await;
    configure(&catalog, &registry.url(), &hosted("own")).await;
    catalog.close().await;
    registry
}

/// The engine of the next process.
async fn recovered(disk: &Disk) -> Engine {
    let catalog = disk.catalog_later().await;
    let clock = catalog.clock().clone();
    catalog.on_write(Arc::new(move |operation| {
        if operation == "commit a snapshot" {
            clock.advance(Duration::from_secs(2));
        }
    }));
    disk.engine(catalog).await
}

/// A life without a death.
struct Whole {
    count: Count,
    lasted: Duration,
    /// What is served at the end.
    content: String,
}

async fn uninterrupted(template: &Disk) -> Whole {
    let disk = template.copy().await;
    let _registry = registry(&disk).await;
    let begun = Instant::now();
    let said = disk.job(Kind::Life).run().await;
    let lasted = begun.elapsed();
    let count = Count::of(&said).expect("the job ran to its end");
    let engine = recovered(&disk).await;
    let content = served(&engine).await;
    engine.catalog().close().await;
    disk.remove().await;
    Whole { count, lasted, content }
}

/// Kills one life and lives it again; whether it was killed before its end.
async fn try_one(death: Death, disk: &Disk, content: &str) -> bool {
    let registry = registry(disk).await;
    let (said, died) = death.of(disk.job(Kind::Life)).await;

    let engine = recovered(disk).await;
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
