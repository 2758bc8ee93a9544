//! `pylock.toml` (PEP 751): packages with their files, each under a marker of its own.

use std::collections::BTreeMap;

use reservoir_core::{Result, ecosystem::LockFile};
use serde::Deserialize;

use super::{Detail, LockedFile, PACKAGES, Reader, TomlFile};
use crate::{
    filename::DistFilename, name::ProjectName, requirement::parse_specifiers, target::Target,
    version::Version,
};

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(rename = "lock-version")]
    version: String,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: ProjectName,
    version: Option<String>,
    marker: Option<String>,
    #[serde(rename = "requires-python")]
    requires_python: Option<String>,
    sdist: Option<TomlFile>,
    #[serde(default)]
    wheels: Vec<TomlFile>,
    /// `vcs`, `directory`, `archive`…
    #[serde(flatten)]
    rest: BTreeMap<String, toml::Value>,
}

pub(super) fn read(reader: &Reader<'_>, text: &str) -> Result<LockFile> {
    let document: Document = reader.toml(text)?;
    if document.version.split('.').next() != Some("1") {
        return Err(reader.malformed(format!("has the version {}; 1.0 is understood", document.version)));
    }
    if document.packages.len() > PACKAGES {
        return Err(reader.malformed(format!("has more than {PACKAGES} packages")));
    }
    let mut lock = LockFile::default();
    for package in document.packages {
        let mut targets = Vec::new();
        for (place, target) in reader.environments() {
            if needs(reader, &package, target)? {
                targets.push(place);
            }
        }
        if targets.is_empty() {
            continue;
        }
        // The project itself, and what lies beside it.
        if package.rest.contains_key("directory") {
            continue;
        }
        let elsewhere = ["vcs", "archive"].into_iter().find(|key| package.rest.contains_key(*key));
        if let Some(from) = elsewhere {
            lock.missing.push(format!(
                "`{}` ({}): it comes from a `{from}` and not from an index",
                package.name, reader.name
            ));
            continue;
        }
        let files: Vec<LockedFile> =
            package.wheels.into_iter().chain(package.sdist).filter_map(TomlFile::locked).collect();
        // The version may be left out; the files have it.
        let of_files = || files.iter().find_map(|file| version_of(&file.name, &package.name));
        let Some(version) = package.version.and_then(|text| text.parse().ok()).or_else(of_files) else {
            return Err(reader.malformed(format!("`{}` has no version that PEP 440 knows", package.name)));
        };
        let detail = Detail { lock: reader.name.to_owned(), files, hashes: Vec::new(), targets };
        lock.packages.push(reader.package(&package.name, &version, detail)?);
    }
    Ok(lock)
}

fn needs(reader: &Reader<'_>, package: &Package, target: Option<&Target>) -> Result<bool> {
    let specifiers = package.requires_python.as_deref().and_then(|text| parse_specifiers(text).ok());
    let fits = match (target, specifiers) {
        (Some(target), Some(specifiers)) => target.python.may_satisfy(&specifiers),
        _ => true,
    };
    Ok(fits && reader.may_hold(package.marker.as_deref(), target)?)
}

fn version_of(file: &str, project: &ProjectName) -> Option<Version> {
    DistFilename::parse(file, project).ok().map(|name| name.version().clone())
}
