//! A load that is killed at any of its writes: the next one goes on from there, and ends where an undisturbed one ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "bundle/gap.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod gap;
mod world;

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use reservoir_core::{
    Engine, ExportOptions,
    catalog::{Accept, TrustedKey},
    clock::Timestamp,
    name::RefName,
    testing::postgres::TestDatabase,
};
use tempfile::TempDir;

use self::{
    gap::{Gap, options},
    world::{
        ann, builder,
        process::{self, BUNDLES, Job, Kind, catalog, load_all, work},
        split, sqlite, tools,
    },
};

/// Points tried at the same time.
const AT_ONCE: usize = 3;

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
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_on_sqlite_part_1() {
    every_write(&Template::new(None).await, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_on_sqlite_part_2() {
    every_write(&Template::new(None).await, 1).await;
}

/// Every third of them, begun elsewhere: what differs is how the catalog commits.
#[tokio::test(flavor = "multi_thread")]
async fn some_writes_on_postgres() {
    let template = Template::new(Some(TestDatabase::create().await)).await;
    try_all(&template, 3, 1).await;
    if let Some(database) = template.database {
        database.remove().await;
    }
}

async fn every_write(template: &Template, part: usize) {
    try_all(template, 2, part).await;
}

/// Kills at every so manieth commit of the catalog and write of the store, before and after it.
async fn try_all(template: &Template, step: usize, first: usize) {
    let whole = Home::of(template).await;
    let said = whole.job().run().await;
    let count = said.iter().find_map(|line| line.strip_prefix("count ")).expect("the job ran to its end");
    let (calls, writes) = count.split_once(' ').unwrap();
    let (calls, writes): (u64, u64) = (calls.parse().unwrap(), writes.parse().unwrap());
    assert!(calls > 40 && writes > 8, "{calls} {writes}");
    let engine = whole.recovered().await;
    let expected = state(&engine).await;
    engine.catalog().close().await;
    whole.remove().await;
    let points = (1..=writes).flat_map(|at| [Death::Store(at, false), Death::Store(at, true)]);
    let points: Vec<Death> =
        (1..=calls).map(Death::Catalog).chain(points).skip(first).step_by(step).collect();
    let count = points.len();
    let mut results = stream::iter(points)
        .map(|death| {
            let expected = &expected;
            async move {
                let home = Home::of(template).await;
                let died = try_one(death, &home, expected).await;
                home.remove().await;
                died
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut died = 0;
    while let Some(result) = results.next().await {
        died += usize::from(result);
    }
    // Work that is done side by side may be counted in another order, so that the last points lie behind the end.
    assert!(died * 10 >= count * 8, "only {died} of {count} processes died where they should");
}

/// Kills one load, and loads again; whether it was killed before its end.
async fn try_one(death: Death, home: &Home, expected: &str) -> bool {
    let mut job = home.job();
    match death {
        Death::Catalog(at) => job.catalog_abort = Some(at),
        Death::Store(at, after) => job.store_abort = Some((at, after)),
    }
    let said = job.run().await;
    let died = !said.iter().any(|line| line.starts_with("count "));
    let engine = home.recovered().await;
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
    load_all(&engine, home.folder.path()).await;
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
struct Template {
    folder: TempDir,
    database: Option<TestDatabase>,
}

struct Home {
    folder: TempDir,
    database: Option<TestDatabase>,
    url: String,
}

impl Template {
    async fn new(database: Option<TestDatabase>) -> Self {
        let folder = memory();
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
            let to = folder.path().join(bundle);
            fs::create_dir(&to).unwrap();
            copy(&gap.path(bundle), &to);
        }
        let url = database.as_ref().map_or_else(|| sqlite(folder.path()), TestDatabase::url);
        let catalog = catalog(&url, Duration::ZERO).await;
        let key = TrustedKey {
            public: gap.stream_key().public(),
            comment: "outside".into(),
            accept: Accept::Evidence,
            predecessor: None,
            added_at: Timestamp::now(),
        };
        catalog.trust_key(&key, &ann()).await.unwrap();
        let engine = builder(folder.path(), catalog).await.build().unwrap();
        engine.catalog().close().await;
        Self { folder, database }
    }
}

impl Home {
    async fn of(template: &Template) -> Self {
        let folder = memory();
        copy(template.folder.path(), folder.path());
        let database = match &template.database {
            Some(database) => Some(database.copy().await),
            None => None,
        };
        let url = database.as_ref().map_or_else(|| sqlite(folder.path()), TestDatabase::url);
        Self { folder, database, url }
    }

    fn job(&self) -> Job {
        Job::new(Kind::Load, self.folder.path(), &self.url)
    }

    /// The engine of the next process, an hour later.
    async fn recovered(&self) -> Engine {
        let catalog = process::catalog(&self.url, Duration::from_hours(1)).await;
        builder(self.folder.path(), catalog).await.build().unwrap()
    }

    async fn remove(self) {
        if let Some(database) = self.database {
            database.remove().await;
        }
    }
}

/// No test here takes the power away.
fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
