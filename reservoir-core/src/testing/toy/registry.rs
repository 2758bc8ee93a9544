//! A toy registry on the loopback.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::json;
use url::Url;

use super::INDEX;
use crate::{
    digest::Sha256Digest,
    testing::upstream::{Reply, Upstream},
};

/// A registry whose files tests choose. It stops when dropped.
#[derive(Debug)]
pub struct ToyRegistry {
    upstream: Upstream,
    files: BTreeMap<String, Vec<ToyFile>>,
}

/// One file on offer.
#[derive(Debug, Clone)]
pub struct ToyFile {
    /// Its artifact.
    pub name: String,
    /// Its revision.
    pub version: String,
    /// Its file name.
    pub file: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// A fact that may change while the bytes stay.
    pub note: Option<String>,
}

impl ToyFile {
    /// A whole file with `payload` bytes after its head; the same arguments give the same bytes.
    #[must_use]
    pub fn new(name: &str, version: &str, variant: Option<&str>, requires: &[&str], payload: usize) -> Self {
        let suffix = variant.map(|variant| format!("+{variant}")).unwrap_or_default();
        let file = format!("{name}-{version}{suffix}.toy");
        let mut text = format!("name: {name}\nversion: {version}\n");
        for requirement in requires {
            let _ = writeln!(text, "requires: {requirement}");
        }
        text.push('\n');
        let mut bytes = text.into_bytes();
        bytes.extend(file.bytes().cycle().take(payload));
        Self { name: name.to_owned(), version: version.to_owned(), file, bytes, note: None }
    }

    /// Its digest.
    #[must_use]
    pub fn sha256(&self) -> Sha256Digest {
        Sha256Digest::of(&self.bytes)
    }

    /// Its path within a repository.
    #[must_use]
    pub fn path(&self) -> String {
        format!("files/{}/{}", self.name, self.file)
    }
}

impl ToyRegistry {
    /// Binds and answers with an empty document.
    pub async fn start() -> Self {
        let registry = Self { upstream: Upstream::start().await, files: BTreeMap::new() };
        registry.answer();
        registry
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> Url {
        self.upstream.url("/")
    }

    /// The server behind it, for faults and for counting requests.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Offers a file, instead of one with the same name.
    pub fn offer(&mut self, file: ToyFile) -> &mut Self {
        self.upstream.route(format!("/{}", file.file), Reply::ok(file.bytes.clone()));
        let files = self.files.entry(file.name.clone()).or_default();
        files.retain(|known| known.file != file.file);
        files.push(file);
        self.answer();
        self
    }

    /// Offers a file no more.
    pub fn withdraw(&mut self, file: &str) {
        for files in self.files.values_mut() {
            files.retain(|known| known.file != file);
        }
        self.answer();
    }

    /// What is on offer.
    pub fn files(&self) -> impl Iterator<Item = &ToyFile> {
        self.files.values().flatten()
    }

    /// How often the bytes of a file were asked for.
    #[must_use]
    pub fn fetched(&self, file: &str) -> usize {
        self.upstream.requests_to(&format!("/{file}")).len()
    }

    fn answer(&self) {
        let offers = |files: &Vec<ToyFile>| {
            let lines = files.iter().map(|file| {
                let mut line = json!({
                    "version": file.version,
                    "file": file.file,
                    "size": file.bytes.len(),
                    "sha256": file.sha256(),
                });
                if let Some(note) = &file.note {
                    line["note"] = json!(note);
                }
                line
            });
            lines.collect::<Vec<_>>()
        };
        let document: BTreeMap<_, _> = self.files.iter().map(|(name, files)| (name, offers(files))).collect();
        let body = serde_json::to_vec(&document).expect("strings and numbers are JSON");
        let etag = format!("\"{}\"", Sha256Digest::of(&body));
        self.upstream
            .route(format!("/{INDEX}"), Reply::ok(body).content_type("application/json").etag(&etag));
    }
}
