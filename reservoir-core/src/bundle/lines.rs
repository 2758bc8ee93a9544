//! Files of JSON lines, compressed with zstd: one line is in memory at a time, and what is unpacked is bounded.

use std::io::{BufRead as _, BufReader, Read, Write};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{canonical::LARGEST, header::Part};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// The longest line, in bytes.
pub(super) const LINE: u64 = 16 << 20;
/// Lines at most.
const LINES: u64 = 200_000_000;
/// Unpacked bytes at most, beside so many times the packed ones.
const SMALL: u64 = 1 << 20;
const RATIO: u64 = 1000;
/// The largest window that a reader allocates, as a power of two.
const WINDOW: u32 = 27;

/// Writes lines; counts and hashes what comes out.
pub(super) struct LinesWriter<W: Write> {
    encoder: zstd::Encoder<'static, Hashed<W>>,
    line: Vec<u8>,
    unpacked: u64,
    lines: u64,
}

impl<W: Write> LinesWriter<W> {
    pub(super) fn new(out: W) -> Result<Self> {
        let out = Hashed { out, sha256: Sha256::new(), size: 0 };
        let encoder = zstd::Encoder::new(out, 3).map_err(Error::io("begin to compress"))?;
        Ok(Self { encoder, line: Vec::new(), unpacked: 0, lines: 0 })
    }

    pub(super) fn push<T: Serialize>(&mut self, line: &T) -> Result<()> {
        self.push_within(line, LINE)
    }

    /// The same for a line of so many bytes at most.
    pub(super) fn push_within<T: Serialize>(&mut self, line: &T, limit: u64) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)
            .map_err(|error| Error::invalid("a line of a bundle", error.to_string()))?;
        self.line.push(b'\n');
        if self.line.len() as u64 > limit {
            return Err(Error::LimitExceeded {
                what: "a line of a bundle".into(),
                limit: format!("{limit} bytes"),
            });
        }
        self.unpacked += self.line.len() as u64;
        self.lines += 1;
        self.encoder.write_all(&self.line).map_err(Error::io("write a file of the bundle"))
    }

    pub(super) fn finish(self) -> Result<(W, Part)> {
        let failed = || Error::io("write a file of the bundle");
        let mut hashed = self.encoder.finish().map_err(failed())?;
        hashed.out.flush().map_err(failed())?;
        let sha256 = Sha256Digest::from(hashed.sha256);
        Ok((hashed.out, Part { sha256, size: hashed.size, unpacked: self.unpacked, lines: self.lines }))
    }
}

struct Hashed<W> {
    out: W,
    sha256: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Reads lines of a file whose digest was checked.
pub(super) struct LinesReader<R: Read> {
    input: BufReader<std::io::Take<zstd::Decoder<'static, BufReader<R>>>>,
    what: &'static str,
    part: Part,
    line: Vec<u8>,
    read: u64,
    lines: u64,
}

impl<R: Read> LinesReader<R> {
    pub(super) fn new(what: &'static str, input: R, part: &Part) -> Result<Self> {
        let failed = |error: std::io::Error| Error::malformed(what, "bundle-lines", error.to_string());
        let mut decoder = zstd::Decoder::new(input).map_err(failed)?;
        decoder.window_log_max(WINDOW).map_err(failed)?;
        // One more than promised shows that there is more than promised.
        let input = BufReader::with_capacity(256 * 1024, decoder.take(part.unpacked + 1));
        Ok(Self { input, what, part: part.clone(), line: Vec::new(), read: 0, lines: 0 })
    }

    /// The next line; `None` behind the last, which is where the counts must agree with the header.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        if self.advance()?.is_none() {
            return Ok(None);
        }
        self.parse().map(Some)
    }

    /// The bytes of the next line, not looked at.
    pub(super) fn advance(&mut self) -> Result<Option<&[u8]>> {
        let malformed = |detail: String| Error::malformed(self.what, "bundle-lines", detail);
        self.line.clear();
        let read = (&mut self.input)
            .take(LINE + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| malformed(error.to_string()))? as u64;
        self.read += read;
        if read == 0 {
            if self.read != self.part.unpacked || self.lines != self.part.lines {
                return Err(malformed("it has other lines than the header says".into()));
            }
            return Ok(None);
        }
        self.lines += 1;
        if self.read > self.part.unpacked || self.lines > self.part.lines {
            return Err(malformed("it is longer than the header says".into()));
        }
        if self.line.pop() != Some(b'\n') {
            return Err(malformed(format!("line {} has no end, or over {LINE} bytes", self.lines)));
        }
        Ok(Some(&self.line))
    }

    /// What the line says that [`advance`](Self::advance) gave last.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.line).map_err(|error| {
            Error::malformed(self.what, "bundle-lines", format!("line {}: {error}", self.lines))
        })
    }
}

/// Refuses counts that no honest writer makes, before anything is unpacked.
pub(super) fn check_part(what: &'static str, part: &Part) -> Result<()> {
    let is_room = part.size <= LARGEST && part.unpacked <= LARGEST;
    if !is_room || part.lines > LINES || part.unpacked > SMALL + part.size.saturating_mul(RATIO) {
        return Err(Error::malformed(what, "bundle-bomb", "it would unpack to far more than it is"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(lines: &[u64]) -> (Vec<u8>, Part) {
        let mut writer = LinesWriter::new(Vec::new()).unwrap();
        for line in lines {
            writer.push(line).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8], part: &Part) -> Result<Vec<u64>> {
        let mut reader = LinesReader::new("test", bytes, part)?;
        let mut lines = Vec::new();
        while let Some(line) = reader.next()? {
            lines.push(line);
        }
        Ok(lines)
    }

    #[test]
    fn what_is_written_is_read() {
        let (bytes, part) = packed(&[1, 2, 3]);
        assert_eq!(Sha256Digest::of(&bytes), part.sha256);
        assert_eq!(read(&bytes, &part).unwrap(), [1, 2, 3]);
        assert_eq!(read(&packed(&[]).0, &packed(&[]).1).unwrap(), [0_u64; 0]);
    }

    #[test]
    fn counts_that_lie_are_refused() {
        let (bytes, part) = packed(&[1, 2, 3]);
        for (unpacked, lines) in [(5, 3), (7, 3), (6, 2), (6, 4), (0, 0)] {
            assert!(read(&bytes, &Part { unpacked, lines, ..part.clone() }).is_err(), "{unpacked} {lines}");
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_numbers_and_stopped_at_them() {
        let bomb = zstd::encode_all(std::io::repeat(b'1').take(1 << 28), 3).unwrap();
        let part =
            Part { sha256: Sha256Digest::of(&bomb), size: bomb.len() as u64, unpacked: 1 << 28, lines: 1 };
        assert!(check_part("test", &part).is_err());
        let modest = Part { unpacked: 1 << 16, ..part };
        assert!(read(&bomb, &modest).is_err());
    }
}
