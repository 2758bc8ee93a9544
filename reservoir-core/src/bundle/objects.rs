//! `objects.jsonl.zst`: one line a blob, in the order of digests, which is the order of the payload.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::{
    header::Part,
    lines::{self, LinesReader, LinesWriter},
    volume::Layout,
};
use crate::{
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    store::Blob,
};

/// The name of the file.
pub(crate) const NAME: &str = "objects.jsonl.zst";

/// One blob and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sha256: Sha256Digest,
    blake3: Blake3Digest,
    size: u64,
    volume: u32,
    offset: u64,
}

/// One blob of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its place in the list, from 0.
    pub(crate) index: u64,
    /// The blob.
    pub(crate) blob: Blob,
    /// Its first byte in the whole payload.
    pub(crate) at: u64,
}

/// Writes the list; blobs come in the order of their digests.
pub(crate) struct ObjectsWriter<W: Write> {
    lines: LinesWriter<W>,
    layout: Layout,
    at: u64,
}

impl<W: Write> ObjectsWriter<W> {
    pub(crate) fn new(out: W, layout: Layout) -> Result<Self> {
        Ok(Self { lines: LinesWriter::new(out)?, layout, at: 0 })
    }

    pub(crate) fn push(&mut self, blob: &Blob) -> Result<()> {
        let (volume, offset) = self.layout.place(self.at);
        self.lines.push(&Line {
            sha256: blob.sha256,
            blake3: blob.blake3,
            size: blob.size,
            volume,
            offset,
        })?;
        self.at += blob.size;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(W, Part)> {
        self.lines.finish()
    }
}

/// Reads the list and holds it against the layout: digests rise, places follow each other without a gap, and the
/// last ends where the payload does.
pub(crate) struct ObjectsReader<R: Read> {
    lines: LinesReader<R>,
    layout: Layout,
    last: Option<Sha256Digest>,
    index: u64,
    at: u64,
}

impl<R: Read> ObjectsReader<R> {
    pub(crate) fn new(input: R, part: &Part, layout: Layout) -> Result<Self> {
        Ok(Self { lines: LinesReader::new(NAME, input, part)?, layout, last: None, index: 0, at: 0 })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Object>> {
        let malformed = |detail: String| Error::malformed(NAME, "bundle-objects", detail);
        let Some(line) = self.lines.next::<Line>()? else {
            if self.at != self.layout.payload {
                return Err(malformed("its blobs do not fill the volumes".into()));
            }
            return Ok(None);
        };
        if self.last.is_some_and(|last| last >= line.sha256) {
            return Err(malformed(format!("blob `{}` is listed twice or out of order", line.sha256)));
        }
        let end = self.at.checked_add(line.size).filter(|end| *end <= self.layout.payload);
        let end =
            end.ok_or_else(|| malformed(format!("blob `{}` ends behind the last volume", line.sha256)))?;
        if (line.volume, line.offset) != self.layout.place(self.at) {
            return Err(malformed(format!("blob `{}` does not follow the one before it", line.sha256)));
        }
        let blob = Blob { sha256: line.sha256, blake3: line.blake3, size: line.size };
        let object = Object { index: self.index, blob, at: self.at };
        self.last = Some(line.sha256);
        self.index += 1;
        self.at = end;
        Ok(Some(object))
    }
}

pub(super) fn check_part(part: &Part) -> Result<()> {
    lines::check_part(NAME, part)
}
