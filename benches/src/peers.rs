//! devpi-server and pypiserver, as their documentation has them started.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Result, curl};

/// How long a peer may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running Python server, killed when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    folder: TempDir,
    /// The address of an index, with a slash at the end.
    pub(crate) index: String,
    /// Its name and version.
    pub(crate) version: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Read by the server until now.
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

/// devpi-server with one mirror index of `registry`.
pub(crate) fn devpi(registry: &str) -> Result<Peer> {
    let programs = programs("RESERVOIR_BENCH_DEVPI", "devpi-server")?;
    let folder = TempDir::with_prefix("reservoir-bench-devpi")?;
    let data = folder.path().join("data");
    let made = quiet(&programs.join("devpi-init")).arg("--serverdir").arg(&data).status()?;
    if !made.success() {
        return Err(format!("devpi-init: {made}").into());
    }
    let address = free_address()?;
    let child = quiet(&programs.join("devpi-server"))
        .arg("--serverdir")
        .arg(&data)
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
        .spawn()?;
    let version = version(&programs.join("devpi-server"))?;
    let index = format!("http://{address}/root/bench/+simple/");
    let peer = Peer { child, folder, index, version: format!("devpi-server {version}") };
    wait_for(address, "devpi-server")?;
    let login = json!({ "user": "root", "password": "" });
    let token = send(&format!("http://{address}/+login"), "POST", &login, None)?;
    let token = token["result"]["password"].as_str().ok_or("devpi-server gave no token")?.to_owned();
    let token = BASE64_STANDARD.encode(format!("root:{token}"));
    let mirror = json!({ "type": "mirror", "mirror_url": registry, "mirror_cache_expiry": 1800,
                         "mirror_no_project_list": true });
    send(&format!("http://{address}/root/bench"), "PUT", &mirror, Some(&token))?;
    Ok(peer)
}

/// pypiserver over a folder with these files, all of them empty.
pub(crate) fn pypiserver(files: &[String]) -> Result<Peer> {
    let programs = programs("RESERVOIR_BENCH_PYPISERVER", "pypiserver")?;
    let folder = TempDir::with_prefix("reservoir-bench-pypiserver")?;
    for file in files {
        fs::write(folder.path().join(file), b"")?;
    }
    let address = free_address()?;
    let program = programs.join("pypi-server");
    let child = quiet(&program)
        .args(["run", "--interface", "127.0.0.1", "--port", &address.port().to_string()])
        .arg("--disable-fallback")
        .arg(folder.path())
        .spawn()?;
    let version = version(&program)?;
    let index = format!("http://{address}/simple/");
    let peer = Peer { child, folder, index, version: format!("pypiserver {version}") };
    wait_for(address, "pypiserver")?;
    Ok(peer)
}

/// pip, for whole downloads.
pub(crate) fn pip() -> Result<PathBuf> {
    let variable = "RESERVOIR_TEST_PIP_NEW";
    let program = std::env::var_os(variable)
        .ok_or_else(|| format!("{variable} is not set; run this by `scripts/dev`, which installs pip"))?;
    Ok(program.into())
}

/// bandersnatch, which mirrors whole indexes.
pub(crate) fn bandersnatch() -> Result<PathBuf> {
    let variable = "RESERVOIR_TEST_BANDERSNATCH";
    let program = std::env::var_os(variable).ok_or_else(|| {
        format!("{variable} is not set; run this by `scripts/bench-peers`, which installs it")
    })?;
    Ok(program.into())
}

fn programs(variable: &str, package: &str) -> Result<PathBuf> {
    let folder = std::env::var_os(variable).ok_or_else(|| {
        format!("{variable} is not set; it names the bin folder of a virtual environment with {package}")
    })?;
    Ok(folder.into())
}

pub(crate) fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.split_ascii_whitespace().last().unwrap_or("?").to_owned())
}

/// Freed when dropped; nobody else asks for ephemeral ports in this moment.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn wait_for(address: SocketAddr, what: &str) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{what} does not start").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Sends JSON with curl; the answer's JSON.
fn send(url: &str, method: &str, body: &Value, token: Option<&str>) -> Result<Value> {
    let mut command = curl::command();
    command.args(["--silent", "--show-error", "--fail-with-body", "--request", method]);
    command.args(["--header", "Content-Type: application/json", "--header", "Accept: application/json"]);
    if let Some(token) = token {
        command.args(["--header", &format!("X-Devpi-Auth: {token}")]);
    }
    let output = command.args(["--data", &body.to_string()]).arg(url).output().map_err(curl::missing)?;
    if !output.status.success() {
        return Err(format!("{method} {url}: {}", String::from_utf8_lossy(&output.stdout)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
