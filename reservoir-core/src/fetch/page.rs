//! Pages: small documents that are read into memory, or streamed, decoded and capped.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt as _, stream};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
        PROXY_AUTHENTICATE, SET_COOKIE, WWW_AUTHENTICATE,
    },
};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;
use url::Url;

use super::{DisplayUrl, Fetcher, Validators, body::Body, request::Answer, retry::Retry};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Below this many decoded bytes no ratio is suspicious.
const RATIO_FREE: u64 = 1 << 20;
const PIECE: usize = 64 << 10;

/// How a page is asked for.
#[derive(Debug, Clone)]
pub struct PageOptions<'a> {
    /// The `Accept` header.
    pub accept: &'a str,
    /// Ask only for what differs from this.
    pub conditional: Option<&'a Validators>,
    /// Bytes accepted, after decoding.
    pub limit: u64,
    /// Decoded bytes for each byte sent, from 1 MiB on; guards against decompression bombs.
    pub max_ratio: u64,
}

impl Default for PageOptions<'_> {
    fn default() -> Self {
        Self { accept: "*/*", conditional: None, limit: 64 << 20, max_ratio: 200 }
    }
}

/// What became of asking for a page.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for a request, and it is taken apart at once")]
pub enum PageOutcome {
    /// The validators still hold.
    NotModified,
    /// 404 or 410.
    Missing,
    /// The page.
    Page(Page),
}

/// A page in memory.
#[derive(Clone)]
pub struct Page {
    /// Where it came from after redirects: the base of its relative links. Without user and password.
    pub final_url: Url,
    /// The answer's headers, less cookies and authentication.
    pub headers: HeaderMap,
    /// What to ask with the next time.
    pub validators: Validators,
    /// Its bytes, decoded.
    pub body: Bytes,
    /// The digest of `body`.
    pub sha256: Sha256Digest,
}

/// What `HEAD` told.
#[derive(Clone)]
pub struct Head {
    /// Where the answer came from after redirects. Without user and password.
    pub final_url: Url,
    /// The answer's headers, less cookies and authentication.
    pub headers: HeaderMap,
    /// What to recognise the file by.
    pub validators: Validators,
    /// `Content-Length`.
    pub size: Option<u64>,
}

impl Fetcher {
    /// Reads a page into memory, up to `options.limit`. Failures that may pass are retried.
    ///
    /// # Errors
    /// [`Error::Upstream`] for any other status, [`Error::Unreachable`] after all retries,
    /// [`Error::LimitExceeded`], [`Error::Malformed`] (`content-encoding`, `redirect-location`,
    /// `redirect-limit`) and [`Error::ForbiddenAddress`] at once.
    pub async fn get_page(&self, url: &Url, options: PageOptions<'_>) -> Result<PageOutcome> {
        let mut retry = Retry::new(&self.options);
        loop {
            let error = match self.read_page(url, &options).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            retry.pause(error).await?;
        }
    }

    /// Asks for a file's headers; `None` when there is no such file (404, 410).
    pub async fn head(&self, url: &Url) -> Result<Option<Head>> {
        let mut retry = Retry::new(&self.options);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        loop {
            let error = match self.send(Method::HEAD, url, &headers).await {
                Ok(answer) if answer.status == StatusCode::OK => return Ok(Some(Head::new(answer))),
                Ok(answer) if is_missing(answer.status) => return Ok(None),
                Ok(answer) => answer.refusal(),
                Err(error) => error,
            };
            retry.pause(error).await?;
        }
    }

    async fn read_page(&self, url: &Url, options: &PageOptions<'_>) -> Result<PageOutcome> {
        let mut headers = HeaderMap::new();
        let accept = HeaderValue::from_str(options.accept)
            .map_err(|_| Error::invalid("accept", format!("{:?} is no header value", options.accept)))?;
        headers.insert(ACCEPT, accept);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let conditional = options.conditional.filter(|validators| !validators.is_empty());
        if let Some(validators) = conditional {
            validators.apply(&mut headers);
        }
        let answer = self.send(Method::GET, url, &headers).await?;
        match answer.status {
            StatusCode::OK => Ok(PageOutcome::Page(Page::read(answer, options).await?)),
            StatusCode::NOT_MODIFIED if conditional.is_some() => Ok(PageOutcome::NotModified),
            status if is_missing(status) => Ok(PageOutcome::Missing),
            _ => Err(answer.refusal()),
        }
    }
}

impl Page {
    async fn read(answer: Answer, options: &PageOptions<'_>) -> Result<Self> {
        let Answer { url, headers, body, .. } = answer;
        let mut decoded = Decoded::new(&url, &headers, body, options)?;
        let mut body = BytesMut::new();
        let mut hasher = Sha256::new();
        while let Some(piece) = decoded.next().await? {
            hasher.update(&piece);
            body.extend_from_slice(&piece);
        }
        let validators = Validators::from_headers(&headers);
        let (body, sha256) = (body.freeze(), hasher.into());
        Ok(Self { final_url: url, headers: shown(headers), validators, body, sha256 })
    }

    /// The media type without its parameters, in lower case.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        let text = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(text.split(';').next()?.trim().to_ascii_lowercase())
    }
}

impl Head {
    fn new(answer: Answer) -> Self {
        let size = answer.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let validators = Validators::from_headers(&answer.headers);
        Self { final_url: answer.url, headers: shown(answer.headers), validators, size }
    }
}

/// Bytes after `Content-Encoding`, counted on both sides.
struct Decoded {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    sent: Arc<AtomicU64>,
    count: u64,
    limit: u64,
    max_ratio: u64,
    url: Url,
}

impl Decoded {
    fn new(url: &Url, headers: &HeaderMap, body: Body, options: &PageOptions<'_>) -> Result<Self> {
        let sent = Arc::new(AtomicU64::new(0));
        let announced = body.announced();
        let raw = StreamReader::new(Box::pin(counted(body, Arc::clone(&sent))));
        let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim());
        let reader: Pin<Box<dyn AsyncRead + Send>> = match encoding {
            None | Some("" | "identity") if announced.is_some_and(|size| size > options.limit) => {
                return Err(over(url, options.limit));
            }
            None | Some("" | "identity") => Box::pin(raw),
            Some("gzip" | "x-gzip") => {
                let mut decoder = GzipDecoder::new(raw);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Some(other) => {
                let detail = format!("{other:?} was not asked for");
                return Err(Error::malformed(DisplayUrl(url).to_string(), "content-encoding", detail));
            }
        };
        let (limit, max_ratio) = (options.limit, options.max_ratio);
        Ok(Self { reader, sent, count: 0, limit, max_ratio, url: url.clone() })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = self.reader.read_buf(&mut piece).await.map_err(|error| self.failed(error))?;
        if read == 0 {
            return Ok(None);
        }
        self.count += read as u64;
        if self.count > self.limit {
            return Err(over(&self.url, self.limit));
        }
        let sent = self.sent.load(Ordering::Relaxed).max(1);
        if self.count > RATIO_FREE && self.count / sent > self.max_ratio {
            return Err(Error::LimitExceeded {
                what: format!("the expansion of `{}`", DisplayUrl(&self.url)),
                limit: format!("{} times", self.max_ratio),
            });
        }
        Ok(Some(piece.freeze()))
    }

    /// Our own error comes back out of the reader; anything else is the decoder's.
    fn failed(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::malformed(
                DisplayUrl(&self.url).to_string(),
                "content-encoding",
                format!("the gzip stream is broken: {error}"),
            ),
        }
    }
}

fn counted(body: Body, sent: Arc<AtomicU64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((body, sent), |(mut body, sent)| async move {
        let chunk = body.next().await?;
        Ok(chunk.map(|chunk| {
            sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            (chunk, (body, sent))
        }))
    })
    .map_err(|error: Error| io::Error::other(error))
}

fn over(url: &Url, limit: u64) -> Error {
    Error::LimitExceeded { what: format!("`{}`", DisplayUrl(url)), limit: format!("{limit} bytes") }
}

fn is_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// Headers that may be kept and printed.
fn shown(mut headers: HeaderMap) -> HeaderMap {
    for name in [SET_COOKIE, AUTHORIZATION, WWW_AUTHENTICATE, PROXY_AUTHENTICATE] {
        headers.remove(name);
    }
    headers
}

macro_rules! debug_without_secrets {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("final_url", &DisplayUrl(&self.final_url))
                    .field("validators", &self.validators)
                    .finish_non_exhaustive()
            }
        }
    )+};
}

debug_without_secrets!(Page, Head);
