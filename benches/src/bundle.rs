//! Models and text across the gap: bundles against `cat`, and against what people do by hand.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use reservoir_core::{snapshot::InstanceKey, store::PutOptions};
use tempfile::TempDir;
use tokio_util::io::ReaderStream;

use crate::{
    Effort, Result,
    binary::{Finished, Home, Reservoir},
    record,
    site::Site,
    table::{Table, percent, time, verdict},
    wheel,
};

/// Most memory of ours while it works.
const MEMORY: u64 = 256 << 20;
/// Bytes of one piece of noise.
const PIECE: usize = 1 << 20;

/// Files of one kind: how many, and the bytes of each.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    files: usize,
    bytes: usize,
}

/// What crosses: models that nothing compresses, and text; and the 1 % that changes.
struct Corpus {
    all: [Kind; 2],
    more: [Kind; 1],
}

impl Corpus {
    fn of(effort: Effort) -> Self {
        let kind = |name, files, bytes| Kind { name, files, bytes };
        Self {
            all: effort.size(
                [kind("model", 16, 256_000_000), kind("text", 250, 2_000_000)],
                [kind("model", 2, 300_000), kind("text", 3, 20_000)],
            ),
            more: effort.size([kind("later", 9, 5_000_000)], [kind("later", 1, 5_000)]),
        }
    }
}

/// # Errors
/// When a peer is missing or anything fails.
pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let corpus = Corpus::of(effort);
    let folder = TempDir::with_prefix("reservoir-bench")?;
    let files = folder.path().join("files");
    let bytes = write(&files, &corpus.all)?;
    let by_hand = ByHand::measure(folder.path())?;

    let outside = reservoir.init()?;
    hold(&outside, &files, &corpus.all).await?;
    fs::remove_dir_all(&files)?;
    let media = folder.path().join("media");
    fs::create_dir(&media)?;
    let (mut export, mut export_cat) = (Best::default(), Best::default());
    let mut last = PathBuf::new();
    for round in 0..effort.rounds {
        let _ = fs::remove_dir_all(&last);
        last = media.join(format!("{round}"));
        let text = last.display().to_string();
        // To a site of its own each time, so that each is the first bundle.
        export.take(|| outside.run(&["export", &text, "--to", &format!("site-{round}")]))?;
        let store = outside.folder().join("store");
        export_cat.take(|| cat(&store, &folder.path().join("copy")))?;
    }
    let (mut load, mut load_cat) = (Best::default(), Best::default());
    let mut inside = None;
    for _ in 0..effort.rounds {
        // The one before goes first: there is no room for two.
        drop(inside.take());
        let home = inside.insert(trusting(reservoir, &outside)?);
        load.take(|| home.run(&["load", &last.display().to_string()]))?;
        load_cat.take(|| cat(&last, &folder.path().join("copy")))?;
    }
    let inside = inside.ok_or("no round was run")?;

    let names = effort.size(NAMES.as_slice(), &NAMES[..1]);
    let delta =
        Delta::measure(&outside, &inside, folder.path(), &corpus.more, names, effort.rounds - 1).await?;
    let mut table = Table::new(
        format!("{} MB across the gap", bytes / 1_000_000),
        &["what", "time", "rate", "ours", "target", "peak memory"],
    );
    let rate = |seconds: f64| format!("{:.0} MB/s", bytes as f64 / 1e6 / seconds);
    for (what, ours, copy, archive, times) in [
        ("export", &export, &export_cat, ("tar -czf, sha256sum", by_hand.pack), 20.0),
        ("load", &load, &load_cat, ("sha256sum -c, tar -xzf", by_hand.unpack), 5.0),
    ] {
        let peak = verdict(ours.peak <= MEMORY, "256 MiB");
        table.row([
            what.into(),
            time(ours.seconds),
            rate(ours.seconds),
            String::new(),
            String::new(),
            format!("{} MiB, {peak}", ours.peak >> 20),
        ]);
        let share = copy.seconds / ours.seconds;
        let mut peer = |name: &str, seconds: f64, compared: String, target: String| {
            table.row([
                format!("{what}: {name}"),
                time(seconds),
                rate(seconds),
                compared,
                target,
                String::new(),
            ]);
        };
        peer("cat, sync", copy.seconds, percent(share), verdict(share >= 0.8, "80 %"));
        let (name, seconds) = archive;
        let faster = seconds / ours.seconds;
        peer(name, seconds, format!("{faster:.1}×"), verdict(faster >= times, &format!("{times:.0}×")));
        if what == "export" {
            let faster = by_hand.zstd / ours.seconds;
            peer("tar to zstd -T0", by_hand.zstd, format!("{faster:.1}×"), String::new());
        }
    }
    for (what, ours) in [("export of 1 % more", &delta.export), ("load of 1 % more", &delta.load)] {
        let cost = ours.seconds / delta.copy.seconds;
        table.row([
            what.into(),
            time(ours.seconds),
            String::new(),
            format!("{cost:.1} of `cp`, sync in {}", time(delta.copy.seconds)),
            verdict(cost <= 2.0, "2 times a copy"),
            format!("{} MiB", ours.peak >> 20),
        ]);
    }
    table.note(format!(
        "Whole processes, best of {} (of {} for 1 % more), in turns with `cat`; everything durable at the end. {} files \
         that nothing compresses and {} of text. `cat` writes one file and syncs it. What is done by hand is done \
         once, unsynced.",
        effort.rounds,
        names.len(),
        corpus.all[0].files,
        corpus.all[1].files
    ));
    Ok(table)
}

/// The quickest of some runs, and the most memory of any.
#[derive(Debug)]
pub(crate) struct Best {
    pub(crate) seconds: f64,
    pub(crate) peak: u64,
}

impl Default for Best {
    fn default() -> Self {
        Self { seconds: f64::INFINITY, peak: 0 }
    }
}

impl Best {
    pub(crate) fn take(&mut self, run: impl FnOnce() -> Result<Finished>) -> Result<()> {
        // What others wrote must not be waited for here.
        Command::new("sync").status()?;
        let finished = run()?;
        self.seconds = self.seconds.min(finished.seconds);
        self.peak = self.peak.max(finished.peak_memory);
        Ok(())
    }
}

/// What people do without us, in seconds.
struct ByHand {
    pack: f64,
    unpack: f64,
    zstd: f64,
}

impl ByHand {
    fn measure(folder: &Path) -> Result<Self> {
        let at = |script: &str| shell(folder, script);
        let pack = at("tar -czf files.tgz files && sha256sum files.tgz > SUMS")?;
        let unpack = at("mkdir out && sha256sum --status -c SUMS && tar -xzf files.tgz -C out")?;
        at("rm -r out files.tgz")?;
        let zstd = at("tar -cf - files | zstd -q -T0 -o files.tar.zst")?;
        at("rm files.tar.zst")?;
        Ok(Self { pack, unpack, zstd })
    }
}

/// One per cent more.
struct Delta {
    export: Best,
    load: Best,
    copy: Best,
}

impl Delta {
    async fn measure(
        outside: &Home,
        inside: &Home,
        folder: &Path,
        more: &[Kind],
        names: &[&'static str],
        site: u32,
    ) -> Result<Self> {
        let (mut export, mut load, mut copy) = (Best::default(), Best::default(), Best::default());
        let site = format!("site-{site}");
        // Nothing is removed in between: file systems without a journal make files slowly for a minute after.
        for name in names {
            let files = folder.join(name);
            let media = folder.join(format!("delta-{name}")).display().to_string();
            // Other bytes each time.
            let kinds: Vec<Kind> = more.iter().map(|kind| Kind { name, ..*kind }).collect();
            write(&files, &kinds)?;
            hold(outside, &files, &kinds).await?;
            // Two snapshots of a repository are a second apart: that wait is a rule, not a cost.
            std::thread::sleep(std::time::Duration::from_millis(1100));
            export.take(|| outside.run(&["export", &media, "--to", &site]))?;
            load.take(|| inside.run(&["load", &media]))?;
            copy.take(|| {
                let seconds = shell(folder, &format!("cp -r {name} {name}-copy && sync -f {name}-copy"))?;
                Ok(Finished { seconds, peak_memory: 0 })
            })?;
        }
        Ok(Self { export, load, copy })
    }
}

/// What the changed files of each round are called; as this is quick and files are few, there are more rounds of it.
const NAMES: [&str; 5] = ["later", "latest", "newer", "newest", "last"];

/// Writes the files of some kinds; returns their bytes.
fn write(folder: &Path, kinds: &[Kind]) -> Result<u64> {
    fs::create_dir_all(folder)?;
    let mut total = 0;
    for kind in kinds {
        for number in 0..kind.files {
            let mut out = BufWriter::with_capacity(PIECE, File::create(folder.join(name(kind, number)))?);
            let mut left = kind.bytes;
            while left > 0 {
                let piece = left.min(PIECE);
                let seed = format!("{}-{number}-{left}", kind.name);
                let noise = wheel::noise(&seed, if kind.name == "text" { piece / 4 } else { piece });
                if kind.name == "text" {
                    let words: Vec<u8> = noise.iter().flat_map(|byte| word(*byte)).take(piece).collect();
                    out.write_all(&words)?;
                    left -= words.len();
                } else {
                    out.write_all(&noise)?;
                    left -= piece;
                }
            }
            out.flush()?;
            total += kind.bytes as u64;
        }
    }
    Ok(total)
}

/// A word of four letters and a blank.
fn word(of: u8) -> [u8; 5] {
    let letter = |shift: u8| b"etaoinsh"[usize::from(of.rotate_left(u32::from(shift)) & 7)];
    [letter(0), letter(2), letter(4), letter(6), b' ']
}

fn name(kind: &Kind, number: usize) -> String {
    format!("{}-{number}.bin", kind.name)
}

/// Puts the files into the home's repository, as a sync would leave them, and publishes.
async fn hold(home: &Home, folder: &Path, kinds: &[Kind]) -> Result<()> {
    let site = Site::open(home.folder(), false).await?;
    for kind in kinds {
        for number in 0..kind.files {
            let file = tokio::fs::File::open(folder.join(name(kind, number))).await?;
            let bytes = ReaderStream::with_capacity(file, PIECE);
            let bytes = futures::TryStreamExt::map_err(bytes, |error| {
                reservoir_core::Error::io("read a file")(error)
            });
            let blob = site.store.put(Box::pin(bytes), PutOptions::default()).await?;
            record::make_available(&site, kind.name, &format!("1.{number}"), blob).await?;
        }
    }
    let key = InstanceKey::load(home.folder().join("keys/instance.key"))?;
    let engine = site.engine(key, &home.folder().join("scratch"))?;
    let name = &site.repository.config.name;
    engine.publish(name, site.actor.clone(), "files").await?.ok_or("there was nothing to publish")?;
    Ok(())
}

/// A home that trusts another's bundles.
pub(crate) fn trusting(reservoir: &Reservoir, outside: &Home) -> Result<Home> {
    let inside = reservoir.init()?;
    let shown: serde_json::Value = serde_json::from_str(&outside.output(&["key", "show"])?)?;
    let key = inside.folder().join("outside.pub");
    fs::write(&key, shown["file"].as_str().ok_or("no key was shown")?)?;
    inside.run(&["key", "trust", &key.display().to_string()])?;
    Ok(inside)
}

/// Every byte below a folder into one file, durable; the file is removed afterwards.
fn cat(folder: &Path, to: &Path) -> Result<Finished> {
    let seconds = {
        let (folder, to) = (folder.display(), to.display());
        shell(Path::new("/"), &format!("find {folder} -type f -print0 | xargs -0 cat > {to} && sync {to}"))?
    };
    fs::remove_file(to)?;
    Ok(Finished { seconds, peak_memory: 0 })
}

/// Seconds that a line of shell takes.
pub(crate) fn shell(folder: &Path, script: &str) -> Result<f64> {
    let started = Instant::now();
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(started.elapsed().as_secs_f64());
    }
    Err(format!("`{script}`: {status}").into())
}
