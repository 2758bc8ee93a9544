//! The central directory: what the archive says it contains.

use super::{extra::Extra, inflate::Method, u16_at, u32_at, u64_at};
use crate::{
    archive::{
        Limits,
        limits::Meter,
        names::{self, Format, Kind, Names},
    },
    error::{Error, Result},
};

const SIGNATURE: &[u8] = b"PK\x01\x02";
const FIXED: usize = 46;

/// Sizes, checksum follow the data.
pub(super) const DESCRIPTOR: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
/// Encrypted, strongly encrypted, or with a masked header.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Two bits are the effort that deflate made.
const KNOWN_FLAGS: u16 = 0b110 | DESCRIPTOR | UTF8;

/// The newest version of APPNOTE that readers know: 6.3.
const VERSION: u8 = 63;

const DOS_DIRECTORY: u32 = 1 << 4;
const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// One member, as the central directory has it.
#[derive(Debug)]
pub(super) struct Entry {
    /// With the slash at the end that directories have.
    pub(super) name: String,
    pub(super) flags: u16,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) mode: Option<u32>,
}

impl Entry {
    pub(super) fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Without the slash of directories.
    pub(super) fn path(&self) -> &str {
        self.name.strip_suffix('/').unwrap_or(&self.name)
    }
}

/// Parses the whole directory. The entries come back in the order of their data.
pub(super) fn parse(
    what: &str,
    mut directory: &[u8],
    count: u64,
    limits: &Limits,
    archive_size: u64,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut known = Names::new(Format::Zip, what, limits);
    let mut meter = Meter::new(what, *limits, archive_size);
    while !directory.is_empty() {
        let (entry, rest) = entry(what, directory, limits)?;
        meter.entry(&entry.name, entry.size)?;
        // Bombs that admit to be bombs are refused before anything is decompressed.
        meter.expand(entry.size)?;
        let kind = if entry.is_directory() { Kind::Directory } else { Kind::File };
        known.add(entry.path(), kind)?;
        entries.push(entry);
        directory = rest;
    }
    if entries.len() as u64 != count {
        let detail = format!("it says {count} members and lists {}", entries.len());
        return Err(Error::malformed(what, "zip-entry-count", detail));
    }
    entries.sort_by_key(|entry| entry.offset);
    Ok(entries)
}

fn entry<'a>(what: &str, bytes: &'a [u8], limits: &Limits) -> Result<(Entry, &'a [u8])> {
    let broken = |detail: &str| Error::malformed(what, "zip-directory", detail.to_owned());
    if bytes.len() < FIXED || !bytes.starts_with(SIGNATURE) {
        return Err(broken("the central directory has something that is no entry"));
    }
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(bytes, at)));
    let total = FIXED + lengths.iter().sum::<usize>();
    if bytes.len() < total {
        return Err(broken("the last entry of the central directory is cut short"));
    }
    let (name, rest) = bytes[FIXED..total].split_at(lengths[0]);
    let extra = &rest[..lengths[1]];
    let flags = u16_at(bytes, 8);
    let name = decode(what, name, flags)?;
    names::check(Format::Zip, what, name.strip_suffix('/').unwrap_or(name), limits.name)?;

    let refuse = |rule, detail: String| {
        Err(Error::malformed(what, rule, format!("member {} {detail}", names::shown(name))))
    };
    // The upper byte is no part of the version.
    if bytes[6] > VERSION {
        return refuse("zip-version", format!("needs version {}.{} of ZIP", bytes[6] / 10, bytes[6] % 10));
    }
    if flags & ENCRYPTED != 0 {
        return refuse("zip-encrypted", "is encrypted".to_owned());
    }
    if flags & !KNOWN_FLAGS != 0 {
        return refuse("zip-flags", format!("has the unknown flags {:#06x}", flags & !KNOWN_FLAGS));
    }
    let Some(method) = Method::of(u16_at(bytes, 10)) else {
        return refuse("zip-method", format!("is compressed by method {}", u16_at(bytes, 10)));
    };
    if u16_at(bytes, 34) != 0 {
        return refuse("zip-multi-disk", "lies in another part".to_owned());
    }
    let extra = Extra::parse(what, name, extra)?;
    let short = [24, 20, 42].map(|at| u32_at(bytes, at));
    let Some([size, compressed, offset]) = widen(short, extra.zip64) else {
        let detail = "has a ZIP64 field that does not hold just the values that need it";
        return refuse("zip64-extra", detail.to_owned());
    };
    let entry = Entry {
        name: name.to_owned(),
        flags,
        method,
        crc: u32_at(bytes, 16),
        compressed,
        size,
        offset,
        mode: mode(what, name, u32_at(bytes, 38))?,
    };
    if method == Method::Stored && size != compressed {
        return refuse("zip-stored-size", format!("has {size} bytes stored as {compressed}"));
    }
    if entry.is_directory() && (size != 0 || entry.crc != 0) {
        return refuse("zip-directory-data", format!("is a directory with {size} bytes"));
    }
    if method == Method::Stored && flags & DESCRIPTOR != 0 && size != 0 {
        let detail = "is stored and has its size behind it; readers disagree where it ends";
        return refuse("zip-stored-descriptor", detail.to_owned());
    }
    Ok((entry, &bytes[total..]))
}

/// A name beyond ASCII must say that it is UTF-8, as readers guess differently otherwise.
fn decode<'a>(what: &str, name: &'a [u8], flags: u16) -> Result<&'a str> {
    match std::str::from_utf8(name) {
        Ok(text) if text.is_ascii() || flags & UTF8 != 0 => Ok(text),
        Ok(text) => {
            let detail = format!("member name {} does not say that it is UTF-8", names::shown(text));
            Err(Error::malformed(what, "zip-name-encoding", detail))
        }
        Err(_) => {
            let text = String::from_utf8_lossy(name);
            let detail = format!("member name {} is not UTF-8", names::shown(&text));
            Err(Error::malformed(what, "zip-name-encoding", detail))
        }
    }
}

/// Takes each value that is all ones from the ZIP64 field, which must hold these and no more (APPNOTE 4.5.3).
fn widen<const N: usize>(short: [u32; N], zip64: Option<&[u8]>) -> Option<[u64; N]> {
    let mut rest = zip64.unwrap_or_default();
    let mut wide = [0; N];
    for (wide, short) in wide.iter_mut().zip(short) {
        if short == u32::MAX {
            *wide = u64_at(rest.get(..8)?, 0);
            rest = &rest[8..];
        } else {
            *wide = short.into();
        }
    }
    rest.is_empty().then_some(wide)
}

/// The upper half of the external attributes is a Unix mode, by whatever system: so installers read it.
fn mode(what: &str, name: &str, attributes: u32) -> Result<Option<u32>> {
    let refuse = |rule, detail: &str| {
        Err(Error::malformed(what, rule, format!("member {} {detail}", names::shown(name))))
    };
    let mode = attributes >> 16;
    let is_directory = name.ends_with('/');
    match mode & TYPE_MASK {
        0 => {}
        TYPE_FILE if !is_directory => {}
        TYPE_DIRECTORY if is_directory => {}
        TYPE_FILE | TYPE_DIRECTORY => {
            return refuse("zip-directory-kind", "is a file by name and a directory by mode, or the reverse");
        }
        TYPE_SYMLINK => return refuse("zip-symlink", "is a symbolic link"),
        _ => return refuse("zip-special-file", "is neither a file nor a directory"),
    }
    if attributes & DOS_DIRECTORY != 0 && !is_directory {
        return refuse("zip-directory-kind", "is a file by name and a directory by its attributes");
    }
    Ok((mode != 0).then_some(mode & 0o7777))
}
