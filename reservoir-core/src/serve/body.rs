//! Responses and their bodies: what formats build them with, and what a host needs to send them.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Body, Response, problem::refusal};
use crate::{
    error::{Error, Result},
    store::ByteStream,
};

impl Body {
    /// Its length in bytes, when known without reading it. A streamed body says so in the response's
    /// `Content-Length` only.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Stream(_) => None,
        }
    }

    /// Whether it is known to have no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The bytes as a stream. An error item must break the connection: never end the response regularly
    /// after one, or the client takes what it got for the whole.
    #[must_use]
    pub fn into_stream(self) -> ByteStream {
        match self {
            Self::Empty => stream::empty().boxed(),
            Self::Bytes(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
            Self::Stream(stream) => stream,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Bytes(bytes) }
    }
}

impl Response {
    /// A status with no headers and no body.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Empty }
    }

    /// 200 with bytes in memory, `Content-Type` and `Content-Length`.
    #[must_use]
    pub fn ok(bytes: impl Into<Bytes>, content_type: HeaderValue) -> Self {
        Self::with_bytes(StatusCode::OK, bytes.into(), content_type)
    }

    /// Any status with bytes in memory, `Content-Type` and `Content-Length`.
    #[must_use]
    pub fn with_bytes(status: StatusCode, bytes: Bytes, content_type: HeaderValue) -> Self {
        Self::new(status)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()))
            .body(bytes)
    }

    /// A redirect: 301, 302, 303, 307 or 308. `location` must be percent-encoded already; build it from
    /// [`Request::base`](super::Request::base), which begins with one slash and a repository's name, so that
    /// no client is sent to another host.
    pub fn redirect(status: StatusCode, location: &str) -> Result<Self> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Err(Error::invalid("redirect", format!("{status} is not 301, 302, 303, 307 or 308")));
        }
        let value = HeaderValue::from_str(location).map_err(|_| {
            Error::malformed(
                format!("location {location:?}"),
                "header-value",
                "has characters that must be percent-encoded",
            )
        })?;
        Ok(Self::new(status)
            .header(header::LOCATION, value)
            .header(header::CONTENT_LENGTH, HeaderValue::from(0)))
    }

    /// 304, with the validators the client must keep.
    #[must_use]
    pub fn not_modified(headers: HeaderMap) -> Self {
        Self { status: StatusCode::NOT_MODIFIED, headers, body: Body::Empty }
    }

    /// 404 as `application/problem+json`.
    #[must_use]
    pub fn not_found() -> Self {
        refusal(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    /// 405 with `Allow`; `allow` is a list such as `GET, HEAD`.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("this path answers {allow} only");
        refusal(StatusCode::METHOD_NOT_ALLOWED, &detail)
            .header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// Sets a header, replacing what it had.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body. `Content-Length` is the caller's business.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The same response as `method` may see it: nothing but headers for `HEAD`. Hosts call it last, on every
    /// response; a body that is streamed is dropped unread.
    #[must_use]
    pub fn for_method(mut self, method: &Method) -> Self {
        if method == Method::HEAD {
            self.body = Body::Empty;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn bodies_stream_what_they_hold() {
        let text: Vec<Bytes> =
            Body::from(Bytes::from_static(b"six")).into_stream().try_collect().await.unwrap();
        assert_eq!(text.concat(), b"six");
        let none: Vec<Bytes> = Body::Empty.into_stream().try_collect().await.unwrap();
        assert!(none.is_empty());
        assert!(Body::from(Bytes::new()).is_empty());
    }

    #[test]
    fn redirects_refuse_what_is_none_or_would_split_headers() {
        assert!(Response::redirect(StatusCode::OK, "/a/").is_err());
        for location in ["/a\r\nSet-Cookie: x=1", "/a\nb", "/a\0"] {
            assert!(Response::redirect(StatusCode::PERMANENT_REDIRECT, location).is_err(), "{location:?}");
        }
        let response = Response::redirect(StatusCode::PERMANENT_REDIRECT, "/python/simple/six/?a=b").unwrap();
        assert_eq!(response.headers[header::LOCATION], "/python/simple/six/?a=b");
    }

    #[test]
    fn head_keeps_the_length_and_loses_the_bytes() {
        let response = Response::ok("six", HeaderValue::from_static("text/plain")).for_method(&Method::HEAD);
        assert_eq!(response.headers[header::CONTENT_LENGTH], "3");
        assert!(response.body.is_empty());
    }
}
