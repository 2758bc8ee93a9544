//! The most memory that the program ever took: a sync of many files, and serving under load.

use crate::{
    Effort, Result,
    binary::Reservoir,
    process, serve,
    table::{Table, verdict},
    upstream::Registry,
    wrk,
};

/// Bytes.
const TARGET: u64 = 256 << 20;

/// Connections of the load.
const CONNECTIONS: u32 = 64;

pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let mut table = Table::new("Peak memory (VmHWM of the process)", &["what", "peak", "target"]);
    let mut row = |what: String, peak: u64| {
        let target = format!("{} MiB", TARGET >> 20);
        table.row([what, format!("{} MiB", peak >> 20), verdict(peak < TARGET, &target)]);
    };

    let (projects, versions) = effort.size((50, 10), (2, 2));
    let registry = Registry::start(projects, versions, effort.size(2_000_000, 20_000)).await?;
    let home = reservoir.init()?;
    registry.apply_to(&home)?;
    let sync = home.run(&["sync", "python"])?;
    let fetched = registry.requests().iter().filter(|request| request.target.starts_with("/files/")).count();
    if fetched != registry.files {
        return Err(format!("the sync fetched {fetched} of {} files", registry.files).into());
    }
    let megabytes = registry.bytes / 1_000_000;
    let rate = megabytes as f64 / sync.seconds;
    row(
        format!("sync of {fetched} wheels, {megabytes} MB, in {:.0} s ({rate:.0} MB/s)", sync.seconds),
        sync.peak_memory,
    );
    drop((home, registry));

    let site = serve::seed(reservoir, effort).await?;
    let server = site.home.serve(&[])?;
    let wheel = format!("{}{}", server.address, site.wheel_path);
    let page = format!("{}/python/simple/bigproject/", server.address);
    wrk::load(&wheel, &[], CONNECTIONS, effort.load)?;
    let peak = || process::peak_memory(server.pid()).ok_or("the server is gone");
    row(format!("serving a large wheel on {CONNECTIONS} connections"), peak()?);
    wrk::load(&page, &["Accept: application/vnd.pypi.simple.v1+json"], CONNECTIONS, effort.load)?;
    row(format!("and then a page of {} files on {CONNECTIONS} connections", site.files), peak()?);
    Ok(table)
}
