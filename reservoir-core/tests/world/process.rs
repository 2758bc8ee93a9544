//! Jobs that run in a process of their own, so that they can be killed: the test binary started again.
//!
//! A job says what it has done by lines on its standard output (`ACK …`), each written by one system call.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reservoir_core::{
    Engine, Medium, Retention,
    catalog::{Catalog, CatalogOptions},
    clock::{Clock, Timestamp},
    ecosystem::Upload,
    store::Store,
    testing::{
        fault_store::{Fault, FaultStore, Plan},
        toy::ToyFile,
    },
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{ann, over, own, split, store, sync, tools};

const JOB: &str = "RESERVOIR_TEST_JOB";

/// The file in the world's folder that a paused process waits for.
const GO: &str = "go";

/// What a process is started for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub kind: Kind,
    pub folder: PathBuf,
    pub catalog: String,
    /// Ends the process at this call of the catalog's hook (two a commit), counted from 1.
    #[serde(default)]
    pub catalog_abort: Option<u64>,
    /// Ends the process before (`false`) or after this write of the store, counted from 1.
    #[serde(default)]
    pub store_abort: Option<(u64, bool)>,
    #[serde(default)]
    pub off: Off,
}

/// What is switched off, to see that the tests would notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Off {
    #[default]
    Nothing,
    Fencing,
    Pinning,
    Durability,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Sync, reject, roll back, collect garbage.
    Life,
    /// Sync once.
    Sync,
    /// Publish; says `paused` after its first pin and goes on after [`Running::go_on`].
    PausedPublish,
    /// Changes and publishes ten times.
    Churn,
    /// Collects garbage without grace until killed, slowly.
    Collect,
    /// Collects garbage twice; the second time it says `deleting` between the sentence and the deed, and goes on
    /// after [`Running::go_on`].
    PausedCollect,
    /// Writes to the catalog, acknowledging each write.
    Write,
    /// Loads the bundles that lie in its folder.
    Load,
}

impl Job {
    pub fn new(kind: Kind, folder: &Path, catalog: &str) -> Self {
        let (folder, catalog) = (folder.to_owned(), catalog.to_owned());
        Self { kind, folder, catalog, catalog_abort: None, store_abort: None, off: Off::Nothing }
    }

    pub fn without(mut self, off: Off) -> Self {
        self.off = off;
        self
    }

    /// A command that runs the job in a new process.
    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "child", "--nocapture"])
            .env(JOB, serde_json::to_string(self).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub fn start(&self) -> Running {
        let mut child = self.command().spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines, folder: self.folder.clone() }
    }

    /// Runs the job to its end or to its planned death; what it said.
    pub async fn run(&self) -> Vec<String> {
        let run = async {
            let mut running = self.start();
            let mut said = Vec::new();
            while let Some(line) = running.next().await {
                said.push(line);
            }
            running.child.wait().await.unwrap();
            said
        };
        tokio::time::timeout(Duration::from_mins(2), run).await.expect("a job ends within two minutes")
    }
}

/// A process at work on a job.
pub struct Running {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Running {
    /// The next thing it says, without `ACK`; `None` when it ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            if let Some(said) = line.strip_prefix("ACK ") {
                return Some(said.to_owned());
            }
        }
    }

    pub async fn wait_for(&mut self, what: &str) {
        let wait = async {
            while let Some(line) = self.next().await {
                if line == what {
                    return;
                }
            }
            panic!("the job ended without saying `{what}`");
        };
        tokio::time::timeout(Duration::from_mins(1), wait).await.expect("the job speaks within a minute");
    }

    /// Lets it go on from where it paused.
    pub fn go_on(&self) {
        std::fs::write(self.folder.join(GO), "").unwrap();
    }
}

/// Stops all that this process does (its runtime has one thread, and this is it) until it may go on; a minute at
/// most, so that nothing is left of a test that failed.
fn pause(what: &str, go: &Path) {
    acknowledge(what);
    let end = Instant::now() + Duration::from_mins(1);
    while !go.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tells the parent; the leading line end keeps apart what the test harness prints.
pub fn acknowledge(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nACK {what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Opens a catalog without waiting for the disk, on a clock that `ahead` moves.
pub async fn catalog(url: &str, ahead: Duration) -> Catalog {
    let clock = Clock::manual(Timestamp::now().plus(ahead));
    Catalog::open(url, CatalogOptions { clock, durable: false, ..CatalogOptions::default() }).await.unwrap()
}

/// What the ignored test `child` of each test binary calls.
pub async fn work() {
    let job = std::env::var(JOB).expect("started by the other tests");
    let job: Job = serde_json::from_str(&job).unwrap();
    let options = CatalogOptions {
        // Generations are a second apart; the clock is moved instead of waited for.
        clock: if matches!(job.kind, Kind::Life | Kind::Load) {
            Clock::manual(Timestamp::now())
        } else {
            Clock::System
        },
        durable: job.kind == Kind::Write && job.off != Off::Durability,
        fencing: job.off != Off::Fencing,
        pinning: job.off != Off::Pinning,
    };
    let catalog = Catalog::open(&job.catalog, options).await.unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let (counted, clock, abort) = (Arc::clone(&calls), catalog.clock().clone(), job.catalog_abort);
    let (kind, paused, go) = (job.kind, AtomicU64::new(0), job.folder.join(GO));
    catalog.on_write(Arc::new(move |operation| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        if abort == Some(call) {
            std::process::abort();
        }
        let committed = call % 2 == 0;
        match (kind, operation) {
            (Kind::Life, "commit a snapshot") if committed => clock.advance(Duration::from_secs(2)),
            (Kind::PausedPublish, "pin blobs") if committed && paused.fetch_add(1, Ordering::SeqCst) == 0 => {
                pause("paused", &go);
            }
            // Between the sentence and the deed.
            (Kind::Collect, "start deleting blobs") if committed => {
                std::thread::sleep(Duration::from_millis(20));
            }
            // The first run finds nothing condemned.
            (Kind::PausedCollect, "start deleting blobs")
                if committed && paused.fetch_add(1, Ordering::SeqCst) == 1 =>
            {
                pause("deleting", &go);
            }
            _ => {}
        }
    }));
    let plan = job.store_abort.map(|(at, after)| Plan {
        at,
        fault: if after { Fault::AbortAfter } else { Fault::Abort },
        lasting: false,
    });
    let faulty = FaultStore::new(store(&job.folder).await);
    faulty.set_plan(plan);
    let faulty = Arc::new(faulty);
    let engine = over(&job.folder, catalog, Arc::clone(&faulty) as Arc<dyn Store>).build().unwrap();
    match job.kind {
        Kind::Life => {
            life(&engine, true).await;
            acknowledge(format!("count {} {}", calls.load(Ordering::SeqCst), faulty.writes()));
        }
        Kind::Load => {
            load_all(&engine, &job.folder).await;
            acknowledge(format!("count {} {}", calls.load(Ordering::SeqCst), faulty.writes()));
        }
        Kind::Sync => {
            let result = match engine.sync(&tools(), ann()).await {
                Ok(task) => task.wait().await,
                Err(error) => Err(error),
            };
            match result {
                Ok(report) => acknowledge(format!("synced {}", report.fetched_files)),
                Err(error) => acknowledge(format!("{:?}", error.kind())),
            }
        }
        Kind::PausedPublish => match engine.publish(&tools(), ann(), "from before the pause").await {
            Ok(snapshot) => acknowledge(format!("published {}", snapshot.map_or(0, |s| s.number))),
            Err(error) => acknowledge(format!("error {error}")),
        },
        Kind::Churn => churn(&engine).await,
        Kind::Collect => loop {
            engine.collect_garbage(no_grace()).await.unwrap();
            acknowledge("collected");
        },
        Kind::PausedCollect => {
            for _ in 0..2 {
                engine.collect_garbage(no_grace()).await.unwrap();
            }
            acknowledge("collected");
        }
        Kind::Write => {
            for number in 0..10 {
                acknowledge(format!("before {number}"));
                let name = format!("publish/{number}");
                engine.catalog().acquire_lease(&name, "nobody", Duration::from_secs(1)).await.unwrap();
                acknowledge(format!("after {number}"));
            }
        }
    }
    engine.catalog().close().await;
}

/// The folders of the bundles that [`Kind::Load`] loads, one after the other.
pub const BUNDLES: [&str; 2] = ["1", "2"];

/// Loads each of the bundles, unless it was applied before.
pub async fn load_all(engine: &Engine, folder: &Path) {
    for bundle in BUNDLES {
        let medium = Medium::Paths(vec![folder.join(bundle)]);
        let loaded = engine.load(medium, false, ann()).await.unwrap().wait().await.unwrap();
        let applied = loaded.iter().filter(|one| one.applied || one.already).map(|one| one.sequence).max();
        assert!(applied.is_some(), "{loaded:?}");
        acknowledge(format!("applied {}", applied.unwrap_or_default()));
    }
}

/// What a life uploads into [`own`].
pub fn uploaded() -> Vec<ToyFile> {
    let file = |minor| ToyFile::new("saw", &format!("1.{minor}"), None, &[], 2000);
    (0..8).map(file).collect()
}

/// A repository's life: everything that writes. A second time it changes nothing that is done.
pub async fn life(engine: &Engine, rolls_back: bool) {
    let report = sync(engine).await;
    if let Some(number) = report.published {
        acknowledge(format!("published {number}"));
    }
    let uploads = engine.scratch().join("uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    let uploads = uploaded().into_iter().map(|file| {
        let path = uploads.join(&file.file);
        std::fs::write(&path, &file.bytes).unwrap();
        Upload { name: file.file, path }
    });
    let report = engine.receive(&own(), uploads.collect(), ann()).await.unwrap().wait().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    // What a crash left over between the batch and the publish.
    engine.publish(&own(), ann(), "what a crash left over").await.unwrap();
    acknowledge("uploaded");
    let (artifact, revision) = split("hammer@1.0");
    engine.reject(&tools(), &artifact, &revision, ann(), "too heavy".into()).await.unwrap();
    engine.publish(&tools(), ann(), "what a crash left over").await.unwrap();
    let repository = engine.catalog().repository(&tools()).await.unwrap();
    let head = engine.catalog().resolve(repository.id, "main").await.unwrap();
    acknowledge(format!("published {}", head.number));
    if rolls_back {
        let snapshot = engine.rollback(&tools(), "1", ann()).await.unwrap();
        acknowledge(format!("published {}", snapshot.number));
    }
    // The first run condemns, the second deletes.
    for _ in 0..2 {
        engine.collect_garbage(no_grace()).await.unwrap();
    }
    acknowledge("collected");
}

pub fn no_grace() -> Retention {
    Retention { grace: Duration::ZERO, ..Retention::default() }
}

/// Rejects and lets in again, publishing each time; another process does the same.
async fn churn(engine: &Engine) {
    let (artifact, revision) = split("hammer@1.0");
    let mut published = 0;
    // Two that undo each other's work may have nothing to publish for a while.
    for _ in 0..50 {
        let reason = || "churn".to_owned();
        // The other process may have been first, which is a conflict and no harm.
        let _ = engine.reject(&tools(), &artifact, &revision, ann(), reason()).await;
        let _ = engine.cleanup(&tools(), &artifact, &revision, ann(), reason()).await;
        if let Ok(task) = engine.sync(&tools(), ann()).await
            && let Ok(report) = task.wait().await
            && let Some(number) = report.published
        {
            acknowledge(format!("published {number}"));
            published += 1;
        }
        if let Some(snapshot) = engine.publish(&tools(), ann(), "churn").await.unwrap() {
            acknowledge(format!("published {}", snapshot.number));
            published += 1;
        }
        if published >= 3 {
            break;
        }
    }
    acknowledge("done");
}
