//! Hosted repositories: what clients create, upload and commit.

mod change;
mod commit;
mod known;
mod lfs;
mod parts;
mod preupload;
mod refs;
mod repos;
mod route;

use http::Method;
use reservoir_core::{
    Intake, Result,
    serve::{Request, Response, View},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use self::route::Route;
use crate::respond::{
    answer::{Failure, Refusal, json},
    route::Route as ReadRoute,
};

/// Bytes of a request that is read whole: 256 files that are announced, with a sample of each.
const BODY_LIMIT: usize = 4 << 20;

/// Whether a request changes something. Some that only read are sent by `POST`.
pub(crate) fn is_write(request: &Request) -> bool {
    let reads = request.method == Method::POST
        && matches!(
            ReadRoute::parse(&request.raw_path),
            Ok(ReadRoute::PathsInfo { .. } | ReadRoute::ValidateYaml)
        );
    !request.is_read() && !reads
}

/// Answers a request that changes something.
pub(crate) async fn accept(intake: &Intake, view: &View, request: &Request) -> Result<Response> {
    match dispatch(intake, view, request).await {
        Ok(response) => Ok(response),
        Err(Failure::Refused(refusal)) => Ok(refusal.response()),
        Err(Failure::Failed(error)) => Err(error),
    }
}

async fn dispatch(intake: &Intake, view: &View, request: &Request) -> Result<Response, Failure> {
    match Route::parse(&request.method, &request.raw_path)? {
        Route::CreateRepo => repos::create(intake, request).await,
        Route::DeleteRepo => repos::delete(intake, request).await,
        Route::MoveRepo => repos::rename(intake, request).await,
        Route::Settings => Ok(json(&json!({}))),
        Route::Preupload { repo, rev } => preupload::preupload(view, request, &repo, &rev).await,
        Route::Batch(repo) => lfs::batch(intake, view, request, &repo).await,
        Route::PutObject(oid) => lfs::put(intake, request, oid).await,
        Route::PutPart => parts::put(intake, request).await,
        Route::JoinParts(oid) => parts::join(intake, request, oid).await,
        Route::VerifyObject => lfs::verify(intake, request).await,
        Route::Commit { repo, rev } => commit::commit(intake, request, &repo, &rev).await,
        Route::CreateBranch { repo, rev } => refs::create_branch(intake, request, &repo, &rev).await,
        Route::DeleteBranch { repo, rev } => refs::delete(intake, &repo, &format!("refs/heads/{rev}")).await,
        Route::CreateTag { repo, rev } => refs::create_tag(intake, request, &repo, &rev).await,
        Route::DeleteTag { repo, rev } => refs::delete(intake, &repo, &format!("refs/tags/{rev}")).await,
    }
}

/// The body of a request, as JSON.
async fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Failure> {
    let bytes = request.body.read(BODY_LIMIT).await?;
    let parsed = serde_json::from_slice(if bytes.is_empty() { b"{}" } else { &bytes });
    parsed.map_err(|error| Refusal::bad_request(format!("the body cannot be read: {error}")).into())
}

/// The address of the repository, as this client reached it.
fn endpoint(request: &Request) -> String {
    format!("{}{}", request.origin, request.base)
}
