//! A sync that is killed, interrupted or started twice.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use reservoir_core::testing::upstream::Reply;
use serde_json::Value;

use super::support::{
    home::{Home, Run, send},
    index::{Index, Style, wheel},
};

const PROJECTS: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];

/// Six projects of three versions, each answer a little late so that there is time to die.
async fn slow_index() -> Index {
    let files =
        PROJECTS.iter().flat_map(|name| ["1.0", "2.0", "3.0"].map(|version| wheel(name, version, &[])));
    let files: Vec<_> = files.collect();
    let index = Index::of(Style::Html, files.clone()).await;
    for file in &files {
        index.upstream.route(file.path(), Reply::ok(file.bytes.clone()).delay(Duration::from_millis(40)));
    }
    index
}

fn start(home: &Home) -> Child {
    let mut command = home.command();
    command.args(["sync", "python"]).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Everything that a client can be given, by path.
fn content(home: &Home) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for project in PROJECTS {
        let (code, shown) = home.json(["show", "python", project]);
        assert_eq!(code, 0, "{shown}");
        for revision in shown["revisions"].as_array().unwrap() {
            let files = revision["files"].as_array().unwrap();
            all.extend(
                files.iter().map(|file| (file["path"].as_str().unwrap().to_owned(), file["sha256"].clone())),
            );
            assert_eq!(revision["status"], "AVAILABLE", "{revision}");
        }
    }
    all
}

/// Killed ten times at whatever moment, then let finish: the same content as without a kill, nothing damaged, no
/// file fetched twice once it was stored.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_ten_moments_it_ends_as_if_never_killed() {
    let index = slow_index().await;
    let mirror = index.mirror(&PROJECTS, "whole = true");
    let whole = Home::with(&mirror);
    let begun = Instant::now();
    whole.sync("python", 0);
    let duration = begun.elapsed();
    let expected = content(&whole);
    assert_eq!(expected.len(), 18);

    let home = Home::with(&mirror);
    // Moments that differ from run to run; a failing one is told.
    let mut seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let mut moments = Vec::new();
    for _ in 0..10 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let moment = duration.mul_f64(f64::from(seed >> 8) / f64::from(1 << 24));
        moments.push(moment);
        let mut sync = start(&home);
        tokio::time::sleep(moment).await;
        sync.kill().unwrap();
        sync.wait().unwrap();
    }
    let report = sync_when_free(&home);
    assert_eq!(report.code, 0, "killed after {moments:?}: {report:?}");
    assert_eq!(content(&home), expected, "killed after {moments:?}");
    let verified = home.done(["verify", "--deep"]);
    assert!(verified.contains(" 0 damaged"), "killed after {moments:?}: {verified}");
    let log = home.done(["log", "python"]);
    assert!(!log.is_empty(), "{log}");
}

/// The lease of a process that was killed runs out by itself.
fn sync_when_free(home: &Home) -> Run {
    let start = Instant::now();
    loop {
        let run = home.run(["sync", "python"]);
        if run.code != 1 || !run.stderr.contains("conflict") || start.elapsed() > Duration::from_mins(1) {
            return run;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Ctrl-C ends a sync early and in order; the next one goes on and fetches only what was missing.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_a_sync_resumable() {
    let index = slow_index().await;
    let home = Home::with(&index.mirror(&PROJECTS, "whole = true"));
    let sync = start(&home);
    let begun = Instant::now();
    while index.count("/files/") < 5 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not begin to fetch");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    send("INT", sync.id());
    let output = sync.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("run the same command again to go on"), "{told}");
    assert!(home.done(["task", "list"]).contains("cancelled"));
    home.sync("python", 0);
    assert_eq!(content(&home).len(), 18);
}

/// Another process cancels a task by its number.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_cancelled_from_another_process() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    index.upstream.route("/simple/alpha/", Reply::ok("{}").delay(Duration::from_mins(1)));
    let home = Home::with(&index.mirror(&["alpha"], ""));
    let sync = start(&home);
    let begun = Instant::now();
    while index.count("/simple/alpha/") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not begin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, cancelled) = home.json(["task", "cancel", "1"]);
    assert_eq!(cancelled["requested"], true);
    let output = sync.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(30), "it ends soon");
    assert!(home.done(["task", "list"]).contains("cancelled"));
}

/// Two syncs of one repository at once: one works, the other says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_sync_at_once_is_a_conflict() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let file = wheel("alpha", "1.0", &[]);
    index.upstream.route(file.path(), Reply::ok(file.bytes.clone()).delay(Duration::from_secs(4)));
    let home = Home::with(&index.mirror(&["alpha"], ""));
    let mut first = start(&home);
    let begun = Instant::now();
    while index.count("/files/") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not begin to fetch");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = home.run(["sync", "python"]).expect(1);
    let told = "error: conflict on repository `python`: it is being worked on by another task";
    assert!(second.stderr.starts_with(told), "{second:?}");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    home.sync("python", 0);
}
