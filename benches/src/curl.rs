//! curl: a peer, and the client by which the bytes are compared.

use std::process::{Command, Stdio};

use crate::Result;

/// The program, with nothing of the environment in it.
pub(crate) fn command() -> Command {
    let mut command = Command::new("curl");
    // `--disable` must come first: it leaves the user's own configuration out.
    command.arg("--disable").stdin(Stdio::null());
    for name in ["http_proxy", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// The version as `curl --version` begins.
pub(crate) fn version() -> Result<String> {
    let output = command().arg("--version").output().map_err(missing)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// The body of a successful answer, as it was sent.
pub(crate) fn fetch(url: &str, headers: &[&str]) -> Result<Vec<u8>> {
    let mut command = command();
    command.args(["--silent", "--show-error", "--fail"]);
    for header in headers {
        command.args(["--header", header]);
    }
    let output = command.arg(url).output().map_err(missing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("GET {url}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
pub(crate) fn missing(error: std::io::Error) -> String {
    format!("curl is needed ({error}): apt-get install curl")
}
