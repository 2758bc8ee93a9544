//! What the server answers, and how it fails at it.

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// An answer. Methods that add something return the changed answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) ranges: bool,
    pub(super) framing: Framing,
    pub(super) fault: Option<Fault>,
    pub(super) delay: Duration,
}

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    WrongLength(u64),
    Chunked,
    UntilClose,
}

/// What goes wrong, after so many bytes of the body of this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Cut(usize),
    Reset(usize),
    Stall(usize),
    Drip { bytes: usize, every: Duration },
    Endless { every: Duration },
}

impl Reply {
    /// 200 with a body; ranges are answered.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            ranges: true,
            framing: Framing::Length,
            fault: None,
            delay: Duration::ZERO,
        }
    }

    /// 206 with a body, whatever was asked for; add `Content-Range` to taste.
    pub fn partial(body: impl Into<Bytes>) -> Self {
        Self { status: 206, ..Self::ok(body) }
    }

    /// A status with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok(Bytes::new()) }
    }

    /// A redirect (301, 302, 303, 307 or 308) to a URL or path.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::status(status).header("location", location)
    }

    /// `size` zero bytes that were squeezed into a thousandth by gzip.
    ///
    /// # Panics
    /// Never: compressing into memory does not fail.
    #[must_use]
    pub fn gzip_bomb(size: usize) -> Self {
        Self::ok(vec![0; size]).gzip()
    }

    /// 200 with `piece` again and again, in chunks, so often, until whoever reads it hangs up.
    pub fn endless(piece: impl Into<Bytes>, every: Duration) -> Self {
        let fault = Some(Fault::Endless { every });
        Self { ranges: false, fault, framing: Framing::Chunked, ..Self::ok(piece) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds `Content-Type`.
    #[must_use]
    pub fn content_type(self, value: &str) -> Self {
        self.header("content-type", value)
    }

    /// Adds `ETag`, quotes included; conditional requests and `If-Range` are answered by it.
    #[must_use]
    pub fn etag(self, value: &str) -> Self {
        self.header("etag", value)
    }

    /// Adds `Last-Modified`; conditional requests and `If-Range` are answered by it.
    #[must_use]
    pub fn last_modified(self, value: &str) -> Self {
        self.header("last-modified", value)
    }

    /// Adds `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header("retry-after", seconds.to_string())
    }

    /// Compresses the body and says so.
    ///
    /// # Panics
    /// Never: compressing into memory does not fail.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.body).expect("writing into memory does not fail");
        self.body = encoder.finish().expect("writing into memory does not fail").into();
        self.header("content-encoding", "gzip")
    }

    /// Ignores `Range`.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.ranges = false;
        self
    }

    /// Sends the body in chunks, without a length.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Sends the body without a length; it ends with the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// Announces another length than the body has; the connection is closed after the body.
    #[must_use]
    pub fn content_length(mut self, length: u64) -> Self {
        self.framing = Framing::WrongLength(length);
        self
    }

    /// Closes the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.fault = Some(Fault::Cut(bytes));
        self
    }

    /// Resets the connection (TCP RST) after so many bytes of the body.
    #[must_use]
    pub fn reset_after(mut self, bytes: usize) -> Self {
        self.fault = Some(Fault::Reset(bytes));
        self
    }

    /// Falls silent, the connection open, after so many bytes of the body.
    #[must_use]
    pub fn stall_after(mut self, bytes: usize) -> Self {
        self.fault = Some(Fault::Stall(bytes));
        self
    }

    /// Sends a few bytes at a time.
    #[must_use]
    pub fn drip(mut self, bytes: usize, every: Duration) -> Self {
        self.fault = Some(Fault::Drip { bytes: bytes.max(1), every });
        self
    }

    /// Waits before answering.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}
