//! Wheels: one `*.dist-info`, `METADATA` that agrees, `RECORD` that holds.

use std::collections::BTreeSet;

use reservoir_core::{
    Result,
    archive::{self, Limits},
    ecosystem::{Derived, Inspection, PulledFile},
};
use serde_json::Value;

use super::{METADATA_DIFFERS, describe, identity::Identity};
use crate::{attribute, metadata, record};

const DIST_INFO: &str = ".dist-info";

pub(super) async fn inspect(file: &PulledFile<'_>, identity: &Identity<'_>) -> Result<Inspection> {
    let what = format!("`{}`", identity.file_name());
    let keep_limit = metadata::LIMIT + record::LIMIT;
    let collected =
        archive::collect_zip(file.store, file.blob, &what, &Limits::default(), is_wanted, keep_limit).await?;
    let dist_info = dist_info(identity, collected.digests.keys().map(String::as_str))?;
    let member = |member: &str| {
        let path = format!("{dist_info}/{member}");
        collected
            .kept
            .get(&path)
            .ok_or_else(|| identity.refuse("wheel-incomplete", format!("`{path}` is missing")))
    };

    check_wheel_file(identity, member("WHEEL")?)?;
    record::verify(&what, dist_info, member("RECORD")?, &collected.digests)?;
    let bytes = member("METADATA")?;
    if bytes.len() as u64 > metadata::LIMIT {
        return Err(identity.refuse("metadata-size", format!("METADATA has {} bytes", bytes.len())));
    }
    let metadata = metadata::Metadata::parse(&format!("METADATA of {what}"), bytes)?;
    identity.check(&metadata)?;

    let mut inspection = describe(metadata);
    if let Some((_, sha256)) = collected.digests.get(&format!("{dist_info}/METADATA")) {
        let sha256 = sha256.to_string();
        if claimed(file).is_some_and(|claimed| !claimed.eq_ignore_ascii_case(&sha256)) {
            inspection.labels.push(METADATA_DIFFERS.to_owned());
        }
        inspection.attributes.insert(attribute::METADATA_SHA256.to_owned(), Value::String(sha256));
    }
    let path = format!("{}.metadata", file.path).parse()?;
    inspection.derived.push(Derived { path, bytes: bytes.clone() });
    Ok(inspection)
}

/// The digest of `METADATA` that the registry's page promised.
fn claimed<'a>(file: &'a PulledFile<'_>) -> Option<&'a str> {
    file.attributes.get(attribute::CORE_METADATA)?.get("sha256")?.as_str()
}

/// `METADATA`, `WHEEL` and `RECORD` of a top-level `*.dist-info`.
fn is_wanted(path: &str) -> bool {
    path.split_once('/').is_some_and(|(folder, name)| {
        folder.ends_with(DIST_INFO) && matches!(name, "METADATA" | "WHEEL" | "RECORD")
    })
}

/// The one top-level `*.dist-info` folder, named after the project and version.
fn dist_info<'a>(identity: &Identity<'_>, paths: impl Iterator<Item = &'a str>) -> Result<&'a str> {
    let mut found = BTreeSet::new();
    for path in paths {
        let mut parts = path.split('/');
        let first = parts.next().unwrap_or_default();
        // Clients disagree on the case of the suffix.
        if ends_with_ignoring_case(first, DIST_INFO) {
            found.insert(first);
        }
        // What lies there is installed beside the wheel's own folder and would pose as another project.
        let lands_beside = ends_with_ignoring_case(first, ".data")
            && matches!(parts.next(), Some("purelib" | "platlib"))
            && parts.next().is_some_and(|part| ends_with_ignoring_case(part, DIST_INFO));
        if lands_beside {
            return Err(identity.refuse("wheel-dist-info", format!("`{path}` installs a second *.dist-info")));
        }
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => match only.strip_suffix(DIST_INFO) {
            Some(stem) if identity.is_folder(stem) => Ok(only),
            _ => {
                let detail = format!("`{only}` is not named after its project and version");
                Err(identity.refuse("wheel-dist-info", detail))
            }
        },
        (Some(one), Some(other)) => {
            Err(identity.refuse("wheel-dist-info", format!("has both `{one}` and `{other}`")))
        }
        (None, _) => Err(identity.refuse("wheel-dist-info", "has no top-level *.dist-info")),
    }
}

fn ends_with_ignoring_case(text: &str, suffix: &str) -> bool {
    let (text, suffix) = (text.as_bytes(), suffix.as_bytes());
    text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

/// Installers must refuse a `Wheel-Version` with a major number they do not know (PEP 427).
fn check_wheel_file(identity: &Identity<'_>, bytes: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| identity.refuse("wheel-version-file", "`WHEEL` is not UTF-8"))?;
    let version = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("wheel-version").then(|| value.trim())
    });
    if version.and_then(|version| version.split('.').next()) == Some("1") {
        return Ok(());
    }
    let detail = format!("`Wheel-Version` is `{}`, known is 1.x", version.unwrap_or("missing"));
    Err(identity.refuse("wheel-version-file", detail))
}
