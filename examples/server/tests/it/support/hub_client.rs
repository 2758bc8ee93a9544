//! The versions of `huggingface_hub` that are in use, each alone with our Hub.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::home::Run;

/// A Python with one version of `huggingface_hub`, and a home and cache of its own.
#[derive(Debug)]
pub struct HubClient {
    python: PathBuf,
    folder: TempDir,
}

/// Four versions, from before the chunked storage to today's.
pub fn all() -> [HubClient; 4] {
    ["0_23", "0_36", "1", "2"].map(|version| HubClient::new(&format!("RESERVOIR_TEST_HUB_{version}")))
}

/// Today's.
pub fn newest() -> HubClient {
    HubClient::new("RESERVOIR_TEST_HUB_2")
}

impl HubClient {
    pub fn new(variable: &str) -> Self {
        let python = std::env::var_os(variable)
            .unwrap_or_else(|| panic!("{variable} is not set; run scripts/test, which installs the clients"));
        Self { python: python.into(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Python in its own world, with this Hub.
    pub fn command(&self, endpoint: &str) -> Command {
        self.program("python", endpoint)
    }

    /// A program that stands beside Python.
    pub fn program(&self, name: &str, endpoint: &str) -> Command {
        let mut command = Command::new(self.python.with_file_name(name));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("HF_") || text.to_lowercase().ends_with("_proxy") {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", self.path())
            .env("HF_HOME", self.path().join("hf"))
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HUB_DISABLE_TELEMETRY", "1")
            .env("HF_HUB_DISABLE_UPDATE_CHECK", "1")
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// A program as of somebody who has signed in, and uploads large files in the old way: there is no chunked storage here.
    pub fn writer(&self, name: &str, endpoint: &str) -> Command {
        let mut command = self.program(name, endpoint);
        command.env("HF_TOKEN", "hf_test").env("HF_HUB_DISABLE_XET", "1");
        command
    }

    /// Runs a script as [`writer`](Self::writer).
    pub fn script(&self, endpoint: &str, text: &str) -> Run {
        Run::of(self.writer("python", endpoint).args(["-c", text]))
    }

    /// Runs a script with a document as its argument.
    pub fn run(&self, endpoint: &str, script: &str, argument: &Value) -> Run {
        Run::of(self.command(endpoint).arg("-c").arg(script).arg(argument.to_string()))
    }
}
