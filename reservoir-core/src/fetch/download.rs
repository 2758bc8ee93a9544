//! Files: downloaded to disk, resumed where they broke off, verified.

use std::{fmt, path::Path};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_RANGE, IF_RANGE, RANGE},
};
use url::Url;

use super::{DisplayUrl, Fetcher, Validators, partial::Partial, request::Answer, retry::Retry};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    store::tree::Tree,
};

/// Progress that starts the count of retries anew; less would let a server keep us busy forever.
const PROGRESS: u64 = 1 << 20;

/// Bytes accepted of a file of which too little is known.
const UNKNOWN: u64 = 64 << 30;

/// What is known of a file, and who wants to hear about it.
#[derive(Clone, Copy)]
pub struct DownloadOptions<'a> {
    /// Its digest. With it, any partial file may be resumed, because the digest decides in the end.
    pub expected: Option<Sha256Digest>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Bytes accepted, whatever was announced.
    pub limit: u64,
    /// Told how many bytes of the file are there; goes back when a download has to start anew.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Told what can be read from the partial file, for those who follow it while it grows.
    pub arriving: Option<&'a (dyn Fn(Arriving) + Sync)>,
}

/// How far a partial file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arriving {
    /// Bytes that are in the file; goes back to none when the download has to start anew.
    pub written: u64,
    /// Bytes that the whole will have, once the registry has said so.
    pub total: Option<u64>,
}

impl Default for DownloadOptions<'_> {
    /// Nothing known, up to 64 GiB.
    fn default() -> Self {
        Self { expected: None, size: None, limit: UNKNOWN, progress: &|_| (), arriving: None }
    }
}

impl DownloadOptions<'_> {
    /// What a registry announced of a file. Where that is its digest and its size, the size is the limit, however large:
    /// the registry promised just those bytes. Otherwise the limit is 64 GiB.
    #[must_use]
    pub fn announced(expected: Option<Sha256Digest>, size: Option<u64>) -> Self {
        let limit = expected.and(size).unwrap_or(UNKNOWN);
        Self { expected, size, limit, ..Self::default() }
    }
}

impl fmt::Debug for DownloadOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadOptions")
            .field("expected", &self.expected)
            .field("size", &self.size)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// A file that was downloaded completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Bytes.
    pub size: u64,
    /// The digest of those bytes; equal to the one expected, if one was.
    pub sha256: Sha256Digest,
    /// What any range of them is verified against later.
    pub tree: Tree,
    /// How many bytes of an earlier call were kept.
    pub resumed_from: u64,
}

impl Fetcher {
    /// Downloads `url` to `dest`, a partial file that may exist already; its sidecar `dest.meta` remembers
    /// the validators. One caller at a time for one `dest`. The end of the file is not synced to disk.
    ///
    /// Connections that break, stall or answer 5xx are resumed by range requests, as often as the options
    /// allow; dropping the future leaves a file that the next call resumes.
    ///
    /// # Errors
    /// [`Error::Integrity`] for a wrong digest or size and [`Error::LimitExceeded`] (the file is removed);
    /// [`Error::Upstream`] and [`Error::Unreachable`] after all retries (the file stays);
    /// [`Error::ForbiddenAddress`], [`Error::NoSpace`] and [`Error::Io`] at once.
    pub async fn download(&self, url: &Url, dest: &Path, options: DownloadOptions<'_>) -> Result<Downloaded> {
        let partial = Partial::open(dest, url, options.expected.is_some()).await?;
        let found = partial.len();
        let mut transfer = Transfer { fetcher: self, url, options, partial, kept: found, pieced: found > 0 };
        let mut retry = Retry::new(&self.options);
        let mut milestone = found;
        loop {
            let error = match transfer.attempt().await {
                Ok(()) => match transfer.verify().await {
                    Ok(Some(done)) => {
                        transfer.partial.complete().await?;
                        return Ok(done);
                    }
                    // The pieces do not belong together; from the start, once more.
                    Ok(None) => continue,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if matches!(error, Error::Integrity { .. } | Error::LimitExceeded { .. }) {
                transfer.partial.discard().await?;
                return Err(error);
            }
            if !matches!(error, Error::Io { .. } | Error::NoSpace { .. }) {
                transfer.partial.flush().await?;
            }
            let reached = transfer.partial.len();
            if reached >= milestone.saturating_add(PROGRESS) {
                retry.reset();
                milestone = reached;
            }
            retry.pause(error).await?;
        }
    }
}

/// One download with its attempts.
struct Transfer<'a> {
    fetcher: &'a Fetcher,
    url: &'a Url,
    options: DownloadOptions<'a>,
    partial: Partial,
    /// Bytes of an earlier call that are still part of the file.
    kept: u64,
    /// Whether the file may be pieced together from different answers.
    pieced: bool,
}

impl Transfer<'_> {
    /// One request, or two when the first one shows that what we have is of no use.
    async fn attempt(&mut self) -> Result<()> {
        if self.options.size.is_some_and(|size| self.partial.len() > size) {
            self.restart().await?;
        }
        if self.options.expected.is_none() && self.partial.validators.is_empty() && self.partial.len() > 0 {
            self.restart().await?;
        }
        let offset = self.partial.len();
        if offset > 0 && self.options.size == Some(offset) && self.options.expected.is_some() {
            return Ok(());
        }
        let answer = self.ask(offset).await?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT if offset > 0 => match self.continues(&answer, offset) {
                Some(total) => {
                    self.pieced = true;
                    return self.receive(answer, Some(total)).await;
                }
                None => self.restart().await?,
            },
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                let complete =
                    content_range(&answer.headers).is_some_and(|range| range.total == Some(offset));
                if complete && self.options.expected.is_some() {
                    return Ok(());
                }
                self.restart().await?;
            }
            StatusCode::OK => {
                if offset > 0 {
                    self.restart().await?;
                }
                return self.begin(answer).await;
            }
            _ => return Err(answer.refusal()),
        }
        drop(answer);
        let answer = self.ask(0).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refusal());
        }
        self.begin(answer).await
    }

    async fn ask(&self, offset: u64) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        // A file is kept as it is; its digest speaks of the bytes as sent.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-")).expect("digits are a header value");
            headers.insert(RANGE, range);
            if let Some(value) = self.partial.validators.if_range() {
                headers.insert(IF_RANGE, value);
            }
        }
        self.fetcher.send(Method::GET, self.url, &headers).await
    }

    /// Whether a 206 goes on exactly where we are, in the same representation; the whole length if so.
    fn continues(&self, answer: &Answer, offset: u64) -> Option<u64> {
        let range = content_range(&answer.headers)?;
        let total = range.total.or(range.end.checked_add(1))?;
        let wanted = self.options.size.is_none_or(|size| size == total);
        let same = !self.partial.validators.contradict(&Validators::strong(&answer.headers));
        (range.start == offset && range.end.checked_add(1) == Some(total) && wanted && same).then_some(total)
    }

    async fn begin(&mut self, answer: Answer) -> Result<()> {
        let total = answer.body.announced();
        if let Some(total) = total {
            self.check(total)?;
            if let Some(size) = self.options.size.filter(|size| *size != total) {
                return Err(self.wrong_size(size, total));
            }
        }
        // A small file whose digest will decide is not worth a second file that describes it.
        let for_others = self.options.expected.is_none() || total.is_none_or(|total| total > PROGRESS);
        self.partial.recognise_by(Validators::strong(&answer.headers), for_others).await?;
        self.receive(answer, total).await
    }

    async fn receive(&mut self, mut answer: Answer, total: Option<u64>) -> Result<()> {
        if let Some(total) = total {
            self.check(total)?;
        }
        (self.options.progress)(self.partial.len());
        self.arrived(total);
        loop {
            let mut next = std::pin::pin!(answer.body.next());
            let chunk = loop {
                tokio::select! {
                    biased;
                    chunk = &mut next => break chunk?,
                    // Whoever follows hears of what is written though nothing more comes.
                    written = self.partial.progress(), if self.partial.is_writing() => {
                        written?;
                        self.arrived(total);
                    }
                }
            };
            let Some(chunk) = chunk else { break };
            self.check(self.partial.len() + chunk.len() as u64)?;
            let before = self.partial.written();
            self.partial.push(chunk).await?;
            (self.options.progress)(self.partial.len());
            if self.partial.written() != before {
                self.arrived(total);
            }
        }
        self.partial.flush().await?;
        self.arrived(total);
        let length = self.partial.len();
        match self.options.size.or(total) {
            Some(size) if length < size => Err(Error::Unreachable {
                url: DisplayUrl(self.url).to_string(),
                detail: format!("the body ended after {length} of {size} bytes"),
            }),
            Some(size) if length > size => Err(self.wrong_size(size, length)),
            _ => Ok(()),
        }
    }

    fn arrived(&self, total: Option<u64>) {
        if let Some(arriving) = self.options.arriving {
            arriving(Arriving { written: self.partial.written(), total: self.options.size.or(total) });
        }
    }

    /// Refuses a length as soon as it is known to be too much.
    fn check(&self, length: u64) -> Result<()> {
        match self.options.size {
            Some(size) if length > size => Err(self.wrong_size(size, length)),
            _ if length > self.options.limit => Err(Error::LimitExceeded {
                what: format!("`{}`", DisplayUrl(self.url)),
                limit: format!("{} bytes", self.options.limit),
            }),
            _ => Ok(()),
        }
    }

    /// `None` when the digest is wrong and the seams may be to blame; then everything was discarded.
    async fn verify(&mut self) -> Result<Option<Downloaded>> {
        self.partial.flush().await?;
        let (blob, tree) = self.partial.blob().expect("the file is at hand after a flush that succeeded");
        let sha256 = blob.sha256;
        match self.options.expected {
            Some(expected) if expected != sha256 && self.pieced => {
                self.restart().await?;
                Ok(None)
            }
            Some(expected) if expected != sha256 => Err(Error::Integrity {
                what: format!("`{}`", DisplayUrl(self.url)),
                expected: expected.to_string(),
                actual: sha256.to_string(),
            }),
            _ => Ok(Some(Downloaded { size: blob.size, sha256, tree, resumed_from: self.kept })),
        }
    }

    async fn restart(&mut self) -> Result<()> {
        self.kept = 0;
        self.pieced = false;
        self.partial.restart().await?;
        self.arrived(None);
        Ok(())
    }

    fn wrong_size(&self, expected: u64, actual: u64) -> Error {
        Error::Integrity {
            what: format!("the size of `{}`", DisplayUrl(self.url)),
            expected: format!("{expected} bytes"),
            actual: format!("{actual} bytes"),
        }
    }
}

/// `Content-Range: bytes START-END/TOTAL` (RFC 9110 §14.4).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) start: u64,
    /// Of the last byte, inclusive.
    pub(super) end: u64,
    pub(super) total: Option<u64>,
}

/// `None` when the header is missing or nonsense. For `bytes */TOTAL`, start and end are zero.
pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    if range == "*" {
        return Some(ContentRange { start: 0, end: 0, total });
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end && total.is_none_or(|total| end < total)).then_some(ContentRange { start, end, total })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<ContentRange> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, HeaderValue::from_str(text).ok()?);
        content_range(&headers)
    }

    #[test]
    fn the_announced_size_is_the_limit_where_a_digest_holds_it() {
        let (digest, size) = (Some(Sha256Digest::of(b"weights")), Some(200 << 30));
        assert_eq!(DownloadOptions::announced(digest, size).limit, 200 << 30);
        assert_eq!(DownloadOptions::announced(digest, Some(5)).limit, 5);
        for (digest, size) in [(None, size), (digest, None), (None, None)] {
            assert_eq!(DownloadOptions::announced(digest, size).limit, UNKNOWN, "{digest:?} {size:?}");
        }
    }

    #[test]
    fn reads_content_ranges() {
        assert_eq!(parse("bytes 5-9/10"), Some(ContentRange { start: 5, end: 9, total: Some(10) }));
        assert_eq!(parse("bytes 5-9/*"), Some(ContentRange { start: 5, end: 9, total: None }));
        assert_eq!(parse("bytes */10"), Some(ContentRange { start: 0, end: 0, total: Some(10) }));
        for text in
            ["bytes 9-5/10", "bytes 5-10/10", "items 0-1/2", "bytes 0-1", "bytes a-b/c", "bytes -1-2/3"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_content_range_is_harmless(text in "(bytes )?[0-9*/ -]{0,60}") {
            if let Some(range) = parse(&text) {
                prop_assert!(range.start <= range.end);
            }
        }
    }
}
