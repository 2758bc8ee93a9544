//! A checkpoint in which a few tensors changed, across the gap: what travels and what that costs, against rsync.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    Effort, Result,
    binary::{Finished, Reservoir},
    bundle::{self, Best, shell},
    hub::{self, Hub},
    table::{Table, percent, time, verdict},
};

/// Tensors of a checkpoint, and how many of them change.
const TENSORS: u64 = 100;
const CHANGED: u64 = 5;
/// Of the checkpoint's bytes, what may travel.
const TRAVELS: f64 = 0.06;
/// Most memory of ours while it works.
const MEMORY: u64 = 256 << 20;
const FILE: &str = "model.safetensors";

/// # Errors
/// When a peer is missing or anything fails.
pub(crate) fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let folder = TempDir::with_prefix("reservoir-bench")?;
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let tensor = effort.size(50_000_000, 100_000);
    let outside = reservoir.init()?;
    let inside = bundle::trusting(reservoir, &outside)?;
    let media = |name: &str| folder.path().join(name).display().to_string();

    let bytes = bring(&outside, &old, tensor, |_| false)?;
    outside.run(&["export", &media("first")])?;
    inside.run(&["load", &media("first")])?;
    fs::remove_dir_all(media("first"))?;
    // Snapshots of a repository are a second apart: that wait is a rule, not a cost.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    bring(&outside, &new, tensor, |number| number % (TENSORS / CHANGED) == 7)?;

    let (mut export, mut load, mut write, mut read) =
        (Best::default(), Best::default(), Best::default(), Best::default());
    export.take(|| outside.run(&["export", &media("second")]))?;
    load.take(|| inside.run(&["load", &media("second")]))?;
    let by_hand = |script: &str| {
        let seconds = shell(folder.path(), script)?;
        Ok(Finished { seconds, peak_memory: 0 })
    };
    // Without `--no-whole-file` rsync compares nothing where both sides are this machine.
    let rsync = "rsync --no-whole-file --inplace --ignore-times";
    write
        .take(|| by_hand(&format!("{rsync} --only-write-batch=batch new/{FILE} old/{FILE} && sync batch")))?;
    read.take(|| by_hand(&format!("{rsync} --read-batch=batch old/{FILE} && sync old/{FILE}")))?;
    if fs::metadata(old.join(FILE))?.len() != bytes {
        return Err("rsync did not make the file".into());
    }

    let title = format!("{CHANGED} of {TENSORS} tensors of {} MB changed: {}", bytes / 1_000_000, version()?);
    let columns = ["what", "time", "travels", "of the file", "target", "peak memory"];
    let mut table = Table::new(title, &columns);
    let mut row = |what: &str, best: &Best, travels: Option<u64>, is_ours: bool| {
        let share = travels.map(|travels| travels as f64 / bytes as f64);
        let target = share.filter(|_| is_ours).map(|share| verdict(share <= TRAVELS, &percent(TRAVELS)));
        let peak = format!("{} MiB, {}", best.peak >> 20, verdict(best.peak <= MEMORY, "256 MiB"));
        table.row([
            what.to_owned(),
            time(best.seconds),
            travels.map(|travels| format!("{:.1} MB", travels as f64 / 1e6)).unwrap_or_default(),
            share.map(|share| format!("{:.1} %", share * 100.0)).unwrap_or_default(),
            target.unwrap_or_default(),
            if is_ours { peak } else { String::new() },
        ]);
    };
    row("export", &export, Some(size_of(Path::new(&media("second")))?), true);
    row("`rsync --only-write-batch`", &write, Some(size_of(&folder.path().join("batch"))?), false);
    row("load", &load, None, true);
    row("`rsync --read-batch`", &read, None, false);
    table.note(
        "Whole processes, once, the sides in turns; everything durable at the end. Of ours, all files of the bundle count; \
         rsync changes the old file in its place and checks it by a digest of its own, ours keeps both and verifies what \
         comes out by the signed digests.",
    );
    Ok(table)
}

/// Has the outside mirror a checkpoint, of which some tensors are others than the first time; returns its bytes.
fn bring(
    outside: &crate::binary::Home,
    copy: &Path,
    tensor: u64,
    changed: impl Fn(u64) -> bool,
) -> Result<u64> {
    let seed = |number: u64| if changed(number) { number + 1000 } else { number + 1 };
    let tensors: Vec<(u64, u64)> = (0..TENSORS).map(|number| (seed(number), tensor)).collect();
    fs::create_dir(copy)?;
    let hub = Hub::holding(|root| {
        let file = hub::write(root, FILE.to_owned(), &tensors)?;
        fs::copy(root.join(FILE), copy.join(FILE))?;
        Ok(vec![file])
    })?;
    hub.apply(outside)?;
    outside.run(&["sync", "hub"])?;
    Ok(hub.files.iter().map(|file| file.size).sum())
}

/// Bytes of a file, or of all files in a folder.
fn size_of(path: &Path) -> Result<u64> {
    if path.is_file() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn version() -> Result<String> {
    let said = Command::new("rsync").arg("--version").output()?;
    let said = String::from_utf8(said.stdout)?;
    let mut words = said.split_ascii_whitespace();
    Ok(format!("rsync {}", words.nth(2).unwrap_or_default()))
}
