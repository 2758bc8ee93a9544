//! Files: the headers by which clients recognise, resume and cache them.

use std::collections::BTreeMap;

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
    cached, lookup,
};
use crate::{
    attribute::{LFS, OID},
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
        None => lookup::resolve(&lookup::info(view, repo, rev).await?, rev)?,
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
            if let Some(through) = view.through()
                && let Some(response) = cached::file(through, request, (repo, commit, path), rev).await?
            {
                return Ok(expose(response));
            }
            // Tells a missing repository and a missing commit from a missing file.
            lookup::commit(view, repo, rev).await?;
            Err(Refusal::entry(path, commit).into())
        }
    }
}

/// The headers by which clients recognise a file.
pub(super) struct Identity<'a> {
    pub(super) commit: ObjectId,
    pub(super) path: &'a str,
    /// What the registry said of it.
    pub(super) attributes: &'a BTreeMap<String, Value>,
    pub(super) size: u64,
    /// Whether it was asked for by its commit.
    pub(super) immutable: bool,
}

impl Identity<'_> {
    pub(super) fn options(&self) -> FileOptions {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("x-repo-commit", &self.commit.to_string());
        let lfs = self.attributes.get(LFS).and_then(|value| Lfs::deserialize(value).ok());
        let etag = match lfs {
            Some(lfs) => {
                set("x-linked-size", &self.size.to_string());
                set("x-linked-etag", &format!("\"{}\"", lfs.sha256));
                Some(lfs.sha256.to_string())
            }
            None => self.attributes.get(OID).and_then(Value::as_str).map(str::to_owned),
        };
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        let plain: String =
            name.chars().map(|c| if c.is_ascii() && !matches!(c, '"' | '\\') { c } else { '_' }).collect();
        let escaped = utf8_percent_encode(name, ATTR_CHAR);
        set("content-disposition", &format!("inline; filename*=UTF-8''{escaped}; filename=\"{plain}\""));
        let options = if self.immutable { FileOptions::immutable() } else { FileOptions::revalidated() };
        FileOptions { etag, headers, ..options }
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
    let (attributes, size) = (&entry.attributes, entry.blob.size);
    let options = Identity { commit, path, attributes, size, immutable }.options();
    match without_range(request, size) {
        // No range of an empty file can be satisfied. Clients that ask for its first byte to learn its size
        // (hf-hub 0.4) take the whole, with the size told as in a 416.
        Some(whole) => Ok(told_empty(view.file(&whole, entry, options).await?)),
        None => view.file(request, entry, options).await,
    }
}

/// The request for the whole, where a range of an empty file is asked for.
pub(super) fn without_range(request: &Request, size: u64) -> Option<Request> {
    let is_ranged = request.headers.contains_key(header::RANGE);
    (size == 0 && request.method == Method::GET && is_ranged).then(|| {
        let mut whole = request.clone();
        whole.headers.remove(header::RANGE);
        whole
    })
}

pub(super) fn told_empty(response: Response) -> Response {
    let size = HeaderValue::from_static("bytes */0");
    if response.status == StatusCode::OK { response.header(header::CONTENT_RANGE, size) } else { response }
}
