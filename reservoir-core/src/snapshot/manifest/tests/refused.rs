//! What writing refuses, and damage that reading finds.

use super::*;
use crate::{error::Error, snapshot::page::ENTRY_LIMIT};

fn rule(error: &Error) -> &'static str {
    match error {
        Error::Malformed { rule, .. } => rule,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn edits_out_of_order() {
    let store = Arc::new(Memory::default());
    let pages = pages(&store);
    for (first, second) in [("b", "a"), ("a", "a")] {
        let edits = vec![put(first, 1), Edit::Remove(second.parse().unwrap())];
        let error = write(&pages, None, edits, &store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(store.take_counts().1, 0, "nothing was written");
}

#[tokio::test]
async fn entries_that_cannot_be_kept() {
    let store = Arc::new(Memory::default());
    let pages = pages(&store);
    for (value, kind) in [
        (json!(1.5), ErrorKind::Invalid),
        (json!({"deep": [0.1]}), ErrorKind::Invalid),
        (json!("x".repeat(ENTRY_LIMIT)), ErrorKind::Quota),
    ] {
        let mut entry = entry("a", 1);
        entry.attributes.insert("key".to_owned(), value);
        let error = write(&pages, None, vec![Edit::Put(Box::new(entry))], &store).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let edits = ["a", "b"].map(|path| put(path, u64::MAX)).into();
    assert_eq!(write(&pages, None, edits, &store).await.unwrap_err().kind(), ErrorKind::Quota);
}

#[tokio::test]
async fn a_failing_source_of_edits() {
    let store = Arc::new(Memory::default());
    let edits = stream::iter([Ok(put("a", 1)), Err(Error::Cancelled)]).boxed();
    let error = pages(&store).write(None, edits, &*store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(store.take_counts().1, 0);
}

#[tokio::test]
async fn missing_blobs_are_damage_not_absence() {
    let store = Arc::new(Memory::default());
    let root = numbered(&pages(&store), &store, 100).await;
    for page in root.pages() {
        store.forget(page);
    }
    let cold = pages(&store);
    let manifest = cold.open(root.root()).await.unwrap();
    assert_eq!(manifest.get(&numbered_path(5)).await.unwrap_err().kind(), ErrorKind::Integrity);
    store.forget(root.root());
    assert_eq!(pages(&store).open(root.root()).await.unwrap_err().kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn newer_formats() {
    let store = Arc::new(Memory::default());
    let manifest = numbered(&pages(&store), &store, 100).await;
    let text = String::from_utf8(store.bytes(manifest.root()).to_vec()).unwrap();
    let newer = store.insert(text.replace(r#""version":"1""#, r#""new":true,"version":"2""#));
    assert_eq!(pages(&store).open(newer).await.unwrap_err().kind(), ErrorKind::TooNew);

    let page = String::from_utf8(store.bytes(manifest.pages()[0]).to_vec()).unwrap();
    let page = store.insert(page.replacen(r#""version":"1""#, r#""version":"2.1""#, 1));
    let root = store.insert(text.replace(&manifest.pages()[0].to_string(), &page.to_string()));
    let manifest = pages(&store).open(root).await.unwrap();
    assert_eq!(manifest.get(&numbered_path(5)).await.unwrap_err().kind(), ErrorKind::TooNew);
}

#[tokio::test]
async fn roots_that_disagree_with_themselves_or_their_pages() {
    let store = Arc::new(Memory::default());
    let edits = (0..3).map(|number| put(&format!("f{number}"), number)).collect();
    let root = write(&pages(&store), None, edits, &store).await.unwrap().root;
    let text = String::from_utf8(store.bytes(root).to_vec()).unwrap();
    let digest = pages(&store).open(root).await.unwrap().pages()[0].to_string();

    for (from, to, expected) in [
        (r#""first":"f0","last":"f2""#, r#""first":"f2","last":"f0""#, "root-order"),
        (r#"{"bytes":3,"entries":3,"kind""#, r#"{"bytes":4,"entries":3,"kind""#, "root-total"),
        (r#"{"bytes":3,"entries":3,"kind""#, r#"{"bytes":3,"entries":2,"kind""#, "root-total"),
        (r#"{"bytes":3,"entries":3,"first""#, r#"{"bytes":3,"entries":0,"first""#, "root-entries"),
        (r#""kind":"manifest""#, r#""kind":"page""#, "format-kind"),
        (r#""version":"1""#, r#""version":"x""#, "format-version"),
        (r#""kind":"manifest""#, r#""kind": "manifest""#, "root-canonical"),
        (r#""kind":"manifest""#, r#""extra":1,"kind":"manifest""#, "root-json"),
        (r#""version":"1"}"#, r#""version":"1""#, "format-header"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let error = pages(&store).open(store.insert(changed)).await.unwrap_err();
        assert_eq!(rule(&error), expected, "{to}");
    }

    for (from, to, expected) in [
        (r#""first":"f0""#, r#""first":"e0""#, "page-mismatch"),
        (r#""last":"f2""#, r#""last":"f3""#, "page-mismatch"),
        (r#""bytes":3"#, r#""bytes":4"#, "page-mismatch"),
        (r#""entries":3"#, r#""entries":4"#, "page-mismatch"),
        // A root that lists a root as its page.
        (&digest, &root.to_string(), "format-kind"),
    ] {
        let manifest = pages(&store).open(store.insert(text.replace(from, to))).await.unwrap();
        assert_eq!(rule(&manifest.get("f1").await.unwrap_err()), expected, "{to}");
        let changes: Result<Vec<_>> = pages(&store).diff(None, &manifest).try_collect().await;
        assert_eq!(rule(&changes.unwrap_err()), expected, "{to}");
    }
}
