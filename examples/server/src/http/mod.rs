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
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, StatusCode, header, uri::Authority};
use reservoir_core::{
    Engine, Error, Incoming, SHARE,
    name::{Actor, RepositoryName},
    serve::{self, RequestBody},
};

pub(crate) use self::listen::{Listening, bind};

/// How often, and how far apart, `/healthz` looks before it says no.
const HEALTH_ATTEMPTS: u32 = 20;
const HEALTH_PAUSE: Duration = Duration::from_millis(50);

/// What a host decides for all requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The repository that stands at the root, too.
    pub(crate) root: Option<RepositoryName>,
    /// In whose name every client may change hosted repositories.
    pub(crate) writer: Option<Actor>,
    /// Lets other Reservoirs, those whose key is trusted, have this one as a registry.
    pub(crate) share: bool,
}

/// The routes of a Reservoir host.
fn router(engine: Engine, options: Options) -> Router {
    let mut router = Router::new().route("/healthz", get(health)).route("/metrics", get(metrics));
    if options.share {
        let shared = move |State(engine): State<Engine>, request| async move {
            into_axum(engine.share(incoming(request, Options::default())).await)
        };
        router = router.route(&format!("{SHARE}{{*rest}}"), get(shared));
    }
    let respond = move |State(engine): State<Engine>, request| async move {
        into_axum(engine.answer(incoming(request, options)).await)
    };
    router.fallback(respond).with_state(engine)
}

fn incoming(request: Request, options: Options) -> Incoming {
    let (parts, body) = request.into_parts();
    let origin = origin(&parts.headers);
    let body = body
        .into_data_stream()
        .map_err(|error| Error::malformed("the body of the request", "body-broken", error.to_string()));
    let body = RequestBody::new(body.boxed());
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    let Options { root, writer, .. } = options;
    Incoming { method, uri, headers, origin, body, root, writer }
}

/// The address that the client reached this server by. A proxy in front that ends TLS says so; a client that
/// says so itself only gets its own links wrong.
fn origin(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").and_then(|host| host.parse::<Authority>().ok());
    let host = host.filter(|host| !host.as_str().contains('@'));
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    host.map(|host| format!("{scheme}://{host}")).unwrap_or_default()
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
