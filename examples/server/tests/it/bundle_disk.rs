//! Disks that fill up in the middle of a bundle, on both sides: said plainly, nothing is half let in, and with room the
//! same command ends what it began.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    bundle::{Gap, installs, large, tree},
    support::{
        disk::Disk,
        home::{Home, Run, send},
    },
};

/// Bytes of a wheel beside the others.
const LARGE: usize = 6 << 20;

#[track_caller]
fn assert_no_space(run: &Run) {
    let told = run.stderr.lines().any(|line| line.starts_with("error: no space left while writing "));
    assert!(run.code == 1 && told, "{run:?}");
}

/// A gap with a bundle on a tape, of two large wheels and more.
async fn taped(inside: Home) -> (Gap, File) {
    let gap = Gap::of(Home::new(), inside).await;
    for version in ["3.0", "4.0"] {
        gap.index.add("beta", large("beta", version, LARGE));
    }
    gap.outside.sync("python", 0);
    let file = gap.path("tape");
    let mut export = gap.outside.command();
    let export = export.args(["export", "-"]).stdout(File::create(&file).unwrap()).output().unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    (gap, File::open(file).unwrap())
}

/// Bytes of the files below a folder.
pub(super) fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            // What is renamed meanwhile is counted the next time.
            if path.is_dir() { size(&path) } else { path.metadata().map_or(0, |metadata| metadata.len()) }
        })
        .sum()
}

/// Waits until `done`, for a minute at most.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A load that has come so far: what it has taken lies in its scratch folder.
fn begin(inside: &Home, tape: &mut File, first: u64) -> Child {
    let mut load = inside.command();
    load.args(["load", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = load.spawn().unwrap();
    let mut bytes = vec![0; first as usize];
    tape.read_exact(&mut bytes).unwrap();
    child.stdin.as_mut().unwrap().write_all(&bytes).unwrap();
    let staged = inside.path().join("scratch/load");
    wait("nothing is staged", || size(&staged) > first / 2);
    child
}

/// The rest of the tape, as far as the load takes it.
fn end(mut child: Child, mut tape: File) -> Run {
    let mut input = child.stdin.take().unwrap();
    // It ends before the tape does.
    let _ = std::io::copy(&mut tape, &mut input);
    drop(input);
    child.wait_with_output().unwrap().into()
}

fn goes_on(gap: &Gap) {
    let mut load = gap.inside.command();
    let run = Run::of(load.args(["--json", "load", "-"]).stdin(File::open(gap.path("tape")).unwrap()));
    let report: Value = serde_json::from_str(&run.expect(0).stdout).unwrap();
    assert_eq!(report["bundles"][0]["applied"], true, "{report:#}");
    assert!(gap.inside.done(["verify", "--deep"]).contains(" 0 damaged"));
    let server = gap.inside.serve();
    installs(&server, &["alpha==1.0", "beta==4.0"]);
}

/// The disk on which bundles wait fills up while one comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_scratch_disk_lets_nothing_in_and_the_load_goes_on() {
    let inside = Home::empty();
    let disk = Disk::mount(inside.path().join("scratch"), 64 << 10);
    inside.done(["init"]);
    let (gap, mut tape) = taped(inside).await;
    let before = tree(&gap.inside.path().join("store"));
    let child = begin(&gap.inside, &mut tape, 5 << 20);
    disk.fill_but(0);
    assert_no_space(&end(child, tape));
    assert_eq!(tree(&gap.inside.path().join("store")), before, "nothing is let in");
    let (_, listed) = gap.inside.json(["list"]);
    assert_eq!(listed["repositories"], serde_json::json!([]), "{listed:#}");
    disk.empty();
    goes_on(&gap);
}

/// The disk of the store fills up when all has come, and it is to be let in.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_not_half_loaded_and_the_load_goes_on() {
    let inside = Home::empty();
    let disk = Disk::mount(inside.path().join("store"), 64 << 10);
    inside.done(["init"]);
    let (gap, mut tape) = taped(inside).await;
    let whole = tape.metadata().unwrap().len();
    let child = begin(&gap.inside, &mut tape, whole - 4096);
    // One of the two large wheels finds room, the other does not.
    disk.fill_but(LARGE as u64 * 3 / 2);
    assert_no_space(&end(child, tape));
    let (_, listed) = gap.inside.json(["list"]);
    assert_eq!(listed["repositories"], serde_json::json!([]), "{listed:#}");
    assert!(gap.inside.done(["verify", "--deep"]).contains(" 0 damaged"));
    disk.empty();
    goes_on(&gap);
}

/// A medium fills up in the middle of a volume.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_medium_is_told_in_the_middle_and_the_export_goes_on() {
    let gap = Gap::of(Home::new(), Home::new()).await;
    for version in ["3.0", "4.0", "5.0"] {
        gap.index.add("beta", large("beta", version, 3 * LARGE));
    }
    gap.outside.sync("python", 0);
    let disk = Disk::mount(gap.media.path().join("stick"), 100 << 10);
    let mut caught = false;
    // Somebody else fills the medium once the second volume has begun. On a fast machine that may come too late.
    for round in 0..20 {
        let (out, site) = (disk.path().join("one"), format!("site-{round}"));
        let arguments = ["export", out.to_str().unwrap(), "--to", &site, "--volume-size", "12MB"];
        let mut export = gap.outside.command();
        export.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = export.spawn().unwrap();
        wait("no second volume is begun", || out.join("volume-0002.rsv").exists());
        send("STOP", child.id());
        caught = !out.join("volumes.json").exists() && !out.join("volume-0005.rsv").exists();
        if caught {
            disk.fill_but(0);
        }
        send("CONT", child.id());
        let run = Run::from(child.wait_with_output().unwrap());
        if caught {
            assert_no_space(&run);
            disk.empty();
            let (code, report) = gap.outside.json(arguments);
            assert_eq!((code, report["sequence"].as_u64()), (0, Some(1)), "{report:#}");
            assert!(report["resumed_at"].as_u64() > Some(11_000_000), "{report:#}");
            break;
        }
        run.expect(0);
        fs::remove_dir_all(&out).unwrap();
    }
    assert!(caught, "twenty exports were over before anybody could fill the medium");
    let one = disk.path().join("one");
    let inspected = gap.inside.run(["bundle", "verify", one.to_str().unwrap()]).expect(0);
    assert!(inspected.stdout.contains("every byte is as it was written"), "{}", inspected.stdout);
    gap.inside.done(["load", one.to_str().unwrap()]);
    let server = gap.inside.serve();
    installs(&server, &["alpha==1.0", "beta==5.0"]);
}
