//! Answering apt: files at paths, with apt's own ways of writing them.
//!
//! - A name below `by-hash/` says which bytes it stands for, so it is looked for in recent publications too: a client
//!   that read the `InRelease` of a minute ago gets its indexes.
//! - apt escapes what a `Filename` says once more: of `x_1%3a2.deb` it asks for `x_1%253a2.deb`. The request arrives
//!   decoded once; content is kept under paths that are decoded fully.
//! - A cache shows one state of a suite at a time; see [`cached`].
//! - Nothing is compressed or decompressed on the way: apt takes a `Content-Encoding` for an attack.

mod cached;

use std::borrow::Cow;

use http::{HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use reservoir_core::{
    Error, Result,
    serve::{FileOptions, Found, Request, Response, View, problem, refusal},
};

use crate::index::PRIVATE;

pub(crate) async fn respond(view: &View, request: &Request) -> Result<Response> {
    if !request.is_read() {
        return Ok(refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "this repository is read, not written, at this address",
        )
        .header(http::header::ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    let path = request.path.as_str();
    if path.starts_with(PRIVATE) {
        return Ok(Response::not_found());
    }
    if let Some(through) = view.through() {
        return cached::respond(through, view, request).await;
    }
    let is_by_hash = is_by_hash(path);
    let found =
        if is_by_hash { view.recent_publication(path).await? } else { view.publication(path).await? };
    let found = match found {
        Found::Missing => view.content(&fully_decoded(path)).await?,
        found => found,
    };
    match found {
        Found::Entry(entry) => {
            let immutable = is_by_hash || request.is_numbered();
            let options = if immutable { FileOptions::immutable() } else { FileOptions::revalidated() };
            view.file(request, &entry, options).await
        }
        Found::Denied(reason) => Ok(problem(&Error::Denied { what: format!("`{path}`"), reason })),
        Found::Missing => Ok(Response::not_found()),
    }
}

/// `…/by-hash/SHA256/<hex>`.
pub(crate) fn is_by_hash(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (name, _, folder) = (parts.next(), parts.next(), parts.next());
    folder == Some("by-hash") && name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Without the escapes that were part of the `Filename`. What is no path then, is found nowhere.
fn fully_decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8().unwrap_or(Cow::Borrowed(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_hash_are_told_from_others() {
        for (path, is) in [
            ("dists/s/main/binary-amd64/by-hash/SHA256/00ff", true),
            ("by-hash/SHA512/00ff", true),
            ("by-hash/00ff", false),
            ("dists/s/by-hash/SHA256/Packages", false),
            ("dists/s/InRelease", false),
        ] {
            assert_eq!(is_by_hash(path), is, "{path}");
        }
    }

    #[test]
    fn escapes_of_a_filename_are_undone_once() {
        for (path, decoded) in [
            ("pool/x_1%3a2.deb", "pool/x_1:2.deb"),
            ("pool/x_1%253a2.deb", "pool/x_1%3a2.deb"),
            ("pool/a b+c~d.deb", "pool/a b+c~d.deb"),
            ("pool/100%", "pool/100%"),
            ("pool/%ff", "pool/%ff"),
        ] {
            assert_eq!(fully_decoded(path), decoded);
        }
    }
}
