//! Many rows, many writers, and writers that go away.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use super::fixture::{Fixture, found};
use crate::name::ArtifactName;

/// A page of 5,000 files is one transaction, the first time and when nothing changed.
pub async fn five_thousand_files_are_recorded_at_once(url: &str) {
    let fixture = Fixture::open(url).await;
    let versions: Vec<String> = (0..5000).map(|number| format!("1.{number}")).collect();
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    let mut page = found("numpy", &versions);
    let commits = Arc::new(AtomicUsize::new(0));
    let counter = commits.clone();
    fixture.catalog.on_write(Arc::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    assert_eq!(fixture.discover(&page).await.new_files, 5000);
    assert_eq!(fixture.discover(&page).await.new_files, 0);
    assert_eq!(commits.load(Ordering::SeqCst), 4, "each of two commits is seen from both sides");
    page.files.truncate(2500);
    page.files[0].attributes.insert("yanked".into(), Value::from(true));
    let outcome = fixture.discover(&page).await;
    assert_eq!((outcome.removed.len(), outcome.changed), (2500, 1));
    let candidates = fixture.catalog.candidates(fixture.repository.id, &page.artifact).await.unwrap();
    assert_eq!(candidates.len(), 5000);
    assert_eq!(candidates.iter().map(|candidate| candidate.files.len()).sum::<usize>(), 2500);
}

/// Writers of two processes queue; none fails, nothing is lost, and the audit chain stays one chain.
pub async fn many_writers_queue(url: &str) {
    let fixture = Fixture::open(url).await;
    let other = fixture.another().await;
    let writers = (0..40).map(|number| {
        let catalog = if number % 2 == 0 { fixture.catalog.clone() } else { other.clone() };
        let (repository, actor) = (fixture.repository.id, fixture.actor.clone());
        tokio::spawn(async move {
            let artifact: ArtifactName = format!("artifact-{}", number % 10).parse().unwrap();
            let page = found(artifact.as_str(), &["1.0", "2.0"]);
            let registry = "index".parse().unwrap();
            catalog.record_discovery(repository, &registry, &page, &actor).await.unwrap().new_files
        })
    });
    let mut new = 0;
    for written in futures::future::join_all(writers).await {
        new += written.unwrap();
    }
    assert_eq!(new, 20);
    fixture.catalog.verify_audit().await.unwrap();
}

/// A write whose future is dropped is whole or absent, and the next writer is not kept waiting.
pub async fn a_dropped_write_leaves_nothing_half_done(url: &str) {
    let fixture = Fixture::open(url).await;
    let versions: Vec<String> = (0..300).map(|number| format!("1.{number}")).collect();
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    for round in 0..20_u32 {
        let page = found(&format!("dropped-{round}"), &versions);
        let work = fixture.discover(&page);
        let finished = tokio::time::timeout(Duration::from_millis(u64::from(round) * 2), work).await.is_ok();
        let row = fixture.catalog.artifact(fixture.repository.id, &page.artifact).await.unwrap();
        let revisions = row.map_or(0, |row| row.revisions);
        // What was cut off while it committed may still become visible, but never in part.
        assert!(revisions == 300 || (revisions == 0 && !finished), "{revisions} of 300");
    }
    assert_eq!(fixture.discover(&found("after", &["1.0"])).await.new_files, 1);
    fixture.catalog.verify_audit().await.unwrap();
}

/// The hook of the crash tests sees every commit from both sides.
pub async fn the_write_hook_sees_both_sides(url: &str) {
    let fixture = Fixture::open(url).await;
    let seen: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let hook = seen.clone();
    fixture.catalog.on_write(Arc::new(move |operation| hook.lock().unwrap().push(operation)));
    fixture.fence("sync").await;
    assert_eq!(*seen.lock().unwrap(), ["acquire a lease"; 2]);
    fixture.catalog.acquire_lease("sync", "other", Duration::ZERO).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2, "nothing was written");
}
