//! The blocks of a TAR, decompressed and counted.

use std::io::{self, Read as _};

use flate2::bufread::GzDecoder;

use super::TarCompression;
use crate::{
    archive::{Limits, bridge::Source, limits::Meter},
    error::{Error, Result},
};

/// Everything in a TAR is a multiple of this.
pub(super) const BLOCK: usize = 512;

enum Bytes {
    Plain(Source),
    Gzip(Box<GzDecoder<Source>>),
}

/// Decompressed bytes of a TAR.
pub(super) struct Input {
    what: String,
    bytes: Bytes,
    /// Counts members and all decompressed bytes, headers and padding included.
    pub(super) meter: Meter,
}

impl Input {
    pub(super) fn new(
        what: &str,
        compression: TarCompression,
        source: Source,
        limits: Limits,
        archive_size: u64,
    ) -> Self {
        let bytes = match compression {
            TarCompression::None => Bytes::Plain(source),
            TarCompression::Gzip => Bytes::Gzip(Box::new(GzDecoder::new(source))),
        };
        Self { what: what.to_owned(), bytes, meter: Meter::new(what, limits, archive_size) }
    }

    /// Fills `buffer`; fewer bytes only at the end.
    pub(super) fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = match &mut self.bytes {
            Bytes::Plain(source) => source.read_up_to(buffer)?,
            Bytes::Gzip(decoder) => {
                let mut filled = 0;
                while filled < buffer.len() {
                    match decoder.read(&mut buffer[filled..]) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(error) => return Err(self.explain(&error)),
                    }
                }
                filled
            }
        };
        self.meter.expand(count as u64)?;
        Ok(count)
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
        let Bytes::Gzip(decoder) = &mut self.bytes else { return Ok(()) };
        let rest = decoder.get_mut().peek()?;
        let (rule, detail) = match rest {
            [] => return Ok(()),
            [0x1f, 0x8b, ..] => {
                ("gzip-many-members", "it has several gzip members; readers may see only one")
            }
            _ => ("gzip-trailing-data", "bytes follow its gzip data"),
        };
        Err(Error::malformed(self.what, rule, detail))
    }

    fn explain(&mut self, error: &io::Error) -> Error {
        if let Bytes::Gzip(decoder) = &mut self.bytes
            && let Some(failure) = decoder.get_mut().take_failure()
        {
            return failure;
        }
        let rule = match error.kind() {
            io::ErrorKind::UnexpectedEof => "gzip-truncated",
            _ => "gzip-data",
        };
        Error::malformed(&*self.what, rule, format!("its gzip data is broken: {error}"))
    }
}
