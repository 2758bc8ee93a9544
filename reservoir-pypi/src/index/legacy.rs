//! The JSON API of before PEP 691, which mirrors read: `/pypi/NAME/json` and `/pypi/NAME/VERSION/json`.
//!
//! Made when it is asked for: of a snapshot's content, in a cache of all that is on offer. Addresses are absolute, as
//! its readers expect.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use reservoir_core::{
    Result,
    clock::Timestamp,
    ecosystem::Offer,
    serve::{Found, View},
    snapshot::Entry,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    live,
    row::{Companions, Row, Yanked},
};
use crate::{
    attribute,
    filename::DistFilename,
    filter::Filter,
    metadata::{self, Metadata},
    name::ProjectName,
    provenance::Documents,
    version::Version,
};

/// The time of a file whose registry told none: readers insist on one.
const UNKNOWN_TIME: &str = "1970-01-01T00:00:00.000000Z";

#[derive(Debug, Serialize)]
struct File {
    comment_text: &'static str,
    digests: BTreeMap<&'static str, String>,
    filename: String,
    has_sig: bool,
    packagetype: &'static str,
    python_version: String,
    requires_python: Option<String>,
    /// `null` for what is on offer from a registry that does not say.
    size: Option<u64>,
    upload_time: String,
    upload_time_iso_8601: String,
    url: String,
    yanked: bool,
    yanked_reason: Option<String>,
}

/// A file with what it tells of its version.
struct Listed<F> {
    file: File,
    facts: F,
}

/// The files of each version.
type Releases<F> = BTreeMap<Version, Vec<Listed<F>>>;

/// The document of a project, or of one version, as it is published; `None` when there is none. `base` is the address
/// of the repository.
pub(crate) async fn document(
    view: &View,
    project: &ProjectName,
    version: Option<&Version>,
    base: &str,
    serial: u64,
) -> Result<Option<Vec<u8>>> {
    let mut releases: Releases<Entry> = BTreeMap::new();
    let mut entries = view.scan(&format!("{project}/"));
    while let Some(entry) = entries.try_next().await? {
        let Ok(name) = DistFilename::parse(entry.path.file_name(), project) else { continue };
        let row = Row::of(&entry, &Companions::default())?;
        let blake2b = entry.attributes.get(attribute::BLAKE2B);
        let file = file(&name, row, blake2b, base);
        releases.entry(name.version().clone()).or_default().push(Listed { file, facts: entry });
    }
    let Some((shown, files)) = shown(&releases, version) else { return Ok(None) };
    let requires = requires_dist(view, files).await?;
    let fact = |entry: &Entry, key: &str| entry.attributes.get(key).cloned();
    let info = info(project, shown, files, fact, &requires);
    Ok(Some(written(version.is_none().then_some(&releases), files, info, serial)))
}

/// The same of all that a cache could bring, whether it is here yet or not.
pub(crate) fn offered(
    offer: &Offer,
    filter: &Filter,
    project: &ProjectName,
    version: Option<&Version>,
    base: &str,
    serial: u64,
) -> Option<Vec<u8>> {
    let now = Timestamp::now().to_jiff();
    let mut releases: Releases<&_> = BTreeMap::new();
    for candidate in offer.candidates.iter().filter(|_| offer.quarantined.is_none()) {
        let documents = Documents::among(&candidate.files);
        for found in &candidate.files {
            let Ok(name) = DistFilename::parse(found.path.file_name(), project) else { continue };
            let Some(row) = live::row(project, candidate, (found, &documents), filter, now) else { continue };
            let file = file(&name, row, live::fact(found, attribute::BLAKE2B), base);
            releases.entry(name.version().clone()).or_default().push(Listed { file, facts: found });
        }
    }
    let (shown, files) = shown(&releases, version)?;
    // Of what is not here yet nobody has read what it needs.
    let read = files.iter().find_map(|listed| listed.facts.inspection.as_ref());
    let requires = read.map_or(Value::Null, |inspection| json!(inspection.requirements));
    let fact = |found: &&_, key: &str| live::fact(found, key).cloned();
    let info = info(project, shown, files, fact, &requires);
    Some(written(version.is_none().then_some(&releases), files, info, serial))
}

/// The version that `info` and `urls` are about: the one asked for, else the newest that is final, else the newest.
fn shown<'r, F>(
    releases: &'r Releases<F>,
    version: Option<&Version>,
) -> Option<(&'r Version, &'r [Listed<F>])> {
    let is_final = |version: &&Version| !version.is_prerelease();
    let newest = || releases.keys().rfind(is_final).or_else(|| releases.keys().next_back());
    let (shown, files) = releases.get_key_value(version.or_else(newest)?)?;
    Some((shown, files))
}

fn written<F>(releases: Option<&Releases<F>>, urls: &[Listed<F>], info: Value, serial: u64) -> Vec<u8> {
    let files = |files: &[Listed<F>]| json!(files.iter().map(|listed| &listed.file).collect::<Vec<_>>());
    let mut document = Map::new();
    document.insert("info".into(), info);
    document.insert("last_serial".into(), serial.into());
    document.insert("urls".into(), files(urls));
    document.insert("vulnerabilities".into(), json!([]));
    if let Some(releases) = releases {
        let all = releases.iter().map(|(version, listed)| (version.to_string(), files(listed)));
        document.insert("releases".into(), Value::Object(all.collect()));
    }
    Value::Object(document).to_string().into_bytes()
}

fn file(name: &DistFilename, row: Row, blake2b: Option<&Value>, base: &str) -> File {
    let (packagetype, python_version) = match name {
        DistFilename::Wheel(wheel) => ("bdist_wheel", wheel.python.join(".")),
        DistFilename::Sdist(_) => ("sdist", "source".to_owned()),
    };
    let mut digests = BTreeMap::new();
    digests.extend(row.sha256.map(|sha256| ("sha256", sha256)));
    digests.extend(blake2b.and_then(Value::as_str).map(|blake2b| ("blake2b_256", blake2b.to_owned())));
    let time = row.upload_time.unwrap_or_else(|| UNKNOWN_TIME.to_owned());
    let yanked_reason = match &row.yanked {
        Yanked::Because(reason) => Some(reason.clone()),
        Yanked::No | Yanked::WithoutReason => None,
    };
    File {
        comment_text: "",
        digests,
        filename: row.filename,
        has_sig: false,
        packagetype,
        python_version,
        requires_python: row.requires_python,
        size: row.size,
        upload_time: time.split(['.', 'Z']).next().unwrap_or_default().to_owned(),
        upload_time_iso_8601: time,
        url: format!("{base}/{}", row.url.trim_start_matches("../")),
        yanked: row.yanked != Yanked::No,
        yanked_reason,
    }
}

/// What a version needs. The wheels of a version mostly ask for the same; the first is taken, as elsewhere.
async fn requires_dist(view: &View, files: &[Listed<Entry>]) -> Result<Value> {
    for listed in files {
        let Found::Entry(sidecar) = view.content(&format!("{}.metadata", listed.facts.path)).await? else {
            continue;
        };
        if sidecar.blob.size > metadata::LIMIT {
            continue;
        }
        let mut bytes = Vec::new();
        let mut pieces = view.read(&sidecar, 0..sidecar.blob.size).await?;
        while let Some(piece) = pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        let what = format!("`{}`", sidecar.path);
        return Ok(json!(Metadata::parse(&what, &bytes)?.requires_dist));
    }
    Ok(Value::Null)
}

/// What a version says of itself.
fn info<F>(
    project: &ProjectName,
    version: &Version,
    files: &[Listed<F>],
    fact: impl Fn(&F, &str) -> Option<Value>,
    requires_dist: &Value,
) -> Value {
    let fact = |key: &str| files.iter().find_map(|listed| fact(&listed.facts, key)).unwrap_or(Value::Null);
    json!({
        "name": project.as_str(),
        "version": version.to_string(),
        "summary": fact(attribute::SUMMARY),
        "license": fact(attribute::LICENSE),
        "requires_python": fact(attribute::REQUIRES_PYTHON),
        "requires_dist": requires_dist,
        "provides_extra": fact(attribute::PROVIDES_EXTRA),
        "classifiers": [],
        "dynamic": null,
        "yanked": files.iter().all(|listed| listed.file.yanked),
    })
}
