//! A blob of the store, read by code that blocks.

use std::io::Read;

use bytes::{Buf as _, Bytes};
use futures::TryStreamExt as _;
use tokio::runtime::Handle;

use crate::{error::Error, store::ByteStream};

/// Verified bytes as they come from the store. To be read on a thread that may block.
pub(crate) struct BlobReader {
    runtime: Handle,
    stream: ByteStream,
    chunk: Bytes,
}

impl BlobReader {
    pub(crate) fn new(runtime: Handle, stream: ByteStream) -> Self {
        Self { runtime, stream, chunk: Bytes::new() }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.chunk.is_empty() {
            let next = self.runtime.block_on(self.stream.try_next()).map_err(broken)?;
            match next {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A file system's error as it is; others inside one.
fn broken(error: Error) -> std::io::Error {
    std::io::Error::other(error)
}
