//! What a stream is by its first bytes, and who looks at it.

use std::io;

use super::{
    compressed, gguf,
    input::{Budget, Input, le32},
    keras, npy, pickle,
    report::{Report, Rule, shown},
    safetensors, tar, zip,
};

/// How far a file is followed into itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers within containers.
    pub depth: u32,
    /// Members of all containers together.
    pub members: u64,
    /// Decompressed bytes for each byte of the file, applied beyond [`Limits::EXPANSION_FLOOR`].
    pub ratio: u64,
    /// Decompressed bytes in all.
    pub expanded: u64,
}

impl Limits {
    /// Decompressed bytes up to which the ratio is not looked at: 64 MiB.
    pub const EXPANSION_FLOOR: u64 = 64 << 20;

    /// The decompressed bytes that a file of `size` bytes may have.
    pub(super) fn expansion(&self, size: u64) -> u64 {
        size.saturating_mul(self.ratio).max(Self::EXPANSION_FLOOR).min(self.expanded)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 8, members: 200_000, ratio: 200, expanded: 1 << 40 }
    }
}

/// Bytes that are looked at to tell what a stream is.
const HEAD: usize = 64 << 10;

/// Where in the file a stream is: the members that lead to it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: String,
    depth: u32,
}

impl Place {
    /// The file itself.
    pub(super) fn file() -> Self {
        Self { path: String::new(), depth: 0 }
    }

    /// A member of the container at this place.
    pub(super) fn member(&self, name: &str) -> Self {
        let name = shown(name);
        let path = if self.path.is_empty() { name } else { format!("{}!{name}", self.path) };
        Self { path, depth: self.depth + 1 }
    }

    /// As it stands in messages.
    pub(super) fn shown(&self) -> String {
        if self.path.is_empty() { "the file".into() } else { format!("`{}`", self.path) }
    }

    pub(super) fn is_file(&self) -> bool {
        self.depth == 0
    }
}

/// One look at one file.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) report: Report,
    pub(super) budget: Budget,
    limits: Limits,
    members: u64,
}

/// What a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zip,
    Tar,
    Compressed(compressed::Codec),
    Npy,
    Safetensors,
    Gguf,
    Hdf5,
    /// Could hold anything, and there is no reader for it here.
    Closed(&'static str),
    Program(&'static str),
    Other,
}

impl Scan {
    /// Of a file of so many bytes.
    pub(super) fn new(limits: Limits, size: u64) -> Self {
        let budget = Budget::new(limits.expansion(size));
        Self { report: Report::default(), budget, limits, members: 0 }
    }

    /// Counts one member of any container; beyond the limit the container is left.
    pub(super) fn count_member(&mut self) -> io::Result<()> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(io::Error::other(format!("it has more than {} members", self.limits.members)));
        }
        Ok(())
    }

    /// Looks at a stream of `size` bytes, where that is known. What is a member is read to its end.
    pub(super) fn look(&mut self, input: &mut Input<'_>, place: &Place, size: Option<u64>) -> io::Result<()> {
        if place.depth > self.limits.depth {
            let reason = format!("containers are nested deeper than {}", self.limits.depth);
            self.report.incomplete(&place.shown(), reason);
            return input.drain();
        }
        let head = input.peek(HEAD)?;
        let kind = sniff(head);
        let what = kind.name();
        if kind != Kind::Other {
            pickle::probe(&mut self.report, head, place, what);
        }
        match kind {
            Kind::Zip => zip::walk(self, input, place)?,
            Kind::Tar => tar::walk(self, input, place)?,
            Kind::Compressed(codec) => compressed::walk(self, input, place, codec)?,
            Kind::Npy => npy::walk(self, input, place)?,
            Kind::Safetensors => {
                let outcome = safetensors::check(input, size)?;
                outcome.report(&mut self.report, place, Rule::SafetensorsMalformed);
            }
            Kind::Gguf => {
                let outcome = gguf::check(input, size, &mut |_| ())?;
                outcome.report(&mut self.report, place, Rule::GgufMalformed);
            }
            Kind::Hdf5 => keras::hdf5(self, input, place)?,
            Kind::Closed(what) => {
                self.report.incomplete(&place.shown(), format!("a {what} cannot be looked into"));
            }
            Kind::Program(what) => {
                self.report.find(Rule::Executable, &place.shown(), format!("is a program ({what})"));
            }
            Kind::Other => pickle::walk(self, input, place, pickle::Expect::Maybe)?,
        }
        if place.is_file() {
            // The end of the file itself was looked at first.
            return Ok(());
        }
        input.drain()?;
        if !matches!(kind, Kind::Zip | Kind::Tar) && input.ends_as_zip() {
            self.find_zip_at_end(place);
        }
        Ok(())
    }

    /// The file ends as a ZIP does. That is no news of a ZIP, nor of a TAR, whose members are looked at one by one.
    pub(super) fn look_at_end(&mut self, head: &[u8], place: &Place) {
        if !matches!(sniff(head), Kind::Zip | Kind::Tar) {
            self.find_zip_at_end(place);
        }
    }

    fn find_zip_at_end(&mut self, place: &Place) {
        let detail = "is no ZIP and yet ends as one, with members that some programs would read";
        self.report.find(Rule::ZipPolyglot, &place.shown(), detail);
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Zip => "ZIP",
            Self::Tar => "TAR",
            Self::Compressed(_) => "compressed stream",
            Self::Npy => "numpy array",
            Self::Safetensors => "safetensors file",
            Self::Gguf => "GGUF file",
            Self::Hdf5 => "HDF5 file",
            Self::Closed(what) | Self::Program(what) => what,
            Self::Other => "file",
        }
    }
}

/// Containers that are known by their first bytes and have no reader here.
const CLOSED: &[(&[u8], &str)] = &[
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!\x1a\x07", "RAR archive"),
    (b"MSCF\0\0\0\0", "CAB archive"),
    (b"!<arch>\n", "ar archive"),
    (b"070701", "cpio archive"),
    (b"070702", "cpio archive"),
    (b"070707", "cpio archive"),
    (b"xar!", "xar archive"),
    (b"hsqs", "squashfs image"),
    (b"LZIP\x01", "lzip stream"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop stream"),
    (b"\xff\x06\0\0sNaPpY", "snappy stream"),
    (b"\x02\x21\x4c\x18", "old lz4 stream"),
    (b"ZF0x", "joblib stream of an old format"),
    (b"PK00PK\x03\x04", "spanned ZIP"),
    (b"PK\x07\x08PK\x03\x04", "spanned ZIP"),
];

const PROGRAMS: &[(&[u8], &str)] = &[
    (b"\x7fELF", "ELF"),
    (b"\xfe\xed\xfa\xce", "Mach-O"),
    (b"\xfe\xed\xfa\xcf", "Mach-O"),
    (b"\xce\xfa\xed\xfe", "Mach-O"),
    (b"\xcf\xfa\xed\xfe", "Mach-O"),
    (b"\xca\xfe\xba\xbe", "Java class or Mach-O"),
    (b"\0asm\x01\0\0\0", "WebAssembly"),
    (b"MZqFpD", "actually portable executable"),
];

fn sniff(head: &[u8]) -> Kind {
    let begins = |(magic, name): &(&[u8], &'static str)| head.starts_with(magic).then_some(*name);
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Kind::Zip;
    }
    if let Some(name) = CLOSED.iter().find_map(begins) {
        return Kind::Closed(name);
    }
    if let Some(name) = PROGRAMS.iter().find_map(begins) {
        return Kind::Program(name);
    }
    if head.starts_with(b"MZ") && is_portable_executable(head) {
        return Kind::Program("PE");
    }
    if let Some(codec) = compressed::Codec::of(head) {
        return Kind::Compressed(codec);
    }
    if head.starts_with(b"\x93NUMPY") {
        return Kind::Npy;
    }
    if head.starts_with(b"GGUF") {
        return Kind::Gguf;
    }
    // A user block of 512 bytes or a power of two times that may lie before it.
    let hdf5 = |at: usize| head.get(at..).is_some_and(|rest| rest.starts_with(b"\x89HDF\r\n\x1a\n"));
    if hdf5(0) || (9..16).any(|power| hdf5(1 << power)) {
        return Kind::Hdf5;
    }
    if tar::is_header(head) {
        return Kind::Tar;
    }
    if safetensors::is_header(head) {
        return Kind::Safetensors;
    }
    Kind::Other
}

/// Whether the old header of DOS leads to the one of Windows.
fn is_portable_executable(head: &[u8]) -> bool {
    let at = head.get(60..64).map_or(usize::MAX, |bytes| le32(bytes, 0) as usize);
    head.get(at..).is_some_and(|rest| rest.starts_with(b"PE\0\0"))
}
