//! Buffers that are read into again once nobody holds a part of them: fresh memory costs more than reading into it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Those that were lent, the oldest first. Bounded by how far behind the others are who hold parts.
#[derive(Debug, Default)]
pub(super) struct Buffers(VecDeque<Bytes>);

impl Buffers {
    /// One of that size, with anything in it.
    pub(super) fn take(&mut self, size: usize) -> BytesMut {
        let free = self.0.front().is_some_and(Bytes::is_unique).then(|| self.0.pop_front()).flatten();
        let mut buffer = match free.map(Bytes::try_into_mut) {
            Some(Ok(buffer)) => buffer,
            Some(Err(_)) | None => BytesMut::new(),
        };
        buffer.resize(size, 0);
        buffer
    }

    /// Passes one on; what is held of it may be dropped anywhere.
    pub(super) fn lend(&mut self, buffer: BytesMut) -> Bytes {
        let buffer = buffer.freeze();
        self.0.push_back(buffer.clone());
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_holds_is_left_alone() {
        let mut buffers = Buffers::default();
        let mut first = buffers.take(4);
        first.copy_from_slice(b"one!");
        let first = buffers.lend(first);
        let held = first.slice(1..3);
        drop(first);
        let mut second = buffers.take(4);
        second.copy_from_slice(b"two!");
        drop(buffers.lend(second));
        assert_eq!(&held[..], b"ne");
        let place = held.as_ptr();
        drop(held);
        let again = buffers.take(3);
        assert_eq!(again.as_ptr(), place.wrapping_sub(1), "the oldest is read into again");
        assert_eq!(again.len(), 3);
    }
}
