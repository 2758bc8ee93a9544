//! Compressed streams: what they hold is looked at as if it stood there itself.

use std::io::{self, Read};

use liblzma::stream::{CONCATENATED, Stream};

use super::{
    input::Input,
    look::{Place, Scan},
    pickle,
    report::Rule,
};

/// Memory that an LZMA dictionary may take; `xz -6`, the default, takes 9 MiB.
const LZMA_MEMORY: u64 = 36 << 20;
/// Bytes that do not decompress by accident.
const SURE: u64 = 4096;
/// The largest zstd window that is followed, as a power of two: 16 MiB. `zstd -19` has 8 MiB.
const ZSTD_WINDOW: u32 = 24;

/// A compression that can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Zlib,
    Bzip2,
    Xz,
    Lzma,
    Lz4,
    Zstd,
}

impl Codec {
    /// By the first bytes. Where these are few and common, the stream must also decompress.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let weak = |codec: Self| codec.begins(head).then_some(codec);
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0x78, flags, ..] if (0x7800 + u16::from(*flags)) % 31 == 0 => weak(Self::Zlib),
            [0x5d, 0, 0, ..] => weak(Self::Lzma),
            _ => None,
        }
    }

    /// Whether these bytes decompress far enough to be no accident, or to a pickle that does something.
    fn begins(self, head: &[u8]) -> bool {
        let mut decompressed = Vec::new();
        let mut head = head;
        let mut input = Input::new(&mut head);
        let Ok(reader) = self.open(&mut input) else { return false };
        match reader.take(SURE).read_to_end(&mut decompressed) {
            Ok(_) => true,
            Err(_) => pickle::is_telling(&decompressed),
        }
    }

    /// The method of a ZIP member that is not stored.
    pub(super) fn of_zip(method: u16) -> Option<Self> {
        match method {
            12 => Some(Self::Bzip2),
            93 => Some(Self::Zstd),
            95 => Some(Self::Xz),
            _ => None,
        }
    }

    /// The decompressed bytes.
    pub(super) fn open<'r>(self, input: &'r mut Input<'_>) -> io::Result<Box<dyn Read + 'r>> {
        let lzma = |stream: Result<Stream, liblzma::stream::Error>| stream.map_err(io::Error::from);
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(input)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Self::Xz => {
                let stream = lzma(Stream::new_stream_decoder(LZMA_MEMORY, CONCATENATED))?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Self::Lzma => {
                let stream = lzma(Stream::new_lzma_decoder(LZMA_MEMORY))?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
        })
    }
}

pub(super) fn walk(scan: &mut Scan, input: &mut Input<'_>, place: &Place, codec: Codec) -> io::Result<()> {
    scan.count_member()?;
    let inner = place.member("contents");
    {
        let decoder = codec.open(input)?;
        let mut metered = scan.budget.meter(decoder);
        scan.look(&mut Input::new(&mut metered), &inner, None)?;
    }
    if !input.is_at_end()? {
        let detail = format!("has bytes after its compressed data, from byte {} on", input.position());
        scan.report.find(Rule::CompressedTrailingBytes, &place.shown(), detail);
    }
    Ok(())
}
