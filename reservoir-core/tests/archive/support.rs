//! Walks over bytes in memory, and Python as the other reader.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reservoir_core::{Error, Result, archive::Collected};

/// What `keep_limit` is in these tests.
pub(crate) const KEPT: u64 = 1 << 20;

/// Runs on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The rule that refused, or the name of the error.
pub(crate) fn rule<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => panic!("accepted: {value:?}"),
        Err(Error::Malformed { rule, .. }) => rule.to_owned(),
        Err(Error::LimitExceeded { .. }) => "limit".to_owned(),
        Err(other) => panic!("neither a rule nor a limit: {other:?}"),
    }
}

/// Every case must be refused by its rule, each within two seconds.
pub(crate) fn refuse_all<T: std::fmt::Debug>(cases: &[(&str, Vec<u8>)], read: impl Fn(&[u8]) -> Result<T>) {
    let mut wrong = Vec::new();
    for (number, (expected, bytes)) in cases.iter().enumerate() {
        let started = Instant::now();
        match read(bytes) {
            Ok(value) => wrong.push(format!("case {number}: {expected}: accepted as {value:?}")),
            Err(error) => {
                let found = rule::<T>(Err(error));
                if found != *expected {
                    wrong.push(format!("case {number}: expected {expected}, refused by {found}"));
                }
            }
        }
        assert!(started.elapsed() < Duration::from_secs(2), "case {number}: {expected} took too long");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs a Python script with `input` as its standard input; answers its output.
pub(crate) fn python(script: &str, folder: &Path, input: &str) -> String {
    let mut child = Command::new("python3")
        .args(["-c", script])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests compare with python3; install it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python3: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Names and digests as the scripts print them, one `name<TAB>sha256` a line.
pub(crate) fn listing(collected: &Collected) -> String {
    let mut lines = String::new();
    for (name, (_, sha256)) in &collected.digests {
        writeln!(lines, "{name}	{sha256}").unwrap();
    }
    lines
}
