//! Leases and fences, seen from two processes.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::time::Duration;

use super::fixture::{Fixture, found};
use crate::{
    catalog::{Catalog, CatalogOptions, Holder},
    error::Error,
};

const TTL: Duration = Duration::from_secs(30);

/// Of many that want a lease at once, from two pools, exactly one gets it; tokens only grow.
pub async fn one_of_two_processes_gets_the_lease(url: &str) {
    let fixture = Fixture::open(url).await;
    let other = fixture.another().await;
    let mut tokens = Vec::new();
    for round in 0..5 {
        let wanting = (0..8).map(|number| {
            let catalog = if number % 2 == 0 { fixture.catalog.clone() } else { other.clone() };
            tokio::spawn(async move { catalog.acquire_lease("sync", &format!("holder-{number}"), TTL).await })
        });
        let mut fences = Vec::new();
        for outcome in futures::future::join_all(wanting).await {
            fences.extend(outcome.unwrap().unwrap());
        }
        assert_eq!(fences.len(), 1, "round {round}");
        tokens.push(fences[0].token);
        fixture.catalog.release(&fences[0]).await.unwrap();
    }
    assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]), "{tokens:?}");
}

/// A lease that expired is taken over, and its old holder can do nothing with it any more.
pub async fn an_expired_lease_is_taken_over(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, other) = (&fixture.catalog, fixture.another().await);
    let old = catalog.acquire_lease("sync", "old", TTL).await.unwrap().unwrap();
    fixture.clock.advance(TTL / 2);
    catalog.heartbeat(&old, TTL).await.unwrap();
    fixture.clock.advance(TTL / 2);
    assert_eq!(other.acquire_lease("sync", "new", TTL).await.unwrap(), None, "the heartbeat counts");
    fixture.clock.advance(TTL);
    // Nobody took it over yet: the old holder may go on.
    catalog.heartbeat(&old, Duration::ZERO).await.unwrap();
    let new = other.acquire_lease("sync", "new", TTL).await.unwrap().unwrap();
    assert!(new.token > old.token);
    let lost = catalog.heartbeat(&old, TTL).await.unwrap_err();
    assert!(matches!(lost, Error::Fenced { .. }), "{lost:?}");
    catalog.release(&old).await.unwrap();
    let lease = catalog.lease_holder("sync").await.unwrap().unwrap();
    assert_eq!((lease.holder.as_str(), lease.token), ("new", new.token), "not released by the old holder");
    other.release(&new).await.unwrap();
    assert_eq!(catalog.lease_holder("sync").await.unwrap(), None);
}

/// A process of this host that was killed holds nothing any more; one that lives does.
pub async fn a_dead_holder_is_taken_over_at_once(url: &str) {
    let fixture = Fixture::open(url).await;
    let living = Holder::current().to_string();
    let mut parts: Vec<&str> = living.split('/').collect();
    // The same process id, started at another time: the holder is gone and its id was reused.
    parts[2] = "1";
    let dead = parts.join("/");
    assert!(dead.parse::<Holder>().unwrap().is_dead());
    fixture.catalog.acquire_lease("sync", &dead, TTL).await.unwrap().unwrap();
    let fence = fixture.catalog.acquire_lease("sync", &living, TTL).await.unwrap().unwrap();
    assert_eq!(fixture.catalog.acquire_lease("sync", &living, TTL).await.unwrap(), None);
    fixture.catalog.heartbeat(&fence, TTL).await.unwrap();
}

/// A write under a lost fence changes nothing. With fencing switched off it does: this test can fail.
pub async fn a_lost_fence_discards_the_write(url: &str) {
    let fixture = Fixture::open(url).await;
    fixture.discover(&found("six", &["1.0"])).await;
    let file = fixture.file("six", "1.0").await;
    let blob = crate::store::Blob { sha256: file.sha256.unwrap(), ..super::fixture::blob("six") };
    let lost = fixture.catalog.acquire_lease("sync", "old", Duration::ZERO).await.unwrap().unwrap();
    let held = fixture.catalog.acquire_lease("sync", "new", TTL).await.unwrap().unwrap();

    let refused = fixture.catalog.store_file(file.id, &blob, Some(&lost)).await.unwrap_err();
    assert!(matches!(refused, Error::Fenced { .. }), "{refused:?}");
    assert_eq!(fixture.file("six", "1.0").await.blob, None);
    let unfenced = CatalogOptions { fencing: false, ..CatalogOptions::default() };
    let unfenced = Catalog::open(url, unfenced).await.unwrap();
    unfenced.store_file(file.id, &blob, Some(&lost)).await.unwrap();
    assert_eq!(fixture.file("six", "1.0").await.blob, Some(blob));
    fixture.catalog.store_file(file.id, &blob, Some(&held)).await.unwrap();
}
