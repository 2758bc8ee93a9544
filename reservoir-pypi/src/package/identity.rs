//! Whether a file, its metadata and the registry speak of the same project and version.

use std::str::FromStr as _;

use pep440_rs::Version;
use reservoir_core::{Error, Result, ecosystem::PulledFile};

use crate::metadata::Metadata;

/// The project and version that a file was pulled as.
pub(super) struct Identity<'a> {
    project: String,
    version: Version,
    file_name: &'a str,
}

impl<'a> Identity<'a> {
    /// From what the registry said.
    pub(super) fn of(file: &'a PulledFile<'_>) -> Result<Self> {
        let version = Version::from_str(file.revision.as_str())
            .map_err(|error| Error::invalid(format!("revision `{}`", file.revision), error.to_string()))?;
        Ok(Self { project: normalise(file.artifact.as_str()), version, file_name: file.path.file_name() })
    }

    /// Whether `stem` is `<name>-<version>` of this project, however the name is spelt.
    pub(super) fn matches_stem(&self, stem: &str) -> bool {
        stem.match_indices('-').any(|(at, _)| {
            normalise(&stem[..at]) == self.project && self.is_version(&stem[at + 1..].replace('_', "-"))
        })
    }

    /// Refuses metadata of another project or version.
    pub(super) fn check(&self, metadata: &Metadata) -> Result<()> {
        if normalise(&metadata.name) != self.project {
            let detail = format!("says project `{}`, listed under `{}`", metadata.name, self.project);
            return Err(self.refuse("metadata-name", detail));
        }
        if !self.is_version(&metadata.version) {
            let detail = format!("says version `{}`, listed as `{}`", metadata.version, self.version);
            return Err(self.refuse("metadata-version", detail));
        }
        Ok(())
    }

    /// A refusal of this file.
    pub(super) fn refuse(&self, rule: &'static str, detail: impl Into<String>) -> Error {
        Error::malformed(format!("`{}`", self.file_name), rule, detail)
    }

    fn is_version(&self, text: &str) -> bool {
        Version::from_str(text).is_ok_and(|version| version == self.version)
    }
}

/// The normal form of a project name (PEP 503).
fn normalise(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !normal.is_empty() {
            normal.push('-');
        }
        normal.push_str(&part.to_ascii_lowercase());
    }
    normal
}
