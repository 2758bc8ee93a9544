//! Hosted repositories: what is uploaded goes the way of what is pulled. And publications that go stale.

#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

mod world;

use std::{path::Path, time::Duration};

use http::StatusCode;
use reservoir_core::{
    ErrorKind,
    ecosystem::{Approval, RepositoryConfig, Upload},
    lifecycle::Status,
    sync::SyncReport,
    testing::toy::ToyFile,
};
use serde_json::json;

use self::world::{World, ann, config, split, tools};

fn hosted() -> RepositoryConfig {
    world::hosted("tools")
}

/// Writes a file of the toy's format; `size` makes its bytes.
fn file(folder: &Path, version: &str, size: usize) -> Upload {
    let file = ToyFile::new("hammer", version, None, &[], size);
    let path = folder.join(format!("{size}-{}", file.file));
    std::fs::write(&path, &file.bytes).unwrap();
    Upload { name: file.file, path }
}

async fn upload(world: &World, uploads: Vec<Upload>) -> SyncReport {
    world.engine.receive(&tools(), uploads, ann()).await.unwrap().wait().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_is_judged_and_served() {
    let world = World::with(hosted()).await;
    let folder = world.folder.path();
    let uploads: Vec<Upload> = (1..=300).map(|minor| file(folder, &format!("1.{minor}"), 2000)).collect();
    let report = upload(&world, uploads.clone()).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.new_files, report.admitted, report.published), (300, 300, Some(1)));
    let (status, text) = world.get("/tools/files/hammer/hammer-1.300.toy").await;
    assert_eq!((status, text.into_bytes()), (StatusCode::OK, std::fs::read(&uploads[299].path).unwrap()));
    assert!(uploads[0].path.exists(), "the caller's file stays");

    let again = upload(&world, uploads[..2].to_vec()).await;
    assert_eq!((again.admitted, again.kept, again.published), (0, 2, None), "the same bytes change nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_under_a_known_name_and_foreign_files_are_refused_and_the_rest_goes_on() {
    let world = World::with(hosted()).await;
    let folder = world.folder.path();
    upload(&world, vec![file(folder, "1.0", 2000)]).await;
    let junk = folder.join("junk.toy");
    std::fs::write(&junk, "no head").unwrap();
    let uploads = vec![
        file(folder, "1.0", 3000),
        Upload { name: "junk.toy".into(), path: junk },
        Upload { name: "gone.toy".into(), path: folder.join("gone.toy") },
        file(folder, "2.0", 2000),
    ];
    let report = upload(&world, uploads).await;
    assert!(!report.is_complete());
    assert_eq!((report.alarms.len(), report.admitted), (3, 1), "{report:?}");
    for what in ["other bytes", "junk.toy", "gone.toy"] {
        assert!(report.alarms.iter().any(|alarm| alarm.contains(what)), "{what}: {:?}", report.alarms);
    }
    let (_, text) = world.get("/tools/files/hammer/hammer-1.0.toy").await;
    assert_eq!(
        text.len(),
        ToyFile::new("hammer", "1.0", None, &[], 2000).bytes.len(),
        "the first bytes stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_wait_for_a_person_where_policy_says_so() {
    let world = World::with(RepositoryConfig { approval: Approval::Manual, ..hosted() }).await;
    let report = upload(&world, vec![file(world.folder.path(), "1.0", 2000)]).await;
    assert_eq!((report.waiting.len(), report.admitted), (1, 0), "{report:?}");
    assert_eq!(world.status("/tools/files/hammer/hammer-1.0.toy").await, StatusCode::NOT_FOUND);
    assert_eq!(world.revision("tools", "hammer@1.0").await.status, Status::NeedsApproval);
    let (artifact, revision) = split("hammer@1.0");
    world.engine.approve(&tools(), &artifact, &revision, ann(), "fine".into()).await.unwrap();
    assert_eq!(world.status("/tools/files/hammer/hammer-1.0.toy").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_takes_no_uploads() {
    let world = World::new().await;
    let uploads = vec![file(world.folder.path(), "1.0", 2000)];
    let error = world.engine.receive(&tools(), uploads, ann()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_stale_is_published_again_once_and_before_its_time() {
    let mut config = config("tools");
    config.options.insert("fresh".into(), json!(6000));
    let world = World::with(config).await;
    assert!(world.engine.refresh_due(&ann()).await.unwrap().is_empty(), "nothing was published");
    world.sync().await;
    let first = world.head().await;
    assert!(world.engine.refresh_due(&ann()).await.unwrap().is_empty(), "half of the time is not over");
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let another = world.another().await;
    let author = ann();
    let (here, there) = tokio::join!(world.engine.refresh_due(&author), another.refresh_due(&author));
    assert_eq!(here.unwrap().len() + there.unwrap().len(), 1, "one of two processes does it");
    let second = world.head().await;
    assert_eq!((second.number, second.content), (2, first.content));
    assert!(second.created_at > first.created_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_a_new_number_of_the_same_content() {
    let world = World::new().await;
    assert_eq!(world.engine.refresh(&tools(), ann(), "key").await.unwrap_err().kind(), ErrorKind::NotFound);
    world.sync().await;
    let first = world.head().await;
    let second = world.engine.refresh(&tools(), ann(), "another key").await.unwrap();
    assert_eq!((second.number, second.parent, second.content), (2, Some(1), first.content));
    assert_eq!(world.head().await.number, 2);
}
