//! Refs beside `main` cross the gap, and what was named on the inside stays what it is.

use std::time::Duration;

use reservoir_core::{
    Engine, ErrorKind, ExportOptions, Retention, bundle::FORMAT, digest::Sha256Digest, name::RefName,
};
use serde_json::{Value, json};

use super::{
    forge::Forge,
    gap::{Gap, Inside, content, engine, options},
    world::{ann, get, store, tools},
};

type Case = (&'static str, ErrorKind, fn(&mut Value));
pub(crate) type Refs = Vec<(String, Sha256Digest)>;

/// Every ref of `tools`, and what it shows.
pub(crate) async fn refs(engine: &Engine) -> Refs {
    let catalog = engine.catalog();
    let id = catalog.repository(&tools()).await.unwrap().id;
    let mut found = Vec::new();
    for (name, number) in catalog.refs(id).await.unwrap() {
        found.push((name.to_string(), catalog.snapshot(id, number).await.unwrap().content));
    }
    found
}

pub(crate) async fn point(engine: &Engine, name: &str, number: u64) {
    let id = engine.catalog().repository(&tools()).await.unwrap().id;
    let name: RefName = name.parse().unwrap();
    engine.catalog().set_ref(id, &name, number, &ann(), None).await.unwrap();
}

async fn drop_ref(engine: &Engine, name: &str) {
    let id = engine.catalog().repository(&tools()).await.unwrap().id;
    engine.catalog().delete_ref(id, &name.parse().unwrap(), &ann(), None).await.unwrap();
}

pub(crate) fn names(refs: &Refs) -> Vec<&str> {
    refs.iter().map(|(name, _)| name.as_str()).collect()
}

/// An outside with two snapshots, the first of which has a name.
async fn tagged() -> Gap {
    let mut gap = Gap::new().await;
    gap.release("3.0").await;
    point(&gap.outside.engine, "first", 1).await;
    gap
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ref_travels_and_clients_read_it() {
    let gap = tagged().await;
    let exported = gap.ledger("1").await;
    assert_eq!(exported.refs.len(), 2);
    let verified = gap.inside.engine.verify_bundle(vec![gap.path("1")]).await.unwrap();
    assert_eq!(verified.header.format, FORMAT);
    assert!(verified.finished && verified.refused.is_none(), "{verified:#?}");
    let loaded = gap.load("1").await.unwrap();
    assert!(loaded.applied && loaded.is_complete() && loaded.kept_refs.is_empty(), "{loaded:#?}");
    assert_eq!(refs(&gap.inside.engine).await, refs(&gap.outside.engine).await);
    for (path, status) in [
        ("/tools/files/hammer/hammer-3.0+a.toy", 200),
        ("/tools@first/files/hammer/hammer-3.0+a.toy", 404),
        ("/tools@first/files/hammer/hammer-2.0+a.toy", 200),
    ] {
        assert_eq!(get(&gap.inside.engine, path).await.0, status, "{path}");
    }
    assert!(gap.inside.engine.verify(true).await.unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_makes_moves_and_deletes_refs() {
    let mut gap = tagged().await;
    point(&gap.outside.engine, "passing", 2).await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("4.0").await;
    point(&gap.outside.engine, "first", 2).await;
    point(&gap.outside.engine, "third", 3).await;
    drop_ref(&gap.outside.engine, "passing").await;
    gap.ledger("2").await;
    assert!(gap.load("2").await.unwrap().applied);
    let expected = refs(&gap.outside.engine).await;
    assert_eq!(names(&expected), ["first", "main", "third"]);
    assert_eq!(refs(&gap.inside.engine).await, expected);
    assert_eq!(gap.ledger("3").await.sequence, None, "there is nothing new");
}

/// Content that only a ref has is told and sent with it, also once `main` has left it behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_ref_has_travels_with_it() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("3.0").await;
    gap.outside.engine.rollback(&tools(), "1", ann()).await.unwrap();
    gap.ledger("2").await;
    gap.load("2").await.unwrap();
    let missing = "/tools@second/files/hammer/hammer-3.0+b.toy";
    assert_eq!(get(&gap.inside.engine, missing).await.0, 404);
    point(&gap.outside.engine, "second", 2).await;
    let told = gap.ledger("3").await;
    assert!(told.sequence == Some(3) && told.bytes > 6000, "a ref alone is news: {told:#?}");
    assert!(gap.load("3").await.unwrap().applied);
    assert_eq!(refs(&gap.inside.engine).await, refs(&gap.outside.engine).await);
    assert_eq!(get(&gap.inside.engine, missing).await.0, 200);
    // It stays in the deltas that follow, and costs them nothing.
    gap.release("5.0").await;
    let next = gap.ledger("4").await;
    assert_eq!(next.refs.len(), 2);
    gap.load("4").await.unwrap();
    assert_eq!(refs(&gap.inside.engine).await, refs(&gap.outside.engine).await);
    let nothing = Retention { generations: 0, age: Duration::ZERO, grace: Duration::ZERO };
    for _ in 0..3 {
        gap.inside.engine.collect_garbage(nothing).await.unwrap();
    }
    assert_eq!(get(&gap.inside.engine, missing).await.0, 200, "what a ref shows is not collected");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_named_here_stays_what_it_is() {
    let mut gap = tagged().await;
    point(&gap.outside.engine, "second", 2).await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let inside = &gap.inside.engine;
    let before = refs(inside).await;
    let number = |refs: &Refs, name: &str| refs.iter().find(|(found, _)| found == name).unwrap().1;
    let local = inside.catalog().repository(&tools()).await.unwrap().id;
    let main = inside.catalog().resolve(local, "main").await.unwrap().number;
    // One that the sender has not, one of the sender's that was moved here.
    point(inside, "ours", main).await;
    point(inside, "first", main).await;
    gap.release("4.0").await;
    point(&gap.outside.engine, "ours", 1).await;
    point(&gap.outside.engine, "second", 3).await;
    gap.ledger("2").await;
    let loaded = gap.load("2").await.unwrap();
    assert!(loaded.applied && loaded.is_complete());
    assert_eq!(loaded.kept_refs, ["tools@first", "tools@ours"]);
    let inside = &gap.inside.engine;
    let after = refs(inside).await;
    assert_eq!(number(&after, "ours"), number(&before, "main"));
    assert_eq!(number(&after, "first"), number(&before, "main"));
    assert_eq!(number(&after, "second"), number(&after, "main"), "this one is the sender's still");
    // Deleted there: what is not the sender's stays.
    for name in ["first", "ours", "second"] {
        drop_ref(&gap.outside.engine, name).await;
    }
    gap.ledger("3").await;
    gap.load("3").await.unwrap();
    assert_eq!(names(&refs(&gap.inside.engine).await), ["first", "main", "ours"]);
    let kept = gap.inside.engine.catalog().delete_ref(local, &RefName::main(), &ann(), None).await;
    assert_eq!(kept.unwrap_err().kind(), ErrorKind::Invalid);
}

/// A sender from before 1.3 says nothing of refs, which is not that there are none.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_sender_leaves_refs_alone() {
    let mut gap = tagged().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("4.0").await;
    gap.ledger("2").await;
    let older = Forge::copy(&gap.path("2"), gap.path("older"), gap.stream_key());
    older.header(|header| {
        header["format"] = json!("1.2.0");
        header.as_object_mut().unwrap().remove("other_refs").unwrap();
    });
    assert!(gap.load("older").await.unwrap().applied);
    assert_eq!(names(&refs(&gap.inside.engine).await), ["first", "main"]);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn refs_that_no_sender_writes_are_refused() {
    let mut gap = tagged().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("4.0").await;
    gap.ledger("2").await;
    let before = gap.inside.state().await;
    let cases: [Case; 6] = [
        ("another repository's", ErrorKind::Malformed, |r| r[0]["repository"] = json!("strangers")),
        ("another ecosystem's", ErrorKind::Malformed, |r| r[0]["ecosystem"] = json!("pypi")),
        ("`main` once more", ErrorKind::Malformed, |r| r[0]["ref"] = json!("main")),
        ("one twice", ErrorKind::Malformed, |r| {
            let again = r[0].clone();
            r.as_array_mut().unwrap().push(again);
        }),
        ("against the unknown", ErrorKind::Malformed, |r| r[0]["parent"] = json!("0".repeat(64))),
        ("unmoved and never brought", ErrorKind::Conflict, |r| {
            r[0]["snapshot"] = json!("1".repeat(64));
            r[0]["parent"] = json!("1".repeat(64));
        }),
    ];
    for (place, (what, kind, spoil)) in cases.into_iter().enumerate() {
        let name = format!("bad-{place}");
        let forge = Forge::copy(&gap.path("2"), gap.path(&name), gap.stream_key());
        forge.header(|header| spoil(&mut header["other_refs"]));
        let error = gap.load(&name).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(gap.inside.state().await == before, "{what} changed something");
    }
    assert!(gap.load("2").await.unwrap().applied);
}

/// The refs are in the signed records too: a lost catalog gets them back, and `main` with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_inside_has_its_refs() {
    let gap = tagged().await;
    let full = ExportOptions { volume_size: None, ..options() };
    gap.export("1", full).await;
    gap.load("1").await.unwrap();
    let expected = refs(&gap.inside.engine).await;
    let Inside { folder, engine: old } = gap.inside;
    old.catalog().close().await;
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    let again = engine(folder.path(), store(folder.path()).await).await;
    again.rebuild(&ann()).await.unwrap();
    assert_eq!(refs(&again).await, expected);
    assert_eq!(get(&again, "/tools/files/hammer/hammer-3.0+a.toy").await.0, 200);
    assert_eq!(get(&again, "/tools@first/files/hammer/hammer-2.0+a.toy").await.0, 200);
}
