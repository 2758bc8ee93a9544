//! Pages in JSON (PEP 691, 700, 714, 740, 792). An optional key is left out, never `null` or empty: uv drops the
//! whole page over one.

use serde::Serialize;
use serde_json::Value;

use super::{
    API_VERSION,
    row::{ProjectStatus, Row, Yanked},
};

#[derive(Serialize)]
struct File<'a> {
    filename: &'a str,
    url: &'a str,
    hashes: Hashes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(rename = "requires-python", skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
    #[serde(rename = "upload-time", skip_serializing_if = "Option::is_none")]
    upload_time: Option<&'a str>,
    yanked: Value,
    #[serde(rename = "core-metadata", skip_serializing_if = "Option::is_none")]
    core_metadata: Option<Hashes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<&'a str>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// SHA-256 alone: clients know other algorithms under differing names.
#[derive(Serialize)]
struct Hashes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
}

/// The beginning of a project's page.
pub(super) fn head(out: &mut Vec<u8>, project: &str, status: Option<&ProjectStatus>) {
    text(out, r#"{"meta":{"api-version":""#);
    text(out, API_VERSION);
    text(out, r#""},"name":"#);
    value(out, project);
    if let Some(ProjectStatus { status, reason }) = status {
        text(out, r#","project-status":"#);
        value(out, &Status { status, reason: reason.as_deref() });
    }
    text(out, r#","files":["#);
}

/// One file.
pub(super) fn row(out: &mut Vec<u8>, row: &Row, first: bool) {
    if !first {
        text(out, ",");
    }
    let file = File {
        filename: &row.filename,
        url: &row.url,
        hashes: Hashes { sha256: row.sha256.as_deref() },
        size: row.size,
        requires_python: row.requires_python.as_deref(),
        upload_time: row.upload_time.as_deref(),
        yanked: match &row.yanked {
            Yanked::No => false.into(),
            Yanked::WithoutReason => true.into(),
            Yanked::Because(reason) => reason.as_str().into(),
        },
        core_metadata: row.core_metadata.as_deref().map(|sha256| Hashes { sha256: Some(sha256) }),
        provenance: row.provenance.as_deref(),
    };
    value(out, &file);
}

/// The end of a project's page.
pub(super) fn tail(out: &mut Vec<u8>, versions: &[String]) {
    text(out, r#"],"versions":"#);
    value(out, versions);
    text(out, "}\n");
}

/// The beginning of the list of projects.
pub(super) fn root_head(out: &mut Vec<u8>) {
    text(out, r#"{"meta":{"api-version":""#);
    text(out, API_VERSION);
    text(out, r#""},"projects":["#);
}

/// One project of the list, for mirrors with the snapshot that last changed it.
pub(super) fn root_row(out: &mut Vec<u8>, project: &str, serial: Option<u64>, first: bool) {
    text(out, if first { r#"{"name":"# } else { r#",{"name":"# });
    value(out, project);
    if let Some(serial) = serial {
        text(out, r#","_last-serial":"#);
        value(out, &serial);
    }
    text(out, "}");
}

/// The end of the list of projects.
pub(super) fn root_tail(out: &mut Vec<u8>) {
    text(out, "]}\n");
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("strings and numbers always serialise into memory");
}
