//! Decompression of one member, to the exact byte.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, Operation as _};

/// What zstd may keep of the past: 32 MiB. Only `--ultra` uses more.
const ZSTD_WINDOW_LOG: u32 = 25;

/// How a member is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate,
    Zstd,
}

impl Method {
    /// From the number in a header (APPNOTE 4.4.5).
    pub(super) fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Stored),
            8 => Some(Self::Deflate),
            93 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// One step of decompression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    /// The compressed data says that it is complete.
    pub(super) finished: bool,
}

/// A decompressor for one member.
pub(super) enum Inflater {
    Stored,
    Deflate(Box<Decompress>),
    Zstd(Box<Decoder<'static>>),
}

impl Inflater {
    pub(super) fn new(method: Method) -> io::Result<Self> {
        Ok(match method {
            Method::Stored => Self::Stored,
            Method::Deflate => Self::Deflate(Box::new(Decompress::new(false))),
            Method::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Decompresses some of `input` into `output`. A step without progress means that input is missing.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Step> {
        match self {
            Self::Stored => {
                let count = input.len().min(output.len());
                output[..count].copy_from_slice(&input[..count]);
                Ok(Step { consumed: count, produced: count, finished: false })
            }
            Self::Deflate(inflate) => {
                let before = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, output, FlushDecompress::None)?;
                Ok(Step {
                    consumed: (inflate.total_in() - before.0) as usize,
                    produced: (inflate.total_out() - before.1) as usize,
                    finished: status == Status::StreamEnd,
                })
            }
            Self::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, output)?;
                Ok(Step {
                    consumed: status.bytes_read,
                    produced: status.bytes_written,
                    finished: status.remaining == 0,
                })
            }
        }
    }
}
