//! A load that is killed at any of its writes: the next one goes on from there, and ends where an undisturbed one ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "bundle/gap.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod gap;
mod world;

use std::{fmt::Write as _, fs};

use futures::TryStreamExt as _;
use reservoir_core::{
    Engine, ExportOptions,
    catalog::{Accept, TrustedKey},
    clock::Timestamp,
    name::RefName,
    testing::postgres::TestDatabase,
};

use self::{
    gap::{Gap, options},
    world::{
        ann,
        death::{Count, Death, Disk, copy, try_all},
        process::{BUNDLES, Kind, load_all, work},
        split, tools,
    },
};

#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    work().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_on_sqlite_part_1() {
    every_write(&template(None).await, 2, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_on_sqlite_part_2() {
    every_write(&template(None).await, 2, 1).await;
}

/// Every third of them, begun elsewhere: what differs is how the catalog commits.
#[tokio::test(flavor = "multi_thread")]
async fn some_writes_on_postgres() {
    let template = template(Some(TestDatabase::create().await)).await;
    every_write(&template, 3, 1).await;
    template.remove().await;
}

/// Kills at every so manieth commit of the catalog and write of the store, before and after it.
async fn every_write(template: &Disk, step: usize, first: usize) {
    let whole = template.copy().await;
    let said = whole.job(Kind::Load).run().await;
    let count = Count::of(&said).expect("the job ran to its end");
    assert!(count.calls > 40 && count.writes > 8, "{} {}", count.calls, count.writes);
    let engine = whole.engine(whole.catalog_later().await).await;
    let expected = state(&engine).await;
    engine.catalog().close().await;
    whole.remove().await;
    let deaths = Death::everywhere(&count).skip(first).step_by(step);
    try_all(deaths.collect(), template, async |death, disk| try_one(death, disk, &expected).await).await;
}

/// Kills one load, and loads again; whether it was killed before its end.
async fn try_one(death: Death, disk: &Disk, expected: &str) -> bool {
    let (said, died) = death.of(disk.job(Kind::Load)).await;
    let engine = disk.engine(disk.catalog_later().await).await;
    let applied = said.iter().filter_map(|line| line.strip_prefix("applied ")?.parse::<u64>().ok()).max();
    let streams = engine.catalog().arriving_streams().await.unwrap();
    let stands = streams.first().map_or(0, |stream| stream.sequence);
    assert!(stands >= applied.unwrap_or(0), "{death:?}: acknowledged {applied:?}, it stands at {stands}");
    // Whoever publishes in between shows nothing of a bundle that is not applied.
    if let Ok(repository) = engine.catalog().repository(&tools()).await
        && let Ok(head) = engine.catalog().resolve(repository.id, "main").await
    {
        let published = engine.publish(&tools(), ann(), "in between").await.unwrap();
        if stands < 2 {
            // In the second, something is refused.
            let manifest = engine.pages().open(head.content).await.unwrap();
            let after = engine.catalog().resolve(repository.id, "main").await.unwrap().content;
            let after = engine.pages().open(after).await.unwrap();
            let changes: Vec<_> =
                engine.pages().diff(Some(&manifest), &after).try_collect::<Vec<_>>().await.unwrap();
            let only_less =
                changes.iter().all(|change| matches!(change, reservoir_core::snapshot::Change::Removed(_)));
            assert!(only_less, "{death:?}: {published:?} {changes:?}");
        }
    }
    load_all(&engine, disk.folder.path()).await;
    let verified = engine.verify(true).await.unwrap();
    assert!(verified.damaged.is_empty(), "{death:?}: {:?}", verified.damaged);
    assert_eq!(state(&engine).await, expected, "{death:?}: it does not end where an undisturbed load ends");
    assert!(engine.publish(&tools(), ann(), "nothing is left").await.unwrap().is_none(), "{death:?}");
    let staged = fs::read_dir(engine.scratch().join("load")).unwrap().count();
    assert_eq!(staged, 0, "{death:?}: something is staged still");
    engine.catalog().close().await;
    died
}

/// What is served, what is known, and where the stream stands.
async fn state(engine: &Engine) -> String {
    let catalog = engine.catalog();
    let repository = catalog.repository(&tools()).await.unwrap();
    let mut lines = String::new();
    for (name, number) in catalog.refs(repository.id).await.unwrap() {
        let content = catalog.snapshot(repository.id, number).await.unwrap().content;
        writeln!(lines, "{name} {content}").unwrap();
        let manifest = engine.pages().open(content).await.unwrap();
        let mut entries = manifest.scan("");
        while let Some(entry) = entries.try_next().await.unwrap() {
            writeln!(lines, "  {entry:?}").unwrap();
        }
    }
    let filter = reservoir_core::catalog::RevisionFilter::default();
    for revision in catalog.revisions(repository.id, &filter, None, 1000).await.unwrap() {
        writeln!(lines, "{}@{} {}", revision.artifact, revision.revision, revision.status).unwrap();
        for file in catalog.files(revision.id).await.unwrap() {
            let said = file.blob.map(|blob| blob.sha256);
            writeln!(lines, "  {} {said:?} {:?} {}", file.path, file.derived, file.admitted).unwrap();
        }
    }
    for stream in catalog.arriving_streams().await.unwrap() {
        let refs = stream.refs.iter().map(|arrived| &arrived.carried);
        writeln!(lines, "{} {} {:?}", stream.sequence, stream.header, refs.collect::<Vec<_>>()).unwrap();
    }
    lines
}

/// An inside that trusts the outside, and two bundles: a full one in several volumes, and a delta that brings a release,
/// a refusal and a ref.
async fn template(database: Option<TestDatabase>) -> Disk {
    let disk = Disk::new(database);
    let mut gap = Gap::large().await;
    gap.ledger("1").await;
    gap.release("4.0").await;
    let (artifact, revision) = split("hammer@2.0");
    let why = "the head comes off".to_owned();
    gap.outside.engine.reject(&tools(), &artifact, &revision, ann(), why).await.unwrap();
    let outside = gap.outside.engine.catalog();
    let id = outside.repository(&tools()).await.unwrap().id;
    let first: RefName = "first".parse().unwrap();
    outside.set_ref(id, &first, 1, &ann(), None).await.unwrap();
    gap.export("2", ExportOptions { volume_size: None, ..options() }).await;
    for bundle in BUNDLES {
        let to = disk.folder.path().join(bundle);
        fs::create_dir(&to).unwrap();
        copy(&gap.path(bundle), &to);
    }
    let catalog = disk.catalog().await;
    let key = TrustedKey {
        public: gap.stream_key().public(),
        comment: "outside".into(),
        accept: Accept::Evidence,
        predecessor: None,
        added_at: Timestamp::now(),
    };
    catalog.trust_key(&key, &ann()).await.unwrap();
    disk.engine(catalog).await.catalog().close().await;
    disk
}
