//! The example program does what the README says it does.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use reservoir_core::testing::upstream::Upstream;

/// Stopped when the test ends, however it ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_mirrors_and_serves() {
    let upstream = Upstream::start().await;
    let wheel = support::offer(&upstream, "demo", "1.0");
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_reservoir-embed"))
        .args([folder.path().to_str().unwrap(), "demo", upstream.url("/simple/").as_str()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _program = Program(child);

    assert_eq!(lines.next().unwrap().unwrap(), "1 files fetched, snapshot Some(1)");
    let pip = lines.next().unwrap().unwrap();
    let address = pip.split('/').nth(2).unwrap();
    let page = get(address, "/python/simple/demo/");
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    let link = page.split_once("href=\"").unwrap().1.split(['"', '#']).next().unwrap();
    assert!(link.ends_with("demo-1.0-py3-none-any.whl"), "{link}");
    // From the project's page, `../../` is the repository.
    let file = get(address, &link.replacen("../../", "/python/", 1));
    assert!(file.starts_with("HTTP/1.1 200 "), "{file}");
    let length = format!("content-length: {}\r\n", wheel.len());
    assert!(file.to_lowercase().contains(&length), "{file}");
    assert!(get(address, "/python/simple/absent/").starts_with("HTTP/1.1 404 "));
}
