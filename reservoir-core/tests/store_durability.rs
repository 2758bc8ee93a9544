//! Durable before `Ok`: the system calls of a child process, replayed against a model of a disk that loses power.
//!
//! The model: bytes of a file survive once the file was synced after they were written; a name survives once its
//! directory was synced after the name was given (fsync(2)). The child says on its standard output which digest
//! was acknowledged; at that instant everything it needs has to survive.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use futures::StreamExt as _;
use reservoir_core::{
    digest::Sha256Digest,
    store::{
        Blob, ObjectBlobs, ObjectStoreOptions, PutOptions, RecordKey, StagedBlob, Store as _, StoreExt as _,
        tree::{self, TreeBuilder},
    },
};

const ROOT: &str = "RESERVOIR_DURABILITY_ROOT";
const FSYNC: &str = "RESERVOIR_DURABILITY_FSYNC";

const CALLS: &str = "trace=openat,creat,open,write,pwrite64,writev,ftruncate,fsync,fdatasync,syncfs,rename,renameat,\
                     renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat,copy_file_range,sendfile";

/// Blobs in the batches: few are synced one by one, many by one call for all of the file system.
const BATCHES: [u32; 3] = [2, 5, 60];

#[test]
fn what_is_acknowledged_survives() {
    let found = replay(true);
    assert_eq!(found.violations, Vec::<String>::new());
    assert_eq!(found.acknowledged, 15 + BATCHES.len(), "the child ran to its end");
}

/// The model would notice: without syncing nothing survives.
#[test]
fn the_model_sees_what_is_not_synced() {
    let found = replay(false);
    assert!(found.violations.len() >= 15 + BATCHES.len(), "{:?}", found.violations);
}

/// Run by the other tests, under strace.
#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    let root = PathBuf::from(env::var_os(ROOT).expect("started by the other tests"));
    let fsync = env::var_os(FSYNC).is_some_and(|value| value == "true");
    let options = ObjectStoreOptions { fsync, ..ObjectStoreOptions::default() };
    let store = ObjectBlobs::local(root.join("store"), options).await.unwrap();
    let line = uuid::Uuid::nil();
    // The last are the first bytes again: nothing is assumed to be durable because it exists.
    for (number, size) in [(1, 10), (2, 200_000), (3, 3_000_000), (1, 10)] {
        let bytes = vec![number as u8; size];
        let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
        acknowledge(&blob_paths(&blob));

        let mut pieces: Vec<_> = bytes.chunks(40_000).map(|piece| Ok(piece.to_vec().into())).collect();
        pieces.push(Ok("+".into()));
        let blob = store.put(futures::stream::iter(pieces).boxed(), PutOptions::default()).await.unwrap();
        acknowledge(&blob_paths(&blob));

        let source = root.join("source");
        fs::write(&source, [&bytes[..], b"-"].concat()).unwrap();
        let blob = store.put_file(&source, PutOptions::default()).await.unwrap();
        acknowledge(&blob_paths(&blob));
    }
    for number in [1, 1, 2] {
        let key = RecordKey { line, number, fence: 7 };
        store.put_record(key, format!("record {number}").into()).await.unwrap();
        acknowledge(&[format!("records/{line}/{number:020}-{:020}", 7)]);
    }
    for batch in BATCHES {
        let staged: Vec<StagedBlob> = (0..batch).map(|number| stage(&store, batch, number)).collect();
        let paths: Vec<String> = staged.iter().flat_map(|staged| blob_paths(&staged.blob)).collect();
        store.adopt(staged).await.unwrap();
        acknowledge(&paths);
    }
}

/// A blob in files of its own, which nobody synced; every third has a tree.
fn stage(store: &ObjectBlobs, batch: u32, number: u32) -> StagedBlob {
    let size = if number.is_multiple_of(3) { 100_000 } else { 100 };
    let bytes: Vec<u8> =
        batch.to_le_bytes().into_iter().chain(number.to_le_bytes()).cycle().take(size).collect();
    let mut builder = TreeBuilder::default();
    builder.update(&bytes);
    let tree = builder.finish();
    let blob = Blob { sha256: Sha256Digest::of(&bytes), blake3: tree.root(), size: size as u64 };
    let folder = store.staging();
    let staged = StagedBlob {
        blob,
        path: folder.join(format!("reservoir-staged-{batch}-{number}")),
        tree: folder.join(format!("reservoir-staged-{batch}-{number}-tree")),
    };
    fs::write(&staged.path, &bytes).unwrap();
    if tree::is_stored(blob.size) {
        fs::write(&staged.tree, tree.encode()).unwrap();
    }
    staged
}

fn blob_paths(blob: &Blob) -> Vec<String> {
    let hex = blob.sha256.to_string();
    let place = |kind: &str| format!("{kind}/{}/{}/{hex}", &hex[..2], &hex[2..4]);
    let mut paths = vec![place("sha256")];
    if blob.size > 64 * 1024 {
        paths.push(place("tree"));
    }
    paths
}

/// One line, one system call.
fn acknowledge(paths: &[String]) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nACK {} .\n", paths.join(" ")).as_bytes()).unwrap();
    out.flush().unwrap();
}

struct Found {
    acknowledged: usize,
    violations: Vec<String>,
}

fn replay(fsync: bool) -> Found {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let log = root.join("strace.log");
    let output = Command::new("strace")
        .args(["-f", "-y", "-s", "20000", "-e", CALLS, "-o"])
        .arg(&log)
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env(ROOT, &root)
        .env(FSYNC, fsync.to_string())
        .output()
        .expect("strace runs: run scripts/test, which installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut model = Model::new(&root);
    let mut unfinished = HashMap::new();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let (process, call) = line.split_once(char::is_whitespace).expect("`-f` names the process");
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(process.to_owned(), start.to_owned());
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let start = unfinished.remove(process).expect("what is resumed was begun");
            let rest = rest.split_once("resumed>").expect("strace's form").1;
            model.apply(&format!("{start}{rest}"));
        } else {
            model.apply(call);
        }
    }
    Found { acknowledged: model.acknowledged, violations: model.violations }
}

/// A file system that remembers what would survive.
struct Model {
    base: PathBuf,
    store: PathBuf,
    /// Names now, and names that survive: each to the number of a file or directory.
    names: HashMap<PathBuf, u64>,
    surviving: HashMap<PathBuf, u64>,
    /// Files with bytes that do not survive.
    dirty: HashSet<u64>,
    files: u64,
    acknowledged: usize,
    violations: Vec<String>,
}

impl Model {
    fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            store: base.join("store"),
            names: HashMap::new(),
            surviving: HashMap::new(),
            dirty: HashSet::new(),
            files: 0,
            acknowledged: 0,
            violations: Vec::new(),
        }
    }

    fn create(&mut self, path: &Path) -> u64 {
        self.files += 1;
        self.names.insert(path.to_owned(), self.files);
        self.files
    }

    /// Applies one finished call, as strace prints it with `-y`.
    fn apply(&mut self, call: &str) {
        let Some((name, rest)) = call.split_once('(') else { return };
        // The result stands in a column of its own: blanks of any number before it.
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        if result.starts_with('-') {
            return;
        }
        let quoted: Vec<PathBuf> = arguments.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
        let descriptor =
            arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
        match name {
            "write" if arguments.contains("\\nACK ") => self.acknowledge(arguments),
            "write" | "pwrite64" | "writev" | "ftruncate" | "copy_file_range" | "sendfile" => {
                // `copy_file_range` and `sendfile` would need their second descriptor.
                assert!(!name.contains("file"), "the model does not know {call}");
                if let Some(file) = descriptor.and_then(|path| self.names.get(Path::new(path))) {
                    self.dirty.insert(*file);
                }
            }
            "syncfs" => {
                self.dirty.clear();
                self.surviving = self.names.clone();
            }
            "fsync" | "fdatasync" => self.sync(Path::new(descriptor.expect("`-y` prints paths"))),
            "open" | "openat" | "creat" if arguments.contains("O_CREAT") || name == "creat" => {
                let path = &quoted[0];
                if path.starts_with(&self.base) && !self.names.contains_key(path) {
                    let file = self.create(path);
                    self.dirty.insert(file);
                } else if arguments.contains("O_TRUNC")
                    && let Some(file) = self.names.get(path)
                {
                    self.dirty.insert(*file);
                }
            }
            "mkdir" | "mkdirat" => {
                self.create(&quoted[0]);
            }
            "rename" | "renameat" | "renameat2" => {
                if let Some(file) = self.names.remove(&quoted[0]) {
                    let is_torn = quoted[1].starts_with(&self.store) && self.dirty.contains(&file);
                    if is_torn {
                        // The name may survive without the bytes.
                        self.violations.push(format!("{} may be torn", quoted[1].display()));
                    }
                    self.names.insert(quoted[1].clone(), file);
                }
            }
            "link" | "linkat" => {
                if let Some(file) = self.names.get(&quoted[0]) {
                    self.names.insert(quoted[1].clone(), *file);
                }
            }
            "unlink" | "unlinkat" => {
                self.names.remove(&quoted[0]);
            }
            _ => {}
        }
    }

    fn sync(&mut self, path: &Path) {
        if let Some(file) = self.names.get(path) {
            self.dirty.remove(file);
        }
        // Of a directory: exactly its names of now survive.
        let within = |name: &Path| name.parent() == Some(path);
        self.surviving.retain(|name, _| !within(name));
        let now = self.names.iter().filter(|(name, _)| within(name));
        self.surviving.extend(now.map(|(name, file)| (name.clone(), *file)));
    }

    fn acknowledge(&mut self, arguments: &str) {
        self.acknowledged += 1;
        let paths = arguments.split_once("ACK ").expect("it was looked for").1;
        for path in paths.split(' ').take_while(|path| !path.starts_with('.')) {
            let path = self.store.join(path);
            match self.surviving.get(&path) {
                None => self.violations.push(format!("the name {} is lost", path.display())),
                Some(file) if self.dirty.contains(file) => {
                    self.violations.push(format!("the bytes of {} are lost", path.display()));
                }
                Some(_) => {}
            }
            for directory in path.ancestors().skip(1).take_while(|directory| **directory != self.base) {
                if !self.surviving.contains_key(directory) {
                    self.violations.push(format!("the directory {} is lost", directory.display()));
                }
            }
        }
    }
}
