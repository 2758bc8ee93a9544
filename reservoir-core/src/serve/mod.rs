//! From a request to a response, without a framework: routing, conditionals, ranges, codings.

pub mod body;
mod coding;
mod conditional;
mod problem;
mod range;
mod view;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

pub use self::{
    problem::problem,
    view::{FileOptions, Found, View},
};
use crate::store::ByteStream;

/// What a client asks, after routing: the path within the repository, percent-decoded, without a leading slash.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `HEAD`…
    pub method: Method,
    /// Below the repository, percent-decoded once; `simple/six/`.
    pub path: String,
    /// The raw query, without `?`.
    pub query: Option<String>,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The path of the repository as the client wrote it (`/python`, `/python@12`), for redirects.
    pub base: String,
}

/// What a client is told.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers, `Content-Length` included where the length is known.
    pub headers: HeaderMap,
    /// The body; empty for `HEAD`.
    pub body: Body,
}

/// The bytes of a response.
pub enum Body {
    /// None.
    Empty,
    /// In memory already.
    Bytes(Bytes),
    /// Streamed; an error ends the connection, so that no client takes the response for complete.
    Stream(ByteStream),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}
