//! Lines of a stream, one at a time, none longer than a limit.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use reservoir_core::{Error, Result, store::ByteStream};

/// Reads lines.
pub(crate) struct Lines {
    bytes: ByteStream,
    buffer: BytesMut,
    /// How much of the buffer was searched for a line's end.
    searched: usize,
    /// Where the next line begins.
    offset: u64,
    limit: usize,
}

impl Lines {
    /// Reads lines of `limit` bytes at most from the place where `bytes` begins.
    pub(crate) fn new(bytes: ByteStream, offset: u64, limit: usize) -> Self {
        Self { bytes, buffer: BytesMut::new(), searched: 0, offset, limit }
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line, its end included where it has one.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.take(self.searched + end + 1)));
            }
            self.searched = self.buffer.len();
            if self.searched > self.limit {
                let detail = format!("has a line of more than {} bytes", self.limit);
                return Err(Error::malformed("a document of lines", "line-length", detail));
            }
            match self.bytes.try_next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(self.take(self.buffer.len()))),
            }
        }
    }

    fn take(&mut self, length: usize) -> Bytes {
        let line = self.buffer.split_to(length).freeze();
        self.searched = 0;
        self.offset += length as u64;
        line
    }
}
