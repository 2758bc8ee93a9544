//! What archives and indexes are compressed with, and reading it in bounded memory.

use std::io::{self, BufRead, Read};

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use liblzma::{bufread::XzDecoder, stream::Stream};

/// Most memory that a decoder may take; `xz -9` needs 65 MiB.
const MEMORY: u64 = 128 << 20;
/// The same for zstd: the logarithm of its window.
const WINDOW_LOG: u32 = 27;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// bzip2.
    Bzip2,
    /// The format of xz's predecessor, `.lzma`.
    Lzma,
    /// LZ4 frames.
    Lz4,
}

/// How many compressed pieces may follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// One: some readers stop after the first.
    One,
    /// Any number, read as one.
    Many,
}

impl Compression {
    /// All of them but none.
    pub const ALL: [Self; 6] = [Self::Xz, Self::Zstd, Self::Bzip2, Self::Gzip, Self::Lzma, Self::Lz4];

    /// What file names end with: `gz`, `xz`…; empty for none.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "gz",
            Self::Xz => "xz",
            Self::Zstd => "zst",
            Self::Bzip2 => "bz2",
            Self::Lzma => "lzma",
            Self::Lz4 => "lz4",
        }
    }

    /// The file name without its extension, and what the extension says.
    #[must_use]
    pub fn of_name(name: &str) -> (&str, Self) {
        let known = name.rsplit_once('.').and_then(|(stem, extension)| {
            let found = Self::ALL.into_iter().find(|known| known.extension() == extension)?;
            Some((stem, found))
        });
        known.unwrap_or((name, Self::None))
    }

    /// The rule that broken data is refused by.
    pub(super) fn rule(self, fault: Fault) -> &'static str {
        match (self, fault) {
            (Self::Gzip, Fault::Data) => "gzip-data",
            (Self::Gzip, Fault::Truncated) => "gzip-truncated",
            (Self::Gzip, Fault::ManyMembers) => "gzip-many-members",
            (Self::Gzip, Fault::Trailing) => "gzip-trailing-data",
            (_, Fault::Data) => "compressed-data",
            (_, Fault::Truncated) => "compressed-truncated",
            (_, Fault::ManyMembers) => "compressed-many-members",
            (_, Fault::Trailing) => "compressed-trailing-data",
        }
    }

    /// What data of this kind begins with.
    pub(super) fn magic(self) -> &'static [u8] {
        match self {
            Self::None | Self::Lzma => b"",
            Self::Gzip => b"\x1f\x8b",
            Self::Xz => b"\xfd7zXZ",
            Self::Zstd => b"\x28\xb5\x2f\xfd",
            Self::Bzip2 => b"BZh",
            Self::Lz4 => b"\x04\x22\x4d\x18",
        }
    }
}

/// What is wrong with compressed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Data,
    Truncated,
    ManyMembers,
    Trailing,
}

/// Decompressed bytes of a reader. Takes 128 MiB at most, whatever the data says.
#[derive(Debug)]
pub struct Decoder<R: BufRead>(Inner<R>);

enum Inner<R: BufRead> {
    None(R),
    Gzip(Box<GzDecoder<R>>),
    Gzips(Box<MultiGzDecoder<R>>),
    Xz(XzDecoder<R>),
    Zstd(zstd::Decoder<'static, R>),
    Bzip2(bzip2::bufread::BzDecoder<R>),
    Bzip2s(bzip2::bufread::MultiBzDecoder<R>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<R>>),
}

impl<R: BufRead> std::fmt::Debug for Inner<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None(_) => "None",
            Self::Gzip(_) | Self::Gzips(_) => "Gzip",
            Self::Xz(_) => "Xz",
            Self::Zstd(_) => "Zstd",
            Self::Bzip2(_) | Self::Bzip2s(_) => "Bzip2",
            Self::Lz4(_) => "Lz4",
        })
    }
}

impl<R: BufRead> Decoder<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// Only when a decoder cannot be set up, for want of memory.
    pub fn new(compression: Compression, members: Members, reader: R) -> io::Result<Self> {
        /// `LZMA_CONCATENATED`: streams that follow one another are read as one.
        const CONCATENATED: u32 = 0x08;
        let one = members == Members::One;
        Ok(Self(match compression {
            Compression::None => Inner::None(reader),
            Compression::Gzip if one => Inner::Gzip(Box::new(GzDecoder::new(reader))),
            Compression::Gzip => Inner::Gzips(Box::new(MultiGzDecoder::new(reader))),
            Compression::Xz => {
                let flags = if one { 0 } else { CONCATENATED };
                Inner::Xz(XzDecoder::new_stream(reader, Stream::new_stream_decoder(MEMORY, flags)?))
            }
            Compression::Lzma => Inner::Xz(XzDecoder::new_stream(reader, Stream::new_lzma_decoder(MEMORY)?)),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(reader)?;
                decoder.window_log_max(WINDOW_LOG)?;
                Inner::Zstd(if one { decoder.single_frame() } else { decoder })
            }
            Compression::Bzip2 if one => Inner::Bzip2(bzip2::bufread::BzDecoder::new(reader)),
            Compression::Bzip2 => Inner::Bzip2s(bzip2::bufread::MultiBzDecoder::new(reader)),
            Compression::Lz4 => Inner::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(reader))),
        }))
    }

    /// The reader of compressed bytes; at the end of the data it stands behind them.
    pub fn get_mut(&mut self) -> &mut R {
        match &mut self.0 {
            Inner::None(reader) => reader,
            Inner::Gzip(decoder) => decoder.get_mut(),
            Inner::Gzips(decoder) => decoder.get_mut(),
            Inner::Xz(decoder) => decoder.get_mut(),
            Inner::Zstd(decoder) => decoder.get_mut(),
            Inner::Bzip2(decoder) => decoder.get_mut(),
            Inner::Bzip2s(decoder) => decoder.get_mut(),
            Inner::Lz4(decoder) => decoder.get_mut(),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::None(reader) => reader.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Gzips(decoder) => decoder.read(buffer),
            Inner::Xz(decoder) => decoder.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
            Inner::Bzip2(decoder) => decoder.read(buffer),
            Inner::Bzip2s(decoder) => decoder.read(buffer),
            Inner::Lz4(decoder) => decoder.read(buffer),
        }
    }
}
