//! A pull-through cache: the first hit against pip straight from the index, later ones against devpi-server and
//! pypiserver.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use reservoir_core::testing::upstream::{Reply, Upstream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    Effort, Result,
    binary::{Home, Reservoir, Server},
    curl,
    peers::{self, Peer},
    table::{Table, time, verdict},
    wheel::wheel,
    wrk,
};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const ACCEPT_JSON: &str = "Accept: application/vnd.pypi.simple.v1+json";
const ACCEPT_HTML: &str = "Accept: text/html";

/// Of the time that pip takes without a cache, at most.
const FIRST_TARGET: f64 = 1.2;
/// Times devpi-server's requests a second, for a file that is here, at least.
const SECOND_TARGET: f64 = 5.0;
/// Times the peers' requests a second, for a page, at least.
const PAGE_TARGET: f64 = 10.0;

const CONNECTIONS: u32 = 8;
const MANY: &str = "bigproject";
const LARGE: &str = "bigwheel";
const SMALL: &str = "smallwheel";

/// The index in this process.
struct Index {
    upstream: Upstream,
    listed: Vec<String>,
}

pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<[Table; 3]> {
    let index = Index::start(effort).await?;
    // The clients are processes: the index needs its threads meanwhile.
    let reservoir = reservoir.clone();
    tokio::task::spawn_blocking(move || {
        let first = first(&reservoir, &index, effort)?;
        let (home, server) = cache(&reservoir, &index)?;
        let devpi = peers::devpi(&index.url())?;
        let second = second(&server, &devpi, effort)?;
        let page = pages(&server, &devpi, &peers::pypiserver(&index.listed)?, effort)?;
        drop((server, home));
        Ok([first, second, page])
    })
    .await?
}

impl Index {
    async fn start(effort: Effort) -> Result<Self> {
        let mut index = Self { upstream: Upstream::start().await, listed: Vec::new() };
        for (project, size) in [(LARGE, effort.size(64 << 20, 1 << 20)), (SMALL, 20_000)] {
            let (name, bytes) = wheel(project, "1.0", size)?;
            let file = index.file(&name, &format!("{:x}", Sha256::digest(&bytes)), bytes.len());
            index.upstream.route(format!("/files/{name}"), Reply::ok(bytes));
            index.page(project, &[file]);
        }
        let mut files = Vec::new();
        for number in 0..effort.size(4000, 40) {
            let name = format!("{MANY}-1.{number}-py3-none-any.whl");
            files.push(index.file(&name, &format!("{:x}", Sha256::digest(&name)), 1000 + number));
            index.listed.push(name);
        }
        index.page(MANY, &files);
        Ok(index)
    }

    fn file(&self, name: &str, sha256: &str, size: usize) -> Value {
        let url = self.upstream.url(&format!("/files/{name}"));
        json!({ "filename": name, "url": url, "hashes": { "sha256": sha256 }, "size": size,
                "requires-python": ">=3.9" })
    }

    fn page(&self, project: &str, files: &[Value]) {
        let page =
            json!({ "meta": { "api-version": "1.1" }, "name": project, "files": files, "versions": [] });
        let reply = Reply::ok(page.to_string()).content_type(JSON).etag("\"1\"");
        self.upstream.route(format!("/simple/{project}/"), reply);
    }

    fn url(&self) -> String {
        self.upstream.url("/simple/").to_string()
    }
}

/// A new cache of the index.
fn cache(reservoir: &Reservoir, index: &Index) -> Result<(Home, Server)> {
    let home = reservoir.init()?;
    let document = format!(
        "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"{}\"\n\n\
         [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\nmode = \"cache\"\n\
         fresh_for = \"1h\"\n",
        index.url(),
    );
    let file = home.folder().join("mirror.toml");
    std::fs::write(&file, document)?;
    home.run(&["apply", &file.display().to_string()])?;
    let server = home.serve(&[])?;
    Ok((home, server))
}

fn simple(server: &Server) -> String {
    format!("{}/python/simple/", server.address)
}

fn first(reservoir: &Reservoir, index: &Index, effort: Effort) -> Result<Table> {
    let columns = ["client", "what", "index", "cache, cold", "ratio", "target"];
    let mut table = Table::new("The first hit, against the index itself: seconds", &columns);
    let pip = peers::pip()?;
    for (what, project) in [("64 MB wheel", LARGE), ("20 kB wheel", SMALL)] {
        for client in ["pip", "curl"] {
            let mut best = [f64::INFINITY; 2];
            for _ in 0..effort.rounds {
                // Not measured: what a machine does once, at its start.
                let (home, server) = cache(reservoir, index)?;
                curl::fetch(&format!("{}unknown/", simple(&server)), &[]).err();
                for (best, url) in best.iter_mut().zip([index.url(), simple(&server)]) {
                    let begun = Instant::now();
                    match client {
                        "pip" => download(&pip, &url, project)?,
                        _ => drop(fetch(&url, project)?),
                    }
                    *best = best.min(begun.elapsed().as_secs_f64());
                }
                drop((server, home));
            }
            let ratio = best[1] / best[0];
            table.row([
                client.into(),
                what.into(),
                time(best[0]),
                time(best[1]),
                format!("{ratio:.2}"),
                if client == "pip" {
                    verdict(ratio <= FIRST_TARGET, &format!("under {FIRST_TARGET}"))
                } else {
                    String::new()
                },
            ]);
        }
    }
    table.note(
        "On the loopback, where the index costs nothing: curl's rows show what the cache adds to a page and a file \
         (SQL, fsync, inspection, hashing), pip's what a user sees.",
    );
    Ok(table)
}

fn download(pip: &std::path::Path, index: &str, project: &str) -> Result<()> {
    let target = tempfile::tempdir()?;
    let status = Command::new(pip)
        .args(["download", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"])
        .args(["--index-url", index, "--dest"])
        .arg(target.path())
        .arg(project)
        .env("PIP_CONFIG_FILE", "/dev/null")
        .stdin(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("pip download: {status}").into()) }
}

/// The page and the first file on it.
fn fetch(index: &str, project: &str) -> Result<Vec<u8>> {
    curl::fetch(&file_url(index, project)?, &[])
}

fn file_url(index: &str, project: &str) -> Result<String> {
    let page = curl::fetch(&format!("{index}{project}/"), &[ACCEPT_JSON])?;
    let page: Value = serde_json::from_slice(&page)?;
    let url = page["files"][0]["url"].as_str().ok_or("a page without files")?;
    if url.starts_with("http") {
        return Ok(url.to_owned());
    }
    // Enough of RFC 3986 for what servers write here: each `..` takes a segment.
    let mut base: Vec<&str> = index.trim_end_matches('/').split('/').collect();
    base.push(project);
    for segment in url.split('/') {
        match segment {
            ".." => drop(base.pop()),
            segment => base.push(segment),
        }
    }
    let absolute = base.join("/");
    Ok(absolute.split('#').next().unwrap_or_default().to_owned())
}

fn second(server: &Server, devpi: &Peer, effort: Effort) -> Result<Table> {
    let columns = ["file", "ours", "devpi-server", "ratio", "target"];
    let title =
        format!("A file that is here: requests a second, {}, {CONNECTIONS} connections", devpi.version);
    let mut table = Table::new(title, &columns);
    for (what, project) in [("20 kB wheel", SMALL), ("64 MB wheel", LARGE)] {
        let sides = [simple(server), devpi.index.clone()];
        let mut urls = Vec::new();
        for index in &sides {
            fetch(index, project)?;
            urls.push(file_url(index, project)?);
        }
        let [ours, theirs] = turns(&[&urls[0], &urls[1]], &[], effort)?;
        let ratio = ours / theirs;
        table.row([
            what.into(),
            format!("{ours:.1}/s"),
            format!("{theirs:.1}/s"),
            format!("{ratio:.1}"),
            verdict(ratio >= SECOND_TARGET, &format!("{SECOND_TARGET} times")),
        ]);
    }
    Ok(table)
}

fn pages(server: &Server, devpi: &Peer, pypiserver: &Peer, effort: Effort) -> Result<Table> {
    let columns = ["page", "peer", "ours", "theirs", "ratio", "target"];
    let title = format!("A page of {} files: requests a second", effort.size(4000, 40));
    let mut table = Table::new(title, &columns);
    for (what, accept, peer) in
        [("JSON", ACCEPT_JSON, devpi), ("HTML", ACCEPT_HTML, devpi), ("HTML", ACCEPT_HTML, pypiserver)]
    {
        let urls = [simple(server), peer.index.clone()].map(|index| format!("{index}{MANY}/"));
        for url in &urls {
            curl::fetch(url, &[accept])?;
        }
        let [ours, theirs] = turns(&[&urls[0], &urls[1]], &[accept], effort)?;
        let ratio = ours / theirs;
        table.row([
            what.into(),
            peer.version.clone(),
            format!("{ours:.0}/s"),
            format!("{theirs:.1}/s"),
            format!("{ratio:.0}"),
            verdict(ratio >= PAGE_TARGET, &format!("{PAGE_TARGET} times")),
        ]);
    }
    table.note(format!(
        "{CONNECTIONS} connections, best of {} rounds of {} s for each side, in turns.",
        effort.rounds,
        effort.load.as_secs()
    ));
    Ok(table)
}

/// The best requests a second of each address.
fn turns(urls: &[&str; 2], headers: &[&str], effort: Effort) -> Result<[f64; 2]> {
    let mut best = [0.0_f64; 2];
    for _ in 0..effort.rounds {
        for (url, best) in urls.iter().zip(&mut best) {
            *best = best.max(wrk::load(url, headers, CONNECTIONS, effort.load)?.requests);
        }
    }
    Ok(best)
}
