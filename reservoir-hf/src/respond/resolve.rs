//! Files: the headers by which clients recognise, resume and cache them.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reservoir_core::{
    Result,
    serve::{FileOptions, Found, Request, Response, View},
    snapshot::Entry,
};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    answer::{Failure, Refusal, expose},
    lookup,
};
use crate::{
    inspect::attribute::{LFS, OID},
    layout,
    name::{Label, ObjectId, RepoId, check_path},
    record::Lfs,
};

/// What RFC 8187 leaves unescaped.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Answers with a file of a commit.
pub(super) async fn resolve(
    view: &View,
    request: &Request,
    repo: &RepoId,
    rev: &Label,
    path: &str,
) -> Result<Response, Failure> {
    // A commit in full needs no look at the refs.
    let commit = match rev.commit() {
        Some(commit) => commit,
        None => lookup::resolve(&lookup::info(view, repo).await?, rev)?,
    };
    if check_path(path).is_err() {
        return Err(Refusal::entry(path, commit).into());
    }
    match view.content(layout::file_path(repo, commit, path)?.as_str()).await? {
        Found::Entry(entry) => {
            let immutable = rev.commit().is_some();
            Ok(expose(file(view, request, &entry, commit, path, immutable).await?))
        }
        Found::Denied(reason) => Err(Refusal::denied(format!("`{path}`"), &reason).commit(commit).into()),
        Found::Missing => {
            // Tells a missing repository and a missing commit from a missing file.
            lookup::commit(view, repo, rev).await?;
            Err(Refusal::entry(path, commit).into())
        }
    }
}

async fn file(
    view: &View,
    request: &Request,
    entry: &Entry,
    commit: ObjectId,
    path: &str,
    immutable: bool,
) -> Result<Response> {
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-repo-commit", &commit.to_string());
    let lfs = entry.attributes.get(LFS).and_then(|value| Lfs::deserialize(value).ok());
    let etag = match lfs {
        Some(lfs) => {
            set("x-linked-size", &entry.blob.size.to_string());
            set("x-linked-etag", &format!("\"{}\"", lfs.sha256));
            Some(lfs.sha256.to_string())
        }
        None => entry.attributes.get(OID).and_then(Value::as_str).map(str::to_owned),
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    let plain: String =
        name.chars().map(|c| if c.is_ascii() && !matches!(c, '"' | '\\') { c } else { '_' }).collect();
    let escaped = utf8_percent_encode(name, ATTR_CHAR);
    set("content-disposition", &format!("inline; filename*=UTF-8''{escaped}; filename=\"{plain}\""));
    let options = if immutable { FileOptions::immutable() } else { FileOptions::revalidated() };
    let options = FileOptions { etag, headers, ..options };
    let is_ranged = request.headers.contains_key(header::RANGE);
    if entry.blob.size == 0 && request.method == Method::GET && is_ranged {
        // No range of an empty file can be satisfied. Clients that ask for its first byte to learn its size
        // (hf-hub 0.4) take the whole, with the size told as in a 416.
        let mut whole = request.clone();
        whole.headers.remove(header::RANGE);
        let response = view.file(&whole, entry, options).await?;
        let is_whole = response.status == StatusCode::OK;
        let size = HeaderValue::from_static("bytes */0");
        return Ok(if is_whole { response.header(header::CONTENT_RANGE, size) } else { response });
    }
    view.file(request, entry, options).await
}
