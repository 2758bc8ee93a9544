//! A mirror of two hundred projects from nothing, against bandersnatch and `pip download` of the same list.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use reservoir_core::testing::upstream::{Reply, Upstream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    Effort, Result,
    binary::{Home, Reservoir},
    peers,
    table::{Table, time, verdict},
    wheel::wheel,
};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const SERIAL: u64 = 1000;
/// Times faster than the peers, at least.
const TARGET: f64 = 3.0;
/// Bytes of each wheel.
const WHEEL: usize = 60_000;
const VERSIONS: usize = 3;

/// An index in this process that pip, bandersnatch and Reservoir can read.
struct Index {
    upstream: Upstream,
    projects: Vec<String>,
    pins: Vec<String>,
    bytes: u64,
}

pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let index = Index::start(effort.size(200, 3)).await?;
    // The clients are processes: the index needs its threads meanwhile.
    let reservoir = reservoir.clone();
    tokio::task::spawn_blocking(move || measure(&reservoir, &index, effort)).await?
}

fn measure(reservoir: &Reservoir, index: &Index, effort: Effort) -> Result<Table> {
    let (bandersnatch, pip) = (peers::bandersnatch()?, peers::pip()?);
    let version = peers::version(&bandersnatch)?;
    let [mut ours, mut theirs, mut downloads] = [f64::INFINITY; 3];
    // All folders stay until the end: a file system avoids for minutes what was just removed, and so is slower.
    let (mut homes, mut folders) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let (home, seconds) = index.by_reservoir(reservoir)?;
        homes.push(home);
        ours = ours.min(seconds);
        let (folder, seconds) = index.by_bandersnatch(&bandersnatch)?;
        folders.push(folder);
        theirs = theirs.min(seconds);
        let (folder, seconds) = index.by_pip(&pip)?;
        folders.push(folder);
        downloads = downloads.min(seconds);
    }
    let title = format!(
        "A mirror of {} projects, {} wheels, {} MB, from nothing: seconds",
        index.projects.len(),
        index.pins.len(),
        index.bytes / 1_000_000
    );
    let mut table = Table::new(title, &["what", "time", "of ours", "target"]);
    table.row(["`reservoir sync`".into(), time(ours), String::new(), String::new()]);
    for (name, seconds) in [(format!("bandersnatch {version}"), theirs), ("pip download".into(), downloads)] {
        let ratio = seconds / ours;
        table.row([name, time(seconds), format!("{ratio:.1}"), verdict(ratio >= TARGET, "3 times")]);
    }
    table.note(format!(
        "Best of {}, a new folder each time, written out before, loopback. Ours inspects every wheel, judges it and publishes; bandersnatch \
         has 10 workers (its most) and writes files and pages; pip downloads pinned wheels.",
        effort.rounds
    ));
    Ok(table)
}

impl Index {
    async fn start(projects: usize) -> Result<Self> {
        let mut index =
            Self { upstream: Upstream::start().await, projects: Vec::new(), pins: Vec::new(), bytes: 0 };
        for number in 0..projects {
            index.add(&format!("project{number:03}"))?;
        }
        let serials: Vec<Value> =
            index.projects.iter().map(|name| json!({ "name": name, "_last-serial": SERIAL })).collect();
        let root = json!({ "meta": { "api-version": "1.4" }, "projects": serials }).to_string();
        for path in ["/simple", "/simple/"] {
            index.upstream.route(path, Reply::ok(root.clone()).content_type(JSON));
        }
        Ok(index)
    }

    fn add(&mut self, project: &str) -> Result<()> {
        let (mut files, mut releases) = (Vec::new(), serde_json::Map::new());
        for number in 1..=VERSIONS {
            let version = format!("1.{number}");
            let (name, bytes) = wheel(project, &version, WHEEL)?;
            let sha256 = format!("{:x}", Sha256::digest(&bytes));
            let path = format!("/packages/{}/{}/{}/{name}", &sha256[..2], &sha256[2..4], &sha256[4..]);
            let (url, size) = (self.upstream.url(&path).to_string(), bytes.len());
            files.push(json!({ "filename": name, "url": url, "hashes": { "sha256": sha256 }, "size": size }));
            let release = json!([{
                "filename": name, "url": url, "size": size, "digests": { "sha256": sha256 },
                "packagetype": "bdist_wheel", "python_version": "py3", "requires_python": null,
                "upload_time_iso_8601": "2024-01-02T03:04:05.000000Z", "yanked": false, "yanked_reason": null,
            }]);
            releases.insert(version.clone(), release);
            self.pins.push(format!("{project}=={version}"));
            self.bytes += size as u64;
            self.upstream.route(path, Reply::ok(bytes));
        }
        let page = json!({ "meta": { "api-version": "1.1" }, "name": project, "files": files });
        let page = Reply::ok(page.to_string()).content_type(JSON).etag("\"1\"");
        self.upstream.route(format!("/simple/{project}/"), page);
        let document = json!({ "info": { "name": project, "version": "1.1" }, "last_serial": SERIAL,
                               "releases": releases, "urls": [] });
        let document = Reply::ok(document.to_string()).content_type("application/json");
        self.upstream.route(
            format!("/pypi/{project}/json"),
            document.header("x-pypi-last-serial", SERIAL.to_string()),
        );
        self.projects.push(project.to_owned());
        Ok(())
    }

    fn by_reservoir(&self, reservoir: &Reservoir) -> Result<(Home, f64)> {
        let home = reservoir.init()?;
        let document = format!(
            "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"{}\"\n\n\
             [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\nwhole = true\n\
             packages = {:?}\n",
            self.upstream.url("/simple/"),
            self.projects,
        );
        let file = home.folder().join("mirror.toml");
        fs::write(&file, document)?;
        home.run(&["apply", &file.display().to_string()])?;
        write_out()?;
        let seconds = home.run(&["sync", "python"])?.seconds;
        Ok((home, seconds))
    }

    fn by_bandersnatch(&self, program: &Path) -> Result<(TempDir, f64)> {
        let folder = tempfile::tempdir()?;
        let (config, base) = (folder.path().join("bandersnatch.conf"), self.upstream.url(""));
        let text = format!(
            "[mirror]\ndirectory = {}/mirror\nmaster = {}\nallow-non-https = true\napi-method = simple\n\
             json = true\nhash-index = false\nworkers = 10\ntimeout = 10\nstop-on-error = true\n",
            folder.path().display(),
            base.as_str().trim_end_matches('/'),
        );
        fs::write(&config, text)?;
        write_out()?;
        let begun = Instant::now();
        let status = peers::quiet(program).arg("--config").arg(&config).arg("mirror").status()?;
        let seconds = begun.elapsed().as_secs_f64();
        let mirrored = count(&folder.path().join("mirror/web/packages"))?;
        if !status.success() || mirrored != self.pins.len() {
            return Err(format!("bandersnatch: {status}, {mirrored} files").into());
        }
        Ok((folder, seconds))
    }

    fn by_pip(&self, pip: &Path) -> Result<(TempDir, f64)> {
        let folder = tempfile::tempdir()?;
        write_out()?;
        let begun = Instant::now();
        // One version of a project at a time is what pip can be asked for.
        for version in 1..=VERSIONS {
            let ending = format!("==1.{version}");
            let pins = self.pins.iter().filter(|pin| pin.ends_with(&ending));
            let status = Command::new(pip)
                .args(["download", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"])
                .args(["--index-url", self.upstream.url("/simple/").as_str(), "--dest"])
                .arg(folder.path())
                .args(pins)
                .env("PIP_CONFIG_FILE", "/dev/null")
                .stdin(Stdio::null())
                .status()?;
            if !status.success() {
                return Err(format!("pip download: {status}").into());
            }
        }
        Ok((folder, begun.elapsed().as_secs_f64()))
    }
}

/// Has the disk write what others left to it, so that nobody waits for what is not theirs.
fn write_out() -> Result<()> {
    let status = Command::new("sync").status()?;
    if status.success() { Ok(()) } else { Err(format!("sync: {status}").into()) }
}

/// Files below a folder.
fn count(folder: &Path) -> Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}
