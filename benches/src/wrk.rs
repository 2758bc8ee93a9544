//! wrk, which makes the load and measures it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{Result, process};

/// Prints exact numbers on one line, where wrk itself rounds.
const SCRIPT: &str = r#"
function done(summary, latency, requests)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("EXACT %d %d %d %d %d\n",
    summary.requests, summary.bytes, summary.duration, latency:percentile(99), errors))
end
"#;

/// What one round of load came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Finished requests a second.
    pub(crate) requests: f64,
    /// Bytes read a second, those of unfinished responses too.
    pub(crate) bytes: f64,
    /// Seconds within which 99 of 100 responses were complete.
    pub(crate) p99: f64,
    /// Seconds that the round took.
    pub(crate) seconds: f64,
    /// Seconds of processor time that wrk itself took.
    pub(crate) cpu: f64,
}

/// The version as `wrk -v` prints it.
pub(crate) fn version() -> Result<String> {
    let output = Command::new("wrk").arg("-v").output().map_err(missing)?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok(said.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn missing(error: std::io::Error) -> String {
    format!("wrk is needed ({error}): apt-get install wrk")
}

/// The longest round, where a slow peer answers nothing in a shorter one.
const LONGEST: Duration = Duration::from_mins(1);

/// Asks for one address over and over, on so many connections at once; for longer, while nothing is answered.
///
/// # Errors
/// When any response failed: figures of broken answers mean nothing.
pub(crate) fn load(url: &str, headers: &[&str], connections: u32, duration: Duration) -> Result<Load> {
    let mut duration = duration;
    loop {
        let load = round(url, headers, connections, duration)?;
        if load.requests > 0.0 || load.bytes > 0.0 {
            return Ok(load);
        }
        duration *= 3;
        if duration > LONGEST {
            return Err(format!("`{url}` answered nothing").into());
        }
    }
}

fn round(url: &str, headers: &[&str], connections: u32, duration: Duration) -> Result<Load> {
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    script.write_all(SCRIPT.as_bytes())?;
    let mut command = Command::new("wrk");
    command.arg("--latency").args(["--timeout", "30s"]).arg("-s").arg(script.path());
    command.args([format!("-t{}", connections.min(2)), format!("-c{connections}")]);
    command.arg(format!("-d{}s", duration.as_secs().max(1)));
    for header in headers {
        command.args(["-H", header]);
    }
    let before = process::ended_children_cpu_seconds();
    let output = command.arg(url).stdin(Stdio::null()).output().map_err(missing)?;
    let cpu = process::ended_children_cpu_seconds() - before;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(Load { cpu, ..parse(&said).ok_or_else(|| format!("wrk said: {said}"))?? })
}

/// `None` when the line is missing or is not five numbers.
fn parse(said: &str) -> Option<Result<Load>> {
    let line = said.lines().find_map(|line| line.strip_prefix("EXACT "))?;
    let numbers: Option<Vec<f64>> = line.split(' ').map(|number| number.parse().ok()).collect();
    let &[requests, bytes, micros, p99, errors] = numbers?.as_slice() else { return None };
    if errors > 0.0 {
        return Some(Err(format!("{errors} of {requests} requests failed").into()));
    }
    let seconds = micros / 1e6;
    Some(Ok(Load { requests: requests / seconds, bytes: bytes / seconds, p99: p99 / 1e6, seconds, cpu: 0.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_line_is_read() {
        let said = "Running 1s test\n  2 threads\nEXACT 500 1000000 2000000 1500 0\nRequests/sec: 250\n";
        let load = parse(said).unwrap().unwrap();
        assert_eq!(load, Load { requests: 250.0, bytes: 500_000.0, p99: 0.0015, seconds: 2.0, cpu: 0.0 });
    }

    #[test]
    fn failed_responses_are_no_figures() {
        assert!(parse("EXACT 500 1000000 2000000 1500 3").unwrap().is_err());
        for said in ["", "EXACT", "EXACT 1 2 3 4", "EXACT 1 2 3 4 x"] {
            assert!(parse(said).is_none(), "{said}");
        }
    }
}
