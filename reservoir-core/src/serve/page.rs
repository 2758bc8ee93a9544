//! A generated page, kept compressed: as it is kept for most clients, decoded for the others.

use std::{io::Read, sync::Arc};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use super::{
    Body, FileOptions, Request, Response,
    coding::Coding,
    conditional::Validators,
    file::{READ_METHODS, begin, common_headers, precondition, read},
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    snapshot::Entry,
    store::{ByteStream, Store},
};

/// Pages up to this size, 8 MiB, are kept in memory; larger ones are streamed each time.
const PAGE_LIMIT: u64 = 8 << 20;

/// Bytes that a decoder hands on at a time.
const CHUNK: usize = 64 << 10;

/// Pages that were served lately, as stored and decoded, bounded by bytes. Cheap to clone; one for all
/// repositories of an engine. What it holds was verified when it was read.
#[derive(Clone)]
pub struct PageCache(Arc<Cache<Key, Cached, Weight>>);

/// A page that can be served: the entry that keeps it, how that is coded, and how it is to be sent.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) stored: Coding,
    pub(crate) sent: Coding,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    blob: Sha256Digest,
    stored: Coding,
    sent: Coding,
}

#[derive(Debug, Clone)]
enum Cached {
    Bytes(Bytes),
    TooLarge,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Cached> for Weight {
    fn weight(&self, _: &Key, page: &Cached) -> u64 {
        // The key and the cache's own books take about as much as this.
        128 + match page {
            Cached::Bytes(bytes) => bytes.len() as u64,
            Cached::TooLarge => 0,
        }
    }
}

impl std::fmt::Debug for PageCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageCache").field("pages", &self.0.len()).field("bytes", &self.0.weight()).finish()
    }
}

impl Default for PageCache {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl PageCache {
    /// A cache of `capacity` bytes.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the builder wants both capacities, and both are set")]
    pub fn new(capacity: u64) -> Self {
        // Few shards, so that the largest page fits into one.
        let shards = (capacity / (2 * PAGE_LIMIT)).clamp(1, 16) as usize;
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(((capacity >> 14) as usize).max(32 * shards))
            .weight_capacity(capacity)
            .build()
            .expect("both capacities are set");
        Self(Arc::new(Cache::with_options(
            options,
            Weight,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        )))
    }

    /// A page that is made when it is asked for, under a digest of what it is made of. Concurrent callers share the
    /// work.
    pub(super) async fn made(
        &self,
        of: Sha256Digest,
        make: impl Future<Output = Result<Vec<u8>>>,
    ) -> Result<Bytes> {
        let key = Key { blob: of, stored: Coding::Identity, sent: Coding::Identity };
        let page = async move { make.await.map(|bytes| Cached::Bytes(bytes.into())) };
        match self.0.get_or_insert_async(&key, page).await? {
            Cached::Bytes(bytes) => Ok(bytes),
            // Nothing else is kept under such a digest.
            Cached::TooLarge => Ok(Bytes::new()),
        }
    }

    /// The page's bytes as sent, from memory or from the store; `None` when there are too many of them.
    /// Concurrent callers share one read. Dropping the future lets the next caller read.
    async fn get(&self, store: &dyn Store, page: &Page<'_>) -> Result<Option<Bytes>> {
        let key = Key { blob: page.entry.blob.sha256, stored: page.stored, sent: page.sent };
        let cached = match self.0.get(&key) {
            Some(cached) => cached,
            None => self.0.get_or_insert_async(&key, load(store, page)).await?,
        };
        match cached {
            Cached::Bytes(bytes) => Ok(Some(bytes)),
            Cached::TooLarge => Ok(None),
        }
    }
}

/// Answers with a page. Ranges are answered with the whole; `Vary` gains what the page depends on.
pub(crate) async fn respond(
    store: &dyn Store,
    cache: &PageCache,
    request: &Request,
    page: &Page<'_>,
    mut options: FileOptions,
    modified: Timestamp,
) -> Result<Response> {
    if !request.is_read() {
        return Ok(Response::method_not_allowed(READ_METHODS));
    }
    vary(&mut options.headers);
    let validators = Validators::new(&tag(page, options.etag.as_deref()), modified)?;
    let mut headers = common_headers(options, &validators);
    if let Some(response) = precondition(&validators, &request.headers, &headers) {
        return Ok(response);
    }
    if let Some(coding) = page.sent.header() {
        headers.insert(header::CONTENT_ENCODING, coding);
    }
    let whole = cache.get(store, page).await?;
    let length = match &whole {
        Some(bytes) => Some(bytes.len() as u64),
        None if page.sent == page.stored => Some(page.entry.blob.size),
        // Only decoding would tell.
        None => None,
    };
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let body = match whole {
        _ if request.method == Method::HEAD => Body::Empty,
        Some(bytes) => bytes.into(),
        None => Body::Stream(begin(decoded(store, page).await?).await?),
    };
    Ok(Response { status: StatusCode::OK, headers, body })
}

/// Names the exact bytes: a decoder makes the same of the same blob each time.
fn tag(page: &Page<'_>, chosen: Option<&str>) -> String {
    match chosen {
        Some(etag) => format!("{etag}-{}", page.sent.name()),
        None if page.sent == page.stored => page.entry.blob.sha256.to_string(),
        None => format!("{}-{}", page.entry.blob.sha256, page.sent.name()),
    }
}

/// Adds `Accept` and `Accept-Encoding` to what the format varies by, each name once.
pub(crate) fn vary(headers: &mut HeaderMap) {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        let name = name.trim();
        if !name.is_empty() && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    };
    add("Accept");
    add("Accept-Encoding");
    for line in headers.get_all(header::VARY) {
        line.to_str().unwrap_or_default().split(',').for_each(&mut add);
    }
    let list = names.join(", ");
    headers.insert(header::VARY, HeaderValue::from_str(&list).expect("made of header values"));
}

async fn load(store: &dyn Store, page: &Page<'_>) -> Result<Cached> {
    let blob = &page.entry.blob;
    if blob.size > PAGE_LIMIT {
        return Ok(Cached::TooLarge);
    }
    let mut bytes = Vec::with_capacity(blob.size as usize);
    let mut chunks = stored(store, page).await?;
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    if page.sent == page.stored {
        return Ok(Cached::Bytes(bytes.into()));
    }
    let (path, coding) = (page.entry.path.clone(), page.stored);
    // Joined by hand: a panic is an answer with 500, not a connection that is cut.
    let decoding = tokio::task::spawn_blocking(move || decode_within(&bytes, coding, PAGE_LIMIT));
    let decoded = decoding.await.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
    match decoded.map_err(|error| undecodable(error, path.as_str()))? {
        Some(bytes) => Ok(Cached::Bytes(bytes.into())),
        None => Ok(Cached::TooLarge),
    }
}

/// All of the decoded bytes, or none when there are more than `limit`.
fn decode_within(compressed: &[u8], coding: Coding, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let reader: Box<dyn Read + '_> = match coding {
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(compressed)?),
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
        Coding::Identity => Box::new(compressed),
    };
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    bytes.shrink_to_fit();
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

async fn stored(store: &dyn Store, page: &Page<'_>) -> Result<ByteStream> {
    let blob = &page.entry.blob;
    if blob.size == 0 {
        return Ok(futures::stream::empty().boxed());
    }
    read(store, blob, 0..blob.size, page.entry.path.as_str()).await
}

/// The page as it is sent, decoded a chunk at a time: far under a millisecond each, so it stays on the reactor.
async fn decoded(store: &dyn Store, page: &Page<'_>) -> Result<ByteStream> {
    let chunks = stored(store, page).await?;
    if page.sent == page.stored {
        return Ok(chunks);
    }
    let compressed = StreamReader::new(chunks.map_err(std::io::Error::other));
    let decoder: Box<dyn AsyncRead + Send + Unpin> = match page.stored {
        Coding::Zstd => {
            let mut decoder = ZstdDecoder::new(compressed);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(compressed);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Coding::Identity => Box::new(compressed),
    };
    let path = page.entry.path.clone();
    let pieces = ReaderStream::with_capacity(decoder, CHUNK);
    Ok(pieces.map_err(move |error| undecodable(error, path.as_str())).boxed())
}

/// The store's own error comes back as it was; anything else means that the page is not what its name says.
fn undecodable(error: std::io::Error, path: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io(format!("decode the page `{path}`"))(error),
    }
}
