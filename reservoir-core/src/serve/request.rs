//! What a client asks, after routing, and what it sends along.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, Method};

use crate::{
    error::{Error, Result},
    store::ByteStream,
};

/// What a client asks, after routing: the path within the repository, percent-decoded, without a leading slash.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `HEAD`…
    pub method: Method,
    /// Below the repository, percent-decoded once; `simple/six/`.
    pub path: String,
    /// The same as sent, for formats whose clients escape slashes that belong to a name
    /// ([`Ecosystem::raw_paths`](crate::ecosystem::Ecosystem::raw_paths)).
    pub raw_path: String,
    /// The raw query, without `?`.
    pub query: Option<String>,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The path of the repository as the client wrote it (`/python`, `/python@12`), for redirects.
    pub base: String,
    /// What stands before [`base`](Self::base) in an absolute address, as the host says that the client reached
    /// it: `http://127.0.0.1:8470`. Empty when the host does not say.
    pub origin: String,
    /// What the client sends.
    pub body: RequestBody,
}

impl Request {
    /// Whether it only reads: `GET` or `HEAD`.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Whether it names a snapshot by number, under which nothing ever changes.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        let number = self.base.rsplit_once('@').map_or("", |(_, selector)| selector);
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// What is read of a body that nobody wants, at most.
const DISCARDED: usize = 16 << 20;
/// For how long.
const DISCARDING: Duration = Duration::from_secs(5);

/// The bytes that a client sends: read once, in pieces or up to a limit. Clones share them.
#[derive(Clone, Default)]
pub struct RequestBody(Arc<Mutex<Option<ByteStream>>>);

impl RequestBody {
    /// A body that arrives as a stream.
    #[must_use]
    pub fn new(stream: ByteStream) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    /// The stream; `None` when there is no body, or when it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<ByteStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// All of it, empty when there is none.
    ///
    /// # Errors
    /// [`Error::Malformed`] (`body-size`) beyond `limit` bytes; what the stream reports.
    pub async fn read(&self, limit: usize) -> Result<Bytes> {
        let Some(mut stream) = self.take() else { return Ok(Bytes::new()) };
        let mut bytes = BytesMut::new();
        while let Some(piece) = stream.try_next().await? {
            if bytes.len() + piece.len() > limit {
                let detail = format!("is longer than {limit} bytes");
                return Err(Error::malformed("the body of the request", Error::BODY_SIZE, detail));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    /// Reads on what nobody took, as far as that is little and comes soon: a client that is still sending when the
    /// connection is closed never reads why it was refused.
    pub(crate) async fn discard(&self) {
        let Some(mut stream) = self.take() else { return };
        let mut read = 0;
        let rest = async {
            while let Some(Ok(piece)) = stream.next().await {
                read += piece.len();
                if read > DISCARDED {
                    break;
                }
            }
        };
        // Too slow is as good as too much.
        let _ = tokio::time::timeout(DISCARDING, rest).await;
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};

    use super::*;

    #[tokio::test]
    async fn a_body_is_read_once_and_up_to_its_limit() {
        let body = || RequestBody::new(stream::iter(["ab", "cd"].map(|text| Ok(text.into()))).boxed());
        assert_eq!(body().read(4).await.unwrap(), "abcd");
        assert!(matches!(body().read(3).await, Err(Error::Malformed { rule: "body-size", .. })));
        let once = body();
        assert!(once.take().is_some() && once.clone().take().is_none());
        assert_eq!(RequestBody::default().read(0).await.unwrap(), "");
    }
}
