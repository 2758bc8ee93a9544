//! The engine behind axum: a few lines, as any host would mount it.

use std::{future::Future, net::SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::get,
    serve::ListenerExt as _,
};
use http::{StatusCode, header};
use reservoir_core::{Engine, Error, Result, serve};
use tokio::net::TcpListener;

/// The routes of a Reservoir host.
pub(crate) fn router(engine: Engine) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(respond)
        .with_state(engine)
}

/// Binds, says where, serves until `stop` ends, then lets running responses finish.
pub(crate) async fn serve(
    engine: Engine,
    listen: &str,
    started: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let failed = || Error::io(format!("listen on `{listen}`"));
    let listener = TcpListener::bind(listen).await.map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    let _fresh = engine.keep_serving_fresh();
    started(address);
    // Else the last piece of a response may wait 40 ms for the client's delayed acknowledgement.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is slow at the end of responses");
        }
    });
    axum::serve(listener, router(engine))
        .with_graceful_shutdown(stop)
        .await
        .map_err(Error::io(format!("serve on `{address}`")))
}

async fn respond(State(engine): State<Engine>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    into_axum(engine.respond(&parts.method, &parts.uri, &parts.headers).await)
}

fn into_axum(response: serve::Response) -> Response {
    let body = match response.body {
        serve::Body::Empty => Body::empty(),
        serve::Body::Bytes(bytes) => Body::from(bytes),
        serve::Body::Stream(stream) => Body::from_stream(stream),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = response.status;
    *answer.headers_mut() = response.headers;
    answer
}

async fn health(State(engine): State<Engine>) -> Response {
    let health = engine.health();
    let status = if health.serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(&health).unwrap_or_default();
    plain(status, "application/json", body)
}

async fn metrics(State(engine): State<Engine>) -> Response {
    let health = engine.health();
    let text = format!(
        "# HELP reservoir_serving Whether requests are answered.\n\
         # TYPE reservoir_serving gauge\n\
         reservoir_serving {}\n\
         # HELP reservoir_stale_seconds For how long the catalog has not answered.\n\
         # TYPE reservoir_stale_seconds gauge\n\
         reservoir_stale_seconds {}\n",
        u8::from(health.serving),
        health.stale_seconds.unwrap_or(0),
    );
    plain(StatusCode::OK, "text/plain; version=0.0.4", text)
}

fn plain(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
