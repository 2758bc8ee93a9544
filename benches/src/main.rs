//! `reservoir-bench`: Reservoir against its peers on the same bytes, in one run, as ratios.
//!
//! ```text
//! cargo build --profile dist -p reservoir-server -p reservoir-benches
//! target/dist/reservoir-bench all
//! ```
//!
//! The peers are nginx and wrk (`apt-get install nginx-light wrk`), curl, for apt aptly, reprepro and apt-sortpkgs
//! (`apt-get install aptly reprepro apt-utils`), and for caches and mirrors devpi-server,
//! pypiserver, bandersnatch and pip (`scripts/bench-peers`), for bundles GNU tar, gzip, zstd and
//! rsync. Every figure is the best of some
//! rounds for either side, the sides taking turns. What the figures were on a named machine is in `RESULTS.md`.

mod apt_noop;
mod apt_suite;
mod apt_upload;
mod binary;
mod bundle;
mod cache;
mod checkpoint;
mod curl;
#[path = "../../reservoir-apt/tests/support/deb.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::format_push_string,
    clippy::write_with_newline,
    reason = "made for tests"
)]
mod deb;
mod hub;
mod machine;
mod many;
mod memory;
mod mirror;
mod nginx;
mod noop_sync;
mod peers;
mod process;
mod record;
mod serve;
mod site;
#[cfg(test)]
mod smoke;
mod solvability;
mod table;
mod upstream;
mod wheel;
mod wrk;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

use crate::{binary::Reservoir, table::Table};

/// A benchmark reports to a person, who reads the message.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Compares Reservoir with its peers.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Tiny inputs and short rounds: shows that everything runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Rounds of which the best counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// The `reservoir` binary; beside this program by default.
    #[arg(long)]
    reservoir: Option<PathBuf>,
    /// Judges an index of packages and prints what it took; what the benchmark runs as a process of its own.
    #[arg(long, hide = true, value_name = "FILE")]
    judge: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    All,
    /// Pages and files against nginx.
    Serve,
    /// A pull-through cache against pip, devpi-server and pypiserver.
    Cache,
    /// A repository of models: `huggingface_hub` from us and from nginx, a mirror against curl and sha256sum.
    Hub,
    /// A mirror from nothing, against bandersnatch and pip.
    Mirror,
    /// A sync that finds nothing new, against curl.
    NoopSync,
    /// One new file in small and large repositories.
    Record,
    /// A sync of a whole apt suite that finds nothing new.
    AptNoop,
    /// A large apt index read and written back, against apt-sortpkgs and aptly.
    AptSuite,
    /// Small packages uploaded and published, against aptly and reprepro.
    AptUpload,
    /// Bundles written and taken in, against `cat`, `tar | gzip` with `sha256sum`, and `tar | zstd`.
    Bundle,
    /// A checkpoint in which a few tensors changed, across the gap, against rsync.
    Checkpoint,
    /// Bundles of very many small files: for the memory they take.
    Many,
    /// Peak memory of a sync and of serving under load.
    Memory,
    /// Which packages of a whole archive can be installed, against dose-debcheck.
    Solvability,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    quick: bool,
    rounds: u32,
    load: Duration,
}

impl Effort {
    /// Tiny inputs.
    const QUICK: Self = Self { quick: true, rounds: 1, load: Duration::from_secs(1) };

    /// The full size of an input, or the tiny one.
    fn size<T>(self, full: T, tiny: T) -> T {
        if self.quick { tiny } else { full }
    }
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "printing is what this program is for")]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<()> {
    if let Some(index) = &cli.judge {
        say(&solvability::judge(index)?);
        return Ok(());
    }
    let load = Duration::from_secs(cli.seconds);
    let effort =
        if cli.quick { Effort::QUICK } else { Effort { quick: false, rounds: cli.rounds.max(1), load } };
    let reservoir = || Reservoir::find(cli.reservoir.clone());
    let wants = |what| cli.what == What::All || cli.what == what;
    say(&machine::describe());
    if wants(What::Serve) {
        show(&serve::run(&reservoir()?, effort).await?);
    }
    if wants(What::Cache) {
        show(&cache::run(&reservoir()?, effort).await?);
    }
    if wants(What::Hub) {
        show(&[hub::run(&reservoir()?, effort)?]);
    }
    if wants(What::Mirror) {
        show(&[mirror::run(&reservoir()?, effort).await?]);
    }
    if wants(What::NoopSync) {
        show(&[noop_sync::run(&reservoir()?, effort).await?]);
    }
    if wants(What::Record) {
        show(&[record::run(effort).await?]);
    }
    if wants(What::AptSuite) {
        show(&[apt_suite::run(effort).await?]);
    }
    if wants(What::AptNoop) {
        show(&[apt_noop::run(&reservoir()?, effort).await?]);
    }
    if wants(What::AptUpload) {
        show(&[apt_upload::run(&reservoir()?, effort)?]);
    }
    if wants(What::Bundle) {
        show(&[bundle::run(&reservoir()?, effort).await?]);
    }
    if wants(What::Checkpoint) {
        show(&[checkpoint::run(&reservoir()?, effort)?]);
    }
    if wants(What::Many) {
        show(&[many::run(&reservoir()?, effort).await?]);
    }
    if wants(What::Memory) {
        show(&[memory::run(&reservoir()?, effort).await?]);
    }
    if wants(What::Solvability) {
        show(&[solvability::run(effort)?]);
    }
    Ok(())
}

fn show(tables: &[Table]) {
    for table in tables {
        say(&table.to_string());
    }
}

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn say(text: &str) {
    println!("{text}");
}
