//! Wheels and sdists, made on the spot.

use std::{
    fmt::Write as _,
    io::{Cursor, Write as _},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A wheel that is right, until a test changes it.
#[derive(Debug, Clone)]
pub struct Wheel {
    /// All files but `RECORD`, in their order.
    pub files: Vec<(String, Vec<u8>)>,
    /// The folder of its metadata.
    pub dist_info: String,
    /// `RECORD` as it is written, when not computed.
    pub record: Option<String>,
}

pub fn metadata(name: &str, version: &str, more: &str) -> String {
    format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\nA description.\n")
}

impl Wheel {
    pub fn new(name: &str, version: &str) -> Self {
        let dist_info = format!("{name}-{version}.dist-info");
        let files = vec![
            (format!("{name}/__init__.py"), b"one = 1\n".to_vec()),
            (format!("{dist_info}/METADATA"), metadata(name, version, "").into_bytes()),
            (
                format!("{dist_info}/WHEEL"),
                b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_vec(),
            ),
        ];
        Self { files, dist_info, record: None }
    }

    /// Adds or replaces a file.
    pub fn with(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), bytes.as_ref().to_vec()));
        self
    }

    /// Replaces `METADATA`.
    pub fn with_metadata(self, text: impl AsRef<[u8]>) -> Self {
        let path = format!("{}/METADATA", self.dist_info);
        self.with(&path, text)
    }

    pub fn without(mut self, path: &str) -> Self {
        self.files.retain(|(known, _)| known != path);
        self
    }

    pub fn with_record(mut self, record: impl Into<String>) -> Self {
        self.record = Some(record.into());
        self
    }

    /// What `RECORD` should say.
    pub fn true_record(&self) -> String {
        let mut record = String::new();
        for (path, bytes) in &self.files {
            let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
            writeln!(record, "{path},sha256={digest},{}", bytes.len()).unwrap();
        }
        record + &format!("{}/RECORD,,\n", self.dist_info)
    }

    pub fn build(&self) -> Vec<u8> {
        zip(&self.members())
    }

    /// All files, `RECORD` last.
    pub fn members(&self) -> Vec<(String, Vec<u8>)> {
        let record = self.record.clone().unwrap_or_else(|| self.true_record());
        let mut files = self.files.clone();
        files.push((format!("{}/RECORD", self.dist_info), record.into_bytes()));
        files
    }
}

pub fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (path, bytes) in files {
        writer.start_file(path.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar_gz_with(files, &[])
}

/// As [`tar_gz`], with members that are no files, or that stand where none should: path, kind, target.
pub fn tar_gz_with(files: &[(String, Vec<u8>)], others: &[(String, tar::EntryType, String)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut append = |path: &str, kind, target: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Byte by byte: the crate refuses `..`, and hostile archives do not ask it.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    };
    for (path, bytes) in files {
        append(path, tar::EntryType::Regular, "", bytes);
    }
    for (path, kind, target) in others {
        append(path, *kind, target, &[]);
    }
    builder.into_inner().unwrap().finish().unwrap()
}
