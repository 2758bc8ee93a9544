//! TAR archives with any field set to any value.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

const BLOCK: usize = 512;

/// One header block.
#[derive(Debug, Clone)]
pub struct TarHeader {
    block: [u8; BLOCK],
}

impl TarHeader {
    /// A POSIX header of the type `kind`.
    ///
    /// # Panics
    /// When `name` has over 100 bytes.
    #[must_use]
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        let mut block = [0; BLOCK];
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self { block }
            .field(0, name.as_ref())
            .field(100, b"0000644\0")
            .field(108, b"0000000\0")
            .field(116, b"0000000\0")
            .field(136, b"00000000000\0")
            .size(0)
    }

    /// Writes `bytes` at `at`.
    #[must_use]
    pub fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets the size.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        self.field(124, format!("{size:011o}\0").as_bytes())
    }

    /// Sets the link target.
    #[must_use]
    pub fn link(self, target: &str) -> Self {
        self.field(157, target.as_bytes())
    }

    /// Makes it a GNU header.
    #[must_use]
    pub fn gnu(self) -> Self {
        self.field(257, b"ustar  \0")
    }

    /// The block with its checksum.
    #[must_use]
    pub fn bytes(&self) -> [u8; BLOCK] {
        let mut block = self.block;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Puts a TAR together.
#[derive(Debug, Clone, Default)]
pub struct TarBuilder {
    out: Vec<u8>,
}

impl TarBuilder {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(&TarHeader::new(b'0', name).size(content.len() as u64), content)
    }

    /// Adds a folder.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.entry(&TarHeader::new(b'5', name), b"")
    }

    /// Adds a link of type `1` or `2`.
    #[must_use]
    pub fn link(self, kind: u8, name: &str, target: &str) -> Self {
        self.entry(&TarHeader::new(kind, name).link(target), b"")
    }

    /// Adds a pax header (`x` or `g`) of these records.
    #[must_use]
    pub fn pax(self, kind: u8, records: &[(&str, &str)]) -> Self {
        let records = records.iter().flat_map(|(key, value)| pax_record(key, value.as_bytes()));
        let body: Vec<u8> = records.collect();
        self.entry(&TarHeader::new(kind, "PaxHeader").size(body.len() as u64), &body)
    }

    /// Adds a GNU header for a long name (`L`) or link target (`K`).
    #[must_use]
    pub fn long(self, kind: u8, text: &str) -> Self {
        let body = [text.as_bytes(), b"\0"].concat();
        let header = TarHeader::new(kind, "././@LongLink").gnu().size(body.len() as u64);
        self.entry(&header, &body)
    }

    /// Adds a header, then data padded to whole blocks. The size of the header is as it is.
    #[must_use]
    pub fn entry(self, header: &TarHeader, data: &[u8]) -> Self {
        let padding = vec![0; data.len().next_multiple_of(BLOCK) - data.len()];
        self.raw(&header.bytes()).raw(data).raw(&padding)
    }

    /// Adds any bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// The archive with the two blocks of its end.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK]).unfinished()
    }

    /// The archive without an end.
    #[must_use]
    pub fn unfinished(self) -> Vec<u8> {
        self.out
    }
}

/// A record of a pax header. Its length counts its own digits.
#[must_use]
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// Compresses by gzip, as one member.
///
/// # Panics
/// Never; writing to memory does not fail.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
