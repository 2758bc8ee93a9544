//! A Python index with one wheel.

#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

use std::{
    fmt::Write as _,
    io::{Cursor, Write as _},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reservoir_core::{
    digest::Sha256Digest,
    testing::upstream::{Reply, Upstream},
};
use zip::{ZipWriter, write::SimpleFileOptions};

/// Offers `name` at `/simple/`; returns the wheel.
pub(crate) fn offer(upstream: &Upstream, name: &str, version: &str) -> Vec<u8> {
    let wheel = wheel(name, version);
    let file = format!("{name}-{version}-py3-none-any.whl");
    let page = format!("<a href=\"/files/{file}#sha256={}\">{file}</a>", Sha256Digest::of(&wheel));
    upstream.route(format!("/simple/{name}/"), Reply::ok(page).content_type("text/html"));
    upstream.route(format!("/files/{file}"), Reply::ok(wheel.clone()));
    wheel
}

fn wheel(name: &str, version: &str) -> Vec<u8> {
    let info = format!("{name}-{version}.dist-info");
    let mut files = vec![
        (format!("{name}.py"), "one = 1\n".to_owned()),
        (format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
    ];
    let mut record = String::new();
    for (path, text) in &files {
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256Digest::of(text.as_bytes()).as_bytes());
        writeln!(record, "{path},sha256={digest},{}", text.len()).unwrap();
    }
    writeln!(record, "{info}/RECORD,,").unwrap();
    files.push((format!("{info}/RECORD"), record));

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in files {
        zip.start_file(path, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
