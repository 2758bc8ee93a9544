//! What the sender's ledger knows of each destination, where bundles name some repositories only.

use std::time::Duration;

use reservoir_core::{
    Base, ErrorKind, ExportOptions, Retention,
    catalog::{Accept, CatalogOptions, TrustedKey},
    clock::{Clock, Timestamp},
    ecosystem::Publish,
    lifecycle::Status,
    name::RepositoryName,
    testing::toy::ToyFile,
};
use serde_json::json;

use super::{
    gap::{Gap, Inside, content, export, options, tree},
    world::{ann, config, get, split, tools},
};

fn some() -> RepositoryName {
    "some".parse().unwrap()
}

impl Gap {
    /// A second repository, of one version: others are known, and no snapshot lists them. Hours pass when told to.
    async fn two() -> Self {
        let clock = Clock::manual(Timestamp::now());
        let gap = Self::with(CatalogOptions { clock, ..CatalogOptions::default() }).await;
        let mut config = config("some");
        config.options.insert("packages".into(), json!(["hammer=1.0"]));
        gap.outside.engine.catalog().put_repository(&config, &ann()).await.unwrap();
        gap.outside.engine.sync(&some(), ann()).await.unwrap().wait().await.unwrap();
        gap.pass();
        gap
    }

    async fn tools(&self) -> reservoir_core::catalog::RepositoryId {
        self.outside.engine.catalog().repository(&tools()).await.unwrap().id
    }

    fn pass(&self) {
        self.outside.engine.catalog().clock().advance(Duration::from_hours(1));
    }

    /// Offers another version, which only a scan of `some` hears of.
    async fn offer(&mut self, version: &str) {
        self.outside.registry.offer(ToyFile::new("hammer", version, None, &[], 3000));
        self.outside.engine.scan(&some(), ann()).await.unwrap().wait().await.unwrap();
        self.pass();
    }

    async fn only(&self, name: &str, repository: RepositoryName) -> Option<u64> {
        let options = ExportOptions { repositories: vec![repository], ..options() };
        let sequence = self.export(name, options).await.sequence;
        self.pass();
        sequence
    }
}

/// What is said of a repository while bundles leave it out travels with the next that names it.
#[tokio::test(flavor = "multi_thread")]
async fn bundles_of_some_repositories_keep_the_place_of_the_others() {
    let mut gap = Gap::two().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.pass();
    gap.offer("5.0").await;
    gap.outside.sync().await;
    assert_eq!(gap.only("2", tools()).await, Some(2));
    gap.load("2").await.unwrap();
    let (artifact, revision) = split("hammer@5.0");
    let catalog = gap.inside.engine.catalog();
    let id = catalog.repository(&some()).await.unwrap().id;
    assert!(catalog.find_revision(id, &artifact, &revision).await.is_err(), "nothing told of it yet");
    assert_eq!(gap.ledger("3").await.sequence, Some(3));
    gap.load("3").await.unwrap();
    let found = catalog.find_revision(id, &artifact, &revision).await.unwrap();
    assert_eq!(found.status, Status::Scanned);
    gap.pass();
    assert_eq!(gap.ledger("4").await.sequence, None, "all is told");
}

/// A delta tells of what changed since the bundle before, however soon after it, and of nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_delta_tells_of_what_changed_alone() {
    let mut gap = Gap::new().await;
    let lines = async |gap: &Gap, name: &str| {
        gap.inside.engine.inspect_bundle(vec![gap.path(name)]).await.unwrap().header.records.lines
    };
    gap.ledger("1").await;
    assert!(lines(&gap, "1").await > 10);
    assert!(gap.load("1").await.unwrap().applied);
    gap.release("3.0").await;
    gap.ledger("2").await;
    // The repository, the artifact, the revision and its two files.
    assert_eq!(lines(&gap, "2").await, 5);
    assert!(gap.load("2").await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
}

/// What was committed after a bundle is told in the next, also when the clock was set back meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_clock_that_was_set_back_dates_is_told() {
    let mut gap = Gap::two().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let catalog = gap.outside.engine.catalog().clone();
    let early = Clock::manual(Timestamp::from_micros(catalog.clock().now().as_micros() - 86_400_000_000));
    gap.reopen(CatalogOptions { clock: early, ..CatalogOptions::default() }).await;
    gap.outside.registry.offer(ToyFile::new("hammer", "5.0", None, &[], 3000));
    gap.outside.engine.scan(&some(), ann()).await.unwrap().wait().await.unwrap();
    assert_eq!(gap.ledger("2").await.sequence, Some(2));
    gap.load("2").await.unwrap();
    let (artifact, revision) = split("hammer@5.0");
    let catalog = gap.inside.engine.catalog();
    let id = catalog.repository(&some()).await.unwrap().id;
    catalog.find_revision(id, &artifact, &revision).await.unwrap();
}

/// A repository that was never named before is told of from its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_joins_later_is_told_of_whole() {
    let mut gap = Gap::two().await;
    gap.offer("5.0").await;
    assert_eq!(gap.only("1", tools()).await, Some(1));
    gap.load("1").await.unwrap();
    assert_eq!(gap.only("2", some()).await, Some(2));
    gap.load("2").await.unwrap();
    let catalog = gap.inside.engine.catalog();
    let id = catalog.repository(&some()).await.unwrap().id;
    for (spec, status) in [("hammer@1.0", Status::Available), ("hammer@5.0", Status::Scanned)] {
        let (artifact, revision) = split(spec);
        assert_eq!(catalog.find_revision(id, &artifact, &revision).await.unwrap().status, status, "{spec}");
    }
}

/// Bundles carry snapshots: what is AVAILABLE and in none of them is neither sent nor asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_waits_for_the_snapshot_that_has_it() {
    let mut gap = Gap::new().await;
    let path = "/tools/files/hammer/hammer-3.0+a.toy";
    let outside = gap.outside.engine.clone();
    let mut config = outside.catalog().repository(&tools()).await.unwrap().config;
    config.publish = Publish::Manual;
    outside.catalog().put_repository(&config, &ann()).await.unwrap();
    gap.release("3.0").await;
    gap.ledger("1").await;
    assert!(gap.load("1").await.unwrap().applied);
    assert_eq!(get(&gap.inside.engine, path).await.0, 404);
    outside.publish(&tools(), ann(), "now").await.unwrap().unwrap();
    gap.ledger("2").await;
    assert!(gap.load("2").await.unwrap().applied);
    assert_eq!(get(&gap.inside.engine, path).await.0, 200);
    // Rolled back before the next site hears of it.
    outside.rollback(&tools(), "1", ann()).await.unwrap();
    let elsewhere = || ExportOptions { site: "south".into(), ..options() };
    gap.export("south", elsewhere()).await;
    let south = Inside::new().await;
    south.trust(&gap.stream_key(), Accept::Evidence).await;
    assert!(south.load(&[gap.path("south")]).await.unwrap()[0].is_complete());
    assert_eq!(get(&south.engine, path).await.0, 404);
    // And forward again: nothing but the content has changed.
    outside.rollback(&tools(), "2", ann()).await.unwrap();
    gap.export("south-2", elsewhere()).await;
    assert!(south.load(&[gap.path("south-2")]).await.unwrap()[0].applied);
    assert_eq!(get(&south.engine, path).await.0, 200);
}

/// What was lost on the way was lost of every repository: going back for one would leave a rift in the others.
#[tokio::test(flavor = "multi_thread")]
async fn going_back_is_for_all_repositories() {
    let mut gap = Gap::two().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.pass();
    gap.release("3.0").await;
    gap.ledger("lost").await;
    gap.pass();
    let since = || ExportOptions { base: Base::Since(1), ..options() };
    let named = ExportOptions { repositories: vec![tools()], ..since() };
    let error = export(&gap.outside.engine, &gap.path("3"), named).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("may be lost for `some` too"), "{error}");
    assert_eq!(gap.export("3", since()).await.sequence, Some(3));
    assert!(gap.load("3").await.unwrap().applied);
}

/// A base that garbage collection took cannot be told against: its repository is sent whole, the others as they changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_was_collected_is_sent_anew() {
    let mut gap = Gap::two().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    for version in ["3.0", "4.0", "5.0", "6.0"] {
        gap.outside.engine.catalog().clock().advance(Duration::from_hours(48));
        gap.release(version).await;
        gap.ledger(version).await;
    }
    let base = gap.outside.engine.catalog().resolve(gap.tools().await, "1").await.unwrap().content;
    for _ in 0..2 {
        gap.outside.engine.catalog().clock().advance(Duration::from_hours(48));
        let retention =
            Retention { generations: 3, age: Duration::from_hours(24), grace: Duration::from_hours(1) };
        gap.outside.engine.collect_garbage(retention).await.unwrap();
    }
    let name = base.to_string();
    let left = tree(&gap.outside.folder.path().join("store"));
    assert!(left.into_keys().all(|path| !path.display().to_string().contains(&name)), "it is collected");
    let since = ExportOptions { base: Base::Since(1), ..options() };
    let again = gap.export("again", since).await;
    assert!(again.sequence == Some(6) && !again.full, "{again:#?}");
    assert!(gap.load("again").await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
    // By what the inside says it has, too.
    let south = Inside::new().await;
    south.trust(&gap.stream_key(), Accept::Evidence).await;
    assert!(south.load(&[gap.path("1")]).await.unwrap()[0].applied);
    let key = TrustedKey { public: south.key().public(), ..gap.inside_key() };
    gap.outside.engine.catalog().trust_key(&key, &ann()).await.unwrap();
    let (document, signature) = south.engine.inventory().await.unwrap();
    let have = ExportOptions { base: Base::Inventory(document, signature), ..options() };
    let healed = gap.export("healed", have).await;
    assert!(!healed.full && healed.bytes < again.bytes, "{healed:#?}");
    assert!(south.load(&[gap.path("healed")]).await.unwrap()[0].applied);
    assert_eq!(content(&south.engine).await, content(&gap.outside.engine).await);
}

/// The outside lost its catalog, and with it what it sent to whom: the inside says which stream it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_is_taken_up_again_by_an_inventory() {
    let mut gap = Gap::new().await;
    let inside_key = gap.inside_key();
    gap.outside.engine.catalog().trust_key(&inside_key, &ann()).await.unwrap();
    let lost = tempfile::tempdir().unwrap();
    gap.copy_outside(lost.path(), false).await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.copy_outside(lost.path(), true).await;
    gap.release("3.0").await;
    // Nobody knows here any more that something was sent; it is of no use there.
    gap.ledger("new").await;
    gap.load("new").await.unwrap_err();
    gap.copy_outside(lost.path(), true).await;
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let have = || ExportOptions { base: Base::Inventory(document.clone(), signature.clone()), ..options() };
    let healed = gap.export("healed", have()).await;
    assert!(healed.sequence == Some(2) && healed.full, "{healed:#?}");
    assert!(gap.load("healed").await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
    gap.release("4.0").await;
    let next = gap.ledger("3").await;
    assert!(next.sequence == Some(3) && !next.full);
    assert!(gap.load("3").await.unwrap().applied);
    // The stream of another outside is not taken up, whatever it fills.
    let other = Gap::new().await;
    other.outside.engine.catalog().trust_key(&inside_key, &ann()).await.unwrap();
    let stream = gap.ledger("4").await.stream;
    assert_ne!(other.export("other", have()).await.stream, stream);
}

/// The inside is further than the ledger of an outside that was restored from a backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_outside_goes_on_behind_the_inside() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let backup = tempfile::tempdir().unwrap();
    gap.copy_outside(backup.path(), false).await;
    for (name, version) in [("2", "3.0"), ("3", "4.0")] {
        gap.release(version).await;
        gap.ledger(name).await;
        gap.load(name).await.unwrap();
    }
    gap.copy_outside(backup.path(), true).await;
    gap.release("5.0").await;
    assert_eq!(gap.ledger("again").await.sequence, Some(2));
    let refused = gap.load("again").await.unwrap_err();
    assert!(refused.to_string().contains("--have"), "{refused}");
    let inside_key = gap.inside_key();
    gap.outside.engine.catalog().trust_key(&inside_key, &ann()).await.unwrap();
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let have = ExportOptions { base: Base::Inventory(document, signature), ..options() };
    assert_eq!(gap.export("healed", have).await.sequence, Some(4));
    assert!(gap.load("healed").await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
    gap.release("6.0").await;
    let next = gap.ledger("5").await;
    assert!(next.sequence == Some(5) && !next.full);
    assert!(gap.load("5").await.unwrap().applied);
}

/// A dry run leaves the ledger as it was: no stream is made, none is taken up again, and what was begun stays begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing() {
    let mut gap = Gap::new().await;
    gap.outside.engine.catalog().trust_key(&gap.inside_key(), &ann()).await.unwrap();
    let lost = tempfile::tempdir().unwrap();
    gap.copy_outside(lost.path(), false).await;
    let unchanged = async |gap: &Gap, options: ExportOptions| {
        let catalog = gap.outside.engine.catalog();
        let before = catalog.audit_head().await.unwrap();
        let planned = gap.outside.engine.plan_export(options).await.unwrap();
        assert_eq!(catalog.audit_head().await.unwrap(), before);
        planned
    };
    assert_eq!(unchanged(&gap, options()).await.sequence, Some(1), "for a new site");
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.copy_outside(lost.path(), true).await;
    // The ledger is lost, and another stream to the site was begun.
    let away = super::resume::Away::last_blob(&gap).await;
    let small = ExportOptions { volume_size: None, ..options() };
    export(&gap.outside.engine, &gap.path("begun"), small).await.unwrap_err();
    away.back();
    let begun = unchanged(&gap, options()).await;
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let have = || ExportOptions { base: Base::Inventory(document.clone(), signature.clone()), ..options() };
    let healing = unchanged(&gap, have()).await;
    assert!(healing.sequence == Some(2) && healing.stream != begun.stream, "{healing:#?}");
    let catalog = gap.outside.engine.catalog();
    assert_eq!(catalog.sent_bundles(begun.stream, 2).await.unwrap().len(), 1, "it may be gone on with");
    assert_eq!(gap.export("healed", have()).await.stream, healing.stream, "as it was planned");
    assert_eq!(catalog.sent_bundles(begun.stream, 2).await.unwrap().len(), 0);
}
