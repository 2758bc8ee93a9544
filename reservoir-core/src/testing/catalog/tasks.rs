//! The journal of tasks.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::time::Duration;

use serde_json::json;

use super::fixture::Fixture;
use crate::{
    catalog::{TaskFilter, TaskState},
    error::{Error, ErrorKind},
};

const TTL: Duration = Duration::from_secs(30);

/// One runner at a time, from creation to the end.
pub async fn a_task_has_one_runner(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, other) = (&fixture.catalog, fixture.another().await);
    let payload = json!({ "specs": ["six\0"] });
    let task =
        catalog.create_task("sync", Some(fixture.repository.id), &payload, &fixture.actor).await.unwrap();
    assert_eq!((task.state, &task.payload), (TaskState::Queued, &payload));
    let (running, fence) = catalog.claim_task(task.id, "one", TTL).await.unwrap().unwrap();
    assert_eq!((running.state, running.token), (TaskState::Running, Some(fence.token)));
    assert!(other.claim_task(task.id, "two", TTL).await.unwrap().is_none());
    catalog.update_task_progress(task.id, &json!({ "files": 3 })).await.unwrap();
    assert_eq!(other.task(task.id).await.unwrap().progress["files"], 3);

    assert!(!catalog.is_cancel_requested(task.id).await.unwrap());
    assert!(other.request_cancel(task.id, &fixture.actor).await.unwrap());
    assert!(catalog.is_cancel_requested(task.id).await.unwrap());
    let no_end = catalog.finish_task(task.id, TaskState::Running, None, None, &fence).await.unwrap_err();
    assert_eq!(no_end.kind(), ErrorKind::Invalid);
    catalog.finish_task(task.id, TaskState::Cancelled, None, Some("by a person"), &fence).await.unwrap();
    assert!(!other.request_cancel(task.id, &fixture.actor).await.unwrap(), "it has ended");
    assert_eq!(catalog.lease_holder(&task.id.lease()).await.unwrap(), None);

    let (again, fence) = other.claim_task(task.id, "two", TTL).await.unwrap().unwrap();
    assert_eq!((again.cancel_requested, again.error), (false, None), "a resumed task starts afresh");
    other.finish_task(task.id, TaskState::Succeeded, Some(&json!({ "new": 1 })), None, &fence).await.unwrap();
    let done = catalog.task(task.id).await.unwrap();
    assert_eq!((done.state, done.result), (TaskState::Succeeded, Some(json!({ "new": 1 }))));
    let over = catalog.claim_task(task.id, "three", TTL).await.unwrap_err();
    assert!(matches!(over, Error::Conflict { .. }), "{over:?}");
}

/// A cancel that was asked for before the start is not lost.
pub async fn a_cancel_before_the_start_holds(url: &str) {
    let fixture = Fixture::open(url).await;
    let task = fixture.catalog.create_task("sync", None, &json!({}), &fixture.actor).await.unwrap();
    fixture.catalog.request_cancel(task.id, &fixture.actor).await.unwrap();
    let (claimed, _) = fixture.catalog.claim_task(task.id, "one", TTL).await.unwrap().unwrap();
    assert!(claimed.cancel_requested);
}

/// A runner that died leaves an interrupted task, and cannot end what another took over.
pub async fn dead_runners_are_reaped(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, actor) = (&fixture.catalog, &fixture.actor);
    let dead = catalog.create_task("sync", None, &json!({}), actor).await.unwrap().id;
    let alive = catalog.create_task("gc", None, &json!({}), actor).await.unwrap().id;
    let (_, lost) = catalog.claim_task(dead, "one", TTL).await.unwrap().unwrap();
    let (_, kept) = catalog.claim_task(alive, "two", TTL).await.unwrap().unwrap();
    assert!(catalog.reap_tasks().await.unwrap().is_empty());
    fixture.clock.advance(TTL);
    catalog.heartbeat(&kept, TTL).await.unwrap();
    assert_eq!(catalog.reap_tasks().await.unwrap(), [dead]);
    assert_eq!(catalog.task(dead).await.unwrap().state, TaskState::Interrupted);

    let filter = TaskFilter { state: Some(TaskState::Running), ..TaskFilter::default() };
    let running = catalog.tasks(&filter, 10).await.unwrap();
    assert_eq!(running.iter().map(|task| task.id).collect::<Vec<_>>(), [alive]);
    let all = catalog.tasks(&TaskFilter::default(), 10).await.unwrap();
    assert_eq!(all.iter().map(|task| task.id).collect::<Vec<_>>(), [alive, dead]);

    catalog.claim_task(dead, "three", TTL).await.unwrap().unwrap();
    let late = catalog.finish_task(dead, TaskState::Succeeded, None, None, &lost).await.unwrap_err();
    assert!(matches!(late, Error::Fenced { .. }), "{late:?}");
    assert_eq!(catalog.task(dead).await.unwrap().state, TaskState::Running);
}
