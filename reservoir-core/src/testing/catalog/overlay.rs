//! What a cache serves beside its snapshots, and what it lets go of.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use super::fixture::{Fixture, blob, found};
use crate::{clock::Timestamp, ecosystem::Inspection, lifecycle::Status, path::ContentPath};

/// What is AVAILABLE and admitted is found by its path, with what was taken out of it; nothing else is.
pub async fn what_a_cache_serves_is_what_is_available(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    fixture.discover(&found("six", &["1.0"])).await;
    let path: ContentPath = "six/six-1.0.whl".parse().unwrap();
    assert!(catalog.entries_at(repository, &path).await.unwrap().is_empty(), "only on offer");
    assert_eq!(catalog.file_at(repository, &path).await.unwrap().unwrap().path, path);
    let other: ContentPath = "six/SIX-1.0.whl".parse().unwrap();
    assert!(catalog.file_at(repository, &other).await.unwrap().is_none(), "a path that only collides");

    let served = fixture.serve("six", "1.0").await;
    let file = fixture.file("six", "1.0").await;
    let derived = [("six/six-1.0.whl.metadata".parse::<ContentPath>().unwrap(), blob("metadata"))];
    catalog.inspected_file(file.id, &Inspection::default(), &derived, None).await.unwrap();
    let entries = catalog.entries_at(repository, &path).await.unwrap();
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert_eq!((&entries[0].path, entries[1].blob), (&path, blob("metadata")));
    fixture.go(&served, &[Status::Blocked]).await;
    assert!(catalog.entries_at(repository, &path).await.unwrap().is_empty(), "blocked");
}

/// What was announced stays until the file itself says more, and garbage collection leaves it alone.
pub async fn what_was_announced_gives_way_to_what_is_inside(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    fixture.discover(&found("six", &["1.0"])).await;
    let file = fixture.file("six", "1.0").await;
    let path: ContentPath = "six/six-1.0.whl.metadata".parse().unwrap();
    for text in ["first", "announced"] {
        catalog.put_announced(file.id, &path, &blob(text)).await.unwrap();
    }
    assert_eq!(catalog.announced(file.id).await.unwrap(), [(path.clone(), blob("announced"))]);
    let live = catalog.referenced_blobs(None, 10).await.unwrap();
    assert_eq!(live, [blob("announced").sha256]);
    let owner = "six/six-1.0.whl".parse().unwrap();
    assert!(catalog.entries_at(repository, &owner).await.unwrap().is_empty(), "it is no content");

    fixture.serve("six", "1.0").await;
    let inside = [(path.clone(), blob("inside"))];
    catalog.inspected_file(file.id, &Inspection::default(), &inside, None).await.unwrap();
    catalog.put_announced(file.id, &path, &blob("late")).await.unwrap();
    assert!(catalog.announced(file.id).await.unwrap().is_empty(), "too late");
    let entries = catalog.entries_at(repository, &owner).await.unwrap();
    assert_eq!(entries[1].blob, blob("inside"));
}

/// The least recently used goes first; its revision is SCANNED, may come again, and nothing of it is denied.
pub async fn a_full_cache_lets_go_of_the_least_recently_used(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    fixture.discover(&found("six", &["1.0", "1.1", "1.2"])).await;
    for revision in ["1.0", "1.1", "1.2"] {
        fixture.serve("six", revision).await;
    }
    assert_eq!(catalog.held_bytes(repository).await.unwrap(), 30);
    let path = |revision: &str| format!("six/six-{revision}.whl").parse::<ContentPath>().unwrap();
    let uses = [("1.0", 30), ("1.1", 10), ("1.2", 20)];
    let uses = uses.map(|(revision, at)| (path(revision), Timestamp::from_micros(at)));
    catalog.note_uses(repository, &uses).await.unwrap();
    let mark = catalog.dirty_until(repository).await.unwrap();

    let unpublished = catalog.evict(repository, 15, true, &fixture.actor).await.unwrap();
    assert_eq!(unpublished.files, 0, "a page may list what no snapshot has");
    let fence = fixture.fence("publish").await;
    catalog.settle(repository, mark.unwrap(), &fence).await.unwrap();
    let evicted = catalog.evict(repository, 15, true, &fixture.actor).await.unwrap();
    assert_eq!((evicted.files, evicted.bytes), (2, 20), "enough, and no more");
    for (revision, status) in [("1.0", Status::Available), ("1.1", Status::Scanned), ("1.2", Status::Scanned)]
    {
        assert_eq!(fixture.revision("six", revision).await.status, status, "{revision}");
    }
    assert!(catalog.denials(repository).await.unwrap().is_empty());
    assert!(catalog.dirty_until(repository).await.unwrap() > mark, "the next snapshot is without them");
    assert_eq!(catalog.held_bytes(repository).await.unwrap(), 10);
    fixture.serve("six", "1.1").await;
    assert_eq!(catalog.entries_at(repository, &path("1.1")).await.unwrap().len(), 1, "it is back");
    assert_eq!(catalog.evict(repository, 15, false, &fixture.actor).await.unwrap().files, 2);
    catalog.verify_audit().await.unwrap();
}
