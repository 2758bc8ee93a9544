//! What reads and writes cost, in blobs.

use super::*;

#[tokio::test]
async fn one_entry_among_many_writes_a_page_or_two() {
    let store = Arc::new(Memory::default());
    let built = numbered(&pages(&store), &store, 100_000).await;
    let count = built.pages().len();
    assert!((60..150).contains(&count), "{count} pages");

    for number in [0, 1, 51_234, 99_999] {
        let changed = put(&numbered_path(number), 7);
        let added = put(&format!("{}.metadata", numbered_path(number)), 7);
        let removed = Edit::Remove(numbered_path(number).parse().unwrap());
        for edit in [changed, added, removed] {
            // A cold cache each time: the root and at most two pages are read.
            let pages = pages(&store);
            let parent = pages.open(built.root()).await.unwrap();
            store.take_counts();
            let written = write(&pages, Some(&parent), vec![edit], &store).await.unwrap();
            let (reads, puts) = store.take_counts();
            assert!((1..=2).contains(&written.pages_written), "{written:?}");
            assert!(reads <= 2, "{reads} reads");
            assert_eq!(puts, written.pages_written + 1);
        }
    }
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let store = Arc::new(Memory::default());
    let pages = pages(&store);
    let parent = numbered(&pages, &store, 3000).await;
    store.take_counts();
    let same = put(&numbered_path(1500), 1500);
    let absent = Edit::Remove("zzz".parse().unwrap());
    for edits in [vec![], vec![same.clone()], vec![absent.clone()], vec![same, absent]] {
        let written = write(&pages, Some(&parent), edits, &store).await.unwrap();
        assert_eq!(written, Written { root: parent.root(), entries: 3000, pages_written: 0 });
    }
    assert_eq!(store.take_counts().1, 0);
}

#[tokio::test]
async fn everything_removed_is_the_empty_manifest() {
    let store = Arc::new(Memory::default());
    let pages = pages(&store);
    let empty = write(&pages, None, vec![], &store).await.unwrap();
    let parent = numbered(&pages, &store, 2500).await;
    let removals = (0..2500).map(|number| Edit::Remove(numbered_path(number).parse().unwrap())).collect();
    let written = write(&pages, Some(&parent), removals, &store).await.unwrap();
    assert_eq!(written, empty);
    let manifest = pages.open(written.root).await.unwrap();
    assert!(manifest.is_empty() && manifest.pages().is_empty());
    assert!(all(&manifest, "").await.is_empty());
    assert_eq!(manifest.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn diff_reads_only_what_differs() {
    let store = Arc::new(Memory::default());
    let warm = pages(&store);
    let old = numbered(&warm, &store, 20_000).await;
    let edit = put(&numbered_path(12_345), 1);
    let root = write(&warm, Some(&old), vec![edit], &store).await.unwrap().root;

    let cold = pages(&store);
    let (old, new) = (cold.open(old.root()).await.unwrap(), cold.open(root).await.unwrap());
    store.take_counts();
    let changes: Vec<_> = cold.diff(Some(&old), &new).try_collect().await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path().as_str(), numbered_path(12_345));
    assert_eq!(store.take_counts().0, 2);
}

#[tokio::test]
async fn many_readers_of_a_page_load_it_once() {
    let store = Arc::new(Memory::default());
    let root = numbered(&pages(&store), &store, 3000).await.root();
    let cold = pages(&store);
    store.take_counts();
    let opened = futures::future::try_join_all((0..50).map(|_| cold.open(root))).await.unwrap();
    assert_eq!(store.take_counts().0, 1, "the root");
    let path = numbered_path(5);
    let found =
        futures::future::try_join_all(opened.iter().map(|manifest| manifest.get(&path))).await.unwrap();
    assert!(found.iter().all(Option::is_some));
    assert_eq!(store.take_counts().0, 1, "the page");
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let store = Arc::new(Memory::default());
    let root = numbered(&pages(&store), &store, 30_000).await.root();
    let capacity = 2 << 20;
    let small = Pages::new(Arc::clone(&store) as Arc<dyn Store>, capacity);
    let manifest = small.open(root).await.unwrap();
    assert_eq!(manifest.scan("").try_fold(0, |count, _| async move { Ok(count + 1) }).await.unwrap(), 30_000);
    let weight = small.cache.weight();
    assert!(weight > capacity / 4 && weight <= capacity, "{weight}");
}

#[tokio::test]
async fn heavy_entries_make_short_pages() {
    let store = Arc::new(Memory::default());
    let pages = pages(&store);
    let heavy = |number: u64| {
        let mut entry = entry(&numbered_path(number), number);
        entry.attributes.insert("text".to_owned(), json!("x".repeat(600_000)));
        entry
    };
    let edits = stream::iter(0..20).map(|number| Ok(Edit::Put(Box::new(heavy(number))))).boxed();
    let root = pages.write(None, edits, &*store).await.unwrap().root;
    let manifest = pages.open(root).await.unwrap();
    assert_eq!(manifest.pages().len(), 3, "seven cross 4 MiB");
    assert_eq!(all(&manifest, "").await, (0..20).map(heavy).collect::<Vec<_>>());
}
