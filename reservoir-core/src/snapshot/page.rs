//! One page of a manifest: a header line and then one entry a line, canonical JSON, sorted by path.
//!
//! ```text
//! {"kind":"page","version":"1"}
//! {"artifact":"six","attributes":{…},"blake3":"…","path":"…","revision":"1.17.0","sha256":"…","size":11050}
//! …
//! ```
//!
//! Entries have exactly one encoding; a page with any other is refused. So equal lines are equal entries, and a
//! line can be copied from an old page to a new one unparsed.

use std::ops::Range;

use bytes::Bytes;

use super::{Entry, canonical, format};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    path::ContentPath,
};

const HEADER: &[u8] = b"{\"kind\":\"page\",\"version\":\"1\"}\n";

/// One entry is at most this long when encoded; what is longer belongs in a blob.
pub(crate) const ENTRY_LIMIT: usize = 1 << 20;

/// No page is longer: the cut comes at 4 MiB, after the entry that crosses it.
pub(crate) const PAGE_LIMIT: u64 = (4 << 20) + ENTRY_LIMIT as u64 + 4096;

/// Where pages end. All manifests that shall share pages use the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cutting {
    /// A page ends after an entry whose path hashes to zero in these bits.
    pub(crate) mask: u32,
    /// A page ends when it has so many entries.
    pub(crate) entries: u32,
    /// A page ends when it has so many bytes.
    pub(crate) bytes: usize,
}

impl Cutting {
    /// 1024 entries on average, 4096 or 4 MiB at most.
    pub(crate) const STANDARD: Self = Self { mask: 1023, entries: 4096, bytes: 4 << 20 };

    fn is_boundary(self, path: &str) -> bool {
        let hash = blake3::hash(path.as_bytes());
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d]) & self.mask == 0
    }
}

/// A decoded page in compact form: its bytes, and where each entry and path begins. Entries are parsed on demand;
/// a look-up parses one.
#[derive(Debug)]
pub(crate) struct Page {
    bytes: Bytes,
    paths: String,
    lines: Vec<Line>,
    total: u64,
}

#[derive(Debug)]
struct Line {
    start: u32,
    path_end: u32,
    size: u64,
}

impl Page {
    /// Checks and indexes the bytes of a page. CPU-bound: about a millisecond.
    pub(crate) fn decode(bytes: Bytes, digest: &Sha256Digest) -> Result<Self> {
        let what = || format!("manifest page `{digest}`");
        let malformed = |rule, detail: String| Error::malformed(what(), rule, detail);
        if bytes.len() as u64 > PAGE_LIMIT {
            return Err(malformed("page-size", format!("{} bytes are too many", bytes.len())));
        }
        let header = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        format::check(header, "page", &what())?;
        if header != HEADER || bytes.last() != Some(&b'\n') {
            return Err(malformed("page-header", "header or last line is not in canonical form".to_owned()));
        }
        if bytes.len() == HEADER.len() {
            return Err(malformed("page-entries", "it has none".to_owned()));
        }

        let mut page = Self { bytes: Bytes::new(), paths: String::new(), lines: Vec::new(), total: 0 };
        let mut start = HEADER.len();
        let mut written = Vec::new();
        for (index, line) in bytes[start..bytes.len() - 1].split(|byte| *byte == b'\n').enumerate() {
            let at = |detail: String| format!("line {}: {detail}", index + 2);
            if index >= Cutting::STANDARD.entries as usize {
                return Err(malformed("page-entries", at("too many entries".to_owned())));
            }
            let found = std::str::from_utf8(line).ok().and_then(canonical::recognise);
            let (path, size) = if let Some(found) = found {
                (found.path, found.size)
            } else {
                let entry: Entry = serde_json::from_slice(line)
                    .map_err(|error| malformed("page-entry", at(error.to_string())))?;
                written.clear();
                if entry.encode(&mut written).is_err() || written != line {
                    return Err(malformed("page-canonical", at("not in canonical form".to_owned())));
                }
                (entry.path, entry.blob.size)
            };
            if page.len() > 0 && page.path(page.len() - 1) >= path.as_str() {
                return Err(malformed("page-order", at(format!("`{path}` is out of order"))));
            }
            page.paths.push_str(path.as_str());
            page.total = (page.total.checked_add(size))
                .ok_or_else(|| malformed("page-total", at("the sizes overflow".to_owned())))?;
            page.lines.push(Line { start: start as u32, path_end: page.paths.len() as u32, size });
            start += line.len() + 1;
        }
        page.paths.shrink_to_fit();
        page.lines.shrink_to_fit();
        page.bytes = bytes;
        Ok(page)
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The sum of the sizes of its blobs.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        (self.bytes.len() + self.paths.len() + self.lines.len() * size_of::<Line>() + size_of::<Self>())
            as u64
    }

    pub(crate) fn path(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.lines[before].path_end);
        &self.paths[start as usize..self.lines[index].path_end as usize]
    }

    pub(crate) fn size(&self, index: usize) -> u64 {
        self.lines[index].size
    }

    /// The canonical JSON of an entry.
    pub(crate) fn line(&self, index: usize) -> &[u8] {
        let end = self.lines.get(index + 1).map_or(self.bytes.len(), |next| next.start as usize);
        &self.bytes[self.lines[index].start as usize..end - 1]
    }

    pub(crate) fn entry(&self, index: usize) -> Result<Entry> {
        serde_json::from_slice(self.line(index))
            .map_err(|error| Error::malformed("manifest page", "page-entry", error.to_string()))
    }

    /// The entry of one path.
    pub(crate) fn find(&self, path: &str) -> Option<usize> {
        let index = self.partition_point(|other| other < path);
        (index < self.len() && self.path(index) == path).then_some(index)
    }

    /// The entries whose path begins with `prefix`.
    pub(crate) fn matching(&self, prefix: &str) -> Range<usize> {
        let start = self.partition_point(|path| path < prefix);
        let end = self.partition_point(|path| path < prefix || path.starts_with(prefix));
        start..end
    }

    /// The first index at which `before` no longer holds.
    fn partition_point(&self, before: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(self.path(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A page being written.
#[derive(Debug)]
pub(crate) struct PageBuilder {
    cutting: Cutting,
    bytes: Vec<u8>,
    first: String,
    last: String,
    entries: u32,
    total: u64,
}

/// A page that was cut: its bytes and what its root will say of it.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) bytes: Bytes,
    pub(crate) first: ContentPath,
    pub(crate) last: ContentPath,
    pub(crate) entries: u32,
    pub(crate) total: u64,
}

impl PageBuilder {
    pub(crate) fn new(cutting: Cutting) -> Self {
        Self { cutting, bytes: Vec::new(), first: String::new(), last: String::new(), entries: 0, total: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Appends an entry in canonical form. `true` when the page ends after it.
    pub(crate) fn push(&mut self, path: &str, line: &[u8], size: u64) -> Result<bool> {
        if line.len() > ENTRY_LIMIT {
            let limit = format!("{ENTRY_LIMIT} bytes");
            return Err(Error::LimitExceeded { what: format!("entry `{path}`"), limit });
        }
        self.total = self.total.checked_add(size).ok_or_else(|| Error::LimitExceeded {
            what: format!("the manifest at `{path}`"),
            limit: format!("{} bytes", u64::MAX),
        })?;
        if self.is_empty() {
            self.bytes.extend_from_slice(HEADER);
            path.clone_into(&mut self.first);
        }
        path.clone_into(&mut self.last);
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.entries += 1;
        Ok(self.entries >= self.cutting.entries
            || self.bytes.len() >= self.cutting.bytes
            || self.cutting.is_boundary(path))
    }

    /// Ends the page. `None` when nothing was pushed since the last cut.
    pub(crate) fn cut(&mut self) -> Result<Option<Cut>> {
        if self.is_empty() {
            return Ok(None);
        }
        let cut = Cut {
            bytes: std::mem::take(&mut self.bytes).into(),
            first: self.first.parse()?,
            last: self.last.parse()?,
            entries: self.entries,
            total: self.total,
        };
        self.entries = 0;
        self.total = 0;
        Ok(Some(cut))
    }
}
