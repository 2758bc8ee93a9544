//! Taking a package that a client sends: `curl -T hello_2.10-3_amd64.deb http://HOST/REPO/`.

use http::{HeaderValue, Method, StatusCode};
use reservoir_core::{
    Error, Intake, Result, Submission,
    catalog::ReceivedFile,
    ecosystem::Received,
    serve::{Request, Response, refusal},
    store::PutOptions,
};

use crate::package;

/// Stores the body of a PUT, reads what package it is, and lets it go the way of every file.
///
/// 201 when it is published or will be, 202 when it waits for a person, 422 with the reason when inspection, scanners
/// or policy refuse it, 409 when other bytes have its place in the pool.
pub(crate) async fn accept(intake: &Intake, request: &Request) -> Result<Response> {
    if request.method != Method::PUT {
        return Ok(Response::method_not_allowed("GET, HEAD, PUT"));
    }
    let name = request.path.rsplit('/').next().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::invalid("the address", "does not end with the name of a file"))?;
    let body =
        request.body.take().ok_or_else(|| Error::invalid(format!("`{name}`"), "was sent without bytes"))?;
    let blob = intake.put(body, PutOptions::default()).await?;
    let received = Received { repository: intake.repository(), name, blob: &blob, store: intake.store() };
    let package = package::accept(&received).await?;
    let message = format!("upload of {}@{}", package.artifact, package.revision);
    let file = ReceivedFile { path: package.path, blob, attributes: package.attributes, is_metadata: false };
    let shown = file.path.to_string();
    let upload =
        Submission { artifact: package.artifact, revision: package.revision, files: vec![file], message };
    let turn = intake.turn().await?;
    let report = turn.receive(upload).await?;
    if let Some(reason) = report.refusal() {
        return Ok(refusal(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let status = if report.waiting.is_empty() { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let text = format!("{shown}\n");
    Ok(Response::with_bytes(status, text.into(), HeaderValue::from_static("text/plain")))
}
