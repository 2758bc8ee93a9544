//! The JSON API of before PEP 691, which mirrors read: `/pypi/NAME/json` and `/pypi/NAME/VERSION/json`.
//!
//! Made of a snapshot's content when it is asked for. Addresses are absolute, as its readers expect.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use reservoir_core::{
    Result,
    serve::{Found, View},
    snapshot::Entry,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::row::{Companions, Row, Yanked};
use crate::{
    filename::DistFilename,
    metadata::{self, Metadata},
    name::ProjectName,
    package::attribute,
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
    size: u64,
    upload_time: String,
    upload_time_iso_8601: String,
    url: String,
    yanked: bool,
    yanked_reason: Option<String>,
}

/// The document of a project, or of one version; `None` when there is none. `base` is the address of the repository.
pub(crate) async fn document(
    view: &View,
    project: &ProjectName,
    version: Option<&Version>,
    base: &str,
    serial: u64,
) -> Result<Option<Vec<u8>>> {
    let mut releases: BTreeMap<Version, Vec<(Entry, File)>> = BTreeMap::new();
    let mut entries = view.scan(&format!("{project}/"));
    while let Some(entry) = entries.try_next().await? {
        let Ok(name) = DistFilename::parse(entry.path.file_name(), project) else { continue };
        let row = Row::of(&entry, &Companions::default())?;
        let file = file(&name, row, &entry, base);
        releases.entry(name.version().clone()).or_default().push((entry, file));
    }
    let is_final = |version: &&Version| !version.is_prerelease();
    let newest = releases.keys().rfind(is_final).or_else(|| releases.keys().next_back());
    let Some(shown) = version.or(newest).cloned() else { return Ok(None) };
    let Some(files) = releases.get(&shown) else { return Ok(None) };
    let info = info(view, project, &shown, files).await?;
    let urls: Vec<&File> = files.iter().map(|(_, file)| file).collect();
    let mut document = Map::new();
    document.insert("info".into(), info);
    document.insert("last_serial".into(), serial.into());
    document.insert("urls".into(), json!(urls));
    document.insert("vulnerabilities".into(), json!([]));
    if version.is_none() {
        let mut all = Map::new();
        for (version, files) in &releases {
            let files: Vec<&File> = files.iter().map(|(_, file)| file).collect();
            all.insert(version.to_string(), json!(files));
        }
        document.insert("releases".into(), Value::Object(all));
    }
    Ok(Some(Value::Object(document).to_string().into_bytes()))
}

fn file(name: &DistFilename, row: Row, entry: &Entry, base: &str) -> File {
    let (packagetype, python_version) = match name {
        DistFilename::Wheel(wheel) => ("bdist_wheel", wheel.python.join(".")),
        DistFilename::Sdist(_) => ("sdist", "source".to_owned()),
    };
    let mut digests = BTreeMap::from([("sha256", entry.blob.sha256.to_string())]);
    if let Some(blake2b) = entry.attributes.get(attribute::BLAKE2B).and_then(Value::as_str) {
        digests.insert("blake2b_256", blake2b.to_owned());
    }
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
        size: entry.blob.size,
        upload_time: time.split(['.', 'Z']).next().unwrap_or_default().to_owned(),
        upload_time_iso_8601: time,
        url: format!("{base}/{}", row.url.trim_start_matches("../")),
        yanked: row.yanked != Yanked::No,
        yanked_reason,
    }
}

/// What a version says of itself.
async fn info(
    view: &View,
    project: &ProjectName,
    version: &Version,
    files: &[(Entry, File)],
) -> Result<Value> {
    let fact = |key: &str| {
        files.iter().find_map(|(entry, _)| entry.attributes.get(key)).cloned().unwrap_or(Value::Null)
    };
    let mut requires = Value::Null;
    for (entry, _) in files {
        // The wheels of a version mostly ask for the same; the first is taken, as elsewhere.
        let Found::Entry(sidecar) = view.content(&format!("{}.metadata", entry.path)).await? else {
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
        requires = json!(Metadata::parse(&what, &bytes)?.requires_dist);
        break;
    }
    Ok(json!({
        "name": project.as_str(),
        "version": version.to_string(),
        "summary": fact(attribute::SUMMARY),
        "license": fact(attribute::LICENSE),
        "requires_python": fact(attribute::REQUIRES_PYTHON),
        "requires_dist": requires,
        "provides_extra": fact(attribute::PROVIDES_EXTRA),
        "classifiers": [],
        "dynamic": null,
        "yanked": files.iter().all(|(_, file)| file.yanked),
    }))
}
