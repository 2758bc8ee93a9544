//! What the catalog acknowledged survives power loss: its log is synced to the disk (fsync(2), fdatasync(2)) between
//! the beginning of a write and its acknowledgement, as the system calls of a child process show.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::process::Command;

use self::world::{
    process::{Job, Kind, Off, catalog, work},
    sqlite,
};

#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    work().await;
}

/// The writes that were acknowledged, and those of them during which the log was synced.
async fn writes_and_syncs(off: Off) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path());
    catalog(&url, std::time::Duration::ZERO).await.close().await;
    let log = folder.path().join("strace.log");
    let job = Job::new(Kind::Write, folder.path(), &url).without(off).command();
    let job = job.as_std();
    let output = Command::new("strace")
        .args(["-f", "-y", "-s", "100", "-e", "trace=write,fsync,fdatasync", "-o"])
        .arg(&log)
        .arg(job.get_program())
        .args(job.get_args())
        .envs(job.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .expect("strace runs: run scripts/test, which installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut writes, mut synced, mut syncs) = (0, 0, 0);
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        if line.contains("ACK before") {
            syncs = 0;
        } else if line.contains("ACK after") {
            writes += 1;
            synced += usize::from(syncs > 0);
        } else if line.contains("sync(") && line.contains("catalog.db-wal") {
            syncs += 1;
        }
    }
    (writes, synced)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_catalog_acknowledged_is_on_the_disk() {
    assert_eq!(writes_and_syncs(Off::Nothing).await, (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn durability_matters() {
    assert_eq!(writes_and_syncs(Off::Durability).await, (10, 0), "without it nothing waits for the disk");
}
