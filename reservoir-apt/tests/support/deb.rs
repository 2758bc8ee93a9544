//! Small packages, made here: no tool is needed, and the same arguments give the same bytes.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

/// A package to build.
#[derive(Debug, Clone)]
pub struct Deb {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Further lines of the control paragraph.
    pub fields: Vec<(String, String)>,
    /// Files below `/usr/share/NAME/`.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Deb {
    pub fn new(name: &str, version: &str, architecture: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
            fields: Vec::new(),
            files: vec![("version".to_owned(), version.as_bytes().to_vec())],
        }
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `NAME_VERSION_ARCH.deb`, without the epoch.
    pub fn file_name(&self) -> String {
        let version = self.version.split_once(':').map_or(&*self.version, |(_, version)| version);
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }

    /// `pool/main/N/NAME/FILE`.
    pub fn pool(&self) -> String {
        format!("pool/main/{}/{}/{}", &self.name[..1], self.name, self.file_name())
    }

    pub fn control(&self) -> String {
        let mut control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Test <test@example.com>\n",
            self.name, self.version, self.architecture
        );
        for (name, value) in &self.fields {
            control += &format!("{name}: {value}\n");
        }
        control + "Description: a package of the tests\n with two lines\n"
    }

    /// The stanza of an index, as upstream would write it.
    pub fn stanza(&self, filename: &str, bytes: &[u8]) -> String {
        let sha256 = reservoir_core::digest::Sha256Digest::of(bytes);
        format!("{}Filename: {filename}\nSize: {}\nSHA256: {sha256}", self.control(), bytes.len())
    }

    pub fn build(&self) -> Vec<u8> {
        let control = tar_gz(&[("./control".to_owned(), self.control().into_bytes())]);
        let folder = format!("./usr/share/{}/", self.name);
        let mut data: Vec<(String, Vec<u8>)> =
            ["./", "./usr/", "./usr/share/"].map(|name| (name.to_owned(), Vec::new())).into();
        data.push((folder.clone(), Vec::new()));
        data.extend(self.files.iter().map(|(name, bytes)| (format!("{folder}{name}"), bytes.clone())));
        ar(&[
            ("debian-binary", b"2.0\n".as_slice()),
            ("control.tar.gz", &control),
            ("data.tar.gz", &tar_gz(&data)),
        ])
    }
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        write!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len()).unwrap();
        out.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// Names that end with a slash are folders.
fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mtime(0);
        let is_folder = name.ends_with('/');
        header.set_mode(if is_folder { 0o755 } else { 0o644 });
        header.set_entry_type(if is_folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
        // As dpkg-deb writes it, with the dot that `set_path` would take away.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}
