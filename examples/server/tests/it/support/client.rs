//! The real clients, alone with our index: a home, cache and configuration of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::home::Run;

/// A client and the folder it lives and installs in.
#[derive(Debug)]
pub struct Client {
    kind: Kind,
    program: PathBuf,
    folder: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pip,
    Uv,
}

/// pip 23.2.1, before most of what today's pip does.
pub fn pip_old() -> Client {
    Client::new(Kind::Pip, "RESERVOIR_TEST_PIP_OLD")
}

/// Today's pip.
pub fn pip() -> Client {
    Client::new(Kind::Pip, "RESERVOIR_TEST_PIP_NEW")
}

pub fn uv() -> Client {
    Client::new(Kind::Uv, "RESERVOIR_TEST_UV")
}

/// Every client, each alone.
pub fn all() -> [Client; 3] {
    [pip_old(), pip(), uv()]
}

impl Client {
    fn new(kind: Kind, variable: &str) -> Self {
        let program = std::env::var_os(variable)
            .unwrap_or_else(|| panic!("{variable} is not set; run scripts/test, which installs the clients"));
        Self { kind, program: program.into(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The client in its own world.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited {
            let text = name.to_string_lossy();
            if text.starts_with("PIP_") || text.starts_with("UV_") || text.to_lowercase().ends_with("_proxy")
            {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_NO_INPUT", "1")
            .env("PIP_RETRIES", "0")
            .env("UV_NO_CONFIG", "1")
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_NO_PROGRESS", "1")
            .env("UV_HTTP_RETRIES", "0")
            .env("UV_CACHE_DIR", self.path().join("uv-cache"))
            .env("NO_COLOR", "1")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// `install` from this index alone, into a folder of its own.
    pub fn install(&self, index: &str, arguments: &[&str]) -> Run {
        let target = self.target();
        // Each installation begins from nothing, with the cache of the one before.
        if target.exists() {
            fs::remove_dir_all(&target).unwrap();
        }
        let mut command = self.command();
        match self.kind {
            Kind::Pip => command.args(["install", "-v"]),
            Kind::Uv => command.args(["pip", "install", "--verbose", "--python", "python3"]),
        };
        Run::of(command.args(["--index-url", index, "--target"]).arg(target).args(arguments))
    }

    fn target(&self) -> PathBuf {
        self.path().join("installed")
    }

    /// What is installed, as `name==version`, sorted.
    pub fn installed(&self) -> Vec<String> {
        let mut found: Vec<String> = fs::read_dir(self.target())
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let (name, version) = name.strip_suffix(".dist-info")?.split_once('-')?;
                Some(format!("{name}=={version}"))
            })
            .collect();
        found.sort();
        found
    }
}

/// The program that a variable names, alone in a folder.
pub fn alone(variable: &str, folder: &Path) -> Command {
    let program = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; run scripts/test, which installs the clients"));
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_lowercase();
        let is_setting = ["pip_", "uv_", "twine_"].iter().any(|prefix| text.starts_with(prefix));
        if is_setting || text.ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    command
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_DATA_HOME", folder.join("data"))
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("NO_COLOR", "1")
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}
