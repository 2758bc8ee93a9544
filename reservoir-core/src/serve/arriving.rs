//! A file that is still arriving: followed by many, ended by one, and never whole before it was verified.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, Method, StatusCode, header};
use tokio::sync::watch;

use super::{
    Body, FileOptions, Request, Response,
    conditional::Validators,
    file::{self, common_headers},
    range::{Part, content_range, requested},
};
use crate::{
    clock::Timestamp,
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    fetch::Arriving,
    snapshot::Entry,
    store::{
        ByteStream, Store,
        page_cache::{Buffers, CACHED_SPAN, fill_from_page_cache},
    },
};

/// What is withheld of a file until digest, inspection and policy have held.
pub(crate) const HELD_BACK: u64 = 64 << 10;

/// One file on its way in. Made by the run that brings it; clients hold it as long as they follow.
#[derive(Debug)]
pub(crate) struct Arrival(watch::Sender<State>);

/// How far it has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    partial: Option<Arc<PathBuf>>,
    written: u64,
    total: Option<u64>,
    /// Counts the times that the file began anew, so that nobody joins pieces of two.
    starts: u64,
    pub(crate) end: Option<End>,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// It is AVAILABLE.
    Here(Arc<Entry>),
    /// It will not come.
    Failed(Arc<Error>),
}

impl Arrival {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// Takes news of the partial file.
    pub(crate) fn arrived(&self, partial: &Path, news: Arriving) {
        self.0.send_modify(|state| {
            if state.partial.is_none() {
                state.partial = Some(Arc::new(partial.to_owned()));
            }
            if news.written < state.written {
                state.starts += 1;
            }
            state.written = news.written;
            state.total = news.total.or(state.total);
        });
    }

    /// Ends it, once.
    pub(crate) fn end(&self, end: End) {
        self.0.send_if_modified(|state| {
            let first = state.end.is_none();
            if first {
                state.end = Some(end);
            }
            first
        });
    }

    pub(crate) fn follow(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // A run that was dropped or panicked leaves nobody waiting.
        self.end(End::Failed(Arc::new(Error::Cancelled)));
    }
}

impl State {
    /// Whether following it is worth while: something may leave already.
    pub(crate) fn can_be_followed(&self) -> bool {
        self.total.is_some_and(|total| self.written.min(total.saturating_sub(HELD_BACK)) > 0)
    }

    /// The whole length, once it is known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Bytes that may leave.
    fn released(&self, total: u64) -> u64 {
        match self.end {
            Some(End::Here(_)) => total,
            _ => self.written.min(total.saturating_sub(HELD_BACK)),
        }
    }
}

/// Answers with a file that is arriving: the whole, or from where a client broke off to the end. `None` when the
/// partial file is gone, because the run has just ended, and for a range that ends earlier: it would be complete
/// before the file is. A range of one byte is a question about the file ([hf-hub] 0.4): the headers answer it, and the
/// byte follows from the store when the file is whole.
///
/// [hf-hub]: https://docs.rs/hf-hub
pub(crate) async fn respond(
    following: watch::Receiver<State>,
    request: &Request,
    expected: Sha256Digest,
    options: FileOptions,
    modified: Timestamp,
    store: &Arc<dyn Store>,
) -> Result<Option<Response>> {
    let state = following.borrow().clone();
    let (Some(partial), Some(total)) = (state.partial.clone(), state.total) else { return Ok(None) };
    let modified = options.modified.unwrap_or(modified);
    let validators = match &options.etag {
        Some(etag) => Validators::new(etag, modified)?,
        None => Validators::new(&expected.to_string(), modified)?,
    };
    let ranged =
        options.ranges && request.method != Method::HEAD && !request.headers.contains_key(header::IF_RANGE);
    let part = if ranged { requested(&request.headers, total) } else { Part::Whole };
    let (status, wanted) = match &part {
        Part::Whole => (StatusCode::OK, 0..total),
        Part::Range(range) if range.end == total || range.end - range.start == 1 => {
            (StatusCode::PARTIAL_CONTENT, range.clone())
        }
        Part::Range(_) | Part::Unsatisfiable => return Ok(None),
    };
    let mut headers = common_headers(options, &validators);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(wanted.end - wanted.start));
    if let Part::Range(range) = &part {
        headers.insert(header::CONTENT_RANGE, content_range(range, total));
    }
    if request.method == Method::HEAD {
        return Ok(Some(Response { status, headers, body: Body::Empty }));
    }
    if wanted.end < total {
        let body = Body::Stream(later(following, wanted, (expected, total), store));
        return Ok(Some(Response { status, headers, body }));
    }
    // Joined by hand, as below: a panic breaks off one answer, in the way that all failures do.
    let opened = tokio::task::spawn_blocking(move || File::open(&*partial)).await;
    let Ok(Ok(file)) = opened else { return Ok(None) };
    let follower = Follower {
        file: Arc::new(file),
        following,
        offset: 0,
        begin: wanted.start,
        total,
        starts: state.starts,
        hasher: blake3::Hasher::new(),
        buffers: Buffers::default(),
        expected,
    };
    Ok(Some(Response { status, headers, body: Body::Stream(follower.stream()) }))
}

/// A range from the store, once the file is there.
fn later(
    mut following: watch::Receiver<State>,
    wanted: Range<u64>,
    told: (Sha256Digest, u64),
    store: &Arc<dyn Store>,
) -> ByteStream {
    let store = Arc::clone(store);
    let read = async move {
        let ended = following.wait_for(|state| state.end.is_some()).await;
        let end = ended.map_err(|_| Error::Cancelled)?.end.clone();
        match end {
            Some(End::Here(entry)) if (entry.blob.sha256, entry.blob.size) == told => {
                file::read(&*store, &entry.blob, wanted, entry.path.as_str()).await
            }
            Some(End::Here(_)) => Err(Error::Conflict {
                what: "a download".into(),
                detail: "what came is not what was told before".into(),
            }),
            Some(End::Failed(error)) => Err(never(&error)),
            None => Err(Error::Cancelled),
        }
    };
    stream::once(read).try_flatten().boxed()
}

/// Why the rest of a file does not follow.
fn never(error: &Error) -> Error {
    Error::Denied { what: "the rest of the file".into(), reason: error.to_string() }
}

/// One client's way through the file. It hashes what it hands on, so that the last piece leaves only after all
/// that left before it was right: the same bytes as the blob that was checked against what was announced.
struct Follower {
    /// Open since before the first byte: the name goes to the store with the last one.
    file: Arc<File>,
    following: watch::Receiver<State>,
    /// How far it was read.
    offset: u64,
    /// From where it is handed on; what is before was handed on to the same client earlier, and is hashed.
    begin: u64,
    total: u64,
    starts: u64,
    /// BLAKE3, which costs a fifth of SHA-256: many may follow one file.
    hasher: blake3::Hasher,
    buffers: Buffers,
    expected: Sha256Digest,
}

impl Follower {
    fn stream(self) -> ByteStream {
        stream::try_unfold(self, |mut follower| async move {
            let piece = follower.next().await.inspect_err(|error| {
                tracing::warn!(%error, "a response that followed a download was broken off");
            })?;
            Ok(piece.map(|piece| (piece, follower)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.offset == self.total {
            return Ok(None);
        }
        loop {
            let state = self.following.borrow_and_update().clone();
            if let Some(End::Failed(error)) = &state.end {
                return Err(never(error));
            }
            let contradicted = state.starts != self.starts && self.offset > 0
                || state.total.is_some_and(|total| total != self.total);
            if contradicted {
                return Err(Error::Conflict {
                    what: "a download".into(),
                    detail: "it began anew after some of it had been passed on".into(),
                });
            }
            self.starts = state.starts;
            let released = state.released(self.total);
            if self.offset < released {
                let before = self.begin.saturating_sub(self.offset);
                let end = match &state.end {
                    Some(End::Here(entry)) => Some(&**entry),
                    _ => None,
                };
                let mut piece = self.read(released - self.offset, end).await?;
                if before < piece.len() as u64 {
                    return Ok(Some(piece.split_off(before as usize)));
                }
                continue;
            }
            if self.following.changed().await.is_err() {
                return Err(Error::Cancelled);
            }
        }
    }

    /// Reads on: at once what the page cache holds, which is nearly always all that has just been written.
    async fn read(&mut self, available: u64, end: Option<&Entry>) -> Result<Bytes> {
        let (offset, length) = (self.offset, available.min(CACHED_SPAN));
        let mut buffer = self.buffers.take(length as usize);
        tokio::task::consume_budget().await;
        if !fill_from_page_cache(&self.file, buffer.bytes_mut(), offset) {
            let file = Arc::clone(&self.file);
            let read = move || file.read_exact_at(buffer.bytes_mut(), offset).map(|()| buffer);
            let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other);
            buffer = read.and_then(|read| read).map_err(Error::io("read a file that is arriving"))?;
        }
        self.hasher.update(buffer.as_ref());
        self.offset += length;
        if self.offset == self.total {
            self.check(end)?;
        }
        Ok(Bytes::from_owner(buffer))
    }

    /// Whether all that was read is the blob that is here now, and that the one that was announced.
    fn check(&self, end: Option<&Entry>) -> Result<()> {
        let actual = Blake3Digest::from(self.hasher.finalize());
        match end {
            Some(Entry { blob, .. }) if blob.sha256 == self.expected && blob.blake3 == actual => Ok(()),
            _ => Err(Error::Integrity {
                what: "a file that was passed on while it arrived".into(),
                expected: end.map_or_else(|| self.expected.to_string(), |end| end.blob.blake3.to_string()),
                actual: actual.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use http::HeaderMap;

    use super::*;
    use crate::{
        store::{Blob, StoreExt as _},
        testing::memory::MemoryStore,
    };

    fn request() -> Request {
        let route = crate::serve::Router::new(["r".parse().unwrap()]).route("/r/a").unwrap();
        route.request(Method::GET, None, HeaderMap::new())
    }

    fn entry(bytes: &[u8]) -> End {
        End::Here(Arc::new(Entry {
            path: "a".parse().unwrap(),
            blob: Blob {
                sha256: Sha256Digest::of(bytes),
                blake3: blake3::hash(bytes).into(),
                size: bytes.len() as u64,
            },
            artifact: None,
            revision: None,
            attributes: std::collections::BTreeMap::new(),
        }))
    }

    async fn body(arrival: &Arrival, bytes: &[u8]) -> ByteStream {
        let options = FileOptions::immutable();
        let expected = Sha256Digest::of(bytes);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let response = respond(arrival.follow(), &request(), expected, options, Timestamp::now(), &store)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(response.headers[header::CONTENT_LENGTH], bytes.len().to_string().as_str());
        match response.body {
            Body::Stream(stream) => stream,
            other => panic!("{other:?}"),
        }
    }

    async fn available(stream: &mut ByteStream) -> Vec<u8> {
        let mut all = Vec::new();
        let wait = std::time::Duration::from_millis(200);
        while let Ok(piece) = tokio::time::timeout(wait, stream.try_next()).await {
            match piece.unwrap() {
                Some(piece) => all.extend_from_slice(&piece),
                None => break,
            }
        }
        all
    }

    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[tokio::test]
    async fn the_tail_stays_until_the_end() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), bytes(1 << 20));
        let partial = folder.path().join("partial");
        std::fs::write(&partial, &whole).unwrap();
        let arrival = Arrival::new();
        arrival.arrived(&partial, Arriving { written: whole.len() as u64, total: Some(whole.len() as u64) });
        let mut stream = body(&arrival, &whole).await;
        let early = available(&mut stream).await;
        assert_eq!(early.len() as u64, whole.len() as u64 - HELD_BACK);
        std::fs::remove_file(&partial).unwrap();
        arrival.end(entry(&whole));
        let rest = available(&mut stream).await;
        assert!([early, rest].concat() == whole);
    }

    #[tokio::test]
    async fn who_broke_off_goes_on_and_no_inner_range_ends_early() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), bytes(1 << 20));
        let partial = folder.path().join("partial");
        std::fs::write(&partial, &whole).unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        store.put_bytes(whole.clone().into()).await.unwrap();
        let arrival = Arrival::new();
        let total = whole.len() as u64;
        arrival.arrived(&partial, Arriving { written: total, total: Some(total) });
        let ranged = async |range: &'static str| {
            let mut request = request();
            request.headers.insert(header::RANGE, HeaderValue::from_static(range));
            let (expected, options) = (Sha256Digest::of(&whole), FileOptions::immutable());
            respond(arrival.follow(), &request, expected, options, Timestamp::now(), &store).await.unwrap()
        };
        assert!(ranged("bytes=0-1").await.is_none());
        let first = ranged("bytes=0-0").await.unwrap();
        assert_eq!(first.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(first.headers[header::CONTENT_RANGE], "bytes 0-0/1048576");
        let Body::Stream(mut first) = first.body else { panic!("no stream") };
        assert!(available(&mut first).await.is_empty(), "nothing leaves before the file is whole");
        let rest = ranged("bytes=600000-").await.unwrap();
        assert_eq!(rest.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(rest.headers[header::CONTENT_RANGE], "bytes 600000-1048575/1048576");
        let Body::Stream(mut stream) = rest.body else { panic!("no stream") };
        let early = available(&mut stream).await;
        assert_eq!(early.len() as u64, total - HELD_BACK - 600_000);
        arrival.end(entry(&whole));
        assert!([early, available(&mut stream).await].concat() == whole[600_000..]);
        assert_eq!(available(&mut first).await, whole[..1]);
    }

    #[tokio::test]
    async fn a_refusal_breaks_off_before_the_tail() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), bytes(300_000));
        let partial = folder.path().join("partial");
        std::fs::write(&partial, &whole).unwrap();
        let arrival = Arrival::new();
        arrival.arrived(&partial, Arriving { written: 300_000, total: Some(300_000) });
        let mut stream = body(&arrival, &whole).await;
        assert_eq!(available(&mut stream).await.len() as u64, 300_000 - HELD_BACK);
        drop(arrival);
        assert!(stream.try_next().await.is_err());
    }

    /// Whatever a run believes, bytes that differ from the digest announced never end well.
    #[tokio::test]
    async fn bytes_that_changed_on_disk_never_complete() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), bytes(300_000));
        let partial = folder.path().join("partial");
        let mut rotten = whole.clone();
        rotten[1000] ^= 1;
        std::fs::write(&partial, &rotten).unwrap();
        let arrival = Arrival::new();
        arrival.arrived(&partial, Arriving { written: 300_000, total: Some(300_000) });
        let mut stream = body(&arrival, &whole).await;
        arrival.end(entry(&whole));
        let mut seen = 0;
        let error = loop {
            match stream.try_next().await {
                Ok(Some(piece)) => seen += piece.len(),
                Ok(None) => panic!("it completed"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Integrity { .. }), "{error}");
        assert!(seen < whole.len());
    }

    #[tokio::test]
    async fn pieces_of_two_starts_are_never_joined() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), bytes(300_000));
        let partial = folder.path().join("partial");
        std::fs::write(&partial, &whole).unwrap();
        let arrival = Arrival::new();
        arrival.arrived(&partial, Arriving { written: 200_000, total: Some(300_000) });
        let mut stream = body(&arrival, &whole).await;
        assert_eq!(available(&mut stream).await.len(), 200_000);
        arrival.arrived(&partial, Arriving { written: 0, total: None });
        arrival.arrived(&partial, Arriving { written: 300_000, total: Some(300_000) });
        assert!(stream.try_next().await.is_err());
    }
}
