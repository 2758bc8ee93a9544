//! From a stream of verified bytes to a thread that may block.

use std::io;

use bytes::{Buf as _, Bytes};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use crate::{
    blocking,
    error::{Error, Result},
    store::ByteStream,
};

/// Chunks on their way; each is as large as the store yields them (see `store::tree`).
const CHUNKS: usize = 4;

/// Bytes in order, and what the store said when they broke off.
pub(super) trait Feed: io::BufRead {
    /// The store's own error, where `io::Read` could only say "failed".
    fn take_failure(&mut self) -> Option<Error>;
}

impl<F: Feed + ?Sized> Feed for Box<F> {
    fn take_failure(&mut self) -> Option<Error> {
        (**self).take_failure()
    }
}

/// The bytes of a blob, in order, on a thread that may block. It is an [`io::BufRead`].
#[derive(Debug)]
pub struct Source {
    /// Where more comes from; nowhere, when the first chunk is all.
    receiver: Option<mpsc::Receiver<Result<Bytes>>>,
    chunk: Bytes,
    position: u64,
    failure: Option<Error>,
}

impl Source {
    /// Bytes consumed so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes; empty at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8]> {
        while self.chunk.is_empty() {
            match self.receiver.as_mut().and_then(mpsc::Receiver::blocking_recv) {
                Some(chunk) => self.chunk = chunk?,
                None => break,
            }
        }
        Ok(&self.chunk)
    }

    /// Moves on by `count` bytes of what `peek` showed.
    pub(super) fn skip(&mut self, count: usize) {
        self.chunk.advance(count);
        self.position += count as u64;
    }

    /// Fills `buffer`; fewer bytes only at the end.
    pub(super) fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let chunk = self.peek()?;
            let count = chunk.len().min(buffer.len() - filled);
            if count == 0 {
                break;
            }
            buffer[filled..filled + count].copy_from_slice(&chunk[..count]);
            self.skip(count);
            filled += count;
        }
        Ok(filled)
    }

    /// Gives all that is left to `take`, in pieces as they come.
    pub(crate) fn each(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        loop {
            let piece = self.peek()?;
            let count = piece.len();
            if count == 0 {
                return Ok(());
            }
            take(piece)?;
            self.skip(count);
        }
    }

    /// The store's own error, where `io::Read` could only say "failed".
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

impl Feed for Source {
    fn take_failure(&mut self) -> Option<Error> {
        Source::take_failure(self)
    }
}

impl io::Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = io::BufRead::fill_buf(self)?;
        let count = chunk.len().min(buffer.len());
        buffer[..count].copy_from_slice(&chunk[..count]);
        self.skip(count);
        Ok(count)
    }
}

impl io::BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Err(error) = self.peek() {
            let shown = io::Error::other(error.to_string());
            self.failure = Some(error);
            return Err(shown);
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.skip(count);
    }
}

/// Runs `work` on a blocking thread over the bytes of `stream`.
///
/// When the future is dropped, `work` finds the end of its source at the next chunk; its result is lost.
pub async fn read_blocking<T, F>(mut stream: ByteStream, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(Source) -> Result<T> + Send + 'static,
{
    // A small blob is one chunk: with that in hand the worker waits for nobody.
    let chunk = stream.next().await.transpose()?.unwrap_or_default();
    let mut source = Source { receiver: None, chunk, position: 0, failure: None };
    let mut next = stream.next().now_or_never();
    if matches!(next, Some(None)) {
        return blocking::run(move || work(source)).await;
    }
    let (sender, receiver) = mpsc::channel(CHUNKS);
    source.receiver = Some(receiver);
    let worker = tokio::task::spawn_blocking(move || work(source));
    loop {
        let chunk = match next.take() {
            Some(chunk) => chunk,
            None => stream.next().await,
        };
        let Some(chunk) = chunk else { break };
        let failed = chunk.is_err();
        // The worker may have refused the archive already.
        if sender.send(chunk).await.is_err() || failed {
            break;
        }
    }
    drop(sender);
    blocking::joined(worker).await
}
