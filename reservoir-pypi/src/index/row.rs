//! One file of a project page, as both languages write it.

use std::{collections::BTreeMap, fmt::Write as _};

use pep440_rs::Version;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reservoir_core::{Error, Result, name::RevisionName, path::ContentPath, snapshot::Entry};
use serde_json::Value;

use crate::{attribute, provenance};

/// pip takes the last segment of the URL for the file's name, so only what must be is escaped; `+` of local
/// versions must be.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'!');

/// One file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) filename: String,
    /// Relative to the project's page.
    pub(super) url: String,
    /// Unknown of a file that is only on offer, if its registry does not say.
    pub(super) sha256: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) requires_python: Option<String>,
    /// RFC 3339, UTC, in the precision PEP 700 allows.
    pub(super) upload_time: Option<String>,
    pub(super) yanked: Yanked,
    /// SHA-256 of the sidecar that is served.
    pub(super) core_metadata: Option<String>,
    /// Where the attestations are, relative to the project's page.
    pub(super) provenance: Option<String>,
}

/// What is kept beside a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Companions {
    /// A wheel's `METADATA` (PEP 658).
    pub(super) metadata: Option<Entry>,
    /// Its attestations (PEP 740).
    pub(super) provenance: Option<Entry>,
}

/// What a page says of the whole project (PEP 792).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProjectStatus {
    pub(super) status: String,
    pub(super) reason: Option<String>,
}

impl ProjectStatus {
    /// Statuses worth saying; a word that a client does not know could cost it the page.
    const KNOWN: [&str; 3] = ["archived", "deprecated", "quarantined"];

    /// As a file's entry carries it.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        Self::among(&entry.attributes)
    }

    /// As attributes carry it.
    pub(super) fn among(attributes: &BTreeMap<String, Value>) -> Option<Self> {
        let text = |key| attributes.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let status = text(attribute::STATUS).filter(|status| Self::KNOWN.contains(status))?.to_owned();
        Some(Self { status, reason: text(attribute::STATUS_REASON).map(str::to_owned) })
    }
}

/// PEP 592.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Yanked {
    No,
    WithoutReason,
    Because(String),
}

impl Yanked {
    /// As an attribute carries it.
    pub(super) fn of(value: Option<&Value>) -> Self {
        match value {
            None | Some(Value::Null | Value::Bool(false)) => Self::No,
            Some(Value::String(reason)) if !reason.is_empty() => Self::Because(reason.clone()),
            // Anything else that stands there means yanked; the mark must never be lost.
            Some(_) => Self::WithoutReason,
        }
    }
}

impl Row {
    /// From a file's entry and those beside it.
    pub(super) fn of(entry: &Entry, companions: &Companions) -> Result<Self> {
        let filename = entry.path.file_name().to_owned();
        let text = |key| entry.attributes.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let path = text(attribute::BLAKE2B).and_then(|digest| file_url_path(digest, &filename));
        let Some(path) = path else {
            let detail = format!("attribute `{}` is no 64 hexadecimal digits", attribute::BLAKE2B);
            return Err(Error::malformed(format!("`{}`", entry.path), "pypi-entry", detail));
        };
        Ok(Self {
            url: format!("../../{path}"),
            filename,
            sha256: Some(entry.blob.sha256.to_string()),
            size: Some(entry.blob.size),
            requires_python: text(attribute::REQUIRES_PYTHON).map(str::to_owned),
            upload_time: text(attribute::UPLOAD_TIME).and_then(instant),
            yanked: Yanked::of(entry.attributes.get(attribute::YANKED)),
            core_metadata: companions.metadata.as_ref().map(|sidecar| sidecar.blob.sha256.to_string()),
            provenance: companions
                .provenance
                .as_ref()
                .filter(|document| provenance::speaks_of(document, entry.blob.sha256))
                .and_then(|_| integrity_url_path(&entry.path, entry.revision.as_ref()?)),
        })
    }
}

/// `packages/<2>/<2>/<60 hex>/<file>`, escaped, as Python's own file host lays files out: `uv.lock` keeps
/// whole URLs, and people replace the host in them.
pub(super) fn file_url_path(blake2b: &str, filename: &str) -> Option<String> {
    let is_digest =
        blake2b.len() == 64 && blake2b.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_digest.then(|| {
        let filename = utf8_percent_encode(filename, &SEGMENT);
        format!("packages/{}/{}/{}/{filename}", &blake2b[..2], &blake2b[2..4], &blake2b[4..])
    })
}

/// `integrity/<project>/<version>/<file>/provenance`, escaped, relative to the project's page.
pub(super) fn integrity_url_path(path: &ContentPath, version: &RevisionName) -> Option<String> {
    let (project, filename) = path.as_str().split_once('/')?;
    let version = utf8_percent_encode(version.as_str(), &SEGMENT);
    let filename = utf8_percent_encode(filename, &SEGMENT);
    Some(format!("../../integrity/{project}/{version}/{filename}/provenance"))
}

/// `yyyy-mm-ddThh:mm:ss[.ffffff]Z`: older Pythons read a fraction of three or six digits only.
pub(super) fn instant(text: &str) -> Option<String> {
    let at: jiff::Timestamp = text.parse().ok()?;
    let micros = at.as_microsecond().rem_euclid(1_000_000);
    let mut text = at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    if micros != 0 {
        let _ = write!(text, ".{micros:06}");
    }
    text.push('Z');
    Some(text)
}

/// Versions in their own order (PEP 440), each once.
pub(super) fn sort_versions(versions: std::collections::BTreeSet<String>) -> Vec<String> {
    let mut versions: Vec<(Option<Version>, String)> =
        versions.into_iter().map(|text| (text.parse().ok(), text)).collect();
    versions.sort();
    versions.into_iter().map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_escaped_where_they_must() {
        let path = |name| file_url_path(&"ab".repeat(32), name).unwrap();
        assert!(path("torch-2.1+cu121-cp311.whl").ends_with("/torch-2.1%2Bcu121-cp311.whl"));
        assert!(path("a-1!2.0.tar.gz").ends_with("/a-1!2.0.tar.gz"));
        assert!(path("a b?#%&.zip").ends_with("/a%20b%3F%23%25%26.zip"));
        assert!(path("x").starts_with("packages/ab/ab/abab"));
        assert_eq!(file_url_path(&"AB".repeat(32), "x"), None);
        assert_eq!(file_url_path("abcd", "x"), None);
    }

    #[test]
    fn instants_are_those_of_pep_700() {
        for (given, expected) in [
            ("2024-01-02T03:04:05Z", Some("2024-01-02T03:04:05Z")),
            ("2024-01-02T03:04:05.5Z", Some("2024-01-02T03:04:05.500000Z")),
            ("2024-01-02T03:04:05.123456789+01:00", Some("2024-01-02T02:04:05.123456Z")),
            ("", None),
            ("yesterday", None),
            ("2024-01-02", None),
        ] {
            assert_eq!(instant(given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn versions_have_their_own_order() {
        let given = ["1.10", "1.9", "1!0.1", "2.0rc1", "2.0", "2.0.post1", "2.0.dev1", "1.0+b", "1.0", "odd"];
        let sorted = sort_versions(given.map(str::to_owned).into());
        let expected =
            ["odd", "1.0", "1.0+b", "1.9", "1.10", "2.0.dev1", "2.0rc1", "2.0", "2.0.post1", "1!0.1"];
        assert_eq!(sorted, expected);
    }
}
