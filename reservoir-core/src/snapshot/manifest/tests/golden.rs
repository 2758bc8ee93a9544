//! Frozen files of format 1, which must keep being read, and written, to the byte.

use super::*;

const ROOT: &[u8] = include_bytes!("../../../../tests/fixtures/manifest-v1/root.json");
const PAGES: [&[u8]; 2] = [
    include_bytes!("../../../../tests/fixtures/manifest-v1/page-1.jsonl"),
    include_bytes!("../../../../tests/fixtures/manifest-v1/page-2.jsonl"),
];
const DIGEST: &str = "48d38c26f39d316dcace046a3623833a0acca8e5e97d79bb510efe082f180df4";

/// Six entries, of which `f/0130` ends a page.
fn edits() -> Vec<Edit> {
    let path = |number: u64| format!("f/{number:04}");
    (128..134).map(|number| put(&path(number), number)).collect()
}

#[tokio::test]
async fn is_read() {
    let store = Arc::new(Memory::default());
    assert_eq!(store.insert(ROOT).to_string(), DIGEST);
    for page in PAGES {
        store.insert(page);
    }
    let manifest = pages(&store).open(DIGEST.parse().unwrap()).await.unwrap();
    assert_eq!(manifest.pages(), PAGES.map(Sha256Digest::of));
    let entries: Vec<_> =
        all(&manifest, "").await.into_iter().map(|entry| Edit::Put(Box::new(entry))).collect();
    assert_eq!(entries, edits());
}

#[tokio::test]
async fn is_written() {
    let store = Arc::new(Memory::default());
    let written = write(&pages(&store), None, edits(), &store).await.unwrap();
    assert_eq!(written.root.to_string(), DIGEST);
    assert_eq!(store.bytes(written.root), ROOT);
}
