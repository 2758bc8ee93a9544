//! The blocks of a TAR, decompressed and counted.

use std::io::{self, BufRead as _, Read as _};

use crate::{
    archive::{
        Limits,
        bridge::Feed,
        compression::{Compression, Decoder, Fault, Members},
        limits::Meter,
    },
    error::{Error, Result},
};

/// Everything in a TAR is a multiple of this.
pub(super) const BLOCK: usize = 512;

/// Decompressed bytes of a TAR.
pub(super) struct Input<'a> {
    what: String,
    compression: Compression,
    bytes: Decoder<Box<dyn Feed + 'a>>,
    /// Counts members and all decompressed bytes, headers and padding included.
    pub(super) meter: Meter,
}

impl<'a> Input<'a> {
    /// From compressed bytes, of which there are `size`.
    pub(super) fn new(
        what: &str,
        compression: Compression,
        feed: Box<dyn Feed + 'a>,
        limits: Limits,
        size: u64,
    ) -> Result<Self> {
        let bytes = Decoder::new(compression, Members::One, feed)
            .map_err(Error::io(format!("begin to decompress {what}")))?;
        Ok(Self { what: what.to_owned(), compression, bytes, meter: Meter::new(what, limits, size) })
    }

    /// Fills `buffer`; fewer bytes only at the end.
    pub(super) fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.bytes.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => return Err(self.explain(&error)),
            }
        }
        self.meter.expand(filled as u64)?;
        Ok(filled)
    }

    /// Fills `buffer` or refuses the archive as cut short.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        if self.read_up_to(buffer)? < buffer.len() {
            return Err(Error::malformed(&*self.what, "tar-truncated", "it ends within a member"));
        }
        Ok(())
    }

    /// The TAR is complete; so must be what is around it.
    pub(super) fn finish(mut self) -> Result<()> {
        let magic = self.compression.magic();
        let rest = match self.bytes.get_mut().fill_buf() {
            Ok(rest) => rest,
            Err(error) => return Err(self.explain(&error)),
        };
        let (fault, detail) = match rest {
            [] => return Ok(()),
            rest if !magic.is_empty() && rest.starts_with(&magic[..magic.len().min(rest.len())]) => {
                (Fault::ManyMembers, "it has several compressed members; readers may see only one")
            }
            _ => (Fault::Trailing, "bytes follow its compressed data"),
        };
        Err(Error::malformed(self.what, self.compression.rule(fault), detail))
    }

    fn explain(&mut self, error: &io::Error) -> Error {
        if let Some(failure) = self.bytes.get_mut().take_failure() {
            return failure;
        }
        let fault = if error.kind() == io::ErrorKind::UnexpectedEof { Fault::Truncated } else { Fault::Data };
        let detail = format!("its compressed data is broken: {error}");
        Error::malformed(&*self.what, self.compression.rule(fault), detail)
    }
}
