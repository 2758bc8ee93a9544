//! Project pages and files from our server, against nginx with the same bytes as static files.

use reservoir_core::{snapshot::InstanceKey, store::StoreExt as _};

use crate::{
    Effort, Result,
    binary::{Home, Reservoir, Server},
    curl,
    nginx::{self, Nginx},
    process,
    site::{self, Site},
    table::{Table, percent, time, verdict},
    wheel, wrk,
};

const CONNECTIONS: [u32; 3] = [1, 16, 64];
const ACCEPT_JSON: &str = "Accept: application/vnd.pypi.simple.v1+json";
const ACCEPT_HTML: &str = "Accept: text/html";
const ACCEPT_GZIP: &str = "Accept-Encoding: gzip";

/// Of nginx's requests a second, for pages.
const PAGE_TARGET: f64 = 0.5;
/// Of nginx's bytes a second, for files that are verified as they are read.
const FILE_TARGET: f64 = 0.4;
/// The same when what was verified is remembered for a minute.
const REMEMBERED_TARGET: f64 = 0.8;
/// Bytes a second a core, for files, at least.
const CORE_TARGET: f64 = 1e9;

const PROJECT: &str = "bigproject";
const WHEEL_PROJECT: &str = "bigwheel";

/// A home with one project of many files and one large wheel.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) home: Home,
    pub(crate) wheel_path: String,
    pub(crate) files: usize,
}

/// What is asked for, of us and of nginx.
struct Case<'a> {
    name: String,
    url: String,
    headers: &'a [&'a str],
    /// The name of the same bytes at nginx.
    peer: &'a str,
}

/// The best round of one side.
#[derive(Debug, Clone, Copy)]
struct Best {
    load: wrk::Load,
    /// Bytes for each second of processor time.
    core: f64,
    /// The same with wrk's processor time added.
    both: f64,
}

pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<[Table; 2]> {
    let (nginx_version, wrk_version) = (nginx::version()?, wrk::version()?);
    let site = seed(reservoir, effort).await?;
    let server = site.home.serve(&[])?;
    let page = format!("{}/python/simple/{PROJECT}/", server.address);
    let wheel_url = |server: &Server| format!("{}{}", server.address, site.wheel_path);

    let pages: [(&str, &[&str], &str); 4] = [
        ("JSON", &[ACCEPT_JSON], "page.json"),
        ("JSON, gzip", &[ACCEPT_JSON, ACCEPT_GZIP], "page.json"),
        ("HTML", &[ACCEPT_HTML], "page.html"),
        ("HTML, gzip", &[ACCEPT_HTML, ACCEPT_GZIP], "page.html"),
    ];
    let mut bodies = Vec::new();
    for (_, headers, name) in pages {
        let name = if headers.contains(&ACCEPT_GZIP) { format!("{name}.gz") } else { name.to_owned() };
        bodies.push((name, curl::fetch(&page, headers)?));
    }
    bodies.push(("wheel.whl".into(), curl::fetch(&wheel_url(&server), &[])?));
    let files: Vec<(&str, &[u8])> = bodies.iter().map(|(name, bytes)| (name.as_str(), &**bytes)).collect();
    let nginx = Nginx::start(&files)?;
    let of = |name: &str, unit| format!("{name}: {unit}, {nginx_version}, {wrk_version}");

    let columns =
        ["page", "bytes", "connections", "ours", "nginx", "ratio", "target", "p99 ours", "p99 nginx"];
    let title = format!("A project page of {} files", site.files);
    let mut page_table = Table::new(of(&title, "requests a second"), &columns);
    for ((name, headers, peer), (_, body)) in pages.into_iter().zip(&bodies) {
        same(&curl::fetch(&format!("{}/{peer}", nginx.address), headers)?, body, name)?;
        let case = Case { name: name.into(), url: page.clone(), headers, peer };
        for connections in CONNECTIONS {
            let (ours, theirs) = compare(&case, &server, &nginx, connections, effort, |load| load.requests)?;
            let ratio = ours.load.requests / theirs.load.requests;
            page_table.row([
                case.name.clone(),
                body.len().to_string(),
                connections.to_string(),
                format!("{:.0}/s", ours.load.requests),
                format!("{:.0}/s", theirs.load.requests),
                percent(ratio),
                verdict(ratio >= PAGE_TARGET, &percent(PAGE_TARGET)),
                time(ours.load.p99),
                time(theirs.load.p99),
            ]);
        }
    }
    page_table.note(footnote(effort));

    let columns = [
        "file",
        "connections",
        "ours",
        "nginx",
        "ratio",
        "target",
        "ours a core",
        "nginx a core",
        "ours and wrk",
        "nginx and wrk",
    ];
    let megabytes = bodies[4].1.len() / 1_000_000;
    let mut file_table = Table::new(of(&format!("A wheel of {megabytes} MB"), "bytes a second"), &columns);
    file_rows(&mut file_table, "verified", &server, &wheel_url(&server), &nginx, effort, FILE_TARGET)?;
    drop(server);
    remember(&site.home)?;
    let server = site.home.serve(&[])?;
    same(&curl::fetch(&wheel_url(&server), &[])?, &bodies[4].1, "wheel")?;
    let name = "remembered 60 s";
    file_rows(&mut file_table, name, &server, &wheel_url(&server), &nginx, effort, REMEMBERED_TARGET)?;
    file_table.note(footnote(effort));
    file_table.note(
        "The last four columns are bytes for each second of processor time, of the server alone and of the server \
         with wrk: what sendfile saves nginx, the reading side pays on the loopback. They hold on a busy machine \
         too, where the ratio of wall-clock rates does not.",
    );
    Ok([page_table, file_table])
}

fn footnote(effort: Effort) -> String {
    format!(
        "Best of {} rounds of {} s for each side, in turns; server, nginx and wrk share the same cores.",
        effort.rounds,
        effort.load.as_secs()
    )
}

fn file_rows(
    table: &mut Table,
    name: &str,
    server: &Server,
    url: &str,
    nginx: &Nginx,
    effort: Effort,
    target: f64,
) -> Result<()> {
    let case = Case { name: name.into(), url: url.to_owned(), headers: &[], peer: "wheel.whl" };
    for connections in CONNECTIONS {
        let (ours, theirs) = compare(&case, server, nginx, connections, effort, |load| load.bytes)?;
        let ratio = ours.load.bytes / theirs.load.bytes;
        let rate = |bytes: f64| format!("{:.2} GB/s", bytes / 1e9);
        let met = ratio >= target && ours.core >= CORE_TARGET;
        table.row([
            case.name.clone(),
            connections.to_string(),
            rate(ours.load.bytes),
            rate(theirs.load.bytes),
            percent(ratio),
            verdict(met, &format!("{}, 1 GB/s a core", percent(target))),
            rate(ours.core),
            rate(theirs.core),
            rate(ours.both),
            rate(theirs.both),
        ]);
    }
    Ok(())
}

/// Loads both sides in turns and takes the best round of each.
fn compare(
    case: &Case<'_>,
    server: &Server,
    nginx: &Nginx,
    connections: u32,
    effort: Effort,
    figure: impl Fn(&wrk::Load) -> f64,
) -> Result<(Best, Best)> {
    let peer = format!("{}/{}", nginx.address, case.peer);
    let sides = [(case.url.as_str(), server.pid()), (peer.as_str(), nginx.pid())];
    let mut best = [None::<Best>; 2];
    for _ in 0..effort.rounds {
        for ((url, pid), best) in sides.iter().zip(&mut best) {
            let before = process::cpu_seconds(*pid);
            let load = wrk::load(url, case.headers, connections, effort.load)?;
            let cpu = process::cpu_seconds(*pid) - before;
            if best.is_none_or(|best| figure(&load) > figure(&best.load)) {
                let bytes = load.bytes * load.seconds;
                let (core, both) = (bytes / cpu.max(0.01), bytes / (cpu + load.cpu).max(0.01));
                *best = Some(Best { load, core, both });
            }
        }
    }
    match best {
        [Some(ours), Some(theirs)] => Ok((ours, theirs)),
        _ => Err("no round was run".into()),
    }
}

fn same(found: &[u8], expected: &[u8], what: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {} and {} bytes, and not the same", found.len(), expected.len()).into())
}

/// Makes the home that is served.
pub(crate) async fn seed(reservoir: &Reservoir, effort: Effort) -> Result<Served> {
    let files = effort.size(4000, 20);
    let home = reservoir.init()?;
    let site = Site::open(home.folder(), false).await?;
    let key = InstanceKey::load(home.folder().join("keys/instance.key"))?;
    let (name, bytes) = wheel::wheel(WHEEL_PROJECT, "1.0", effort.size(100_000_000, 1_000_000))?;
    let blob = site.store.put_bytes(bytes.into()).await?;
    let mut entries = Vec::new();
    for number in 0..files {
        let version = format!("1.{}", 1000 + number);
        let file = format!("{PROJECT}-{version}-py3-none-any.whl");
        let sidecar = format!("{file}.metadata");
        entries.push(site::entry(PROJECT, &file, &version, site::phantom(&file)));
        entries.push(site::entry(PROJECT, &sidecar, &version, site::phantom(&sidecar)));
    }
    entries.push(site::entry(WHEEL_PROJECT, &name, "1.0", blob));
    site.publish(Box::pin(futures::stream::iter(entries)), &key).await?;
    let place = blob.sha256.to_string();
    let wheel_path = format!("/python/packages/{}/{}/{}/{name}", &place[..2], &place[2..4], &place[4..]);
    Ok(Served { home, wheel_path, files })
}

/// Tells the home's server to remember for a minute what it verified.
fn remember(home: &Home) -> Result<()> {
    let file = home.folder().join("reservoir.toml");
    let settings = std::fs::read_to_string(&file)?;
    Ok(std::fs::write(file, format!("remember_verified_seconds = 60\n{settings}"))?)
}
