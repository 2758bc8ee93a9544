//! Answering clients.

use reservoir_core::{
    Result,
    serve::{Request, Response, View},
};

pub(crate) async fn respond(view: &View, request: &Request) -> Result<Response> {
    view.respond_with_path(request).await
}
