//! A sync that finds nothing new: one conditional request a project, no file, and how long that takes.

use std::{io::Write as _, time::Instant};

use reservoir_core::testing::upstream::Recorded;

use crate::{
    Effort, Result,
    binary::Reservoir,
    curl,
    table::{Table, percent, time},
    upstream::Registry,
};

/// Bytes of each project's wheel; nothing is read of them here but once.
const WHEEL: usize = 10_000;

/// # Errors
/// When anything but one conditional request a project was made: then it was no such sync.
pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let projects = effort.size(100, 3);
    let registry = Registry::start(projects, 1, WHEEL).await?;
    let home = reservoir.init()?;
    registry.apply_to(&home)?;
    home.run(&["sync", "python"])?;

    let (mut ours, mut serial, mut parallel) = (f64::MAX, f64::MAX, f64::MAX);
    let mut counts = Counts::default();
    for _ in 0..effort.rounds {
        let before = registry.requests().len();
        ours = ours.min(home.run(&["sync", "python"])?.seconds);
        counts = Counts::of(&registry, &registry.requests()[before..]);
        if counts != (Counts { conditional: projects, ..Counts::default() }) {
            return Err(format!("a sync of {projects} unchanged projects made {counts:?}").into());
        }
        serial = serial.min(by_curl(&registry, &[])?);
        parallel = parallel.min(by_curl(&registry, &["--parallel", "--parallel-max", "16"])?);
    }

    let columns = ["", "conditional requests", "other requests", "files fetched", "time", "of curl's time"];
    let mut table =
        Table::new(format!("A sync of {projects} unchanged projects ({})", curl::version()?), &columns);
    let none = || "0".to_owned();
    table.row([
        "`reservoir sync`".into(),
        format!("{} of {projects}", counts.conditional),
        counts.other.to_string(),
        counts.files.to_string(),
        time(ours),
        String::new(),
    ]);
    for (name, seconds) in [("curl, one connection", serial), ("curl, 16 connections", parallel)] {
        let asked = format!("{projects} of {projects}");
        table.row([name.into(), asked, none(), none(), time(seconds), percent(ours / seconds)]);
    }
    table.note(format!(
        "Whole processes from start to end, best of {}; every answer is 304. Ours opens the catalog, takes its \
         lease, records what it found and publishes nothing.",
        effort.rounds
    ));
    Ok(table)
}

/// What the registry was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    conditional: usize,
    other: usize,
    files: usize,
}

impl Counts {
    fn of(registry: &Registry, requests: &[Recorded]) -> Self {
        let mut counts = Self::default();
        let mut seen = std::collections::HashSet::new();
        for request in requests {
            let is_page = registry.pages.contains(&request.target);
            if request.target.starts_with("/files/") {
                counts.files += 1;
            } else if is_page && !request.header("if-none-match").is_empty() && seen.insert(&request.target) {
                counts.conditional += 1;
            } else {
                counts.other += 1;
            }
        }
        counts
    }
}

/// The same requests by curl, in one process; seconds.
fn by_curl(registry: &Registry, options: &[&str]) -> Result<f64> {
    let mut list = tempfile::NamedTempFile::new()?;
    for (at, page) in registry.pages.iter().enumerate() {
        let next = if at == 0 { "" } else { "next\n" };
        let (url, tag) = (registry.url(page), registry.tag(page).replace('"', "\\\""));
        writeln!(
            list,
            "{next}url = \"{url}\"\nheader = \"If-None-Match: {tag}\"\noutput = \"/dev/null\"\nsilent\nfail"
        )?;
    }
    let before = registry.requests().len();
    let started = Instant::now();
    let status = curl::command()
        .arg("--no-progress-meter")
        .args(options)
        .arg("--config")
        .arg(list.path())
        .status()
        .map_err(curl::missing)?;
    let seconds = started.elapsed().as_secs_f64();
    let counts = Counts::of(registry, &registry.requests()[before..]);
    if !status.success() || counts.conditional != registry.pages.len() {
        return Err(format!("curl: {status}, {counts:?}").into());
    }
    Ok(seconds)
}
