//! Every benchmark on tiny inputs: that it runs and counts right, never how long it takes.

use std::{path::Path, process::Command};

use crate::{
    Effort, apt_noop, apt_suite, binary::Reservoir, bundle, cache, checkpoint, hub, many, memory, mirror,
    noop_sync, record, serve,
};

/// The debug build of the program, made now if it is not there or not up to date.
fn reservoir() -> Reservoir {
    let build = Command::new(env!("CARGO"))
        // With the features of the whole workspace, as the tests are built: other features would build it all again.
        .args(["build", "--quiet", "--workspace", "--all-features", "--bin", "reservoir"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(build.unwrap().success(), "cargo build --package reservoir-server");
    let tests = std::env::current_exe().unwrap();
    // target/debug/deps/reservoir_bench-…
    let folder = tests.parent().and_then(Path::parent).unwrap();
    Reservoir::find(Some(folder.join("reservoir"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn record_runs() {
    let table = record::run(Effort::QUICK).await.unwrap();
    let written: Vec<&str> = table.rows().iter().map(|row| row[3].as_str()).collect();
    assert_eq!(written, ["1 content, 1 publication"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn noop_sync_runs() {
    let table = noop_sync::run(&reservoir(), Effort::QUICK).await.unwrap();
    assert_eq!(table.rows()[0][1..4], ["3 of 3", "0", "0"]);
    assert_eq!(table.rows().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_runs() {
    let [pages, files] = serve::run(&reservoir(), Effort::QUICK).await.unwrap();
    assert_eq!((pages.rows().len(), files.rows().len()), (12, 6));
}

#[test]
fn hub_runs() {
    let table = hub::run(&reservoir(), Effort::QUICK).unwrap();
    assert_eq!(table.rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_runs() {
    let table = bundle::run(&reservoir(), Effort::QUICK).await.unwrap();
    let first: Vec<&str> = table.rows().iter().map(|row| row[0].as_str()).collect();
    assert_eq!((first.len(), first[0], first[4], first[8]), (9, "export", "load", "load of 1 % more"));
}

#[test]
fn checkpoint_runs() {
    let table = checkpoint::run(&reservoir(), Effort::QUICK).unwrap();
    // Pieces are larger than what changes here.
    let share: Option<f64> = table.rows()[0][3].strip_suffix(" %").and_then(|share| share.parse().ok());
    assert!(share.is_some_and(|share| (5.0..30.0).contains(&share)), "{:?}", table.rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs() {
    let table = many::run(&reservoir(), Effort::QUICK).await.unwrap();
    let what: Vec<&str> = table.rows().iter().map(|row| row[1].as_str()).collect();
    assert_eq!(what, ["export", "load", "inventory", "export", "load", "inventory"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_runs() {
    let table = memory::run(&reservoir(), Effort::QUICK).await.unwrap();
    assert_eq!(table.rows().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_suite_runs() {
    let table = apt_suite::run(Effort::QUICK).await.unwrap();
    assert_eq!(table.rows().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_noop_runs() {
    let table = apt_noop::run(&reservoir(), Effort::QUICK).await.unwrap();
    assert_eq!(table.rows()[1][1], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_runs() {
    let table = mirror::run(&reservoir(), Effort::QUICK).await.unwrap();
    assert_eq!(table.rows().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_runs() {
    let [first, second, pages] = cache::run(&reservoir(), Effort::QUICK).await.unwrap();
    assert_eq!((first.rows().len(), second.rows().len(), pages.rows().len()), (4, 2, 3));
}
