//! Reading what the page cache holds without a thread that may wait for the disk.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes that need no disk are read, hashed and handed on so many at a time, on the reactor: 20 to 40 µs, and small enough
/// to be still in the core's own cache when they are sent.
pub(crate) const CACHED_SPAN: u64 = 128 * 1024;

/// Whether all of `buffer` could be filled without waiting (`RWF_NOWAIT`, preadv2(2)). File systems that do not know
/// how to say so are never believed to be fast.
#[cfg(target_os = "linux")]
pub(crate) fn fill_from_page_cache(file: &File, buffer: &mut [u8], offset: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let length = buffer.len();
    let read = preadv2(file, &mut [std::io::IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == length)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn fill_from_page_cache(_: &File, _: &mut [u8], _: u64) -> bool {
    false
}

/// Buffers of one reader, used again once the consumer has dropped the bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    pub(crate) fn take(&self, length: usize) -> Buffer {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if bytes.len() < length {
            bytes = vec![0; length];
        }
        Buffer { bytes, length, home: self.clone() }
    }
}

/// One of them; it goes home when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl Buffer {
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut home = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        // More are out at once only when the consumer keeps them.
        if home.len() < 4 {
            home.push(std::mem::take(&mut self.bytes));
        }
    }
}
