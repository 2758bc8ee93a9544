//! An HTTP/1.1 server on the loopback that fails in exactly the ways a test asks for.
//!
//! ```no_run
//! # async fn example() {
//! use reservoir_core::testing::upstream::{Reply, Upstream};
//!
//! let upstream = Upstream::start().await;
//! upstream.route("/simple/demo/", Reply::ok("<html></html>").content_type("text/html").etag("\"1\""));
//! upstream.sequence("/demo.whl", [Reply::status(503), Reply::ok("PK…").cut_after(1), Reply::ok("PK…")]);
//! let page = upstream.url("/simple/demo/");
//! // … fetch …
//! assert_eq!(upstream.requests_to("/demo.whl").len(), 3);
//! # }
//! ```
//!
//! The socket is written by hand, so that a cut is a cut and a wrong `Content-Length` stays wrong. It answers
//! ranges and conditional requests as RFC 9110 has it, unless a [`Reply`] says otherwise. It stops when dropped.

mod connection;
mod reply;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderMap, Method};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};
use url::Url;

pub use self::reply::Reply;

/// A server on an ephemeral port of 127.0.0.1. Unknown paths are 404.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Path and query; the whole URL when the server was used as a proxy.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
}

#[derive(Debug, Default)]
struct State {
    routes: Mutex<HashMap<String, Route>>,
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
}

#[derive(Debug)]
struct Route {
    replies: Vec<Reply>,
    next: usize,
}

impl Upstream {
    /// Binds and begins to accept.
    ///
    /// # Panics
    /// When the loopback cannot be bound.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an ephemeral port on the loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection::serve(stream, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, accepting: accepting.abort_handle() }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, which begins with `/`.
    ///
    /// # Panics
    /// When `path` makes no URL.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).expect("an address and a path make a URL")
    }

    /// Answers `path` with `reply` from now on. A path without a query also answers all its queries.
    pub fn route(&self, path: impl Into<String>, reply: Reply) {
        self.sequence(path, [reply]);
    }

    /// Answers `path` with one reply after the other; the last one stays.
    ///
    /// # Panics
    /// When there is no reply.
    pub fn sequence(&self, path: impl Into<String>, replies: impl IntoIterator<Item = Reply>) {
        let replies: Vec<Reply> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "a route needs a reply");
        lock(&self.state.routes).insert(path.into(), Route { replies, next: 0 });
    }

    /// All requests so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.state.requests).clone()
    }

    /// The requests for one path (and query), in order.
    #[must_use]
    pub fn requests_to(&self, target: &str) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.target == target).collect()
    }

    /// How many connections were ever accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Recorded {
    /// A header as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl State {
    fn answer(&self, request: Recorded) -> Reply {
        let target = request.target.clone();
        lock(&self.requests).push(request);
        let mut routes = lock(&self.routes);
        let path = target.split('?').next().unwrap_or_default();
        let key = if routes.contains_key(&target) { target.as_str() } else { path };
        match routes.get_mut(key) {
            None => Reply::status(404),
            Some(route) => {
                let reply = route.replies[route.next].clone();
                route.next = (route.next + 1).min(route.replies.len() - 1);
                reply
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
