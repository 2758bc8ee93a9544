//! Answering Hub clients from a snapshot.

pub(crate) mod answer;
mod cached;
mod info;
mod lists;
pub(crate) mod lookup;
mod manifest;
mod resolve;
pub(crate) mod route;
mod security;
mod tree;

use http::{Method, StatusCode, header};
use reservoir_core::{
    Result,
    serve::{Request, Response, View},
};
use serde_json::json;

use self::{
    answer::{Failure, Refusal},
    route::Route,
};
use crate::name::Label;

/// Bytes of a request that is read whole: paths to look up.
const BODY_LIMIT: usize = 4 << 20;

/// Answers one request. What a client may act on carries the Hub's own error codes.
pub(crate) async fn respond(view: &View, request: &Request) -> Result<Response> {
    match dispatch(view, request).await {
        Ok(response) => Ok(cached::as_hub(response)),
        Err(Failure::Refused(refusal)) => Ok(refusal.response()),
        Err(Failure::Failed(error)) => Err(error),
    }
}

async fn dispatch(view: &View, request: &Request) -> Result<Response, Failure> {
    let route = Route::parse(&request.raw_path)?;
    let is_post = matches!(route, Route::PathsInfo { .. } | Route::ValidateYaml);
    if is_post && request.method != Method::POST || !is_post && !request.is_read() {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this repository is a mirror: it takes no changes",
        )
        .into());
    }
    match route {
        Route::List(kind) => lists::list(view, request, kind).await,
        Route::Info { repo, rev } => info::info(view, request, &repo, &rev).await,
        Route::Tree { repo, rev, path } => tree::tree(view, request, &repo, &rev, &path).await,
        Route::PathsInfo { repo, rev } => tree::paths_info(view, request, &repo, &rev).await,
        Route::Refs(repo) => info::refs(view, request, &repo).await,
        Route::Commits { repo, rev } => info::commits(view, &repo, &rev).await,
        Route::Resolve { repo, rev, path } => resolve::resolve(view, request, &repo, &rev, &path).await,
        Route::Manifest { repo, tag } => manifest::manifest(view, &repo, &tag).await,
        Route::AuthCheck(repo) => {
            lookup::info(view, &repo, &Label::default()).await?;
            Ok(answer::json(&json!({})))
        }
        Route::WhoAmI if request.headers.contains_key(header::AUTHORIZATION) => Ok(whoami()),
        Route::WhoAmI => {
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "no token was sent; this server needs none to read")
                .into())
        }
        Route::ValidateYaml => Ok(answer::json(&json!({ "warnings": [], "errors": [] }))),
        // The native part of clients shows of an error nothing but the address that it ended at.
        Route::Xet => {
            let told = format!("{}/api/{}", request.base, route::NO_XET.join("/"));
            Ok(Response::redirect(StatusCode::TEMPORARY_REDIRECT, &told)?)
        }
        Route::NoXet => {
            let told =
                "this server has no Xet storage; set HF_HUB_DISABLE_XET=1, and files travel over plain HTTP";
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, told).into())
        }
        Route::Unknown => {
            Err(Refusal::new(StatusCode::NOT_FOUND, "this server does not have that part of the Hub's API")
                .into())
        }
    }
}

/// Whoever sends a token: who it is, is not asked here.
fn whoami() -> Response {
    answer::json(&json!({
        "type": "user",
        "id": "reservoir",
        "name": "reservoir",
        "fullname": "Reservoir",
        "email": null,
        "canPay": false,
        "isPro": false,
        "periodEnd": null,
        "orgs": [],
        "auth": { "type": "access_token", "accessToken": { "displayName": "reservoir", "role": "read" } },
    }))
}
