//! Pages in HTML (PEP 503, 592, 658, 700's twins as uv reads them). Everything that came from elsewhere is
//! escaped, in text and attributes alike.

use super::{
    API_VERSION,
    row::{ProjectStatus, Row, Yanked},
};

/// The beginning of a project's page.
pub(super) fn head(out: &mut Vec<u8>, project: &str, status: Option<&ProjectStatus>) {
    begin(out, "Links for ", project, status);
}

/// One file.
pub(super) fn row(out: &mut Vec<u8>, row: &Row) {
    text(out, "    <a href=\"");
    escaped(out, &row.url);
    if let Some(sha256) = &row.sha256 {
        text(out, "#sha256=");
        text(out, sha256);
    }
    text(out, "\"");
    attribute(out, "data-requires-python", row.requires_python.as_deref());
    attribute(out, "data-size", row.size.map(|size| size.to_string()).as_deref());
    attribute(out, "data-upload-time", row.upload_time.as_deref());
    match &row.yanked {
        Yanked::No => {}
        // With a value always: pip installs a file that is marked without one.
        Yanked::WithoutReason => attribute(out, "data-yanked", Some("")),
        Yanked::Because(reason) => attribute(out, "data-yanked", Some(reason)),
    }
    if let Some(sha256) = &row.core_metadata {
        let digest = format!("sha256={sha256}");
        attribute(out, "data-core-metadata", Some(&digest));
        attribute(out, "data-dist-info-metadata", Some(&digest));
    }
    attribute(out, "data-provenance", row.provenance.as_deref());
    text(out, ">");
    escaped(out, &row.filename);
    text(out, "</a><br>\n");
}

/// The beginning of the list of projects.
pub(super) fn root_head(out: &mut Vec<u8>) {
    begin(out, "Simple index", "", None);
}

/// One project of the list.
pub(super) fn root_row(out: &mut Vec<u8>, project: &str) {
    text(out, "    <a href=\"");
    escaped(out, project);
    text(out, "/\">");
    escaped(out, project);
    text(out, "</a><br>\n");
}

/// The end of either.
pub(super) fn tail(out: &mut Vec<u8>) {
    text(out, "  </body>\n</html>\n");
}

fn begin(out: &mut Vec<u8>, title: &str, name: &str, status: Option<&ProjectStatus>) {
    text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"utf-8\">\n");
    text(out, "    <meta name=\"pypi:repository-version\" content=\"");
    text(out, API_VERSION);
    text(out, "\">\n");
    if let Some(ProjectStatus { status, reason }) = status {
        meta(out, "pypi:project-status", status);
        if let Some(reason) = reason {
            meta(out, "pypi:project-status-reason", reason);
        }
    }
    text(out, "    <title>");
    text(out, title);
    escaped(out, name);
    text(out, "</title>\n  </head>\n  <body>\n    <h1>");
    text(out, title);
    escaped(out, name);
    text(out, "</h1>\n");
}

fn meta(out: &mut Vec<u8>, name: &str, content: &str) {
    text(out, "    <meta");
    attribute(out, "name", Some(name));
    attribute(out, "content", Some(content));
    text(out, ">\n");
}

fn attribute(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    text(out, " ");
    text(out, name);
    text(out, "=\"");
    escaped(out, value);
    text(out, "\"");
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn escaped(out: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'&' => text(out, "&amp;"),
            b'<' => text(out, "&lt;"),
            b'>' => text(out, "&gt;"),
            b'"' => text(out, "&quot;"),
            b'\'' => text(out, "&#39;"),
            // Control characters have no place in HTML, not even escaped.
            0..=8 | 11 | 12 | 14..=31 | 127 => text(out, "\u{fffd}"),
            _ => out.push(byte),
        }
    }
}
