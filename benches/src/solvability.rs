//! Which packages of a whole archive can be installed from it, against dose-debcheck.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reservoir_apt::{
    control::{Piece, Stanza, Stanzas},
    depends::Archive,
};
use reservoir_core::depends::{Solver, Universe as _};
use tempfile::NamedTempFile;

use crate::{
    Effort, Result, process,
    table::{Table, percent, time},
};

/// Stanzas of the tiny input.
const TINY: usize = 500;

/// # Errors
/// When the verdicts differ.
pub(crate) fn run(effort: Effort) -> Result<Table> {
    let index = index(effort)?;
    let me = std::env::current_exe()?;
    let (mut ours, mut theirs) = (Run::default(), Run::default());
    for _ in 0..effort.rounds {
        ours.keep(measure(Command::new(&me).arg("--judge").arg(index.path()))?);
        let mut dose = Command::new("dose-debcheck");
        theirs.keep(measure(dose.args(["--failures", "--deb-native-arch=amd64"]).arg(index.path()))?);
    }
    let (broken, expected) = (ours.broken_by("broken: "), theirs.broken_by("package: "));
    if broken != expected {
        return Err(format!("the verdicts differ: {broken:?}, dose-debcheck {expected:?}").into());
    }

    let title = format!("Verdicts on {} packages, the same ones", ours.line("packages: "));
    let mut table =
        Table::new(title, &["", "time", "peak memory", "broken", "of dose-debcheck's time", "memory"]);
    let broken = expected.len().to_string();
    let ratio = |ours: f64, theirs: f64| percent(ours / theirs);
    table.row([
        "ours".into(),
        time(ours.seconds),
        format!("{} MiB", ours.peak >> 20),
        broken.clone(),
        ratio(ours.seconds, theirs.seconds),
        ratio(ours.peak as f64, theirs.peak as f64),
    ]);
    let memory = format!("{} MiB", theirs.peak >> 20);
    table.row(["dose-debcheck".into(), time(theirs.seconds), memory, broken, String::new(), String::new()]);
    table.note(format!(
        "Whole processes that read the same index, best of {}. Ours also says why of each broken package: {}.",
        effort.rounds,
        ours.line("took: ")
    ));
    Ok(table)
}

/// Judges every package of an index; lines for [`run`].
pub(crate) fn judge(index: &Path) -> Result<String> {
    let started = Instant::now();
    let mut archive = Archive::new("amd64", &[], false);
    let mut stanzas = Stanzas::new(File::open(index)?);
    while let Some(piece) = stanzas.next_piece()? {
        if let Piece::Stanza(bytes) = piece {
            archive.add(&Stanza::parse(bytes)?, true)?;
        }
    }
    let archive = archive.finish();
    let read = started.elapsed();
    let mut solver = Solver::new(&archive)?;
    let built = started.elapsed();
    let verdicts = solver.check(&mut || Ok(()))?;
    let checked = started.elapsed();
    let mut lines = format!("packages: {}\n", archive.len());
    for package in &verdicts.broken {
        let why = solver.explain(*package)?;
        let label = archive.label(*package);
        writeln!(lines, "broken: {}\nwhy: {why}", label.split(' ').next().unwrap_or_default())?;
    }
    let (effort, explained) = (solver.effort(), started.elapsed());
    let millis = |duration: Duration| duration.as_millis();
    write!(
        lines,
        "took: {} ms to read, {} ms to relate, {} ms to judge by {} installations and {} searches, {} ms to explain; \
         {} MiB kept",
        millis(read),
        millis(built.saturating_sub(read)),
        millis(checked.saturating_sub(built)),
        effort.models,
        effort.searches,
        millis(explained.saturating_sub(checked)),
        (effort.bytes + archive.bytes()) >> 20,
    )?;
    Ok(lines)
}

/// The best of some runs of a program.
#[derive(Default)]
struct Run {
    seconds: f64,
    peak: u64,
    output: String,
}

impl Run {
    fn keep(&mut self, other: Self) {
        if self.output.is_empty() || other.seconds < self.seconds {
            let peak = if self.output.is_empty() { other.peak } else { self.peak.min(other.peak) };
            *self = Self { peak, ..other };
        }
    }

    fn broken_by(&self, prefix: &str) -> BTreeSet<String> {
        let names = self.output.lines().filter_map(|line| line.trim().strip_prefix(prefix));
        names.map(|name| name.trim().to_owned()).collect()
    }

    fn line(&self, prefix: &str) -> &str {
        self.output.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default()
    }
}

fn measure(command: &mut Command) -> Result<Run> {
    let output = NamedTempFile::new()?;
    let started = Instant::now();
    let mut child = command
        .stdout(output.reopen()?)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{command:?}: {error}; apt-get install dose-distcheck"))?;
    let mut peak = 0;
    // dose-debcheck says by its status whether something is broken.
    while child.try_wait()?.is_none() {
        peak = process::peak_memory(child.id()).unwrap_or_default().max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = started.elapsed().as_secs_f64();
    let mut text = String::new();
    output.reopen()?.read_to_string(&mut text)?;
    if text.is_empty() {
        return Err(format!("{command:?} said nothing").into());
    }
    Ok(Run { seconds, peak, output: text })
}

/// The largest index of this machine's own apt, unpacked; of it the first few stanzas where tiny is enough.
fn index(effort: Effort) -> Result<NamedTempFile> {
    let listed = Command::new("apt-get")
        .args(["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"])
        .output()?;
    let files = String::from_utf8(listed.stdout)?;
    let size = |file: &&str| Path::new(file).metadata().map_or(0, |metadata| metadata.len());
    let largest =
        files.lines().max_by_key(size).ok_or("this machine's apt has no indexes; run apt-get update")?;
    let index = NamedTempFile::new()?;
    let unpack = Command::new("/usr/lib/apt/apt-helper")
        .args(["cat-file", largest])
        .stdout(index.reopen()?)
        .status()?;
    if !unpack.success() {
        return Err(format!("apt-helper: {unpack}").into());
    }
    if effort.quick {
        let text = std::fs::read_to_string(index.path())?;
        let few: Vec<&str> = text.split_inclusive("\n\n").take(TINY).collect();
        std::fs::write(index.path(), few.concat())?;
    }
    Ok(index)
}
