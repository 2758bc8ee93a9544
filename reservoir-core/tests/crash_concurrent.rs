//! Processes that work on one repository at the same time, one of them stopped in the middle. Each protection is
//! also switched off once, to see that its test would notice.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::time::Duration;

use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    ecosystem::Publish,
    lifecycle::Status,
    name::{ArtifactName, RevisionName},
    testing::postgres::TestDatabase,
};

use self::world::{
    World, ann, builder, config,
    process::{Job, Kind, Off, catalog, work},
    split, sync, tools,
};

#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    work().await;
}

fn job(world: &World, kind: Kind) -> Job {
    Job::new(kind, world.folder.path(), &world.url)
}

/// Runs a test over a PostgreSQL catalog of its own.
async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(String) -> F) {
    let database = TestDatabase::create().await;
    test(database.url()).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_syncs_one_works_and_the_other_says_so() {
    two_syncs(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_syncs_one_works_on_postgres() {
    on_postgres(|url| async move { two_syncs(Some(&url)).await }).await;
}

async fn two_syncs(url: Option<&str>) {
    let world = World::on(url, config("tools")).await;
    let sync = job(&world, Kind::Sync);
    let (one, other) = tokio::join!(sync.run(), sync.run());
    let said: Vec<_> = one.into_iter().chain(other).collect();
    let worked = said.iter().filter(|line| *line == "synced 12").count();
    // The second found the first at work, or came after it and found nothing to do.
    let gave_way = said.iter().filter(|line| *line == "Conflict" || *line == "synced 0").count();
    assert_eq!((worked, gave_way), (1, 1), "{said:?}");
    assert_eq!(world.head().await.number, 1);
    for file in world.registry.files() {
        assert_eq!(world.registry.fetched(&file.file), 1, "{}", file.file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_of_two_processes_make_one_line() {
    two_publishers(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_of_two_processes_make_one_line_on_postgres() {
    on_postgres(|url| async move { two_publishers(Some(&url)).await }).await;
}

async fn two_publishers(url: Option<&str>) {
    let world = World::on(url, config("tools")).await;
    world.sync().await;
    let churn = job(&world, Kind::Churn);
    let (one, other) = tokio::join!(churn.run(), churn.run());
    for said in [&one, &other] {
        assert_eq!(said.last().map(String::as_str), Some("done"), "{said:?}");
    }
    let repository = world.engine.catalog().repository(&tools()).await.unwrap();
    let snapshots = world.engine.catalog().snapshots(repository.id, None, 100).await.unwrap();
    assert!(snapshots.len() > 3, "{snapshots:?}");
    for pair in snapshots.windows(2) {
        assert_eq!(pair[0].number, pair[1].number + 1, "numbers have no gaps");
        assert_eq!(pair[0].parent, Some(pair[1].number), "each is made from the one before");
        assert!(pair[0].created_at >= pair[1].created_at.plus(Duration::from_secs(1)));
    }
    let mut published: Vec<&String> = one.iter().chain(&other).filter(|line| *line != "done").collect();
    published.sort_unstable();
    let count = published.len();
    published.dedup();
    assert_eq!(published.len(), count, "no number is given twice");
    assert!(world.engine.verify(true).await.unwrap().damaged.is_empty());
}

/// Stops a publisher in the middle, takes its lease over when it is past its time, wakes it; what it then says,
/// and how many snapshots there are while the other still holds the lease.
async fn overtaken(off: Off, url: Option<&str>) -> (String, usize) {
    let mut manual = config("tools");
    manual.publish = Publish::Manual;
    let world = World::on(url, manual).await;
    world.sync().await;
    let mut publisher = job(&world, Kind::PausedPublish).without(off).start();
    publisher.wait_for("paused").await;

    // For this process the lease is over: its clock is a minute ahead.
    let late = catalog(&world.url, Duration::from_mins(1)).await;
    let repository = late.repository(&tools()).await.unwrap();
    let lease = format!("publish/{}", repository.uuid);
    let fence = late.acquire_lease(&lease, "another", Duration::from_mins(10)).await.unwrap();
    let fence = fence.expect("a process that stands still loses its lease when its time is over");
    publisher.go_on();
    let said = publisher.next().await.expect("it wakes and ends");
    let snapshots = late.snapshots(repository.id, None, 10).await.unwrap().len();

    // Whatever it did, the next one publishes all of it.
    late.release(&fence).await.unwrap();
    if off == Off::Nothing {
        let engine = builder(world.folder.path(), late).await.build().unwrap();
        let snapshot = engine.publish(&tools(), ann(), "after the pause").await.unwrap().unwrap();
        assert_eq!(snapshot.number, 1);
        assert!(engine.verify(true).await.unwrap().damaged.is_empty());
    }
    (said, snapshots)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_lost_its_lease_changes_nothing() {
    too_late(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_lost_its_lease_changes_nothing_on_postgres() {
    on_postgres(|url| async move { too_late(Some(&url)).await }).await;
}

async fn too_late(url: Option<&str>) {
    let (said, snapshots) = overtaken(Off::Nothing, url).await;
    assert!(said.starts_with("error") && said.contains("taken over"), "{said}");
    assert_eq!(snapshots, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fencing_matters() {
    let (said, snapshots) = overtaken(Off::Fencing, None).await;
    assert_eq!((said.as_str(), snapshots), ("published 1", 1), "it publishes under another's lease");
}

/// Imports and cleans up in a world whose collector is another process.
struct Importer {
    world: World,
    engine: Engine,
    revisions: Vec<(ArtifactName, RevisionName)>,
}

impl Importer {
    async fn new(pinning: bool, url: Option<&str>) -> Self {
        let mut config = config("tools");
        config.publish = Publish::Manual;
        let world = World::on(url, config).await;
        let options = CatalogOptions { pinning, durable: false, ..CatalogOptions::default() };
        let catalog = Catalog::open(&world.url, options).await.unwrap();
        let engine = builder(world.folder.path(), catalog).await.build().unwrap();
        let revisions = ["hammer@1.0", "hammer@2.0", "nail@2.0", "iron@7.0"].map(split).into();
        Self { world, engine, revisions }
    }

    /// The blobs that are not stored although an AVAILABLE revision needs them.
    async fn missing(&self) -> Vec<String> {
        let catalog = self.engine.catalog();
        let repository = catalog.repository(&tools()).await.unwrap();
        let mut missing = Vec::new();
        for (artifact, name) in &self.revisions {
            let revision = catalog.find_revision(repository.id, artifact, name).await.unwrap();
            assert_eq!(revision.status, Status::Available);
            for file in catalog.files(revision.id).await.unwrap() {
                for (path, blob) in file.blob.map(|blob| (file.path, blob)).into_iter().chain(file.derived) {
                    if self.engine.store().stat(&blob.sha256).await.unwrap().is_none() {
                        missing.push(path.to_string());
                    }
                }
            }
        }
        missing
    }

    async fn clean_up(&self) {
        for (artifact, name) in &self.revisions {
            self.engine.cleanup(&tools(), artifact, name, ann(), "next round".into()).await.unwrap();
        }
    }
}

/// Imports while another process collects garbage without grace, round after round, each at another moment of a
/// collection.
async fn import_beside_a_collector(url: Option<&str>) {
    let importer = Importer::new(true, url).await;
    let mut collector = job(&importer.world, Kind::Collect).start();
    for round in 0..25 {
        tokio::time::sleep(Duration::from_millis(round * 7 % 40)).await;
        sync(&importer.engine).await;
        // A collector that is already in the middle of a deletion finishes it.
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(importer.missing().await, Vec::<String>::new(), "round {round}");
        importer.clean_up().await;
        // One collection condemns, the next deletes, and the next import comes in the middle of that.
        collector.wait_for("collected").await;
    }
    collector.child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_collection_takes_nothing_that_an_import_refers_to() {
    import_beside_a_collector(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_collection_takes_nothing_that_an_import_refers_to_on_postgres() {
    on_postgres(|url| async move { import_beside_a_collector(Some(&url)).await }).await;
}

/// Imports what a collector has sentenced and not deleted yet; what is missing when both are done.
async fn import_of_the_sentenced(off: Off, url: Option<&str>) -> Vec<String> {
    let importer = Importer::new(off != Off::Pinning, url).await;
    sync(&importer.engine).await;
    importer.clean_up().await;
    let mut collector = job(&importer.world, Kind::PausedCollect).without(off).start();
    collector.wait_for("deleting").await;
    let go = async {
        // Without pins, an import has nothing to wait for; with them, it waits until the deed is done.
        if off == Off::Nothing {
            tokio::time::sleep(Duration::from_millis(300)).await;
            collector.go_on();
        }
    };
    tokio::join!(sync(&importer.engine), go);
    collector.go_on();
    collector.wait_for("collected").await;
    importer.missing().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_what_is_being_deleted_writes_it_anew() {
    assert_eq!(import_of_the_sentenced(Off::Nothing, None).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_what_is_being_deleted_writes_it_anew_on_postgres() {
    let import = |url: String| async move {
        assert_eq!(import_of_the_sentenced(Off::Nothing, Some(&url)).await, Vec::<String>::new());
    };
    on_postgres(import).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinning_matters() {
    let missing = import_of_the_sentenced(Off::Pinning, None).await;
    assert!(!missing.is_empty(), "without pins nothing was missed");
}
