//! The command line: a contract that scripts rely on.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use reservoir_core::ecosystem::{Ecosystem, OptionSpec};

/// The name of standard input and output in the place of a file.
pub(crate) const STANDARD: &str = "-";

/// The width of help, in columns.
const WIDTH: usize = 100;

/// Carries packages and AI models from the internet, through inspection and approval, to unmodified clients.
///
/// A first run: `reservoir quickstart` mirrors a handful of real packages and serves them.
/// By hand: `reservoir init`, write a mirror.toml (see `reservoir help apply`), `reservoir apply mirror.toml`,
/// `reservoir sync REPO`, `reservoir serve`.
///
/// Exit status: 0 done; 1 failed; 2 wrong usage (arguments, or a mirror file, lock or list that says nonsense); 3 done,
/// but something expected is missing, blocked or waiting (and it is listed).
#[derive(Debug, Parser)]
#[command(name = "reservoir", version, max_term_width = WIDTH)]
pub(crate) struct Cli {
    /// The home directory: settings, keys, catalog and store. By default `reservoir` in `$XDG_DATA_HOME`, else in
    /// `~/.local/share`.
    #[arg(long, global = true, env = "RESERVOIR_HOME", hide_env_values = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Prints one JSON document instead of text, for a failure too: its kind and what it says.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Who acts, for history and audit: the login name by default. It is believed.
    #[arg(long, global = true, value_name = "NAME", env = "RESERVOIR_ACTOR", hide_env_values = true)]
    pub(crate) actor: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line, or ends the program with what is wrong with it, or with help. What an ecosystem
    /// adds to a repository is part of the help.
    pub(crate) fn read(ecosystems: &[&dyn Ecosystem]) -> Self {
        let mut help = APPLY_HELP.to_owned();
        for ecosystem in ecosystems {
            let of = format!("`ecosystem = \"{}\"` adds to a repository", ecosystem.id());
            keys(&mut help, &of, ecosystem.repository_options());
        }
        for ecosystem in ecosystems.iter().filter(|ecosystem| !ecosystem.registry_options().is_empty()) {
            let of = format!("`ecosystem = \"{}\"` adds to a registry", ecosystem.id());
            keys(&mut help, &of, ecosystem.registry_options());
        }
        let command = Self::command().mut_subcommand("apply", |apply| apply.after_long_help(help));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Whether standard output is a bundle, so that everything else has to be said elsewhere.
    pub(crate) fn gives_stream(&self) -> bool {
        matches!(&self.command, Command::Export(to) if to.out == Path::new(STANDARD) && !to.dry_run)
    }
}

fn keys(help: &mut String, of: &str, options: &[OptionSpec]) {
    *help += "\nKeys that ";
    *help += of;
    *help += ":\n";
    for option in options {
        *help += "\n  ";
        *help += option.key;
        let mut column = WIDTH;
        for word in option.help.split(' ') {
            if column + word.len() >= WIDTH {
                *help += "\n     ";
                column = 5;
            }
            *help += " ";
            *help += word;
            column += 1 + word.len();
        }
    }
    *help += "\n";
}

/// A revision: `requests@2.31.0`, `jq@1.6-2.1:amd64`, `org/name@main`.
#[derive(Debug, Args)]
pub(crate) struct RevisionArgs {
    /// The repository.
    pub(crate) repo: String,
    /// ARTIFACT@REVISION, for example `requests@2.31.0`.
    #[arg(value_name = "ARTIFACT@REVISION")]
    pub(crate) revision: String,
}

/// How files come into a folder.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FilesBy {
    Clone,
    Hardlink,
    Copy,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mirrors a handful of real packages from the index this machine's pip uses, serves them, prints the pip line.
    Quickstart {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:8470", value_name = "ADDR")]
        listen: String,
        /// Mirrors and prints, but does not serve.
        #[arg(long)]
        no_serve: bool,
    },
    /// Makes a home directory: settings, keys, an empty catalog and store. One that is there stays as it is.
    Init {
        /// The catalog: a SQLite file in the home by default, or `postgres://…`.
        #[arg(long, value_name = "URL")]
        catalog: Option<String>,
        /// The store: a folder in the home by default, or a path, or `s3://bucket/prefix?endpoint=…&region=…`.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// Adds and changes registries and repositories as FILE says; prints what changed.
    Apply {
        /// A TOML file.
        file: PathBuf,
        /// Removes what FILE does not mention.
        #[arg(long)]
        prune: bool,
    },
    /// Serves all repositories over HTTP, and syncs those that have a schedule.
    Serve {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:8470", value_name = "ADDR")]
        listen: String,
        /// A repository that stands at the root of the address, too, for clients that expect that.
        #[arg(long, value_name = "REPO")]
        root: Option<String>,
        /// Takes uploads into hosted repositories from anybody: on the loopback only, and not behind a proxy, whose
        /// clients would all be anybody.
        #[arg(long)]
        allow_anonymous_writes: bool,
        /// Lets other Reservoirs have this one as a registry: those whose key is trusted here.
        #[arg(long)]
        share: bool,
    },
    /// Records what the registries offer; pulls nothing.
    Scan { repo: String },
    /// Pulls SPEC… (or the configured selection), inspects, judges, publishes.
    Import {
        repo: String,
        /// What to pull, as the format writes it: `six==1.17.0`.
        spec: Vec<String>,
        /// Pulls exactly what a lock file names for the targets: uv.lock, pylock.toml, a hashed requirements.txt.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["spec", "solve", "dry_run"])]
        lock: Option<PathBuf>,
        /// Picks versions that go together for each target, and pulls those alone.
        #[arg(long)]
        solve: bool,
        /// Says what would be pulled and how much that is; pulls nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Scan, import what the selection wants, publish.
    Sync { repo: String },
    /// Lists repositories, or the revisions of one.
    List {
        repo: Option<String>,
        /// Only revisions with this status: SCANNED, AVAILABLE, `NEEDS_APPROVAL`…
        #[arg(long)]
        status: Option<String>,
    },
    /// Shows an artifact or one of its revisions, with its files.
    Show {
        repo: String,
        #[arg(value_name = "ARTIFACT[@REVISION]")]
        artifact: String,
    },
    /// Shows everything that happened to a revision: when, who, why.
    History(RevisionArgs),
    /// Lets a revision in that waits for a person, or lifts a block that its registry has taken back.
    Approve {
        #[command(flatten)]
        target: RevisionArgs,
        /// Why, for the history.
        #[arg(long, default_value = "approved")]
        reason: String,
    },
    /// Refuses a revision; if it was served, it stops being served at once.
    Reject {
        #[command(flatten)]
        target: RevisionArgs,
        /// Why, for the history and for clients that ask for it.
        #[arg(long, default_value = "rejected")]
        reason: String,
    },
    /// Marks a revision that was uploaded here, so that clients take it only when they ask for exactly that one.
    Yank {
        #[command(flatten)]
        target: RevisionArgs,
        /// Why, for clients that take it all the same.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Takes the mark of a yank away.
    Unyank(RevisionArgs),
    /// Drops the files of a revision and keeps what is known of it.
    Cleanup {
        #[command(flatten)]
        target: RevisionArgs,
        /// Why, for the history.
        #[arg(long, default_value = "cleaned up")]
        reason: String,
    },
    /// Puts files into a hosted repository: stored, inspected, judged, published. (Models come over HTTP, from the
    /// Hub's own clients.)
    Upload {
        repo: String,
        /// Files; a folder stands for the files in it.
        #[arg(required = true)]
        file: Vec<PathBuf>,
    },
    /// Selects models from a list and pulls them; rows that cannot be served are listed with their line.
    ImportList {
        /// A CSV file with a heading: displayName, path (`hf_model://ORG/NAME`), `network_arch`, `is_backbone`.
        file: PathBuf,
        /// The repository of models; not needed when there is one alone.
        #[arg(long)]
        repo: Option<String>,
    },
    /// Puts the files of a revision into a folder or a bucket, for programs to use.
    Materialize {
        #[command(flatten)]
        target: RevisionArgs,
        /// A folder that is to be made, or `s3://bucket/prefix?endpoint=…&region=…`.
        dest: String,
        /// How files come there: clone (shared blocks where the disk can, else copied), hardlink, copy.
        #[arg(long, value_name = "HOW", default_value = "clone")]
        files: FilesBy,
    },
    /// Says what of the newest snapshot cannot be installed from it alone, and why; exits with 3 if there is any.
    Check { repo: String },
    /// Publishes what became available since the last snapshot.
    Publish {
        repo: String,
        /// Even if nothing did: the same content with new dates and signatures.
        #[arg(long)]
        again: bool,
        /// Why, for the log.
        #[arg(short, long, default_value = "publish")]
        message: String,
    },
    /// Lists the snapshots of a repository, the newest first.
    Log { repo: String },
    /// Shows what differs between two snapshots (numbers or refs).
    Diff { repo: String, a: String, b: String },
    /// Publishes the content of an old snapshot again, as a new number.
    Rollback { repo: String, snapshot: String },
    /// Makes the content of TO equal to that of FROM, under the policy of TO.
    Promote { from: String, to: String },
    /// Checks that everything that is served is stored whole.
    ///
    /// Looks at what refs point to and at what caches have beside, and at the audit log's chain.
    Verify {
        /// Reads and hashes every byte of the store, whoever needs it, and every verification tree.
        #[arg(long)]
        deep: bool,
    },
    /// Forgets old snapshots and deletes blobs that nothing refers to.
    Gc {
        /// Snapshots kept at least, of each repository (never fewer than 3).
        #[arg(long, default_value_t = 10)]
        generations: u64,
        /// Days that snapshots are kept at least (never less than 1).
        #[arg(long, default_value_t = 30)]
        days: u64,
        /// Minutes that a blob nothing refers to is kept.
        #[arg(long, default_value_t = 60)]
        grace: u64,
    },
    /// Copies catalog, keys and settings to DIR; blobs and signed records are in the store.
    Backup { dir: PathBuf },
    /// Fills an empty catalog from the signed records in the store.
    Rebuild,
    /// The keys of bundles: shows this side's, pins those of others.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Writes a signed bundle of what a site does not have yet, to carry it across the gap.
    Export(ExportArgs),
    /// Takes bundles in: verified as a whole, then applied; any order of volumes, resumable.
    Load {
        /// Folders and volumes, or `-` for a stream on standard input.
        #[arg(required = true)]
        path: Vec<PathBuf>,
        /// Checks and says what would happen; changes nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Writes a signed list of what is here, for `export --have` on the outside.
    Inventory { out: PathBuf },
    /// Looks at a bundle without letting anything of it in.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Lists or cancels tasks.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Prints what a client needs to use a repository.
    ClientSetup {
        repo: String,
        /// The address that clients use.
        #[arg(long, default_value = "http://127.0.0.1:8470", value_name = "URL")]
        base_url: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// An empty folder (or one with an unfinished bundle, to go on with), or `-` for standard output.
    pub(crate) out: PathBuf,
    /// The repositories; by default those of the bundle before, all the first time.
    #[arg(value_name = "REPO")]
    pub(crate) repos: Vec<String>,
    /// The destination: bundles of one site follow each other.
    #[arg(long, value_name = "SITE", default_value = "default")]
    pub(crate) to: String,
    /// Everything, whatever the site was sent before.
    #[arg(long, conflicts_with_all = ["since", "have"])]
    pub(crate) full: bool,
    /// What changed since bundle SEQ, when later ones were lost.
    #[arg(long, value_name = "SEQ", conflicts_with = "have")]
    pub(crate) since: Option<u64>,
    /// What is missing from this signed inventory of the site (FILE.minisig beside it).
    #[arg(long, value_name = "FILE")]
    pub(crate) have: Option<PathBuf>,
    /// Cuts the bundle to media of this size: 25GB, 4480MiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) volume_size: Option<String>,
    /// Days after which the bundle is not taken any more.
    #[arg(long, value_name = "DAYS")]
    pub(crate) expires: Option<u64>,
    /// Sends changed models and packages whole, also where the pieces that changed would be much less.
    #[arg(long)]
    pub(crate) whole: bool,
    /// Adds recovery volumes, in per cent of the payload: so much may be damaged or lost on the way, and `load` makes
    /// it again.
    #[arg(long, value_name = "PCT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) parity: Option<u32>,
    /// Says sizes and media; writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Prints this side's public key, as a minisign key file.
    Show,
    /// Puts a new key in the place of this side's, signed by the old one.
    Rotate,
    /// Lists the keys whose bundles are taken.
    List,
    /// Takes bundles that are signed by the key in FILE (signed by a trusted one in FILE.minisig: its successor).
    Trust {
        file: PathBuf,
        /// What else is asked of what it brings: evidence (nothing), scanners (those here), person.
        #[arg(long, value_name = "HOW")]
        accept: Option<String>,
        /// Whose it is.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Takes no more bundles that are signed by a key.
    Distrust { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Checks the signature and prints what the bundle says of itself.
    Inspect {
        #[arg(required = true)]
        path: Vec<PathBuf>,
    },
    /// The same, and reads every byte.
    Verify {
        #[arg(required = true)]
        path: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// The newest tasks.
    List,
    /// Asks a task to stop, in whatever process it runs; it stays resumable.
    Cancel { id: i64 },
}

const APPLY_HELP: &str = r#"An example:

  [[registry]]
  name = "index"
  ecosystem = "pypi"
  url = "system"                  # what this machine's own pip is configured with, or an address

  [[repository]]
  name = "python"                 # served at http://HOST:PORT/python/simple/
  ecosystem = "pypi"
  registry = "index"              # or registries = ["a", "b"], the first that knows a name wins
  mode = "mirror"                 # mirror | cache | hosted
  # hosted = true                 # takes uploads too; their names are asked of no registry
  packages = ["six==1.17.0", "requests>=2.31,<3"]
  dependencies = true
  targets = [{ python = "3.11", platform = "manylinux_2_28_x86_64" }]
  approval = "automatic"          # automatic | manual
  publish = "automatic"           # automatic | manual
  schedule = "6h"                 # `serve` syncs it: 30m, 6h, 1d or a cron expression (UTC)

A registry may have `allowed_hosts = ["files.example.com"]`: then files may come from these hosts
and its own alone; `concurrency = 4` and `bandwidth = "10MiB"` say how much is asked of it at once.
With `ecosystem = "reservoir"` it is another Reservoir, pulled from with its decisions. A repository
may have `max_import = "500GB"`, above which a sync or import is refused with its size. Applying a
file again changes nothing; what it does not mention stays, unless --prune is given. A key that
nobody knows is an error, told with its line.
"#;
