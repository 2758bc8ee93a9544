//! What garbage collection keeps, what it takes, and that it may be interrupted anywhere.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::{sync::Arc, time::Duration};

use reservoir_core::{
    Collected, Engine, Error, Rebuilt, Retention,
    catalog::{Catalog, CatalogOptions},
    clock::{Clock, Timestamp},
    digest::Sha256Digest,
    ecosystem::Publish,
    snapshot::{
        InstanceKey,
        removal::{Removal, sign_removal},
    },
    store::{RecordKey, Store, StoreExt as _},
    testing::{
        fault_store::{Fault, FaultStore, Plan},
        toy::{ToyFile, ToyRegistry},
    },
};

use self::world::{
    ann, config, configure, over, process::no_grace, split, sqlite, stock, store, sync, tools,
};

const DAY: Duration = Duration::from_hours(24);

/// An engine on a clock that the test moves.
struct Timed {
    folder: tempfile::TempDir,
    registry: ToyRegistry,
    engine: Engine,
    store: Arc<FaultStore>,
}

impl Timed {
    async fn new(publish: Publish) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut registry = ToyRegistry::start().await;
        for file in stock() {
            registry.offer(file);
        }
        let clock = Clock::manual(Timestamp::now());
        let options = CatalogOptions { clock, durable: false, ..CatalogOptions::default() };
        let catalog = Catalog::open(&sqlite(folder.path()), options).await.unwrap();
        let mut config = config("tools");
        config.publish = publish;
        configure(&catalog, &registry.url(), &config).await;
        let store = Arc::new(FaultStore::new(store(folder.path()).await));
        let engine = over(folder.path(), catalog, Arc::clone(&store) as Arc<dyn Store>).build().unwrap();
        Self { folder, registry, engine, store }
    }

    /// Puts an empty catalog in the place of a lost one, and has it rebuilt.
    async fn lose_catalog(&mut self) -> Rebuilt {
        let clock = self.engine.catalog().clock().clone();
        self.engine.catalog().close().await;
        for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            // The last two are there only after an unclean end.
            let _ = std::fs::remove_file(self.folder.path().join(file));
        }
        let options = CatalogOptions { clock, durable: false, ..CatalogOptions::default() };
        let catalog = Catalog::open(&sqlite(self.folder.path()), options).await.unwrap();
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        self.engine = over(self.folder.path(), catalog, store).build().unwrap();
        self.engine.rebuild(&ann()).await.unwrap()
    }

    fn pass(&self, time: Duration) {
        self.engine.catalog().clock().advance(time);
    }

    /// Condemns, then deletes.
    async fn collect(&self) -> Collected {
        let first = self.engine.collect_garbage(no_grace()).await.unwrap();
        let second = self.engine.collect_garbage(no_grace()).await.unwrap();
        Collected {
            snapshots: first.snapshots + second.snapshots,
            deleted: first.deleted + second.deleted,
            ..second
        }
    }

    async fn has(&self, digest: Sha256Digest) -> bool {
        self.engine.store().stat(&digest).await.unwrap().is_some()
    }

    async fn numbers(&self) -> Vec<u64> {
        let repository = self.engine.catalog().repository(&tools()).await.unwrap();
        let snapshots = self.engine.catalog().snapshots(repository.id, None, 100).await.unwrap();
        snapshots.into_iter().map(|snapshot| snapshot.number).collect()
    }

    /// A new generation, by a new version.
    async fn generation(&mut self, version: &str) -> ToyFile {
        let file = ToyFile::new("hammer", version, None, &[], 500);
        self.registry.offer(file.clone());
        assert!(sync(&self.engine).await.published.is_some());
        file
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_generations_and_a_day_are_kept_whatever_is_asked_for() {
    let mut timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    for version in ["3.0", "4.0", "5.0", "6.0"] {
        timed.generation(version).await;
    }
    let nothing = reservoir_core::Retention { generations: 0, age: Duration::ZERO, grace: Duration::ZERO };
    timed.engine.collect_garbage(nothing).await.unwrap();
    assert_eq!(timed.numbers().await, [5, 4, 3, 2, 1], "all are younger than a day");
    timed.pass(2 * DAY);
    timed.engine.collect_garbage(nothing).await.unwrap();
    assert_eq!(timed.numbers().await, [5, 4, 3], "three remain, however old");
    timed.collect().await;
    assert!(timed.engine.verify(true).await.unwrap().damaged.is_empty());
    assert!(matches!(timed.engine.rollback(&tools(), "1", ann()).await, Err(Error::NotFound { .. })));
    assert_eq!(timed.engine.rollback(&tools(), "3", ann()).await.unwrap().number, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleaned_up_file_stays_while_a_snapshot_needs_it() {
    let mut timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    let file = stock().remove(0);
    let (artifact, revision) = split("hammer@1.0");
    timed.engine.cleanup(&tools(), &artifact, &revision, ann(), "old".into()).await.unwrap();
    timed.collect().await;
    assert!(timed.has(file.sha256()).await, "snapshot 1 is retained");
    // From here on nothing selects it.
    let mut config = config("tools");
    config.options.insert("packages".into(), serde_json::json!(["hammer>=2.0"]));
    timed.engine.catalog().put_repository(&config, &ann()).await.unwrap();
    timed.pass(40 * DAY);
    // The first two of these still keep what left just before them, and then are too old themselves.
    for version in 3..15 {
        timed.generation(&format!("{version}.0")).await;
    }
    timed.pass(40 * DAY);
    let collected = timed.collect().await;
    assert!(collected.snapshots >= 1 && collected.deleted >= 6, "{collected:?}");
    assert!(!timed.has(file.sha256()).await);
    assert!(timed.engine.verify(true).await.unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_and_what_waits_are_kept() {
    let timed = Timed::new(Publish::Manual).await;
    sync(&timed.engine).await;
    let (artifact, revision) = split("hammer@1.0");
    timed.engine.reject(&tools(), &artifact, &revision, ann(), "malware".into()).await.unwrap();
    timed.pass(400 * DAY);
    timed.collect().await;
    for file in stock() {
        assert!(timed.has(file.sha256()).await, "{}: no snapshot has it, its revision does", file.file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_of_open_work_are_kept_until_they_are_over() {
    let timed = Timed::new(Publish::Automatic).await;
    let blob = timed.engine.store().put_bytes("uploaded".into()).await.unwrap();
    let catalog = timed.engine.catalog();
    let expires = catalog.clock().now().plus(Duration::from_mins(15));
    catalog.pin("task/1", expires, &[blob.sha256]).await.unwrap();
    timed.collect().await;
    assert!(timed.has(blob.sha256).await);
    timed.pass(Duration::from_secs(901));
    assert_eq!(timed.collect().await.deleted, 1);
    assert!(!timed.has(blob.sha256).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_is_given_from_the_day_it_was_found() {
    let timed = Timed::new(Publish::Automatic).await;
    let blob = timed.engine.store().put_bytes("nobody's".into()).await.unwrap();
    let retention = reservoir_core::Retention { grace: Duration::from_hours(1), ..no_grace() };
    assert_eq!(timed.engine.collect_garbage(retention).await.unwrap().condemned, 1);
    timed.pass(Duration::from_secs(3599));
    assert_eq!(timed.engine.collect_garbage(retention).await.unwrap().deleted, 0);
    assert!(timed.has(blob.sha256).await);
    timed.pass(Duration::from_secs(1));
    assert_eq!(timed.engine.collect_garbage(retention).await.unwrap().deleted, 1);
}

/// A reference made between the look and the sentence: the next run looks again before it deletes.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_condemned_in_error_is_spared() {
    let timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    let repository = timed.engine.catalog().repository(&tools()).await.unwrap();
    let head = timed.engine.catalog().resolve(repository.id, "main").await.unwrap();
    let content = timed.engine.pages().open(head.content).await.unwrap();
    let mut needed = vec![head.content, head.publication];
    needed.extend(content.pages());
    assert_eq!(timed.engine.catalog().condemn(&needed).await.unwrap(), needed.len() as u64);
    timed.pass(Duration::from_hours(2));
    timed.collect().await;
    for digest in needed {
        assert!(timed.has(digest).await, "{digest} is part of the newest snapshot");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_interrupted_is_finished_by_the_next_run() {
    for fault in [Fault::Fail, Fault::FailAfter] {
        for at in 1..=3 {
            let timed = Timed::new(Publish::Automatic).await;
            sync(&timed.engine).await;
            let mut strays = Vec::new();
            for number in 0..3 {
                let bytes = format!("stray {number}");
                strays.push(timed.engine.store().put_bytes(bytes.into()).await.unwrap().sha256);
            }
            timed.engine.collect_garbage(no_grace()).await.unwrap();
            timed.store.set_plan(Some(Plan { at: timed.store.writes() + at, fault, lasting: false }));
            timed.engine.collect_garbage(no_grace()).await.unwrap_err();
            assert_eq!(timed.engine.catalog().deleting().await.unwrap().len(), 3);
            timed.engine.collect_garbage(no_grace()).await.unwrap();
            for stray in strays {
                assert!(!timed.has(stray).await);
            }
            assert!(timed.engine.catalog().deleting().await.unwrap().is_empty());
            assert!(timed.engine.verify(true).await.unwrap().damaged.is_empty());
        }
    }
}

/// A full disk at any write of a sync: a typed error, the last generation is served, and with room the sync ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_last_generation() {
    let mut at = 1;
    loop {
        let mut timed = Timed::new(Publish::Automatic).await;
        let first = ToyFile::new("anvil", "1.0", None, &[], 100);
        timed.registry.offer(first.clone());
        let import = timed.engine.import(&tools(), vec!["anvil".into()], ann()).await.unwrap();
        assert_eq!(import.wait().await.unwrap().published, Some(1));
        timed.pass(Duration::from_secs(2));

        let before = timed.store.writes();
        timed.store.set_plan(Some(Plan { at: before + at, fault: Fault::NoSpace, lasting: true }));
        let result = timed.engine.sync(&tools(), ann()).await.unwrap().wait().await;
        let served = world::get(&timed.engine, &format!("/tools/{}", first.path())).await;
        assert_eq!((served.0.as_u16(), served.1.as_bytes()), (200, &first.bytes[..]), "at write {at}");
        match result {
            Err(Error::NoSpace { .. }) => {}
            Ok(report) => {
                assert!(timed.store.writes() < before + at, "write {at} failed unseen: {report:?}");
                assert!(at > 6, "a sync makes more writes than {at}");
                break;
            }
            Err(error) => panic!("at write {at}: {error}"),
        }
        timed.store.set_plan(None);
        let report = sync(&timed.engine).await;
        assert!(report.is_complete(), "at write {at}: {report:?}");
        let served = world::get(&timed.engine, "/tools/files/hammer/hammer-1.0+a.toy").await;
        assert_eq!(served.0.as_u16(), 200);
        at += 1;
    }
}

/// A path leaves, and a hundred snapshots follow within a day: a client that read the index before finds it still.
/// After that day it is gone, and with the next publish nothing is kept of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_left_stays_for_a_day_however_often_is_published() {
    let mut timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    timed.pass(Duration::from_secs(2));
    let left = format!("/tools/{}", timed.generation("3.0").await.path());
    let hidden = left.replace("/tools/", "/tools/.departed/");
    for _ in 0..100 {
        timed.pass(Duration::from_mins(14));
        timed.engine.rollback(&tools(), "1", ann()).await.unwrap();
        assert_eq!(world::get(&timed.engine, &left).await.0.as_u16(), 200);
    }
    assert_eq!(world::get(&timed.engine, &hidden).await.0.as_u16(), 404);
    let kept = async |timed: &Timed| {
        let repository = timed.engine.catalog().repository(&tools()).await.unwrap();
        let head = timed.engine.catalog().resolve(repository.id, "main").await.unwrap();
        let publication = timed.engine.pages().open(head.publication).await.unwrap();
        futures::StreamExt::count(publication.scan(".departed/")).await
    };
    assert!(kept(&timed).await > 0);
    // 23 h 20 min have passed since it left with the first rollback.
    timed.pass(Duration::from_hours(1));
    assert_eq!(world::get(&timed.engine, &left).await.0.as_u16(), 404);
    timed.engine.rollback(&tools(), "1", ann()).await.unwrap();
    assert_eq!(kept(&timed).await, 0);
    assert!(timed.engine.verify(true).await.unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_leaves_removed_repositories_away() {
    let mut timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    timed.engine.remove_repository(&tools(), &ann()).await.unwrap();
    let gone = timed.engine.remove_repository(&tools(), &ann()).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    // Its bytes are there still, and its name is free.
    let rebuilt = timed.lose_catalog().await;
    assert_eq!((rebuilt.repositories.len(), rebuilt.skipped.len()), (0, 1), "{rebuilt:?}");
    assert!(rebuilt.skipped[0].reason.contains("`ann` removed it"), "{rebuilt:?}");

    timed.pass(DAY);
    configure(timed.engine.catalog(), &timed.registry.url(), &config("tools")).await;
    sync(&timed.engine).await;
    let rebuilt = timed.lose_catalog().await;
    assert_eq!((rebuilt.repositories, rebuilt.skipped.len()), (vec![tools()], 1));
    assert_eq!(world::get(&timed.engine, "/tools/files/hammer/hammer-1.0+a.toy").await.0.as_u16(), 200);
}

/// Killed between what a removal writes into the store and the catalog, a repository is there still, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_went_on_was_not_removed() {
    let mut timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    let repository = timed.engine.catalog().repository(&tools()).await.unwrap();
    let removal = Removal {
        repository: repository.uuid,
        name: tools(),
        last: 1,
        actor: ann(),
        at: timed.engine.catalog().clock().now(),
    };
    let key = InstanceKey::load(timed.folder.path().join("key.json")).unwrap();
    let bytes = sign_removal(&removal, &key).unwrap();
    timed.store.put_record(removal.key(7), bytes.clone()).await.unwrap();
    timed.pass(Duration::from_mins(1));
    timed.generation("3.0").await;
    let rebuilt = timed.lose_catalog().await;
    assert_eq!((rebuilt.repositories, rebuilt.snapshots), (vec![tools()], 2));

    // Moved to another key, it is refused before anything is written.
    timed.store.put_record(removal.key(8), bytes.clone()).await.unwrap();
    let elsewhere = RecordKey { number: 9, ..removal.key(8) };
    timed.store.put_record(elsewhere, bytes).await.unwrap();
    timed.engine.catalog().remove_repository(&tools(), &ann()).await.unwrap();
    let refused = timed.engine.rebuild(&ann()).await;
    assert!(matches!(refused, Err(Error::Malformed { rule: "record-key", .. })), "{refused:?}");
    assert!(timed.engine.catalog().repositories().await.unwrap().is_empty());
}

/// As a store has it whose removals were not written down yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_leaves_out_what_is_not_stored_or_whose_name_is_taken() {
    let mut timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    timed.engine.catalog().remove_repository(&tools(), &ann()).await.unwrap();
    timed.pass(DAY);
    configure(timed.engine.catalog(), &timed.registry.url(), &config("tools")).await;
    sync(&timed.engine).await;
    let rebuilt = timed.lose_catalog().await;
    assert_eq!(rebuilt.repositories, [tools()]);
    assert!(rebuilt.skipped[0].reason.contains("younger"), "{rebuilt:?}");

    timed.engine.catalog().remove_repository(&tools(), &ann()).await.unwrap();
    timed.pass(40 * DAY);
    timed.collect().await;
    let rebuilt = timed.lose_catalog().await;
    assert!(rebuilt.repositories.is_empty() && rebuilt.skipped.len() == 2, "{rebuilt:?}");
    assert!(rebuilt.skipped.iter().any(|one| one.reason.contains("not stored")), "{rebuilt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_brings_back_no_snapshot_that_was_forgotten() {
    let mut timed = Timed::new(Publish::Automatic).await;
    sync(&timed.engine).await;
    for version in ["3.0", "4.0", "5.0", "6.0"] {
        timed.generation(version).await;
    }
    timed.pass(40 * DAY);
    let nothing = Retention { generations: 0, age: Duration::ZERO, grace: Duration::ZERO };
    timed.engine.collect_garbage(nothing).await.unwrap();
    assert!(timed.engine.collect_garbage(nothing).await.unwrap().deleted > 0);
    assert_eq!(timed.numbers().await, [5, 4, 3]);
    let rebuilt = timed.lose_catalog().await;
    assert_eq!((rebuilt.snapshots, rebuilt.forgotten), (3, 2), "{rebuilt:?}");
    assert_eq!(timed.numbers().await, [5, 4, 3]);
    // A longer retention looks at all that there is.
    let all = Retention { generations: 100, age: 400 * DAY, grace: Duration::ZERO };
    timed.engine.collect_garbage(all).await.unwrap();
    assert_eq!(timed.engine.rollback(&tools(), "3", ann()).await.unwrap().number, 6);
}
