//! Answering pip, uv and their kin: `/simple/` pages in the language asked for, files under `/packages/`.

mod negotiate;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, VARY},
};
use reservoir_core::{
    Error, Result,
    serve::{Body, FileOptions, Found, Request, Response, View, problem},
    snapshot::Entry,
};
use serde_json::Value;

use self::negotiate::{Representation, negotiate};
use crate::{
    index::{self, SERIAL},
    package::attribute,
};

const PAGE_CACHE: HeaderValue = HeaderValue::from_static("max-age=600");
const FILE_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const PAGE_VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");
const LAST_SERIAL: HeaderName = HeaderName::from_static("x-pypi-last-serial");
const SIDECAR: &str = ".metadata";

/// Dashes at which a file name is split to guess its project; real names have six at most.
const GUESSES: usize = 8;

/// Answers a request below the repository.
///
/// # Errors
/// Those of the store and of the snapshot; refusals that a client should see are responses.
pub(crate) async fn respond(view: &View, request: &Request) -> Result<Response> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        let mut response =
            refuse(request, StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
        response.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let segments: Vec<&str> = request.path.split('/').collect();
    match *segments {
        ["simple"] => Ok(redirect(request, StatusCode::PERMANENT_REDIRECT, "simple/")),
        ["simple", ""] => page(view, request, index::root_path).await,
        ["simple", name] | ["simple", name, ""] => project(view, request, name, segments.len() == 3).await,
        ["packages", first, second, rest, file] => {
            package(view, request, &format!("{first}{second}{rest}"), file).await
        }
        _ => Ok(missing(request)),
    }
}

/// A project's page, or the way to it.
async fn project(view: &View, request: &Request, name: &str, slash: bool) -> Result<Response> {
    let Some(normal) = crate::normal_form(name) else { return Ok(missing(request)) };
    match (normal == name, slash) {
        (true, true) => page(view, request, |format| index::project_path(&normal, format)).await,
        (true, false) => Ok(redirect(request, StatusCode::PERMANENT_REDIRECT, &format!("{normal}/"))),
        (false, true) => Ok(redirect(request, StatusCode::MOVED_PERMANENTLY, &format!("../{normal}/"))),
        (false, false) => Ok(redirect(request, StatusCode::MOVED_PERMANENTLY, &format!("{normal}/"))),
    }
}

/// A page in the language the client prefers.
async fn page(view: &View, request: &Request, path: impl Fn(index::Format) -> String) -> Result<Response> {
    let Some(representation) = negotiate(&request.headers, request.query.as_deref()) else {
        let offers = Representation::ALL.map(Representation::media_type).join(", ");
        let mut response =
            refuse(request, StatusCode::NOT_ACCEPTABLE, &format!("pages are offered as {offers}"));
        response.headers.insert(VARY, PAGE_VARY);
        return Ok(response);
    };
    let path = path(representation.format());
    let mut headers = HeaderMap::new();
    headers.insert(VARY, PAGE_VARY);
    match view.publication(&format!("{path}.gz")).await? {
        Found::Entry(entry) => {
            if let Some(serial) = entry.attributes.get(SERIAL).and_then(Value::as_u64) {
                headers.insert(LAST_SERIAL, serial.into());
            }
        }
        Found::Denied(reason) => return Ok(denied(request, &path, reason)),
        Found::Missing => return Ok(missing(request)),
    }
    let options = FileOptions {
        content_type: Some(HeaderValue::from_static(representation.content_type())),
        cache_control: Some(PAGE_CACHE),
        headers,
        ..FileOptions::default()
    };
    view.page(request, &path, options).await
}

/// A file, or the sidecar of one, by the BLAKE2b digest of the file.
async fn package(view: &View, request: &Request, blake2b: &str, file: &str) -> Result<Response> {
    let (owner, sidecar) = match file.strip_suffix(SIDECAR) {
        Some(owner) => (owner, true),
        None => (file, false),
    };
    // The digest says which bytes, only the name says which project; where it ends in the file name is known
    // for certain only with the project's name at hand.
    let mut last = None;
    for (at, _) in owner.match_indices('-').take(GUESSES) {
        let Some(project) = crate::normal_form(&owner[..at]) else { continue };
        if last.as_ref() == Some(&project) {
            continue;
        }
        let path = format!("{project}/{owner}");
        match view.content(&path).await? {
            Found::Entry(entry) if is_at(&entry, blake2b) => {
                return if sidecar {
                    metadata(view, request, &entry).await
                } else {
                    bytes(view, request, &entry).await
                };
            }
            Found::Denied(reason) => return Ok(denied(request, owner, reason)),
            Found::Entry(_) | Found::Missing => last = Some(project),
        }
    }
    Ok(missing(request))
}

fn is_at(entry: &Entry, blake2b: &str) -> bool {
    entry.attributes.get(attribute::BLAKE2B).and_then(Value::as_str) == Some(blake2b)
}

async fn metadata(view: &View, request: &Request, owner: &Entry) -> Result<Response> {
    let path = format!("{}{SIDECAR}", owner.path);
    match view.content(&path).await? {
        Found::Entry(entry) => bytes(view, request, &entry).await,
        Found::Denied(reason) => Ok(denied(request, entry_name(owner), reason)),
        Found::Missing => Ok(missing(request)),
    }
}

async fn bytes(view: &View, request: &Request, entry: &Entry) -> Result<Response> {
    let options = FileOptions {
        content_type: Some(HeaderValue::from_static("application/octet-stream")),
        cache_control: Some(FILE_CACHE),
        ranges: true,
        ..FileOptions::default()
    };
    view.file(request, entry, options).await
}

fn entry_name(entry: &Entry) -> &str {
    entry.path.file_name()
}

/// 403 that uv shows to the person who asked. Never 404: that would send uv to its next index.
fn denied(request: &Request, what: &str, reason: String) -> Response {
    without_body(request, problem(&Error::Denied { what: format!("`{what}`"), reason }))
}

fn missing(request: &Request) -> Response {
    without_body(request, problem(&Error::not_found("page or file", format!("/{}", request.path))))
}

/// A refusal for which the engine has no error: the protocol's own.
fn refuse(request: &Request, status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
    })
    .to_string();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CONTENT_LENGTH, body.len().into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    without_body(request, Response { status, headers, body: Body::Bytes(body.into()) })
}

/// `HEAD` has the headers of `GET` and no body.
fn without_body(request: &Request, mut response: Response) -> Response {
    if request.method == Method::HEAD {
        response.body = Body::Empty;
    }
    response
}

/// A relative redirect, right behind any proxy that adds or removes a prefix. The query is kept.
fn redirect(request: &Request, status: StatusCode, to: &str) -> Response {
    let location = match &request.query {
        Some(query) => format!("{to}?{query}"),
        None => to.to_owned(),
    };
    let Ok(location) = HeaderValue::try_from(location) else { return missing(request) };
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_LENGTH, 0.into());
    Response { status, headers, body: Body::Empty }
}
