//! A disk that loses power: the system calls of a child process, replayed against a model.
//!
//! The model: bytes of a file survive once the file was synced after they were written; a name survives once its
//! directory was synced after the name was given (fsync(2)). The child says on its standard output what was
//! acknowledged; at that instant everything it needs has to survive.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part; helpers may fail the test"
)]

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

const CALLS: &str = "trace=openat,creat,open,write,pwrite64,writev,ftruncate,fsync,fdatasync,syncfs,rename,renameat,\
                     renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat,copy_file_range,sendfile";

/// One line, one system call. Paths are below the store.
pub fn acknowledge(paths: &[String]) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nACK {} .\n", paths.join(" ")).as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the model has seen.
pub struct Found {
    pub acknowledged: usize,
    pub violations: Vec<String>,
}

/// Runs `child` and replays what it did below `root`, which holds `store`.
pub fn replay(root: &Path, child: &Command) -> Found {
    let log = root.join("strace.log");
    let mut model = Model::new(root);
    let output = Command::new("strace")
        .args(["-f", "-y", "-s", "20000", "-e", CALLS, "-o"])
        .arg(&log)
        .arg(child.get_program())
        .args(child.get_args())
        .envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .expect("strace runs: run scripts/test, which installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
    /// What is there before the child begins survives.
    fn new(base: &Path) -> Self {
        let mut model = Self {
            base: base.to_owned(),
            store: base.join("store"),
            names: HashMap::new(),
            surviving: HashMap::new(),
            dirty: HashSet::new(),
            files: 0,
            acknowledged: 0,
            violations: Vec::new(),
        };
        let mut folders = vec![base.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                model.create(&path);
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        model.surviving.clone_from(&model.names);
        model
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
            "copy_file_range" => {
                let to =
                    arguments.split('<').nth(2).and_then(|rest| rest.split_once('>')).map(|(path, _)| path);
                if let Some(file) = to.and_then(|path| self.names.get(Path::new(path))) {
                    self.dirty.insert(*file);
                }
            }
            // What `sendfile` writes to is its first descriptor.
            "write" | "pwrite64" | "writev" | "ftruncate" | "sendfile" => {
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
