//! A home directory of its own, and the real program run in it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary home. Gone with the value.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
}

/// What a run of the program said.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A running `reservoir serve`; killed, by its process id, when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub base: String,
}

impl Home {
    /// A home that is not initialised.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// An initialised home.
    pub fn new() -> Self {
        let home = Self::empty();
        home.done(["init"]);
        home
    }

    /// An initialised home with this configuration applied.
    pub fn with(toml: &str) -> Self {
        let home = Self::new();
        home.apply(toml).expect(0);
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program, in this home, without this machine's client configuration.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reservoir"));
        command
            .env("RESERVOIR_HOME", self.path())
            .env("RESERVOIR_ACTOR", "tester")
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("COLUMNS")
            .env_remove("RESERVOIR_LOG")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        Run::of(self.command().args(arguments))
    }

    /// Runs a command and watches its memory: the most that was resident at once, in KiB.
    pub fn peak<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (Run, u64) {
        let mut command = self.command();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        // The system keeps the mark; what is read last before the end counts.
        let watch = std::thread::spawn(move || {
            let mut peak = 0;
            while let Ok(text) = fs::read_to_string(&status) {
                let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
                peak = line.trim_end_matches("kB").trim().parse().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            peak
        });
        let run = Run::from(child.wait_with_output().unwrap());
        (run, watch.join().unwrap())
    }

    /// Runs a command that must end with 0; its text.
    pub fn done<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).expect(0).stdout
    }

    /// Runs a command with `--json`, whatever its status.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (i32, Value) {
        let run = Run::of(self.command().arg("--json").args(arguments));
        let value = serde_json::from_str(&run.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON document: {error}\n{run:?}"));
        (run.code, value)
    }

    /// Syncs and expects a status; the report.
    pub fn sync(&self, repository: &str, status: i32) -> Value {
        let (code, report) = self.json(["sync", repository]);
        assert_eq!(code, status, "{report:#}");
        report
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn apply(&self, toml: &str) -> Run {
        self.write("mirror.toml", toml);
        self.run(["apply", "mirror.toml"])
    }

    /// Serves on a free port of the loopback.
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Serves with more arguments.
    pub fn serve_with(&self, arguments: &[&str]) -> Server {
        let log = File::create(self.path().join("serve.log")).unwrap();
        let mut child = self
            .command()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = line.trim().strip_prefix("listening on ").unwrap_or_else(|| {
            panic!("{line:?} is no address: {}", fs::read_to_string(self.path().join("serve.log")).unwrap())
        });
        Server { base: base.to_owned(), child }
    }

    /// The stored file of a blob.
    pub fn blob(&self, sha256: &str) -> PathBuf {
        self.path().join(format!("store/sha256/{}/{}/{sha256}", &sha256[..2], &sha256[2..4]))
    }
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// The run, if it ended with this status.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Everything that was printed.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Server {
    /// The address of a repository's index.
    pub fn simple(&self, repository: &str) -> String {
        format!("{}/{repository}/simple/", self.base)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// KiB that are resident now.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// KiB that were resident at most.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Sends a signal by its name and waits for the end.
    pub fn end(mut self, signal: &str) -> Option<i32> {
        send(signal, self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that the test started.
pub fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -s {signal} {pid}");
}
