//! Walks over bytes in memory, and Python as the other reader.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use reservoir_core::{
    Error, Result,
    archive::{Collected, Limits, TarCompression, collect_tar, collect_zip},
    store::StoreExt as _,
    testing::memory::MemoryStore,
};

/// What `keep_limit` is in these tests.
const KEPT: u64 = 1 << 20;

/// Runs on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Reads a ZIP; keeps all files.
pub fn zip(bytes: &[u8], limits: &Limits) -> Result<Collected> {
    block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(Bytes::copy_from_slice(bytes)).await?;
        collect_zip(&store, &blob, "t.zip", limits, |_| true, KEPT).await
    })
}

/// Reads a TAR; keeps all files.
pub fn tar(bytes: &[u8], compression: TarCompression, limits: &Limits) -> Result<Collected> {
    block_on(async {
        let store = MemoryStore::new();
        let blob = store.put_bytes(Bytes::copy_from_slice(bytes)).await?;
        collect_tar(&store, &blob, "t.tar", compression, limits, |_| true, KEPT).await
    })
}

/// The rule that refused, or the name of the error.
pub fn rule<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => panic!("accepted: {value:?}"),
        Err(Error::Malformed { rule, .. }) => rule.to_owned(),
        Err(Error::LimitExceeded { .. }) => "limit".to_owned(),
        Err(other) => panic!("neither a rule nor a limit: {other:?}"),
    }
}

/// Every case must be refused by its rule, each within two seconds.
pub fn refuse_all<T: std::fmt::Debug>(cases: Vec<(&str, Vec<u8>)>, read: impl Fn(&[u8]) -> Result<T>) {
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
pub fn python(script: &str, folder: &Path, input: &str) -> String {
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
pub fn listing(collected: &Collected) -> String {
    let lines = collected.digests.iter().map(|(name, (_, sha256))| format!("{name}\t{sha256}\n"));
    lines.collect()
}
