//! From a request to a response, without a framework: routing, conditionals, ranges, codings.
//!
//! A host does five things: find the repository ([`Router::route`]), settle access and the snapshot, let the
//! format answer ([`Ecosystem::respond`](crate::ecosystem::Ecosystem::respond) with a [`View`]), make a response of
//! an error ([`problem`]), and call [`Response::for_method`] before it sends.
//!
//! ```
//! use http::{HeaderMap, Method, StatusCode};
//! use reservoir_core::serve::{Router, Selector, problem};
//!
//! # fn main() -> reservoir_core::Result<()> {
//! let router = Router::new(["python".parse()?, "ns/prod".parse()?]);
//! let route = router.route("/ns/prod@12/simple/six/")?;
//! assert_eq!(route.selector, Some(Selector::Number(12)));
//! let request = route.request(Method::GET, None, HeaderMap::new());
//! assert_eq!((request.base.as_str(), request.path.as_str()), ("/ns/prod@12", "simple/six/"));
//!
//! let refused = router.route("/python/%2e%2e/etc").unwrap_err();
//! assert_eq!(problem(&refused).for_method(&Method::HEAD).status, StatusCode::NOT_FOUND);
//! # Ok(())
//! # }
//! ```

pub(crate) mod arriving;
mod body;
mod coding;
mod conditional;
mod denials;
pub(crate) mod file;
mod made;
mod page;
mod problem;
mod range;
mod rendered;
mod request;
mod router;
#[cfg(test)]
mod tests;
mod view;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

pub(crate) use self::rendered::{RenderKey, RenderedPages};
pub use self::{
    denials::Denials,
    page::PageCache,
    problem::{problem, refusal},
    request::{Request, RequestBody},
    router::{KeyringForm, Route, Router, Selector},
    view::{FileOptions, Found, View},
};
pub use crate::engine::through::{Held, News, Shown, Through};
use crate::store::ByteStream;

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
