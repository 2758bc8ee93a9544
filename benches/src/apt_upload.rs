//! Many small packages put into a repository and published: against aptly and reprepro.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    Effort, Result,
    binary::Reservoir,
    deb,
    table::{Table, time, verdict},
};

/// Most memory of ours while it works.
const MEMORY: u64 = 256 << 20;

/// # Errors
/// When a peer is missing or anything fails.
pub(crate) fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let columns =
        ["packages", "", "added and published", "1 % changed", "peak memory", "peer's times", "target"];
    let mut table = Table::new("Small packages uploaded and published", &columns);
    for count in effort.size([2_000, 20_000], [20, 40]) {
        let folder = TempDir::with_prefix("reservoir-bench")?;
        let (all, changed) = (folder.path().join("all"), folder.path().join("changed"));
        write(&all, 0..count, "1.0")?;
        write(&changed, (0..count).step_by(100), "2.0")?;
        let ours = ours(reservoir, &all, &changed)?;
        let aptly = aptly(folder.path(), &all, &changed)?;
        table.row([
            count.to_string(),
            "ours".into(),
            time(ours.full),
            time(ours.change),
            format!("{} MiB", ours.peak >> 20),
            String::new(),
            format!(
                "{}; {}",
                verdict(ours.change < ours.full / 10.0, "1 % in a tenth"),
                verdict(ours.peak <= MEMORY, "256 MiB")
            ),
        ]);
        table.row([
            String::new(),
            "aptly".into(),
            time(aptly.full),
            time(aptly.change),
            String::new(),
            format!("{:.1}×, {:.1}×", aptly.full / ours.full, aptly.change / ours.change),
            format!(
                "{}; {}",
                verdict(aptly.full >= 10.0 * ours.full, "10×"),
                verdict(aptly.change >= 3.0 * ours.change, "3×")
            ),
        ]);
        // reprepro takes one file a call at its fastest; a fifth is enough to see.
        let some = effort.size(400, 10).min(count);
        let seconds = reprepro(folder.path(), &all, some)? * count as f64 / some as f64;
        table.row([
            String::new(),
            "reprepro".into(),
            time(seconds),
            String::new(),
            String::new(),
            format!("{:.1}×", seconds / ours.full),
            verdict(seconds >= 10.0 * ours.full, "10×"),
        ]);
    }
    table.note(
        "Whole processes, once each, a second apart. Ours is `reservoir upload REPO FOLDER`: stored durably with verification trees, \
         inspected, judged, published signed. aptly is `repo add` and `publish repo` (update) without a signature; \
         reprepro is `includedeb`, of as many packages as are measured, scaled.",
    );
    Ok(table)
}

struct Took {
    full: f64,
    change: f64,
    peak: u64,
}

fn write(folder: &Path, which: impl Iterator<Item = usize>, version: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    for index in which {
        let package =
            deb::Deb { files: Vec::new(), ..deb::Deb::new(&format!("package{index:06}"), version, "amd64") };
        fs::write(folder.join(package.file_name()), package.build())?;
    }
    Ok(())
}

fn ours(reservoir: &Reservoir, all: &Path, changed: &Path) -> Result<Took> {
    let home = reservoir.init()?;
    let file = home.folder().join("mirror.toml");
    fs::write(&file, "[[repository]]\nname = \"small\"\necosystem = \"apt\"\nmode = \"hosted\"\n")?;
    home.run(&["apply", &file.display().to_string()])?;
    let upload = |folder: &Path| home.run(&["upload", "small", &folder.display().to_string()]);
    let full = upload(all)?;
    // Two snapshots of an apt repository are a second apart, whoever asks.
    std::thread::sleep(Duration::from_secs(1));
    let change = upload(changed)?;
    Ok(Took { full: full.seconds, change: change.seconds, peak: full.peak_memory.max(change.peak_memory) })
}

fn aptly(folder: &Path, all: &Path, changed: &Path) -> Result<Took> {
    let root = folder.join("aptly");
    fs::create_dir_all(&root)?;
    let configuration = folder.join("aptly.conf");
    fs::write(&configuration, serde_json::json!({ "rootDir": root }).to_string())?;
    let aptly = |arguments: &[&str]| {
        let mut command = Command::new("aptly");
        command.arg("-config").arg(&configuration).args(arguments);
        quiet(command)
    };
    aptly(&["repo", "create", "-distribution=stable", "small"])?;
    let started = Instant::now();
    aptly(&["repo", "add", "small", &all.display().to_string()])?;
    aptly(&["publish", "repo", "-skip-signing", "small"])?;
    let full = started.elapsed().as_secs_f64();
    let started = Instant::now();
    aptly(&["repo", "add", "small", &changed.display().to_string()])?;
    aptly(&["publish", "update", "-skip-signing", "stable"])?;
    Ok(Took { full, change: started.elapsed().as_secs_f64(), peak: 0 })
}

fn reprepro(folder: &Path, all: &Path, count: usize) -> Result<f64> {
    let base = folder.join("reprepro");
    fs::create_dir_all(base.join("conf"))?;
    fs::write(base.join("conf/distributions"), "Codename: stable\nArchitectures: amd64\nComponents: main\n")?;
    let mut files: Vec<PathBuf> =
        fs::read_dir(all)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let mut command = Command::new("reprepro");
    command.args(["-S", "misc", "-P", "optional", "-b"]).arg(&base).args(["includedeb", "stable"]);
    command.args(&files[..count]);
    let started = Instant::now();
    quiet(command)?;
    Ok(started.elapsed().as_secs_f64())
}

fn quiet(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}; install it"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
