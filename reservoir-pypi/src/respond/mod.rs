//! Answering pip, uv and their kin: `/simple/` pages in the language asked for, files under `/packages/`,
//! their attestations under `/integrity/`, and what mirrors ask under `/pypi`.

mod cached;
mod call;
mod negotiate;
mod rpc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::VARY};
use reservoir_core::{
    Error, Result,
    serve::{FileOptions, Found, Request, Response, View, problem, refusal},
    snapshot::Entry,
};
use serde_json::Value;

use self::negotiate::{Representation, negotiate};
pub(crate) use self::rpc::is_call;
use crate::{
    attribute,
    index::{self, SERIAL},
    name::ProjectName,
    provenance,
    version::Version,
};

const PAGE_CACHE: HeaderValue = HeaderValue::from_static("max-age=600");
const PAGE_VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");
const LAST_SERIAL: HeaderName = HeaderName::from_static("x-pypi-last-serial");
const SIDECAR: &str = ".metadata";
const INTEGRITY: &str = "application/vnd.pypi.integrity.v1+json";

/// Dashes at which a file name is split to guess its project; real names have a dozen at most.
const GUESSES: usize = 32;

/// Answers a request below the repository.
///
/// # Errors
/// Those of the store and of the snapshot; refusals that a client should see are responses.
pub(crate) async fn respond(view: &View, request: &Request) -> Result<Response> {
    if is_call(request) {
        return rpc::answer(view, request).await;
    }
    if !request.is_read() {
        return Ok(Response::method_not_allowed("GET, HEAD"));
    }
    let segments: Vec<&str> = request.path.split('/').collect();
    match *segments {
        ["simple"] => redirect(request, StatusCode::PERMANENT_REDIRECT, "simple/"),
        ["simple", ""] => root(view, request).await,
        ["simple", name] | ["simple", name, ""] => project(view, request, name, segments.len() == 3).await,
        ["packages", first, second, rest, file] => {
            package(view, request, &format!("{first}{second}{rest}"), file).await
        }
        ["pypi", project, "json"] => legacy(view, request, (project, None)).await,
        ["pypi", project, version, "json"] => legacy(view, request, (project, Some(version))).await,
        ["integrity", project, version, file, "provenance"] => {
            attestations(view, request, (project, version), file).await
        }
        _ => Ok(Response::not_found()),
    }
}

/// The list of projects; in JSON with the serials that mirrors go by.
async fn root(view: &View, request: &Request) -> Result<Response> {
    let representation = negotiate(&request.headers, request.query.as_deref());
    let Some(representation) = representation.filter(|it| it.format() == index::Format::Json) else {
        return page(view, request, index::root_path).await;
    };
    let mut headers = HeaderMap::new();
    headers.insert(VARY, PAGE_VARY);
    headers.insert(LAST_SERIAL, view.snapshot.number.into());
    let options = FileOptions {
        content_type: Some(HeaderValue::from_static(representation.content_type())),
        cache_control: Some(PAGE_CACHE),
        headers,
        ..FileOptions::default()
    };
    view.made(request, Some("simple"), options, index::with_serials(view)).await
}

/// A project, or a version of one, as mirrors read it.
async fn legacy(view: &View, request: &Request, (name, version): (&str, Option<&str>)) -> Result<Response> {
    let Ok(project) = name.parse::<ProjectName>() else { return Ok(Response::not_found()) };
    let version = match version.map(str::parse::<Version>) {
        None => None,
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => return Ok(Response::not_found()),
    };
    let path = index::project_path(project.as_str(), index::Format::Json);
    let serial = match view.publication(&format!("{path}.gz")).await? {
        Found::Entry(entry) => entry.attributes.get(SERIAL).and_then(Value::as_u64),
        // It is on offer, and nothing of it has been asked for.
        Found::Missing if view.through().is_some() => None,
        Found::Denied(_) | Found::Missing => return Ok(Response::not_found()),
    };
    let serial = serial.unwrap_or(view.snapshot.number);
    let base = format!("{}{}", request.origin, request.base);
    let (document, shown) = match view.through() {
        Some(through) => cached::description(through, &project, version.as_ref(), &base, serial).await?,
        None => (index::legacy::document(view, &project, version.as_ref(), &base, serial).await?, None),
    };
    let Some(document) = document else { return Ok(Response::not_found()) };
    let mut headers = HeaderMap::new();
    headers.insert(LAST_SERIAL, serial.into());
    let options = FileOptions {
        content_type: Some(HeaderValue::from_static("application/json")),
        // It says how this client reached us, and is compared with what the list says now.
        cache_control: Some(HeaderValue::from_static("private, no-cache")),
        headers,
        ..FileOptions::default()
    };
    let mut response = view.made(request, None, options, async move { Ok(document) }).await?;
    if let Some(shown) = shown {
        shown.mark(&mut response);
    }
    Ok(response)
}

/// A project's page, or the way to it.
async fn project(view: &View, request: &Request, name: &str, slash: bool) -> Result<Response> {
    let Ok(project) = name.parse::<ProjectName>() else { return Ok(Response::not_found()) };
    let normal = project.as_str();
    match (normal == name, slash) {
        (true, true) => match view.through() {
            Some(through) => cached::page(through, request, project).await,
            None => page(view, request, |format| index::project_path(normal, format)).await,
        },
        (true, false) => redirect(request, StatusCode::PERMANENT_REDIRECT, &format!("{normal}/")),
        (false, true) => redirect(request, StatusCode::MOVED_PERMANENTLY, &format!("../{normal}/")),
        (false, false) => redirect(request, StatusCode::MOVED_PERMANENTLY, &format!("{normal}/")),
    }
}

/// A page in the language the client prefers.
async fn page(view: &View, request: &Request, path: impl Fn(index::Format) -> String) -> Result<Response> {
    let Some(representation) = negotiate(&request.headers, request.query.as_deref()) else {
        return Ok(not_acceptable());
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
        Found::Denied(reason) => return Ok(denied(&path, reason)),
        Found::Missing => return Ok(Response::not_found()),
    }
    let options = FileOptions {
        content_type: Some(HeaderValue::from_static(representation.content_type())),
        cache_control: Some(PAGE_CACHE),
        headers,
        ..FileOptions::default()
    };
    view.page(request, &path, options).await
}

fn not_acceptable() -> Response {
    let offers = Representation::ALL.map(Representation::media_type).join(", ");
    let detail = format!("pages are offered as {offers}");
    refusal(StatusCode::NOT_ACCEPTABLE, &detail).header(VARY, PAGE_VARY)
}

/// A file, or the sidecar of one, by the `BLAKE2b` digest of the file.
async fn package(view: &View, request: &Request, blake2b: &str, file: &str) -> Result<Response> {
    let (owner, sidecar) = match file.strip_suffix(SIDECAR) {
        Some(owner) => (owner, true),
        None => (file, false),
    };
    // The digest says which bytes, only the name says which project; where it ends in the file name is known
    // for certain only with the project's name at hand.
    let mut last = None;
    for (at, _) in owner.match_indices('-').take(GUESSES) {
        let Ok(project) = owner[..at].parse::<ProjectName>() else { continue };
        if last.as_ref() == Some(&project) {
            continue;
        }
        let path = format!("{project}/{owner}");
        match view.content(&path).await? {
            Found::Entry(entry) if is_at(view, &entry, blake2b) => {
                return if sidecar {
                    metadata(view, request, &entry).await
                } else {
                    bytes(view, request, &entry).await
                };
            }
            Found::Denied(reason) => return Ok(denied(owner, reason)),
            Found::Entry(_) | Found::Missing => last = Some(project),
        }
    }
    match view.through() {
        Some(through) => cached::package(through, request, blake2b, owner, sidecar).await,
        None => Ok(Response::not_found()),
    }
}

/// Whether an address is that of the file: its `BLAKE2b` digest, or what the page of a cache said before that was
/// known.
fn is_at(view: &View, entry: &Entry, digits: &str) -> bool {
    entry.attributes.get(attribute::BLAKE2B).and_then(Value::as_str) == Some(digits)
        || view.through().is_some()
            && index::live::is_placed(&entry.path, Some(entry.blob.sha256), &entry.attributes, digits)
}

async fn metadata(view: &View, request: &Request, owner: &Entry) -> Result<Response> {
    let path = format!("{}{SIDECAR}", owner.path);
    match view.content(&path).await? {
        Found::Entry(entry) => bytes(view, request, &entry).await,
        Found::Denied(reason) => Ok(denied(owner.path.file_name(), reason)),
        Found::Missing => Ok(Response::not_found()),
    }
}

/// The attestations of a file, under the address that its page gives.
async fn attestations(
    view: &View,
    request: &Request,
    (project, version): (&str, &str),
    file: &str,
) -> Result<Response> {
    let (Ok(project), Ok(version)) = (project.parse::<ProjectName>(), version.parse::<Version>()) else {
        return Ok(Response::not_found());
    };
    let is_version = |entry: &Entry| entry.revision.as_ref() == Some(&version.to_revision());
    let owner = match view.content(&format!("{project}/{file}")).await? {
        Found::Entry(entry) if is_version(&entry) => entry,
        Found::Denied(reason) => return Ok(denied(file, reason)),
        Found::Entry(_) | Found::Missing => {
            return match view.through() {
                Some(through) => cached::attestations(through, request, &project, &version, file).await,
                None => Ok(Response::not_found()),
            };
        }
    };
    match view.content(&format!("{}{}", owner.path, provenance::ENDING)).await? {
        Found::Entry(document) if provenance::speaks_of(&document, owner.blob.sha256) => {
            view.file(request, &document, integrity_options()).await
        }
        Found::Denied(reason) => Ok(denied(file, reason)),
        Found::Entry(_) => Ok(Response::not_found()),
        // The file was asked for before, its attestations were not.
        Found::Missing => match view.through() {
            Some(through) => cached::attestations(through, request, &project, &version, file).await,
            None => Ok(Response::not_found()),
        },
    }
}

fn integrity_options() -> FileOptions {
    FileOptions {
        content_type: Some(HeaderValue::from_static(INTEGRITY)),
        cache_control: Some(PAGE_CACHE),
        ..FileOptions::default()
    }
}

async fn bytes(view: &View, request: &Request, entry: &Entry) -> Result<Response> {
    view.file(request, entry, FileOptions::immutable()).await
}

/// 403 that uv shows to the person who asked. Never 404: that would send uv to its next index.
fn denied(what: &str, reason: String) -> Response {
    problem(&Error::Denied { what: format!("`{what}`"), reason })
}

/// A relative redirect, right behind any proxy that adds or removes a prefix. The query is kept.
fn redirect(request: &Request, status: StatusCode, to: &str) -> Result<Response> {
    match &request.query {
        Some(query) => Response::redirect(status, &format!("{to}?{query}")),
        None => Response::redirect(status, to),
    }
}
