//! The catalog's suite on SQLite and on PostgreSQL, and what only one of them has.

use std::time::Duration;

use reservoir_core::{
    Error, ErrorKind,
    catalog::{Backend, Catalog, CatalogOptions},
    testing::{
        catalog::{self as suite, Fixture},
        lifecycle,
        postgres::TestDatabase,
    },
};

fn sqlite(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("catalog.sqlite").display())
}

/// Stamps each test of the suite on both engines, each with an empty database.
macro_rules! both_engines {
    ($($name:ident)*) => {
        mod on_sqlite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    suite::$name(&sqlite(&folder)).await;
                }
            )*
        }

        mod on_postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let database = TestDatabase::create().await;
                    suite::$name(&database.url()).await;
                    database.remove().await;
                }
            )*
        }
    };
}

both_engines! {
    a_cancel_before_the_start_holds
    a_changed_digest_is_an_alarm
    a_dead_holder_is_taken_over_at_once
    a_dropped_write_leaves_nothing_half_done
    a_full_cache_lets_go_of_the_least_recently_used
    a_lost_collector_deletes_nothing
    a_lost_fence_discards_the_write
    a_newer_schema_is_refused
    a_pin_protects_or_says_that_it_is_too_late
    a_snapshot_settles_what_it_saw
    a_task_has_one_runner
    an_expired_lease_is_taken_over
    approvals_are_kept
    changed_facts_mark_what_is_served
    colliding_paths_are_alarms
    configuration_is_idempotent_and_guarded
    cursors_of_registries_do_not_mix
    dead_runners_are_reaped
    decisions_are_in_the_audit_chain
    denials_follow_the_status
    discovery_is_incremental
    files_are_stored_inspected_and_admitted
    five_thousand_files_are_recorded_at_once
    forgotten_snapshots_leave_gaps
    lists_are_paged
    many_writers_queue
    metadata_is_told_by_status
    offers_add_up_by_part
    one_of_two_processes_gets_the_lease
    pins_and_deletion_race
    pins_expire
    processes_open_at_the_same_time
    quarantine_blocks
    repositories_are_restored_by_their_id
    repositories_do_not_mix
    snapshots_are_restored_in_order
    snapshots_move_refs
    tampering_with_the_audit_log_is_found
    the_write_hook_sees_both_sides
    verdicts_are_kept_by_rules
    what_files_refer_to_is_not_deleted
    what_nobody_wants_is_deleted_in_two_phases
    an_upload_makes_its_name_internal
    what_a_cache_serves_is_what_is_available
    what_was_announced_gives_way_to_what_is_inside
}

#[expect(clippy::unwrap_used, reason = "called by tests only")]
async fn lifecycle_suite(url: &str) {
    let fixture = Fixture::open(url).await;
    let lost = fixture.catalog.acquire_lease("sync", "old", Duration::ZERO).await.unwrap().unwrap();
    let held = fixture.fence("sync").await;
    let subject =
        lifecycle::Subject { lifecycle: &fixture.catalog, repository: fixture.repository.id, held, lost };
    lifecycle::suite(&subject).await;
    fixture.catalog.verify_audit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    lifecycle_suite(&sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_on_postgres() {
    let database = TestDatabase::create().await;
    lifecycle_suite(&database.url()).await;
    database.remove().await;
}

#[tokio::test]
async fn addresses_that_cannot_work_are_refused() {
    for url in ["", "mysql://127.0.0.1/x", "sqlite::memory:", "sqlite://x?mode=memory", "catalog.sqlite"] {
        let refused = Catalog::open(url, CatalogOptions::default()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{url}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_backup_is_a_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(&sqlite(&folder)).await;
    assert_eq!(fixture.catalog.backend(), Backend::Sqlite);
    let copy = folder.path().join("copy's.sqlite");
    fixture.catalog.backup_to(&copy).await.unwrap();
    let copied =
        Catalog::open(&format!("sqlite:{}", copy.display()), CatalogOptions::default()).await.unwrap();
    assert_eq!(copied.repositories().await.unwrap(), fixture.catalog.repositories().await.unwrap());
    assert_eq!(copied.verify_audit().await.unwrap(), fixture.catalog.verify_audit().await.unwrap());
    fixture.catalog.backup_to(&copy).await.unwrap_err();
}

#[tokio::test]
async fn a_postgres_backup_is_refused_with_advice() {
    let database = TestDatabase::create().await;
    let catalog = Catalog::open(&database.url(), CatalogOptions::default()).await.unwrap();
    assert_eq!(catalog.backend(), Backend::Postgres);
    let refused = catalog.backup_to(std::path::Path::new("copy")).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Unsupported { detail, .. } if detail.contains("pg_dump")),
        "{refused:?}"
    );
    catalog.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_told_to_be_durable() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(&sqlite(&folder)).await;
    assert!(folder.path().join("catalog.sqlite-wal").exists(), "write-ahead logging is on");
    fixture.catalog.close().await;
    assert_eq!(fixture.catalog.epoch().await.unwrap_err().kind(), ErrorKind::Backend);
}
