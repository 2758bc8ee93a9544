//! Pieces of files, for formats that can tell something from the end of one.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, IF_RANGE, RANGE},
};
use url::Url;

use super::{DisplayUrl, Fetcher, Validators, download::content_range, retry::Retry};
use crate::error::{Error, Result};

/// Which piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// So many bytes from the end; all of a file that is shorter.
    Last(u64),
    /// From a place on, so many bytes.
    At {
        /// The first byte.
        start: u64,
        /// How many.
        length: u64,
    },
}

/// A piece of a file.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The bytes.
    pub bytes: Bytes,
    /// Where they begin.
    pub start: u64,
    /// How long the whole is.
    pub total: u64,
    /// What to recognise the file by, where that is certain.
    pub validators: Validators,
}

impl Fetcher {
    /// Reads a piece of a file into memory: of the same file as `of`, where one was read before. `None` when the
    /// server gives no such piece: it does not know ranges, has no such file, or another one by now.
    ///
    /// # Errors
    /// [`Error::Upstream`] for statuses that are no answer to that, [`Error::Unreachable`] after all retries,
    /// [`Error::Malformed`] (`content-range`) for another piece than was asked for.
    pub async fn get_piece(&self, url: &Url, span: Span, of: Option<&Piece>) -> Result<Option<Piece>> {
        let mut retry = Retry::new(&self.options);
        loop {
            let error = match self.read_piece(url, span, of).await {
                Ok(piece) => return Ok(piece),
                Err(error) => error,
            };
            retry.pause(error).await?;
        }
    }

    async fn read_piece(&self, url: &Url, span: Span, of: Option<&Piece>) -> Result<Option<Piece>> {
        let range = match span {
            Span::Last(0) | Span::At { length: 0, .. } => {
                return Err(Error::invalid("piece", "has no bytes"));
            }
            Span::Last(count) => format!("bytes=-{count}"),
            Span::At { start, length } => format!("bytes={start}-{}", start.saturating_add(length - 1)),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let range =
            HeaderValue::from_str(&range).map_err(|error| Error::invalid("range", error.to_string()))?;
        headers.insert(RANGE, range);
        if let Some(known) = of.and_then(|of| of.validators.if_range()) {
            headers.insert(IF_RANGE, known);
        }
        let mut answer = self.send(Method::GET, url, &headers).await?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT => {}
            // The whole was not asked for; dropping the answer ends the transfer.
            StatusCode::OK
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::FORBIDDEN => return Ok(None),
            _ => return Err(answer.refusal()),
        }
        let wrong = |detail: &str| {
            Error::malformed(DisplayUrl(&answer.url).to_string(), "content-range", detail.to_owned())
        };
        if answer.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Ok(None);
        }
        let told =
            content_range(&answer.headers).and_then(|range| Some((range.start, range.end, range.total?)));
        let (start, end, total) = told.ok_or_else(|| wrong("a piece without saying which"))?;
        let expected = match span {
            Span::Last(count) => total.saturating_sub(count),
            Span::At { start, .. } => start,
        };
        let most = match span {
            Span::Last(length) | Span::At { length, .. } => length,
        };
        let length = (end - start).saturating_add(1);
        if start != expected || length > most || end >= total {
            return Err(wrong("another piece than was asked for"));
        }
        if of.is_some_and(|of| of.total != total) {
            return Ok(None);
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = answer.body.next().await? {
            if (bytes.len() + chunk.len()) as u64 > length {
                return Err(wrong("more bytes than it says"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() as u64 != length {
            let (url, detail) =
                (DisplayUrl(&answer.url).to_string(), "the connection ended early".to_owned());
            return Err(Error::Unreachable { url, detail });
        }
        let validators = Validators::strong(&answer.headers);
        Ok(Some(Piece { bytes: bytes.freeze(), start, total, validators }))
    }
}
