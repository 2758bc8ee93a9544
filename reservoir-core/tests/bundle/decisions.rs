//! What is decided inside beside the bundles: it is published, whatever comes in between.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures::TryStreamExt as _;
use reservoir_core::{
    Base, Engine, ErrorKind, ExportOptions,
    catalog::{Accept, Catalog, CatalogOptions},
    lifecycle::{ArtifactLifecycle as _, Status, Transition},
    task::Progress,
    testing::{
        fault_store::{Fault, FaultStore, Hook, Plan},
        toy::ToyFile,
    },
};

use serde_json::{Value, json};

use super::{
    forge::Forge,
    gap::{Gap, Inside, content, engine, load, options},
    refs::point,
    world::{ann, get, over, split, sqlite, store, tools},
};

/// AVAILABLE to BLOCKED, as new scanner data does it: nothing is published.
async fn block(catalog: &Catalog, spec: &str) {
    let repository = catalog.repository(&tools()).await.unwrap();
    let (artifact, revision) = split(spec);
    let found = catalog.find_revision(repository.id, &artifact, &revision).await.unwrap();
    let change = Transition {
        revision: found.id,
        from: found.status,
        attempt: found.attempt,
        to: Status::Blocked,
        actor: ann(),
        reason: "quarantined".into(),
    };
    catalog.transition(&[change], None).await.unwrap();
}

/// The paths that a ref lists.
async fn listed(engine: &Engine, reference: &str) -> Vec<String> {
    let repository = engine.catalog().repository(&tools()).await.unwrap();
    let snapshot = engine.catalog().resolve(repository.id, reference).await.unwrap();
    let manifest = engine.pages().open(snapshot.content).await.unwrap();
    manifest.scan("").map_ok(|entry| entry.path.to_string()).try_collect().await.unwrap()
}

fn lists(paths: &[String], file: &str) -> bool {
    paths.iter().any(|path| path.contains(file))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_blocked_before_a_load_is_listed_by_no_ref_after_it() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    block(gap.inside.engine.catalog(), "hammer@1.0").await;
    point(&gap.outside.engine, "first", 1).await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    gap.load("2").await.unwrap();
    for reference in ["main", "first"] {
        let paths = listed(&gap.inside.engine, reference).await;
        assert!(!lists(&paths, "hammer-1.0") && lists(&paths, "hammer-2.0"), "{reference}: {paths:?}");
    }
    assert!(gap.inside.engine.publish(&tools(), ann(), "nothing is left").await.unwrap().is_none());
}

/// A bundle that brings nothing new for clients shows what was decided here all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_without_new_content_publishes_what_waits() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    block(gap.inside.engine.catalog(), "hammer@1.0").await;
    gap.outside.registry.offer(ToyFile::new("saw", "1.0", None, &[], 10));
    point(&gap.outside.engine, "first", 1).await;
    gap.ledger("2").await;
    assert!(gap.load("2").await.unwrap().repositories[0].snapshot.is_some());
    assert!(!lists(&listed(&gap.inside.engine, "main").await, "hammer-1.0"));
}

/// Whatever moment of a load it comes in, of all that touch the store or the catalog.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_in_the_middle_of_a_load_is_in_this_snapshot_or_in_the_next() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    let mut moments = 0;
    for at in 1.. {
        let inside = Inside::new().await;
        inside.trust(&gap.stream_key(), Accept::Evidence).await;
        inside.load(&[gap.path("1")]).await.unwrap();
        let decides = inside.engine.clone();
        let decide = Arc::new(move |number| {
            if number == at {
                let decides = decides.clone();
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(block(decides.catalog(), "hammer@1.0"));
                });
            }
        });
        // Told before and after each write; the second time it is BLOCKED already.
        let once = Mutex::new(None);
        let decide = move |number: u64| {
            let mut last = once.lock().unwrap();
            if last.replace(number) != Some(number) {
                decide(number);
            }
        };
        let store = FaultStore::new(store(inside.folder.path()).await).with_hook(Hook(Arc::new(decide)));
        let store = Arc::new(store);
        let loading = engine(inside.folder.path(), store.clone()).await;
        load(&loading, &[gap.path("2")], false).await.unwrap();
        if store.writes() < at {
            break;
        }
        moments += 1;
        let published = loading.publish(&tools(), ann(), "what waits").await.unwrap();
        let paths = listed(&loading, "main").await;
        assert!(!lists(&paths, "hammer-1.0"), "at write {at}, published {published:?}: {paths:?}");
        assert!(lists(&paths, "hammer-3.0"), "at write {at}: {paths:?}");
    }
    assert!(moments >= 3, "{moments}");
}

/// What a person lets in here is what the sender has, down to the entry.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_here_is_published_as_it_was_carried() {
    let mut gap = Gap::new().await;
    let inside = Inside::new().await;
    inside.trust(&gap.stream_key(), Accept::Person).await;
    gap.ledger("1").await;
    inside.load(&[gap.path("1")]).await.unwrap();
    for spec in ["hammer@1.0", "hammer@2.0", "nail@2.0", "iron@7.0"] {
        let (artifact, revision) = split(spec);
        inside.engine.approve(&tools(), &artifact, &revision, ann(), "read it".into()).await.unwrap();
    }
    assert_eq!(content(&inside.engine).await, content(&gap.outside.engine).await);
    gap.release("3.0").await;
    gap.ledger("2").await;
    let loaded = inside.load(&[gap.path("2")]).await.unwrap();
    assert_eq!(loaded[0].repositories[0].snapshot, None, "it waits: {loaded:#?}");
    let (artifact, revision) = split("hammer@3.0");
    inside.engine.approve(&tools(), &artifact, &revision, ann(), "read it".into()).await.unwrap();
    assert_eq!(content(&inside.engine).await, content(&gap.outside.engine).await);
}

/// A load that stops between its rows and its end has changed nothing that a publish would show.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_load_that_stopped_is_published() {
    for accept in [Accept::Evidence, Accept::Scanners] {
        let mut gap = Gap::new().await;
        gap.ledger("1").await;
        gap.release("3.0").await;
        let (artifact, revision) = split("hammer@2.0");
        let why = "the head comes off".to_owned();
        gap.outside.engine.reject(&tools(), &artifact, &revision, ann(), why).await.unwrap();
        gap.ledger("2").await;
        let expected = content(&gap.outside.engine).await;
        let mut inside = Inside::new().await;
        inside.trust(&gap.stream_key(), accept).await;
        inside.load(&[gap.path("1")]).await.unwrap();
        let before = listed(&inside.engine, "main").await;
        // Every write fails once the rows are there, for the first time.
        let spoiled = Arc::new(FaultStore::new(store(inside.folder.path()).await));
        let catalog = Catalog::open(&sqlite(inside.folder.path()), CatalogOptions::default()).await.unwrap();
        let (breaks, healed) = (Arc::clone(&spoiled), Arc::new(AtomicBool::new(false)));
        let is_healed = Arc::clone(&healed);
        catalog.on_write(Arc::new(move |operation| {
            if operation == "receive revisions" && !is_healed.load(Ordering::SeqCst) {
                let at = breaks.writes() + 1;
                breaks.set_plan(Some(Plan { at, fault: Fault::Fail, lasting: true }));
            }
        }));
        inside.engine = over(inside.folder.path(), catalog, spoiled.clone()).build().unwrap();
        let error = inside.load(&[gap.path("2")]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        healed.store(true, Ordering::SeqCst);
        spoiled.set_plan(None);
        let published = inside.engine.publish(&tools(), ann(), "in between").await.unwrap();
        let after = listed(&inside.engine, "main").await;
        assert!(!lists(&after, "hammer-3.0"), "{published:?}: {after:?}");
        // What the sender refused is refused here from the moment it is known.
        let before: Vec<_> = before.into_iter().filter(|path| !path.contains("hammer-2.0")).collect();
        assert_eq!(after, before);
        assert_eq!(get(&inside.engine, "/tools/files/hammer/hammer-2.0+a.toy").await.0, 403);
        assert!(inside.load(&[gap.path("2")]).await.unwrap()[0].applied);
        assert_eq!(content(&inside.engine).await, expected);
    }
}

/// The lines of a bundle in which a file of `hammer@1.0` has another revision, and maybe another path.
fn renamed(gap: &Gap, name: &str, path: &str) -> Forge {
    let forge = Forge::copy(&gap.path(name), gap.path(&format!("{name}-renamed")), gap.stream_key());
    forge.lines("records", |lines| {
        let is_old = |line: &Value| line["record"] == "revision" && line["revision"] == "1.0";
        let place = lines.iter().position(|line| is_old(line) && line["artifact"] == "hammer").unwrap();
        let (mut revision, mut file) = (lines[place].clone(), lines[place + 1].clone());
        assert!(file["record"] == "file" && file["blob"].is_object(), "{file}");
        revision["revision"] = json!("1.0b");
        file["path"] = json!(path);
        lines.drain(place..place + 2);
        lines.splice(place..place, [revision, file]);
    });
    forge
}

/// A trusted key moves a file of what was rejected here to another revision: it stays where it is, and away.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_takes_no_file_away_from_what_was_refused_here() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let (artifact, revision) = split("hammer@1.0");
    let why = "not here".to_owned();
    gap.inside.engine.reject(&tools(), &artifact, &revision, ann(), why).await.unwrap();
    let path = "files/hammer/hammer-1.0+a.toy";
    let url = format!("/tools/{path}");
    let paths = async || listed(&gap.inside.engine, "main").await;
    assert!(get(&gap.inside.engine, &url).await.0 == 403 && !lists(&paths().await, "hammer-1.0"));
    gap.export("2", ExportOptions { base: Base::Nothing, ..options() }).await;
    let forge = renamed(&gap, "2", path);
    // With another file, so that it is more than what was refused.
    forge.lines("records", |lines| {
        let good = lines.iter().find(|line| line["path"] == "files/hammer/hammer-2.0+a.toy").unwrap();
        let mut good = good.clone();
        good["path"] = json!("files/hammer/hammer-1.0b+x.toy");
        let place = lines.iter().position(|line| line["path"] == path).unwrap();
        lines.insert(place, good);
    });
    let mut events = gap.inside.engine.events();
    let loaded = gap.inside.load(std::slice::from_ref(&forge.folder)).await.unwrap().remove(0);
    assert!(loaded.applied && loaded.waiting.is_empty(), "{loaded:#?}");
    let (code, said) = get(&gap.inside.engine, &url).await;
    assert!(code == 403 && said.contains("not here"), "{code} {said}");
    assert!(!lists(&paths().await, "hammer-1.0"));
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Progress::Warning { message } = event.progress {
            told.push(message);
        }
    }
    assert!(told.iter().any(|line| line.contains(path) && line.contains("`hammer@1.0`")), "{told:?}");
}

/// The same bytes under another revision and another path are nothing else: a person here decides.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_refused_here_wait_under_another_name() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let (artifact, revision) = split("hammer@1.0");
    let why = "not here".to_owned();
    gap.inside.engine.reject(&tools(), &artifact, &revision, ann(), why).await.unwrap();
    gap.export("2", ExportOptions { base: Base::Nothing, ..options() }).await;
    let forge = renamed(&gap, "2", "files/hammer/hammer-1.0b+a.toy");
    let loaded = gap.inside.load(std::slice::from_ref(&forge.folder)).await.unwrap().remove(0);
    assert!(loaded.applied && loaded.waiting.iter().any(|line| line.contains("hammer@1.0b")), "{loaded:#?}");
    let catalog = gap.inside.engine.catalog();
    let repository = catalog.repository(&tools()).await.unwrap();
    let (artifact, revision) = split("hammer@1.0b");
    let found = catalog.find_revision(repository.id, &artifact, &revision).await.unwrap();
    assert_eq!(found.status, Status::NeedsApproval);
    assert!(catalog.denials(repository.id).await.unwrap().len() >= 3, "nothing is lifted");
}
