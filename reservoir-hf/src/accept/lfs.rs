//! Large files, put before the commit that names them: Git LFS, in one piece or in parts.

use http::StatusCode;
use reservoir_core::{
    Error, Intake,
    digest::Sha256Digest,
    serve::{Request, Response, View},
    store::PutOptions,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{body, endpoint, parts};
use crate::{
    name::{RepoId, RepoKind},
    respond::{
        answer::{Failure, Refusal, json},
        lookup,
    },
};

#[derive(Deserialize)]
struct Batch {
    operation: String,
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: Sha256Digest,
    #[serde(default)]
    size: u64,
}

/// Says where each object is put; nothing for what this repository has from the same client's day.
pub(super) async fn batch(
    intake: &Intake,
    view: &View,
    request: &Request,
    repo: &RepoId,
) -> Result<Response, Failure> {
    let batch: Batch = body(request).await?;
    if batch.operation != "upload" {
        return Err(Refusal::bad_request(
            "only uploads are arranged here; files are downloaded by `resolve`",
        )
        .into());
    }
    lookup::published(view, repo).await?;
    let prefix = if repo.kind() == RepoKind::Dataset { "datasets/" } else { "" };
    let objects = format!("{}/{prefix}{}.git/info/lfs/objects", endpoint(request), repo.id());
    let in_parts = batch.transfers.iter().any(|transfer| transfer == "multipart")
        && batch.objects.iter().any(|object| parts::size(object.size).is_some());
    let mut answers: Vec<Value> = Vec::new();
    for Object { oid, size } in batch.objects {
        let mut answer = json!({ "oid": oid, "size": size });
        if intake.uploaded_size(oid).await? != Some(size) {
            let address = format!("{objects}/{oid}");
            let upload = match parts::size(size).filter(|_| in_parts) {
                Some(each) => parts::arrange(&address, size, each),
                None => json!({ "href": address, "header": {} }),
            };
            let verify = json!({ "href": format!("{objects}/verify"), "header": {} });
            answer["actions"] = json!({ "upload": upload, "verify": verify });
        }
        answers.push(answer);
    }
    let transfer = if in_parts { "multipart" } else { "basic" };
    let response = json(&json!({ "transfer": transfer, "objects": answers }));
    Ok(response
        .header(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/vnd.git-lfs+json")))
}

/// Stores an object as it arrives; other bytes than its name says are refused.
pub(super) async fn put(intake: &Intake, request: &Request, oid: Sha256Digest) -> Result<Response, Failure> {
    let Some(stream) = request.body.take() else {
        return Err(Refusal::bad_request("the object has no bytes").into());
    };
    match intake.put(stream, PutOptions { expected: Some(oid), ..PutOptions::default() }).await {
        Ok(_) => Ok(json(&json!({}))),
        Err(Error::Integrity { .. }) => {
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "the bytes are not what the object is called")
                .into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Says whether an object is here, whole.
pub(super) async fn verify(intake: &Intake, request: &Request) -> Result<Response, Failure> {
    let object: Object = body(request).await?;
    match intake.uploaded_size(object.oid).await? {
        Some(size) if size == object.size => Ok(json(&json!({}))),
        Some(size) => {
            let message = format!("the object has {size} bytes, not {}", object.size);
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message).into())
        }
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "the object was not uploaded here").into()),
    }
}
