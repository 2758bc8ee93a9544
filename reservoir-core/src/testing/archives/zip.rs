//! ZIP archives with any field set to any value.

use std::io::Write as _;

use flate2::{Compression, Crc, write::DeflateEncoder};

/// Bytes written over a header: where, what.
type Patch = (usize, Vec<u8>);

/// One member. Its two headers agree until they are patched.
#[derive(Debug, Clone)]
pub struct ZipMember {
    name: Vec<u8>,
    local_name: Option<Vec<u8>>,
    data: Vec<u8>,
    size: u32,
    crc: u32,
    method: u16,
    flags: u16,
    mode: u32,
    local_extra: Vec<u8>,
    central_extra: Vec<u8>,
    local: Vec<Patch>,
    central: Vec<Patch>,
    descriptor: Option<Vec<u8>>,
}

impl ZipMember {
    fn new(name: &[u8], content: &[u8], method: u16, data: Vec<u8>) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        Self {
            name: name.to_vec(),
            local_name: None,
            data,
            size: content.len() as u32,
            crc: crc.sum(),
            method,
            flags: if name.is_ascii() { 0 } else { 1 << 11 },
            mode: 0o100_644 << 16,
            local_extra: Vec::new(),
            central_extra: Vec::new(),
            local: Vec::new(),
            central: Vec::new(),
            descriptor: None,
        }
    }

    /// Not compressed.
    #[must_use]
    pub fn stored(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self::new(name.as_ref(), content, 0, content.to_vec())
    }

    /// Compressed by deflate.
    ///
    /// # Panics
    /// Never; writing to memory does not fail.
    #[must_use]
    pub fn deflated(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).expect("memory takes all");
        Self::new(name.as_ref(), content, 8, encoder.finish().expect("memory takes all"))
    }

    /// Compressed by zstd.
    ///
    /// # Panics
    /// Never; writing to memory does not fail.
    #[must_use]
    pub fn zstd(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let data = zstd::encode_all(content, 3).expect("memory takes all");
        Self::new(name.as_ref(), content, 93, data)
    }

    /// A directory; `name` ends in a slash.
    #[must_use]
    pub fn directory(name: &str) -> Self {
        Self::stored(name, b"").attributes(0o040_755 << 16 | 0x10)
    }

    /// Sets the general purpose flags in both headers.
    #[must_use]
    pub fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    /// Sets the external attributes.
    #[must_use]
    pub fn attributes(mut self, attributes: u32) -> Self {
        self.mode = attributes;
        self
    }

    /// Sets another name in the local header.
    #[must_use]
    pub fn local_name(mut self, name: &str) -> Self {
        self.local_name = Some(name.into());
        self
    }

    /// Adds an extra field to the local header.
    #[must_use]
    pub fn local_extra(mut self, id: u16, body: &[u8]) -> Self {
        self.local_extra.extend(field(id, body));
        self
    }

    /// Adds an extra field to the entry of the central directory.
    #[must_use]
    pub fn central_extra(mut self, id: u16, body: &[u8]) -> Self {
        self.central_extra.extend(field(id, body));
        self
    }

    /// Adds bytes that are no extra field to both extra fields.
    #[must_use]
    pub fn raw_extra(mut self, bytes: &[u8]) -> Self {
        self.local_extra.extend_from_slice(bytes);
        self.central_extra.extend_from_slice(bytes);
        self
    }

    /// Writes `bytes` over the local header at `at`.
    #[must_use]
    pub fn local(mut self, at: usize, bytes: &[u8]) -> Self {
        self.local.push((at, bytes.to_vec()));
        self
    }

    /// Writes `bytes` over the entry of the central directory at `at`.
    #[must_use]
    pub fn central(mut self, at: usize, bytes: &[u8]) -> Self {
        self.central.push((at, bytes.to_vec()));
        self
    }

    /// Appends bytes to the compressed data; both headers count them.
    #[must_use]
    pub fn append(mut self, bytes: &[u8]) -> Self {
        self.data.extend_from_slice(bytes);
        self
    }

    /// Removes bytes from the end of the compressed data; both headers agree.
    #[must_use]
    pub fn shorten(mut self, count: usize) -> Self {
        self.data.truncate(self.data.len().saturating_sub(count));
        self
    }

    /// Leaves sizes and CRC out of the local header and puts them behind the data, as writers to a pipe do.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.flags |= 1 << 3;
        let values = [self.crc, self.data.len() as u32, self.size];
        let values = values.iter().flat_map(|value| value.to_le_bytes());
        self.descriptor = Some(b"PK\x07\x08".iter().copied().chain(values).collect());
        self.local(14, &[0; 12])
    }

    /// Replaces the data descriptor.
    #[must_use]
    pub fn descriptor(mut self, bytes: &[u8]) -> Self {
        self.descriptor = Some(bytes.to_vec());
        self
    }

    /// Moves the sizes of both headers to ZIP64 fields, as writers of large files do.
    #[must_use]
    pub fn zip64(self) -> Self {
        let sizes: Vec<u8> = [u64::from(self.size), self.data.len() as u64]
            .iter()
            .flat_map(|size| size.to_le_bytes())
            .collect();
        self.local_extra(1, &sizes).central_extra(1, &sizes).local(18, &[0xff; 8]).central(20, &[0xff; 8])
    }

    /// From method to sizes, the same in both headers.
    fn common(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0, 0, 0x21, 0]);
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend((self.data.len() as u32).to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes
    }
}

fn field(id: u16, body: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes(), &(body.len() as u16).to_le_bytes(), body].concat()
}

fn patch(bytes: &mut [u8], patches: &[Patch]) {
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
}

/// Puts a ZIP together.
#[derive(Debug, Clone, Default)]
pub struct ZipBuilder {
    body: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
    comment: Vec<u8>,
    before_end: Vec<u8>,
    zip64: bool,
    zip64_patches: Vec<Patch>,
    patches: Vec<Patch>,
}

impl ZipBuilder {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a deflated file.
    #[must_use]
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(&ZipMember::deflated(name, content))
    }

    /// Adds a member.
    #[must_use]
    pub fn member(self, member: &ZipMember) -> Self {
        self.local_only(member).central_only(member)
    }

    /// Adds the local header and data of a member that the directory does not list.
    #[must_use]
    pub fn local_only(mut self, member: &ZipMember) -> Self {
        let name = member.local_name.as_ref().unwrap_or(&member.name);
        let mut header = [b"PK\x03\x04\x14\0".to_vec(), member.common()].concat();
        header.extend((name.len() as u16).to_le_bytes());
        header.extend((member.local_extra.len() as u16).to_le_bytes());
        patch(&mut header, &member.local);
        let parts = [&header, name, &member.local_extra, &member.data];
        self.body.extend(parts.into_iter().flatten());
        self.body.extend(member.descriptor.iter().flatten());
        self
    }

    /// Lists a member whose local header would be the last one, if it has the same length as there.
    #[must_use]
    pub fn central_only(mut self, member: &ZipMember) -> Self {
        let local = 30 + member.local_name.as_ref().unwrap_or(&member.name).len() + member.local_extra.len();
        let length = local + member.data.len() + member.descriptor.as_ref().map_or(0, Vec::len);
        let offset = self.body.len().saturating_sub(length) as u32;
        let mut entry = [b"PK\x01\x02\x14\x03\x14\0".to_vec(), member.common()].concat();
        entry.extend((member.name.len() as u16).to_le_bytes());
        entry.extend((member.central_extra.len() as u16).to_le_bytes());
        entry.extend([0; 6]);
        entry.extend(member.mode.to_le_bytes());
        entry.extend(offset.to_le_bytes());
        patch(&mut entry, &member.central);
        self.directory.extend([&entry, &member.name, &member.central_extra].into_iter().flatten());
        self.count += 1;
        self
    }

    /// Adds bytes that belong to no member.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self
    }

    /// Puts bytes between the directory and the end record.
    #[must_use]
    pub fn before_end(mut self, bytes: &[u8]) -> Self {
        self.before_end = bytes.to_vec();
        self
    }

    /// Sets the archive's comment.
    #[must_use]
    pub fn comment(mut self, comment: &[u8]) -> Self {
        self.comment = comment.to_vec();
        self
    }

    /// Writes the ZIP64 end record and its locator, too.
    #[must_use]
    pub fn zip64(mut self) -> Self {
        self.zip64 = true;
        self
    }

    /// Writes `bytes` over the ZIP64 end record and its locator at `at`.
    #[must_use]
    pub fn end64(mut self, at: usize, bytes: &[u8]) -> Self {
        self.zip64_patches.push((at, bytes.to_vec()));
        self
    }

    /// Writes `bytes` over the end record at `at`.
    #[must_use]
    pub fn end(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((at, bytes.to_vec()));
        self
    }

    /// The bytes of the archive.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let (offset, size) = (self.body.len(), self.directory.len());
        let mut out = [&*self.body, &*self.directory, &*self.before_end].concat();
        if self.zip64 {
            let at = out.len() as u64;
            let mut record = b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\x03\x2d\0\0\0\0\0\0\0\0\0".to_vec();
            for value in [self.count.into(), self.count.into(), size as u64, offset as u64] {
                record.extend(value.to_le_bytes());
            }
            record.extend(b"PK\x06\x07\0\0\0\0");
            record.extend(at.to_le_bytes());
            record.extend(1_u32.to_le_bytes());
            patch(&mut record, &self.zip64_patches);
            out.extend(record);
        }
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        if self.zip64 {
            end.extend([0xff; 12]);
        } else {
            end.extend([self.count.to_le_bytes(), self.count.to_le_bytes()].concat());
            end.extend((size as u32).to_le_bytes());
            end.extend((offset as u32).to_le_bytes());
        }
        end.extend((self.comment.len() as u16).to_le_bytes());
        patch(&mut end, &self.patches);
        out.extend(end);
        out.extend(&self.comment);
        out
    }
}
