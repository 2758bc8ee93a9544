//! Lock files as exact closures: `uv.lock`, `pylock.toml` (PEP 751), and `requirements.txt` with hashes.
//!
//! Each gives packages with one version, their files and their digests. Which of the files a target takes is decided
//! among those that the lock names, as its client will decide, and not among those that a registry has: what a client
//! would ask for and nobody offers is missing, not replaced.

mod choose;
mod pylock;
mod requirements;
mod uv;

use std::{borrow::Cow, collections::BTreeMap};

use percent_encoding::percent_decode_str;
use reservoir_core::{
    Error, Result,
    digest::Sha256Digest,
    ecosystem::{LockFile, Locked, RepositoryConfig, Requirement},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::choose::choose;
use crate::{
    marker::{Environment, Marker},
    name::ProjectName,
    options::Options,
    target::Target,
    version::Version,
};

/// Most packages of a lock.
const PACKAGES: usize = 100_000;

/// What a lock says of one package beside its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Detail {
    /// The lock, for messages.
    lock: String,
    /// Its files by name, where the lock has names.
    files: Vec<LockedFile>,
    /// The digests of its files, where the lock has those alone.
    hashes: Vec<Sha256Digest>,
    /// The targets that need it, by their place in the configuration; all there are when there are none.
    targets: Vec<usize>,
}

/// A file of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LockedFile {
    name: String,
    /// Absent where the lock has another kind of digest.
    sha256: Option<Sha256Digest>,
    size: Option<u64>,
    upload_time: Option<String>,
}

/// Reads a lock file; its name says which kind it is.
///
/// # Errors
/// [`Error::Malformed`] with the rule `lock-file` for what cannot be read, [`Error::Invalid`] for other files.
pub(crate) fn read(repository: &RepositoryConfig, name: &str, text: &str) -> Result<LockFile> {
    let options = Options::of(repository)?;
    let reader = Reader { name, targets: &options.targets };
    let lowercase = name.to_ascii_lowercase();
    let (stem, ending) = lowercase.rsplit_once('.').unwrap_or((&lowercase, ""));
    if (stem, ending) == ("uv", "lock") {
        uv::read(&reader, text)
    } else if ending == "toml" && (stem == "pylock" || stem.starts_with("pylock.")) {
        pylock::read(&reader, text)
    } else if ending == "txt" {
        requirements::read(&reader, text)
    } else {
        Err(Error::invalid(
            format!("`{name}`"),
            "is none of the lock files known here: uv.lock, pylock.toml, requirements.txt with hashes",
        ))
    }
}

/// What all kinds of locks are read with.
struct Reader<'a> {
    name: &'a str,
    targets: &'a [Target],
}

impl Reader<'_> {
    fn malformed(&self, detail: impl Into<String>) -> Error {
        Error::malformed(format!("`{}`", self.name), "lock-file", detail)
    }

    fn toml<T: for<'de> Deserialize<'de>>(&self, text: &str) -> Result<T> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            self.malformed(format!("line {line}: {}", error.message()))
        })
    }

    /// Whether a marker may hold for one of the targets; for any, when there are none.
    fn may_hold(&self, marker: Option<&str>, target: Option<&Target>) -> Result<bool> {
        let Some(marker) = marker else { return Ok(true) };
        let marker =
            Marker::parse(marker).map_err(|detail| self.malformed(format!("`{marker}` {detail}")))?;
        Ok(marker.may_hold(Environment { target, extras: None }))
    }

    /// Every target with its place, or the one that stands for none.
    fn environments(&self) -> Vec<(usize, Option<&Target>)> {
        if self.targets.is_empty() {
            return vec![(0, None)];
        }
        self.targets.iter().map(Some).enumerate().collect()
    }

    fn package(&self, project: &ProjectName, version: &Version, detail: Detail) -> Result<Locked> {
        let requirement = Requirement {
            artifact: project.to_artifact(),
            constraint: format!("=={version}"),
            extras: Vec::new(),
            wanted_by: None,
        };
        let detail = serde_json::to_value(detail).map_err(|error| self.malformed(error.to_string()))?;
        Ok(Locked { requirement, detail })
    }
}

/// A file as the two TOML formats write it.
#[derive(Debug, Deserialize)]
struct TomlFile {
    #[serde(alias = "filename")]
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    hash: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    size: Option<u64>,
    #[serde(rename = "upload-time")]
    upload_time: Option<toml::Value>,
}

impl TomlFile {
    /// Its name is the last part of its address where it has none of its own.
    fn locked(self) -> Option<LockedFile> {
        let last = |address: &String| {
            let address = address.split(['#', '?']).next()?;
            let last = address.rsplit(['/', '\\']).next().filter(|last| !last.is_empty())?;
            percent_decode_str(last).decode_utf8().ok().map(Cow::into_owned)
        };
        let name = self.name.or_else(|| self.url.as_ref().and_then(last));
        let name = name.or_else(|| self.path.as_ref().and_then(last))?;
        let sha256 = self.hash.as_deref().and_then(|hash| hash.strip_prefix("sha256:"));
        let sha256 = sha256.or_else(|| self.hashes.get("sha256").map(String::as_str));
        let upload_time = self.upload_time.map(|time| match time {
            toml::Value::String(text) => text,
            other => other.to_string(),
        });
        let sha256 = sha256.and_then(|text| text.to_ascii_lowercase().parse().ok());
        Some(LockedFile { name, sha256, size: self.size, upload_time })
    }
}
