//! Bytes in order with a look ahead, and a watch for the end of a ZIP among the last of them.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use memchr::memmem;

/// Bytes held at most, and so the longest look ahead.
const CAPACITY: usize = 128 << 10;

/// Bytes that a decoder is asked for at once.
const DECOMPRESSED_AT_ONCE: usize = 8 << 10;

/// The fixed part of an end of central directory record.
const END_RECORD: usize = 22;

/// Where programs look for that record: the last bytes of a file.
pub(super) const TAIL: u64 = END_RECORD as u64 + u16::MAX as u64;

/// Bytes of one stream: the file itself, a member of an archive, or what a compressed stream holds.
pub(super) struct Input<'a> {
    source: &'a mut dyn Read,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    position: u64,
    ended: bool,
    /// Why no more bytes can be had; told once those that were had are consumed.
    failure: Option<(io::ErrorKind, String)>,
    /// Where a record began that could be the end of a ZIP.
    end_record: Option<u64>,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: &'a mut dyn Read) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            position: 0,
            ended: false,
            failure: None,
            end_record: None,
        }
    }

    /// Bytes consumed so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Reads once more. What was consumed last stays in the buffer, so that a record is seen whole.
    fn fill(&mut self) {
        let keep = self.start.saturating_sub(END_RECORD - 1);
        self.buffer.copy_within(keep..self.end, 0);
        (self.start, self.end) = (self.start - keep, self.end - keep);
        let room = CAPACITY + END_RECORD;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let before = self.end;
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => self.failure = Some((error.kind(), error.to_string())),
            }
            break;
        }
        let from = before.saturating_sub(END_RECORD - 1);
        let base = self.position - self.start as u64;
        if let Some(at) = end_record(&self.buffer[from..self.end], base + from as u64) {
            self.end_record = Some(at);
        }
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        if self.failure.is_none() {
            self.fill();
        }
        self.check()
    }

    /// Fails when nothing is left before a failure.
    fn check(&self) -> io::Result<()> {
        match &self.failure {
            Some((kind, error)) if self.start == self.end => Err(io::Error::new(*kind, error.clone())),
            _ => Ok(()),
        }
    }

    /// The next `count` bytes without consuming them; fewer only at the end.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let count = count.min(CAPACITY);
        while self.end - self.start < count && !self.ended && self.failure.is_none() {
            self.fill();
        }
        self.check()?;
        let end = self.end.min(self.start + count);
        Ok(&self.buffer[self.start..end])
    }

    /// Whatever is there without waiting for more; empty only at the end.
    pub(super) fn available(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end && !self.ended {
            self.fill_or_fail()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Moves on by `count` bytes of what was shown.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// One byte; `None` at the end.
    #[inline]
    pub(super) fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.start == self.end {
            if self.ended {
                return Ok(None);
            }
            self.fill_or_fail()?;
            if self.start == self.end {
                return Ok(None);
            }
        }
        let byte = self.buffer[self.start];
        self.consume(1);
        Ok(Some(byte))
    }

    /// Exactly `N` bytes; `None` when fewer are left.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let Ok(bytes) = <[u8; N]>::try_from(self.peek(N)?) else { return Ok(None) };
        self.consume(N);
        Ok(Some(bytes))
    }

    /// Exactly `count` bytes; `None` when fewer are left. Callers have bounded `count`.
    pub(super) fn bytes(&mut self, count: usize) -> io::Result<Option<Vec<u8>>> {
        // Grown by doubling it would take twice as much; what is never filled takes nothing.
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let shown = self.available()?;
            if shown.is_empty() {
                return Ok(None);
            }
            let part = shown.len().min(count - bytes.len());
            bytes.extend_from_slice(&shown[..part]);
            self.consume(part);
        }
        Ok(Some(bytes))
    }

    /// Moves on by `count` bytes; `false` when fewer are left.
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            let part = (self.available()?.len() as u64).min(count);
            if part == 0 {
                return Ok(false);
            }
            self.consume(part as usize);
            count -= part;
        }
        Ok(true)
    }

    /// The next `count` bytes as a stream of their own.
    pub(super) fn take_reader(&mut self, count: u64) -> io::Take<&mut Self> {
        Read::take(self, count)
    }

    /// Reads to the end.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        self.skip(u64::MAX).map(|_| ())
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.available()?.is_empty())
    }

    /// Whether, all having been read, a program that looks for a ZIP from the end finds one.
    pub(super) fn ends_as_zip(&self) -> bool {
        self.end_record.is_some_and(|at| self.position - at <= TAIL)
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let shown = self.available()?;
        let count = shown.len().min(buffer.len());
        buffer[..count].copy_from_slice(&shown[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl io::BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.available()
    }

    fn consume(&mut self, count: usize) {
        Self::consume(self, count);
    }
}

/// The last record in `bytes`, which begin at `base`, that could be the end of a ZIP with members.
pub(super) fn end_record(bytes: &[u8], base: u64) -> Option<u64> {
    let found = memmem::rfind_iter(bytes, b"PK\x05\x06").filter(|&at| at + END_RECORD <= bytes.len()).find(
        |&at| {
            let record = &bytes[at..at + END_RECORD];
            let (entries, size, offset) =
                (u64::from(le16(record, 10)), u64::from(le32(record, 12)), u64::from(le32(record, 16)));
            let wide = entries == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff;
            let holds = entries > 0 && size >= 46 * entries && size + offset <= base + at as u64;
            le16(record, 4) == le16(record, 6) && (wide || holds)
        },
    )?;
    Some(base + found as u64)
}

/// Numbers of headers are little-endian. Callers have checked that they are there.
pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from(le16(bytes, at)) | u32::from(le16(bytes, at + 2)) << 16
}

pub(super) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}

/// Decompressed bytes that all streams of one file together may still have.
#[derive(Debug, Clone)]
pub(super) struct Budget(Rc<Cell<u64>>);

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Counts what `inner` yields, and fails when it is too much.
    pub(super) fn meter<R: Read>(&self, inner: R) -> Metered<R> {
        Metered { inner, budget: self.clone() }
    }
}

pub(super) struct Metered<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A decoder that fails yields nothing of what it decompressed in that call.
        let part = buffer.len().min(DECOMPRESSED_AT_ONCE);
        let count = self.inner.read(&mut buffer[..part])?;
        let Some(left) = self.budget.0.get().checked_sub(count as u64) else {
            return Err(io::Error::other("it expands to more than is looked at"));
        };
        self.budget.0.set(left);
        Ok(count)
    }
}
