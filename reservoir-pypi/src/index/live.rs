//! A project's page in a cache: everything on offer, whether it is here yet or not.

use std::collections::BTreeSet;

use reservoir_core::{
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Candidate, CandidateFile, Offer},
    lifecycle::Status,
    path::ContentPath,
};
use serde_json::Value;

use super::{
    Format, html, json,
    row::{self, ProjectStatus, Row, Yanked},
};
use crate::{attribute, filename::DistFilename, filter::Filter, name::ProjectName, provenance::Documents};

/// The page, its files in the order of their names. A project that its registry has withdrawn has none.
pub(crate) fn page(project: &ProjectName, format: Format, offer: &Offer, filter: &Filter) -> Vec<u8> {
    let now = Timestamp::now().to_jiff();
    let mut rows = Vec::new();
    let mut versions = BTreeSet::new();
    for candidate in offer.candidates.iter().filter(|_| offer.quarantined.is_none()) {
        let before = rows.len();
        let documents = Documents::among(&candidate.files);
        let listed = |file| row(project, candidate, (file, &documents), filter, now);
        rows.extend(candidate.files.iter().filter_map(listed));
        if rows.len() > before {
            versions.insert(candidate.revision.to_string());
        }
    }
    rows.sort_unstable_by(|a, b| a.filename.cmp(&b.filename));
    let status = ProjectStatus::among(&offer.attributes);
    let mut out = Vec::with_capacity(512 + rows.len() * 400);
    match format {
        Format::Json => {
            json::head(&mut out, project.as_str(), status.as_ref());
            for (at, row) in rows.iter().enumerate() {
                json::row(&mut out, row, at == 0);
            }
            json::tail(&mut out, &row::sort_versions(versions));
        }
        Format::Html => {
            html::head(&mut out, project.as_str(), status.as_ref());
            for row in &rows {
                html::row(&mut out, row);
            }
            html::tail(&mut out);
        }
    }
    out
}

/// A file as pages list it. `None` for what stands beside a file, for names that no installer takes, and for what the
/// repository takes from nobody.
pub(super) fn row(
    project: &ProjectName,
    candidate: &Candidate,
    (file, documents): (&CandidateFile, &Documents<'_>),
    filter: &Filter,
    now: jiff::Timestamp,
) -> Option<Row> {
    let filename = file.path.file_name();
    let name = DistFilename::parse(filename, project).ok()?;
    if filter.refusal(&name, file.size, &file.attributes, now).is_some() {
        return None;
    }
    let text = |key| fact(file, key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let sidecar = matches!(name, DistFilename::Wheel(_)).then(|| core_metadata(candidate, file)).flatten();
    Some(Row {
        url: format!("../../{}", row::file_url_path(&place(file), filename)?),
        filename: filename.to_owned(),
        sha256: file.sha256.map(|sha256| sha256.to_string()),
        size: file.size,
        requires_python: text(attribute::REQUIRES_PYTHON).map(str::to_owned),
        upload_time: text(attribute::UPLOAD_TIME).and_then(row::instant),
        yanked: Yanked::of(file.attributes.get(attribute::YANKED)),
        core_metadata: sidecar,
        provenance: documents
            .of(&file.path)
            .and_then(|_| row::integrity_url_path(&file.path, &candidate.revision)),
    })
}

/// What the bytes say stands over what the registry says.
pub(super) fn fact<'a>(file: &'a CandidateFile, key: &str) -> Option<&'a Value> {
    let inside = file.inspection.as_ref().and_then(|inspection| inspection.attributes.get(key));
    inside.or_else(|| file.attributes.get(key))
}

/// The digest of the sidecar that is served: the wheel's own once it is here, else the one that the registry
/// announces, unless the wheel has shown that to be wrong.
fn core_metadata(candidate: &Candidate, file: &CandidateFile) -> Option<String> {
    let announced = announced_metadata(&file.attributes);
    let inspection = file.inspection.as_ref();
    let inside = inspection.and_then(|seen| seen.attributes.get(attribute::METADATA_SHA256)?.as_str());
    match inside {
        Some(inside) if candidate.status == Status::Available => Some(inside.to_owned()),
        Some(inside) => announced.filter(|sha256| sha256.to_string() == inside).map(|s| s.to_string()),
        None => announced.map(|sha256| sha256.to_string()),
    }
}

/// The digest of a wheel's `METADATA` as the registry's page has it.
pub(crate) fn announced_metadata(
    attributes: &std::collections::BTreeMap<String, Value>,
) -> Option<Sha256Digest> {
    attributes.get(attribute::CORE_METADATA)?.get("sha256")?.as_str()?.parse().ok()
}

/// The digits of a file's address: those of the registry's own file host where it has some, so that a lock file
/// needs another host and nothing else.
fn place(file: &CandidateFile) -> String {
    let own = file.attributes.get(attribute::PLACE).and_then(Value::as_str).map(str::to_owned);
    own.or_else(|| file.sha256.map(|sha256| sha256.to_string())).unwrap_or_else(|| place_of_path(&file.path))
}

/// The address of a file of which nothing else is known.
fn place_of_path(path: &ContentPath) -> String {
    Sha256Digest::of(path.as_str().as_bytes()).to_string()
}

/// Whether a page of a cache may have given a file this address.
pub(crate) fn is_placed(
    path: &ContentPath,
    sha256: Option<Sha256Digest>,
    attributes: &std::collections::BTreeMap<String, Value>,
    digits: &str,
) -> bool {
    let attribute = |key| attributes.get(key).and_then(Value::as_str) == Some(digits);
    attribute(attribute::PLACE)
        || attribute(attribute::BLAKE2B)
        || sha256.is_some_and(|sha256| sha256.to_string() == digits)
        || place_of_path(path) == digits
}
