//! Taking what `twine upload` and `uv publish` send: the legacy upload API, under `legacy/` with and without its
//! slash.
//!
//! What is believed is the file. The form's digests must be those of its bytes, its name and version those that the
//! file says itself, and everything that pages tell is read from the file. Answers are plain text: uv shows them to
//! its user, twine with `--verbose`.

mod form;
mod multipart;

use std::collections::BTreeMap;

use http::{HeaderValue, Method, StatusCode};
use reservoir_core::{
    Error, Intake, Result, Submission,
    catalog::ReceivedFile,
    ecosystem::{Accepted, Received},
    serve::{Found, Request, Response, View},
    sync::SyncReport,
};
use serde_json::{Value, json};

use self::form::Form;
use crate::{attribute, name::ProjectName, package, provenance, version::Version};

/// What is said of an attestation's publisher: nothing here has checked who that was.
const PUBLISHER: &str = "upload";

/// Answers a request that is no `GET`.
pub(crate) async fn accept(intake: &Intake, request: &Request) -> Result<Response> {
    match (&request.method, request.path.as_str()) {
        (&Method::POST, "legacy" | "legacy/") => {}
        (_, "legacy" | "legacy/") => return Ok(Response::method_not_allowed("POST")),
        _ => return Ok(Response::method_not_allowed("GET, HEAD")),
    }
    match upload(intake, request).await {
        Ok(response) => Ok(response),
        // What is wrong with the file or the form is the client's to mend; all else is as elsewhere.
        Err(
            error @ (Error::Malformed { .. }
            | Error::Invalid { .. }
            | Error::Integrity { .. }
            | Error::LimitExceeded { .. }
            | Error::Unsupported { .. }),
        ) => Ok(text(StatusCode::BAD_REQUEST, error.to_string())),
        Err(error) => Err(error),
    }
}

async fn upload(intake: &Intake, request: &Request) -> Result<Response> {
    let form = Form::read(intake, request).await?;
    if form.action.as_deref() != Some("file_upload") {
        return Err(form::malformed("has another `:action` than `file_upload`"));
    }
    let Some((name, blob)) = &form.content else { return Err(form::malformed("has no file `content`")) };
    let received = Received { repository: intake.repository(), name, blob, store: intake.store() };
    let (accepted, inspection) = package::accept(&received).await?;
    let blake2b = inspection.attributes.get(attribute::BLAKE2B).and_then(Value::as_str);
    agree(&form, &accepted, blake2b)?;
    let attestations = attestations(intake, &form, &accepted).await?;

    let turn = intake.turn().await?;
    let mut files = vec![ReceivedFile {
        path: accepted.path.clone(),
        blob: *blob,
        attributes: accepted.attributes,
        is_metadata: false,
    }];
    if let Some(document) = attestations
        // Those that came with the file stay.
        && is_free(turn.view(), &document).await?
    {
        files.push(document);
    }
    let message = format!("upload of {name}");
    let submission = Submission { artifact: accepted.artifact, revision: accepted.revision, files, message };
    match turn.receive(submission).await {
        Ok(report) => Ok(answer(name, &report)),
        Err(Error::Conflict { .. }) => {
            let words = format!(
                "File already exists: `{name}` is here with other bytes, and what was published keeps its bytes; \
                 upload another version"
            );
            Ok(text(StatusCode::BAD_REQUEST, words))
        }
        Err(error) => Err(error),
    }
}

/// Whether the form tells of the file what the file is.
fn agree(form: &Form, accepted: &Accepted, blake2b: Option<&str>) -> Result<()> {
    let Some((file, blob)) = &form.content else { return Ok(()) };
    let refuse = |detail: String| Err(Error::malformed(format!("`{file}`"), "upload-differs", detail));
    let sha256 = blob.sha256.to_string();
    for (claimed, own) in [(&form.sha256, Some(sha256.as_str())), (&form.blake2b, blake2b)] {
        if let (Some(claimed), Some(own)) = (claimed.as_deref().filter(|text| !text.is_empty()), own)
            && !claimed.eq_ignore_ascii_case(own)
        {
            return refuse(format!("came with the digest `{own}`, and `{claimed}` was announced"));
        }
    }
    let project = ProjectName::try_from(&accepted.artifact)?;
    if let Some(name) = form.name.as_deref().filter(|name| !project.is_spelled(name)) {
        return refuse(format!("belongs to `{project}`, and was sent as one of `{name}`"));
    }
    let version: Version = accepted.revision.as_str().parse()?;
    if let Some(claimed) =
        form.version.as_deref().filter(|text| text.parse::<Version>().ok() != Some(version))
    {
        return refuse(format!("is version `{}`, and was sent as `{claimed}`", accepted.revision));
    }
    let kind = if package::is_wheel(&accepted.path) { "bdist_wheel" } else { "sdist" };
    match form.filetype.as_deref() {
        Some(claimed) if claimed != kind => refuse(format!("is a {kind}, and was sent as `{claimed}`")),
        _ => Ok(()),
    }
}

/// The attestations as a document of PEP 740, stored. `None` where there are none.
///
/// # Errors
/// [`Error::Malformed`] with the rule `provenance` for what is no attestation, or one of another file.
async fn attestations(intake: &Intake, form: &Form, accepted: &Accepted) -> Result<Option<ReceivedFile>> {
    let list = form.attestations.as_ref().and_then(Value::as_array).filter(|list| !list.is_empty());
    let (Some(list), Some((file, blob))) = (list, &form.content) else { return Ok(None) };
    let Some(path) = provenance::path_of(&accepted.path) else { return Ok(None) };
    let bundle = json!({ "publisher": { "kind": PUBLISHER }, "attestations": list });
    let document = json!({ "version": 1, "attestation_bundles": [bundle] }).to_string();
    provenance::check(file, document.as_bytes(), blob.sha256)?;
    let blob = intake.put_bytes(document.into()).await?;
    let attributes = BTreeMap::from([(Accepted::INTERNAL.to_owned(), true.into())]);
    Ok(Some(ReceivedFile { path, blob, attributes, is_metadata: false }))
}

/// Whether a document's path is free, or its own already.
async fn is_free(view: &View, document: &ReceivedFile) -> Result<bool> {
    Ok(match view.content(document.path.as_str()).await? {
        Found::Entry(known) => known.blob.sha256 == document.blob.sha256,
        Found::Denied(_) => false,
        Found::Missing => true,
    })
}

/// What became of the file.
fn answer(name: &str, report: &SyncReport) -> Response {
    match (report.refusal(), report.waiting.first()) {
        (Some(reason), _) => text(StatusCode::BAD_REQUEST, format!("`{name}` is refused: {reason}")),
        // twine knows no 202.
        (None, Some(waiting)) => {
            text(StatusCode::OK, format!("`{name}` waits for a person: {}", waiting.reason))
        }
        (None, None) => text(StatusCode::OK, "OK"),
    }
}

fn text(status: StatusCode, words: impl Into<String>) -> Response {
    let words = words.into() + "\n";
    Response::with_bytes(status, words.into(), HeaderValue::from_static("text/plain; charset=utf-8"))
}
