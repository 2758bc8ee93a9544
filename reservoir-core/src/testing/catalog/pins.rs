//! Pins against garbage collection, in every order.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::time::Duration;

use super::fixture::{Fixture, digest, found};
use crate::{catalog::Pinned, ecosystem::Inspection, error::Error};

const GRACE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Condemned, aged, deleted.
pub async fn what_nobody_wants_is_deleted_in_two_phases(url: &str) {
    let fixture = Fixture::open(url).await;
    let catalog = &fixture.catalog;
    let (fence, a, b) = (fixture.fence("gc").await, digest("a"), digest("b"));
    assert_eq!(catalog.condemn(&[a, b]).await.unwrap(), 2);
    assert_eq!(catalog.condemn(&[a]).await.unwrap(), 0, "its time goes on");
    assert!(catalog.start_deleting(GRACE, 10, &fence).await.unwrap().is_empty(), "too early");
    let condemned = catalog.condemned(None, 1).await.unwrap();
    assert_eq!(condemned, [a.min(b)]);
    assert_eq!(catalog.condemned(Some(condemned[0]), 10).await.unwrap(), [a.max(b)]);
    fixture.clock.advance(GRACE);
    assert_eq!(catalog.spare(&[b]).await.unwrap(), 1);
    assert_eq!(catalog.start_deleting(GRACE, 10, &fence).await.unwrap(), [a]);
    assert_eq!(catalog.deleting().await.unwrap(), [a]);
    assert_eq!(catalog.spare(&[a]).await.unwrap(), 0, "too late");
    catalog.deleted(&[a], &fence).await.unwrap();
    assert!(catalog.deleting().await.unwrap().is_empty());
}

/// A pin before, between or after the phases: safe until the deletion has begun, and told afterwards.
pub async fn a_pin_protects_or_says_that_it_is_too_late(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, writer) = (&fixture.catalog, fixture.another().await);
    let fence = fixture.fence("gc").await;
    let [before, between, late, dead] = ["before", "between", "late", "dead"].map(digest);
    let expires = fixture.clock.now().plus(HOUR);

    assert_eq!(writer.pin("task/1", expires, &[before]).await.unwrap(), [Pinned::Safe]);
    assert_eq!(
        catalog.condemn(&[before, between, late, dead]).await.unwrap(),
        3,
        "a pinned blob is not condemned"
    );
    assert_eq!(writer.pin("task/1", expires, &[between]).await.unwrap(), [Pinned::Safe]);
    writer.unpin("task/1").await.unwrap();
    fixture.clock.advance(GRACE);
    let mut deleting = catalog.start_deleting(GRACE, 10, &fence).await.unwrap();
    deleting.sort_unstable();
    let mut expected = vec![late, dead];
    expected.sort_unstable();
    assert_eq!(deleting, expected, "a pin spares, even after it is given back");

    let pinned = writer.pin("task/2", expires, &[late, before, late]).await.unwrap();
    assert_eq!(pinned, [Pinned::Deleting, Pinned::Safe, Pinned::Deleting]);
    catalog.deleted(&[late, dead], &fence).await.unwrap();
    assert_eq!(writer.pin("task/2", expires, &[late]).await.unwrap(), [Pinned::Safe]);
}

/// Pins end with their owner's time, are extended but never shortened, and belong to one owner.
pub async fn pins_expire(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, a) = (&fixture.catalog, digest("a"));
    let now = fixture.clock.now();
    catalog.pin("one", now.plus(HOUR), &[a]).await.unwrap();
    catalog.pin("one", now.plus(GRACE), &[a]).await.unwrap();
    fixture.clock.advance(GRACE);
    assert!(catalog.is_pinned(&a).await.unwrap());
    catalog.extend_pins("one", now.plus(HOUR * 2)).await.unwrap();
    fixture.clock.advance(HOUR);
    assert!(catalog.is_pinned(&a).await.unwrap());
    assert_eq!(catalog.expire_pins().await.unwrap(), 0);
    fixture.clock.advance(HOUR);
    assert!(!catalog.is_pinned(&a).await.unwrap());
    assert_eq!(catalog.condemn(&[a]).await.unwrap(), 1, "an expired pin protects nothing");
    assert_eq!(catalog.expire_pins().await.unwrap(), 1);

    let later = fixture.clock.now().plus(HOUR);
    catalog.pin("one", later, &[a]).await.unwrap();
    catalog.pin("two", later, &[a]).await.unwrap();
    catalog.unpin("one").await.unwrap();
    assert!(catalog.is_pinned(&a).await.unwrap(), "the other owner's pin");
}

/// What a file refers to is not deleted, even if it was condemned by a look that came too early.
pub async fn what_files_refer_to_is_not_deleted(url: &str) {
    let fixture = Fixture::open(url).await;
    let catalog = &fixture.catalog;
    let fence = fixture.fence("gc").await;
    let (wheel, metadata) = (digest("six-1.0.whl"), digest("metadata"));
    fixture.discover(&found("six", &["1.0"])).await;
    fixture.serve("six", "1.0").await;
    let derived = [("six/metadata".parse().unwrap(), super::fixture::blob("metadata"))];
    let file = fixture.file("six", "1.0").await;
    catalog.inspected_file(file.id, &Inspection::default(), &derived, None).await.unwrap();
    catalog.condemn(&[wheel, metadata]).await.unwrap();
    fixture.clock.advance(GRACE);
    assert!(catalog.start_deleting(GRACE, 10, &fence).await.unwrap().is_empty());
}

/// A collector that was fenced out deletes nothing.
pub async fn a_lost_collector_deletes_nothing(url: &str) {
    let fixture = Fixture::open(url).await;
    let catalog = &fixture.catalog;
    let lost = catalog.acquire_lease("gc", "old", Duration::ZERO).await.unwrap().unwrap();
    fixture.fence("gc").await;
    catalog.condemn(&[digest("a")]).await.unwrap();
    fixture.clock.advance(GRACE);
    let refused = catalog.start_deleting(GRACE, 10, &lost).await.unwrap_err();
    assert!(matches!(refused, Error::Fenced { .. }), "{refused:?}");
    assert!(catalog.deleting().await.unwrap().is_empty());
}

/// Writers that pin and a collector that deletes, at the same time from two pools: whoever was told "safe"
/// never finds its digest being deleted.
pub async fn pins_and_deletion_race(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, writer) = (fixture.catalog.clone(), fixture.another().await);
    let fence = fixture.fence("gc").await;
    let digests: Vec<_> = (0..40).map(|number| digest(&format!("raced {number}"))).collect();
    catalog.condemn(&digests).await.unwrap();
    let expires = fixture.clock.now().plus(HOUR);
    let pinning = tokio::spawn({
        let digests = digests.clone();
        async move {
            let mut safe = Vec::new();
            for digest in digests.iter().rev() {
                if writer.pin("task/1", expires, &[*digest]).await.unwrap() == [Pinned::Safe] {
                    safe.push(*digest);
                }
            }
            safe
        }
    });
    let mut deleting = Vec::new();
    loop {
        let batch = catalog.start_deleting(Duration::ZERO, 3, &fence).await.unwrap();
        if batch.is_empty() {
            break;
        }
        deleting.extend(batch);
        tokio::task::yield_now().await;
    }
    let safe = pinning.await.unwrap();
    assert!(safe.iter().all(|digest| !deleting.contains(digest)));
    assert_eq!(safe.len() + deleting.len(), digests.len());
}
