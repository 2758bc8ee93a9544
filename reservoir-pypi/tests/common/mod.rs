//! What the tests share.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

/// Asks the `packaging` library that pip decides with; see `oracle/packaging.py` for the questions.
///
/// # Panics
/// Without `python3` and its pip: the comparison is the test.
#[must_use]
pub(crate) fn packaging(question: &Value) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/packaging.py");
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`python3` with pip must be installed; the test compares with pip's own `packaging`");
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "`python3 {script}` failed; it needs pip (`python3 -m pip`)");
    serde_json::from_slice(&output.stdout).unwrap()
}
