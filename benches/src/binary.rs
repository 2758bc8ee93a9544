//! The `reservoir` program, run as its users run it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Result, process};

/// How often a running program's memory is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Where the program is.
#[derive(Debug, Clone)]
pub(crate) struct Reservoir {
    program: PathBuf,
}

/// A home directory of its own, removed when dropped.
#[derive(Debug)]
pub(crate) struct Home {
    program: PathBuf,
    folder: TempDir,
}

/// What a finished command took.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) seconds: f64,
    pub(crate) peak_memory: u64,
}

/// A running `reservoir serve`, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(crate) address: String,
}

impl Reservoir {
    /// `given`, or the program beside this one.
    pub(crate) fn find(given: Option<PathBuf>) -> Result<Self> {
        let program = match given {
            Some(program) => program,
            None => std::env::current_exe()?.with_file_name("reservoir"),
        };
        if !program.is_file() {
            let shown = program.display();
            return Err(format!("no `{shown}`; build it: cargo build --release -p reservoir-server").into());
        }
        Ok(Self { program })
    }

    /// A new home.
    pub(crate) fn init(&self) -> Result<Home> {
        let home = Home { program: self.program.clone(), folder: TempDir::with_prefix("reservoir-bench")? };
        home.run(&["init"])?;
        Ok(home)
    }
}

impl Home {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--json").arg("--home").arg(self.folder()).args(arguments);
        // What the person running this has set must not decide what is measured.
        for name in ["RESERVOIR_HOME", "RESERVOIR_LOG", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it ends with another status than 0, with what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Finished> {
        let output = tempfile::tempfile()?;
        let started = Instant::now();
        let mut child = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()?;
        let mut peak_memory = 0;
        let status = loop {
            peak_memory = process::peak_memory(child.id()).unwrap_or_default().max(peak_memory);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(LOOK);
        };
        let seconds = started.elapsed().as_secs_f64();
        if status.success() {
            return Ok(Finished { seconds, peak_memory });
        }
        let mut printed = String::new();
        let mut output = output;
        std::io::Seek::rewind(&mut output)?;
        std::io::Read::read_to_string(&mut output, &mut printed)?;
        Err(format!("`reservoir {}`: {status}: {printed}", arguments.join(" ")).into())
    }

    /// What a command prints.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(format!("`reservoir {}`: {}", arguments.join(" "), output.status).into())
    }

    /// Starts serving on an ephemeral port of the loopback.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Result<Server> {
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.as_mut() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let said: Option<serde_json::Value> = serde_json::from_str(&line).ok();
        let address = said.as_ref().and_then(|said| said["listening"].as_str()).map(str::to_owned);
        let server = Server { child, address: address.clone().unwrap_or_default() };
        match address {
            Some(_) => Ok(server),
            None => Err(format!("`reservoir serve` said `{}` and not where it listens", line.trim()).into()),
        }
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that is worth a graceful end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
