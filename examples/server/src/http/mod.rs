//! The engine behind axum: a few lines, as any host would mount it.

mod guarded;
mod listen;

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::get,
};
use http::{StatusCode, header};
use reservoir_core::{Engine, serve};

pub(crate) use self::listen::{Listening, bind};

/// How often, and how far apart, `/healthz` looks before it says no.
const HEALTH_ATTEMPTS: u32 = 20;
const HEALTH_PAUSE: Duration = Duration::from_millis(50);

/// The routes of a Reservoir host.
fn router(engine: Engine) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(respond)
        .with_state(engine)
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
    let mut health = engine.health();
    // Right after the start the first look at the catalog may be under way.
    for _ in 0..HEALTH_ATTEMPTS {
        if health.serving {
            break;
        }
        tokio::time::sleep(HEALTH_PAUSE).await;
        health = engine.health();
    }
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
