//! What the engine promises to those who serve and decide, over real parts and the toy ecosystem.

mod world;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use reservoir_core::{
    Error,
    catalog::{Catalog, CatalogOptions, TaskState},
    ecosystem::{Approval, Publish, RepositoryConfig},
    lifecycle::Status,
    testing::{
        fault_store::{Fault, FaultStore, Plan},
        toy::ToyFile,
        upstream::Reply,
    },
};
use serde_json::json;

use self::world::{World, ann, config, configure, get, respond, split, stock, sync, tools};

const HAMMER: &str = "files/hammer/hammer-1.0+a.toy";

/// Every address under which a file of snapshot 1 is served.
fn routes(path: &str) -> [String; 3] {
    [format!("/tools/{path}"), format!("/tools@main/{path}"), format!("/tools@1/{path}")]
}

async fn assert_routes(world: &World, path: &str, status: StatusCode) {
    for route in routes(path) {
        assert_eq!(world.status(&route).await, status, "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_brings_in_what_is_selected_and_what_it_needs() {
    let world = World::new().await;
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.admitted, report.fetched_files, report.published), (4, 12, Some(1)));
    for file in stock() {
        let (status, text) = world.get(&format!("/tools/{}", file.path())).await;
        assert_eq!((status, text.as_bytes()), (StatusCode::OK, &file.bytes[..]));
        let (status, head) = world.get(&format!("/tools/{}.head", file.path())).await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.starts_with(&head) && head.ends_with("\n\n"));
    }
    let (_, list) = world.get("/tools/list/iron").await;
    // Each file and the head taken out of it.
    assert_eq!(list.lines().count(), 6, "{list}");

    let again = world.sync().await;
    assert_eq!((again.admitted, again.kept, again.fetched_files, again.published), (0, 4, 0, None));
    let verified = world.engine.verify(true).await.unwrap();
    assert!(verified.damaged.is_empty() && verified.audit_records > 0, "{verified:?}");
}

/// More revisions than wait to be recorded, on a slow disk: whoever looks must not keep what who records waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_hundreds_of_revisions_ends() {
    let mut world = World::new().await;
    for version in 0..150 {
        world.registry.offer(ToyFile::new("hammer", &format!("3.{version}"), None, &[], 10));
    }
    let slow = Plan { at: 1, fault: Fault::Slow(Duration::from_millis(400)), lasting: true };
    let disk = Arc::new(FaultStore::with_plan(world::store(world.folder.path()).await, slow));
    let catalog = Catalog::open(&world.url, CatalogOptions::default()).await.unwrap();
    let engine = world::over(world.folder.path(), catalog, Arc::<FaultStore>::clone(&disk)).build().unwrap();
    let report = tokio::time::timeout(Duration::from_mins(1), sync(&engine)).await.expect("it goes on");
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.admitted, 154);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_revision_is_gone_from_every_route() {
    let world = World::new().await;
    world.sync().await;
    assert_routes(&world, HAMMER, StatusCode::OK).await;
    let (artifact, revision) = split("hammer@1.0");
    world.engine.reject(&tools(), &artifact, &revision, ann(), "too heavy".into()).await.unwrap();
    assert_routes(&world, HAMMER, StatusCode::FORBIDDEN).await;
    let (status, reason) = world.get(&format!("/tools@1/{HAMMER}")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(reason.contains("too heavy"), "{reason}");
    assert_eq!(world.status(&format!("/tools@1/{HAMMER}.head")).await, StatusCode::FORBIDDEN);
    assert_eq!(world.status("/tools/files/hammer/hammer-2.0+a.toy").await, StatusCode::OK);
    // A later sync does not bring it back.
    let report = world.sync().await;
    assert_eq!(report.blocked.len(), 1);
    assert_eq!(world.status(&format!("/tools@1/{HAMMER}")).await, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_reaches_every_process_within_seconds() {
    let world = World::with(reservoir_core::ecosystem::RepositoryConfig {
        publish: Publish::Manual,
        ..config("tools")
    })
    .await;
    world.sync().await;
    world.engine.publish(&tools(), ann(), "first").await.unwrap().unwrap();
    let server = world.another().await;
    let fresh = server.keep_serving_fresh();
    assert_eq!(get(&server, &format!("/tools/{HAMMER}")).await.0, StatusCode::OK);

    world.block("hammer@1.0").await;
    let blocked = Instant::now();
    for route in routes(HAMMER) {
        while get(&server, &route).await.0 != StatusCode::FORBIDDEN {
            assert!(blocked.elapsed() < Duration::from_secs(5), "{route} is served for 5 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let (artifact, revision) = split("hammer@1.0");
    world.engine.approve(&tools(), &artifact, &revision, ann(), "a false alarm".into()).await.unwrap();
    let lifted = Instant::now();
    while get(&server, &format!("/tools/{HAMMER}")).await.0 != StatusCode::OK {
        assert!(lifted.elapsed() < Duration::from_secs(5), "the lifted block lasts for 5 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(fresh);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_is_not_served() {
    let world = World::with(reservoir_core::ecosystem::RepositoryConfig {
        approval: Approval::Manual,
        ..config("tools")
    })
    .await;
    let report = world.sync().await;
    assert_eq!(report.waiting.len(), 4, "{report:?}");
    assert_eq!(world.revision("tools", "hammer@1.0").await.status, Status::NeedsApproval);
    assert_eq!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::NOT_FOUND);
    let (artifact, revision) = split("hammer@1.0");
    world.engine.approve(&tools(), &artifact, &revision, ann(), "seen".into()).await.unwrap();
    assert_eq!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::OK);
    assert_eq!(world.status("/tools/files/hammer/hammer-2.0+a.toy").await, StatusCode::NOT_FOUND);

    // A file that the registry adds to an approved revision waits for a person of its own.
    let mut world = world;
    let late = ToyFile::new("hammer", "1.0", Some("late"), &[], 10);
    world.registry.offer(late.clone());
    let report = world.sync().await;
    assert!(report.waiting.iter().any(|w| w.artifact.as_str() == "hammer"), "{report:?}");
    assert_eq!(world.status(&format!("/tools/{}", late.path())).await, StatusCode::NOT_FOUND);
    assert_eq!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::OK);
    world.engine.approve(&tools(), &artifact, &revision, ann(), "seen too".into()).await.unwrap();
    assert_eq!(world.status(&format!("/tools/{}", late.path())).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleaned_up_revision_comes_back_by_sync() {
    let world = World::new().await;
    world.sync().await;
    let (artifact, revision) = split("hammer@1.0");
    let report =
        world.engine.cleanup(&tools(), &artifact, &revision, ann(), "not needed".into()).await.unwrap();
    assert_eq!((report.files, report.revision.status), (3, Status::Scanned));
    for route in routes(HAMMER) {
        assert!(world.status(&route).await.is_client_error(), "{route}");
    }
    let report = world.sync().await;
    assert_eq!((report.admitted, report.fetched_files), (1, 0), "the bytes are here still");
    assert_routes(&world, HAMMER, StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_makes_a_new_number_without_what_is_denied_now() {
    let mut world = World::new().await;
    world.sync().await;
    world.registry.offer(ToyFile::new("hammer", "3.0", None, &["nail"], 100));
    assert_eq!(world.sync().await.published, Some(2));
    let (artifact, revision) = split("hammer@1.0");
    world.engine.reject(&tools(), &artifact, &revision, ann(), "no".into()).await.unwrap();
    let snapshot = world.engine.rollback(&tools(), "1", ann()).await.unwrap();
    assert_eq!((snapshot.number, snapshot.parent), (4, Some(3)));
    // No index lists it any more; who read the one before still gets it.
    assert_eq!(world.status("/tools/files/hammer/hammer-3.0.toy").await, StatusCode::OK);
    assert_eq!(world.status("/tools@4/files/hammer/hammer-3.0.toy").await, StatusCode::NOT_FOUND);
    assert_eq!(world.status("/tools@2/files/hammer/hammer-3.0.toy").await, StatusCode::OK);
    assert_eq!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::FORBIDDEN);
    let (_, list) = world.get("/tools/list/hammer").await;
    assert!(list.contains("hammer-2.0+a") && !list.contains("hammer-1.0") && !list.contains("3.0"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promotion_obeys_the_policy_of_the_target_and_the_denials_of_both() {
    let world = World::new().await;
    let catalog = world.engine.catalog();
    let mut careful = config("careful");
    careful.approval = Approval::Manual;
    configure(catalog, &world.registry.url(), &careful).await;
    configure(catalog, &world.registry.url(), &config("prod")).await;
    world.sync().await;
    let (prod, careful) = ("prod".parse().unwrap(), "careful".parse().unwrap());

    let first = world.engine.promote(&tools(), &prod, ann()).await.unwrap();
    assert_eq!(first.number, 1);
    assert_eq!(world.status(&format!("/prod/{HAMMER}")).await, StatusCode::OK);
    assert_eq!(world.get("/prod/list/hammer").await, world.get("/tools/list/hammer").await);

    world.engine.promote(&tools(), &careful, ann()).await.unwrap();
    assert_eq!(world.status(&format!("/careful/{HAMMER}")).await, StatusCode::NOT_FOUND);
    assert_eq!(world.revision("careful", "hammer@1.0").await.status, Status::NeedsApproval);
    let (artifact, revision) = split("hammer@1.0");
    world.engine.approve(&careful, &artifact, &revision, ann(), "seen".into()).await.unwrap();
    assert_eq!(world.status(&format!("/careful/{HAMMER}")).await, StatusCode::OK);

    // What the target rejected stays out, whatever the source says.
    world.engine.reject(&prod, &artifact, &revision, ann(), "not here".into()).await.unwrap();
    world.engine.promote(&tools(), &prod, ann()).await.unwrap();
    assert_ne!(world.status(&format!("/prod/{HAMMER}")).await, StatusCode::OK);

    // What the source blocked, but has not published yet, is not carried over.
    world.block("iron@7.0").await;
    let fresh = "fresh".parse().unwrap();
    configure(catalog, &world.registry.url(), &config("fresh")).await;
    world.engine.promote(&tools(), &fresh, ann()).await.unwrap();
    assert_ne!(world.status("/fresh/files/iron/iron-7.0+a.toy").await, StatusCode::OK);
    assert_eq!(world.status(&format!("/fresh/{HAMMER}")).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_are_coalesced_a_second_apart() {
    let mut manual = config("tools");
    manual.publish = Publish::Manual;
    let world = World::with(manual).await;
    world.sync().await;
    let (artifact, _) = split("hammer@1.0");
    world.engine.publish(&tools(), ann(), "first").await.unwrap();
    world.block("hammer@2.0").await;
    let publishes = (0..100).map(|_| {
        let engine = world.engine.clone();
        tokio::spawn(async move { engine.publish(&tools(), ann(), "again").await })
    });
    for publish in publishes.collect::<Vec<_>>() {
        publish.await.unwrap().unwrap();
    }
    let repository = world.engine.catalog().repository(&tools()).await.unwrap();
    let snapshots = world.engine.catalog().snapshots(repository.id, None, 100).await.unwrap();
    assert_eq!(snapshots.len(), 2, "one change makes one snapshot");
    world.engine.approve(&tools(), &artifact, &"2.0".parse().unwrap(), ann(), "well".into()).await.unwrap();
    world.engine.publish(&tools(), ann(), "third").await.unwrap();
    let snapshots = world.engine.catalog().snapshots(repository.id, None, 100).await.unwrap();
    for pair in snapshots.windows(2) {
        assert!(pair[0].created_at >= pair[1].created_at.plus(Duration::from_secs(1)), "{pair:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_cancelled_from_elsewhere_and_resumes() {
    let world = World::new().await;
    let slow = stock().remove(0);
    let path = format!("/{}", slow.file);
    world.registry.upstream().route(&path, Reply::ok(slow.bytes.clone()).drip(1, Duration::from_millis(50)));
    let task = world.engine.sync(&tools(), ann()).await.unwrap();
    let other = world.another().await;
    let started = Instant::now();
    while world.registry.upstream().requests_to(&path).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(other.catalog().request_cancel(task.id(), &ann()).await.unwrap());
    let id = task.id();
    let asked = Instant::now();
    assert!(matches!(task.wait().await, Err(Error::Cancelled)));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(other.catalog().task(id).await.unwrap().state, TaskState::Cancelled);

    world.registry.upstream().route(&path, Reply::ok(slow.bytes.clone()));
    let report = sync(&other).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(world.status(&format!("/tools/{}", slow.path())).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_handle_leaves_the_task_running() {
    let world = World::new().await;
    let id = world.engine.sync(&tools(), ann()).await.unwrap().id();
    let started = Instant::now();
    while world.engine.catalog().task(id).await.unwrap().state != TaskState::Succeeded {
        assert!(started.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_rejects_during_a_sync_does_not_end_it() {
    let world = World::new().await;
    let slow = stock().remove(0);
    let path = format!("/{}", slow.file);
    let dripped = Reply::ok(slow.bytes.clone()).drip(200, Duration::from_millis(150));
    world.registry.upstream().route(&path, dripped);
    let task = world.engine.sync(&tools(), ann()).await.unwrap();
    while world.registry.upstream().requests_to(&path).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (artifact, revision) = split("hammer@1.0");
    let engine = world.another().await;
    engine.cleanup(&tools(), &artifact, &revision, ann(), "changed my mind".into()).await.unwrap();
    let report = task.wait().await.unwrap();
    assert_eq!(report.failed.len(), 1, "{report:?}");
    assert_eq!(
        world.revision("tools", "hammer@1.0").await.status,
        Status::Scanned,
        "no late task revives it"
    );
    assert_eq!(world.status("/tools/files/hammer/hammer-2.0+a.toy").await, StatusCode::OK);
    assert_eq!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_catalog_is_rebuilt_from_the_store() {
    let mut world = World::new().await;
    world.sync().await;
    world.registry.offer(ToyFile::new("hammer", "3.0", None, &["nail"], 100));
    world.sync().await;
    let before = world.head().await;
    let list = world.get("/tools/list/hammer").await;
    world.lose_catalog().await;
    let rebuilt = world.engine.rebuild(&ann()).await.unwrap();
    assert_eq!((rebuilt.snapshots, rebuilt.files), (2, 26), "{rebuilt:?}");
    assert_eq!(world.head().await, before);
    assert_eq!(world.get("/tools/list/hammer").await, list);
    assert_routes(&world, HAMMER, StatusCode::OK).await;
    assert_eq!(world.engine.publish(&tools(), ann(), "nothing new").await.unwrap(), None);
    assert!(world.engine.verify(true).await.unwrap().damaged.is_empty());
    // The line of records goes on where it was.
    let (artifact, revision) = split("hammer@3.0");
    world.engine.reject(&tools(), &artifact, &revision, ann(), "no".into()).await.unwrap();
    assert_eq!(world.head().await.number, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_catalog_serves_nothing_that_was_refused_and_forgets_no_decision() {
    let mut world = World::with(RepositoryConfig { publish: Publish::Manual, ..config("tools") }).await;
    world.sync().await;
    world.engine.publish(&tools(), ann(), "first").await.unwrap().unwrap();
    let of = |revision: &str| split(revision);
    let ((hammer, one), (iron, seven)) = (of("hammer@1.0"), of("iron@7.0"));
    world.engine.reject(&tools(), &hammer, &one, ann(), "cracked".into()).await.unwrap();
    // Refused and let in again: the last word counts.
    world.engine.reject(&tools(), &iron, &seven, ann(), "rusty".into()).await.unwrap();
    world.engine.cleanup(&tools(), &iron, &seven, ann(), "cleaned".into()).await.unwrap();
    world.sync().await;
    world.engine.publish(&tools(), ann(), "second").await.unwrap().unwrap();
    // Refused, and never published since.
    let (nail, two) = of("nail@2.0");
    world.engine.reject(&tools(), &nail, &two, ann(), "bent".into()).await.unwrap();

    world.lose_catalog().await;
    let rebuilt = world.engine.rebuild(&ann()).await.unwrap();
    assert_eq!(rebuilt.decisions, 4, "{rebuilt:?}");
    for (revision, status) in
        [("hammer@1.0", Status::Rejected), ("nail@2.0", Status::Rejected), ("iron@7.0", Status::Available)]
    {
        assert_eq!(world.revision("tools", revision).await.status, status, "{revision}");
    }
    assert_eq!(world.status("/tools/files/nail/nail-2.0+a.toy").await, StatusCode::FORBIDDEN);
    assert_eq!(world.status("/tools/files/iron/iron-7.0+a.toy").await, StatusCode::OK);
    let approvals = {
        let id = world.revision("tools", "nail@2.0").await.id;
        world.engine.catalog().approvals(id).await.unwrap()
    };
    assert_eq!((approvals.len(), approvals[0].decision, approvals[0].reason.as_str()), (1, false, "bent"));
    // Going back to a snapshot from before does not bring it back either.
    world.engine.rollback(&tools(), "1", ann()).await.unwrap();
    assert_ne!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_catalog_the_last_known_state_is_served_and_said_to_be_old() {
    let world = World::new().await;
    world.sync().await;
    assert_eq!(world.status(&format!("/tools/{HAMMER}")).await, StatusCode::OK);
    world.engine.catalog().close().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let asked = Instant::now();
    let response = respond(&world.engine, &format!("/tools/{HAMMER}")).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(response.headers.contains_key("x-reservoir-stale"));
    let missing = respond(&world.engine, "/tools/files/hammer/hammer-99.toy").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.headers.contains_key("x-reservoir-stale"), "what is not known may be so for being old");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(world.engine.health().stale_seconds.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_and_never_served() {
    let world = World::new().await;
    world.sync().await;
    let file = stock().remove(0);
    let digest = file.sha256();
    let hex = digest.to_string();
    let path = world.folder.path().join("store/sha256").join(&hex[..2]).join(&hex[2..4]).join(&hex);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    assert!(!world.status(&format!("/tools/{}", file.path())).await.is_success());
    let verified = world.engine.verify(true).await.unwrap();
    assert_eq!(verified.damaged.len(), 1, "{verified:?}");
    assert_eq!(verified.damaged[0].sha256, digest);
    assert_eq!(verified.damaged[0].used_by, [format!("tools {}", file.path())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_fact_is_published_without_fetching_again() {
    let mut world = World::new().await;
    world.sync().await;
    let mut file = stock().remove(0);
    file.note = Some("yanked".into());
    world.registry.offer(file.clone());
    let report = world.sync().await;
    assert_eq!((report.fetched_files, report.published), (0, Some(2)), "{report:?}");
    let content = world.engine.pages().open(world.head().await.content).await.unwrap();
    let entry = content.get(&file.path()).await.unwrap().unwrap();
    assert_eq!(entry.attributes["note"], json!("yanked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_changes_bytes_is_not_believed() {
    let mut world = World::new().await;
    world.sync().await;
    let mut forged = stock().remove(0);
    forged.bytes.extend(b"malware");
    world.registry.offer(forged.clone());
    let report = world.sync().await;
    assert_eq!(report.alarms.len(), 1, "{report:?}");
    let (_, text) = world.get(&format!("/tools/{}", forged.path())).await;
    assert_eq!(text.as_bytes(), stock()[0].bytes);
}
