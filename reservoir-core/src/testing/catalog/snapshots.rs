//! Snapshots and refs.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::time::Duration;

use super::fixture::{Fixture, digest, found};
use crate::{
    catalog::NewSnapshot,
    error::{Error, ErrorKind},
    name::RefName,
    snapshot::Snapshot,
};

fn numbered(fixture: &Fixture, number: u64, parent: Option<u64>) -> NewSnapshot {
    NewSnapshot {
        repository: fixture.repository.id,
        snapshot: Snapshot {
            number,
            content: digest(&format!("content {number}")),
            publication: digest(&format!("publication {number}")),
            parent,
            author: fixture.actor.clone(),
            created_at: fixture.clock.now(),
            message: format!("number {number}"),
        },
        ref_name: Some(RefName::main()),
        expected_parent: parent,
        record: digest(&format!("record {number}")),
        relies_on: None,
        settles: None,
    }
}

/// Numbers grow by one, refs move by compare-and-set, and only under a fence that holds.
pub async fn snapshots_move_refs(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let lost = catalog.acquire_lease("publish", "old", Duration::ZERO).await.unwrap().unwrap();
    let fence = fixture.fence("publish").await;
    assert_eq!(catalog.last_record(repository).await.unwrap(), None);
    assert_eq!(catalog.resolve(repository, "main").await.unwrap_err().kind(), ErrorKind::NotFound);

    let fenced = catalog.commit_snapshot(numbered(&fixture, 1, None), &lost).await.unwrap_err();
    assert!(matches!(fenced, Error::Fenced { .. }), "{fenced:?}");
    let gap = catalog.commit_snapshot(numbered(&fixture, 2, None), &fence).await.unwrap_err();
    assert!(matches!(gap, Error::Conflict { .. }), "{gap:?}");
    let epoch = catalog.epoch().await.unwrap();
    catalog.commit_snapshot(numbered(&fixture, 1, None), &fence).await.unwrap();
    assert!(catalog.epoch().await.unwrap() > epoch);
    let stale = catalog.commit_snapshot(numbered(&fixture, 2, None), &fence).await.unwrap_err();
    assert!(matches!(stale, Error::Conflict { .. }), "{stale:?}");
    assert_eq!(catalog.next_number(repository).await.unwrap(), 2, "a refused commit uses no number");
    catalog.commit_snapshot(numbered(&fixture, 2, Some(1)), &fence).await.unwrap();

    assert_eq!(catalog.last_record(repository).await.unwrap(), Some((2, digest("record 2"))));
    assert_eq!(catalog.resolve(repository, "main").await.unwrap(), numbered(&fixture, 2, Some(1)).snapshot);
    assert_eq!(catalog.resolve(repository, "1").await.unwrap().number, 1);
    let kept: RefName = "kept".parse().unwrap();
    catalog.set_ref(repository, &kept, 1, &fixture.actor, Some(&fence)).await.unwrap();
    let nowhere = catalog.set_ref(repository, &kept, 9, &fixture.actor, Some(&fence)).await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    assert_eq!(catalog.refs(repository).await.unwrap(), [(kept, 1), (RefName::main(), 2)]);
    catalog.verify_audit().await.unwrap();
}

/// Retention forgets what no ref points at, and numbers are not used again.
pub async fn forgotten_snapshots_leave_gaps(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let fence = fixture.fence("publish").await;
    for number in 1..=4 {
        let parent = (number > 1).then(|| number - 1);
        catalog.commit_snapshot(numbered(&fixture, number, parent), &fence).await.unwrap();
    }
    catalog.set_ref(repository, &"keep".parse().unwrap(), 2, &fixture.actor, None).await.unwrap();
    assert_eq!(catalog.forget_snapshots(repository, &[1, 2, 3, 4]).await.unwrap(), 2);
    let left = catalog.snapshots(repository, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|snapshot| snapshot.number).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(catalog.snapshots(repository, Some(4), 10).await.unwrap().len(), 1);
    assert_eq!(catalog.snapshot(repository, 3).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(catalog.next_number(repository).await.unwrap(), 5);
}

/// A rebuild puts numbers back with their gaps, in order only.
pub async fn snapshots_are_restored_in_order(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let fence = fixture.fence("publish").await;
    for (number, parent) in [(3, Some(2)), (7, Some(6))] {
        catalog.restore_snapshot(numbered(&fixture, number, parent), &fence).await.unwrap();
    }
    let back = catalog.restore_snapshot(numbered(&fixture, 5, None), &fence).await.unwrap_err();
    assert_eq!(back.kind(), ErrorKind::Conflict);
    assert_eq!(catalog.refs(repository).await.unwrap(), [(RefName::main(), 7)]);
    assert_eq!(catalog.next_number(repository).await.unwrap(), 8);
}

/// A snapshot settles what it was made from; what changed meanwhile waits for the next.
pub async fn a_snapshot_settles_what_it_saw(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let fence = fixture.fence("publish").await;
    fixture.discover(&found("six", &["1.0", "1.1"])).await;
    assert_eq!(catalog.dirty_until(repository).await.unwrap(), None);
    fixture.serve("six", "1.0").await;
    let mark = catalog.dirty_until(repository).await.unwrap();
    assert!(mark.is_some());
    fixture.serve("six", "1.1").await;
    let new = NewSnapshot { settles: mark, ..numbered(&fixture, 1, None) };
    catalog.commit_snapshot(new, &fence).await.unwrap();
    let rest = catalog.dirty_until(repository).await.unwrap();
    assert!(rest > mark);
    let new = NewSnapshot { settles: rest, ..numbered(&fixture, 2, Some(1)) };
    catalog.commit_snapshot(new, &fence).await.unwrap();
    assert_eq!(catalog.dirty_until(repository).await.unwrap(), None);
}
