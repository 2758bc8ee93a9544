//! The real apt, alone with our archive: a root, a state and a configuration of its own, signatures checked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A private root. Gone with the value.
#[derive(Debug)]
pub struct Root {
    folder: TempDir,
}

/// What a run of a program said.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub text: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap_or_else(|error| {
            panic!("cannot run {command:?} ({error}); run scripts/test, which installs what tests need")
        });
        let text = [output.stdout, output.stderr].concat();
        Self { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// The output, if it ended with 0 and without a warning or error of apt.
    #[track_caller]
    pub fn clean(self) -> String {
        assert_eq!(self.code, 0, "{}", self.text);
        let complaint = self.text.lines().find(|line| line.starts_with("W:") || line.starts_with("E:"));
        assert_eq!(complaint, None, "{}", self.text);
        self.text
    }

    /// The output, if it failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(self.code, 0, "{}", self.text);
        self.text
    }
}

impl Default for Root {
    fn default() -> Self {
        Self::new("amd64", &[])
    }
}

impl Root {
    /// An empty system of this architecture, and further ones it takes.
    pub fn new(architecture: &str, foreign: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for inner in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "etc/apt/trusted.gpg.d",
            "etc/apt/auth.conf.d",
            "etc/apt/keyrings",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/log/apt",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/dpkg/triggers",
            "home",
        ] {
            fs::create_dir_all(folder.path().join(inner)).unwrap();
        }
        let root = folder.path().display();
        let mut architectures = format!("APT::Architectures {{ \"{architecture}\";");
        for other in foreign {
            architectures += &format!(" \"{other}\";");
        }
        let configuration = format!(
            "Dir \"{root}\";\n\
             Dir::State::status \"{root}/var/lib/dpkg/status\";\n\
             Dir::Log \"{root}/var/log/apt\";\n\
             #clear APT::Architectures;\n\
             APT::Architecture \"{architecture}\";\n{architectures} }};\n\
             APT::Sandbox::User \"root\";\n\
             APT::Get::Assume-Yes \"true\";\n\
             APT::Install-Recommends \"false\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"0\";\n\
             Acquire::http::Proxy \"false\";\n\
             Acquire::http::Timeout \"20\";\n\
             #clear DPkg::Pre-Install-Pkgs;\n#clear DPkg::Post-Invoke;\n#clear DPkg::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
             #clear APT::Update::Pre-Invoke;\n\
             DPkg::Options {{ \"--root={root}\"; \"--force-not-root\"; \"--no-triggers\"; }};\n"
        );
        fs::write(folder.path().join("apt.conf"), configuration).unwrap();
        fs::write(folder.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::write(
            folder.path().join("var/lib/dpkg/arch"),
            [architecture].iter().chain(foreign).map(|name| format!("{name}\n")).collect::<String>(),
        )
        .unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below the root.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The only source, in the old one-line form with a keyring of its own.
    pub fn source(&self, base: &str, suite_and_components: &str, keyring: &[u8]) {
        let keyring = self.write("etc/apt/keyrings/test.gpg", keyring);
        let options = format!("signed-by={}", keyring.display());
        self.write("etc/apt/sources.list", format!("deb [{options}] {base} {suite_and_components}\n"));
    }

    /// A program of apt, in this root.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_lowercase().ends_with("_proxy") {
                command.env_remove(&name);
            }
        }
        command
            .env("APT_CONFIG", self.path().join("apt.conf"))
            .env("HOME", self.path().join("home"))
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            // dpkg looks for them, whatever the packages need.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    pub fn get(&self, arguments: &[&str]) -> Run {
        Run::of(self.command("apt-get").args(arguments))
    }

    pub fn cache(&self, arguments: &[&str]) -> Run {
        Run::of(self.command("apt-cache").args(arguments))
    }

    pub fn update(&self) -> Run {
        self.get(&["update"])
    }

    /// The version that would be installed, as `apt-cache policy` says.
    pub fn candidate(&self, package: &str) -> Option<String> {
        let policy = self.cache(&["policy", package]).text;
        let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
        (line != "(none)").then(|| line.to_owned())
    }

    /// Every package that apt knows, sorted.
    pub fn known(&self) -> Vec<String> {
        let mut names: Vec<String> = self.cache(&["pkgnames"]).clean().lines().map(str::to_owned).collect();
        names.sort();
        names
    }
}
