//! The walk from the first byte on: local headers, data, descriptors.

use flate2::Crc;

use super::{
    central::{DESCRIPTOR, Entry},
    extra::Extra,
    inflate::{Inflater, Method},
    u16_at, u32_at, u64_at,
};
use crate::{
    archive::{Limits, Member, MemberKind, Take, Visitor, bridge::Source, limits::Meter, names::shown},
    error::{Error, Result},
};

const SIGNATURE: &[u8] = b"PK\x03\x04";
const FIXED: usize = 30;
const DESCRIPTOR_SIGNATURE: &[u8] = b"PK\x07\x08";
const BUFFER: usize = 64 << 10;

/// Reads everything up to the central directory at `directory_start`.
pub(super) fn walk<V: Visitor>(
    what: &str,
    source: Source,
    entries: &[Entry],
    directory_start: u64,
    limits: &Limits,
    archive_size: u64,
    mut visitor: V,
) -> Result<V> {
    let meter = Meter::new(what, *limits, archive_size);
    let mut walk = Walk { what, source, meter, buffer: vec![0; BUFFER] };
    for entry in entries {
        walk.arrive(entry.offset)?;
        let wide = walk.header(entry)?;
        walk.data(entry, &mut visitor)?;
        if entry.flags & DESCRIPTOR != 0 {
            walk.descriptor(entry, wide)?;
        }
    }
    walk.arrive(directory_start)?;
    Ok(visitor)
}

struct Walk<'a> {
    what: &'a str,
    source: Source,
    meter: Meter,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    fn refuse<T>(&self, rule: &'static str, detail: impl Into<String>) -> Result<T> {
        Err(Error::malformed(self.what, rule, detail))
    }

    fn refuse_member<T>(&self, entry: &Entry, rule: &'static str, detail: &str) -> Result<T> {
        self.refuse(rule, format!("member {} {detail}", shown(&entry.name)))
    }

    /// What comes next must begin exactly here.
    fn arrive(&self, offset: u64) -> Result<()> {
        let position = self.source.position();
        if position == offset {
            return Ok(());
        }
        let (rule, detail) = match position {
            0 => ("zip-prefix", format!("{offset} bytes lie before its first member")),
            _ if position < offset => {
                ("zip-gap", format!("bytes {position} to {offset} belong to no member"))
            }
            _ => ("zip-overlap", format!("what begins at {offset} overlaps what ends at {position}")),
        };
        self.refuse(rule, detail)
    }

    fn take(&mut self, entry: &Entry, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        if self.source.read_up_to(&mut bytes)? < count {
            return self.refuse_member(entry, "zip-overlap", "runs into the central directory");
        }
        Ok(bytes)
    }

    /// Compares the local header with the directory; answers whether it has a ZIP64 field.
    fn header(&mut self, entry: &Entry) -> Result<bool> {
        let fixed = self.take(entry, FIXED)?;
        if !fixed.starts_with(SIGNATURE) {
            return self.refuse_member(
                entry,
                "zip-local-header",
                "has no local header where it should begin",
            );
        }
        let name = self.take(entry, u16_at(&fixed, 26).into())?;
        let extra = self.take(entry, u16_at(&fixed, 28).into())?;
        if name != entry.name.as_bytes() {
            let local = String::from_utf8_lossy(&name);
            let detail = format!("is {} in its local header", shown(&local));
            return self.refuse_member(entry, "zip-local-name", &detail);
        }
        if u16_at(&fixed, 6) != entry.flags {
            return self.refuse_member(entry, "zip-local-flags", "has other flags in its local header");
        }
        if Method::of(u16_at(&fixed, 8)) != Some(entry.method) {
            return self.refuse_member(entry, "zip-local-method", "has another method in its local header");
        }
        let extra = Extra::parse(self.what, &entry.name, &extra)?;
        // Before a descriptor the header may leave them zero.
        let deferred = entry.flags & DESCRIPTOR != 0;
        let agree = |local: u64, central: u64| local == central || deferred && local == 0;
        if !agree(u32_at(&fixed, 14).into(), entry.crc.into()) {
            return self.refuse_member(entry, "zip-local-crc", "has another CRC in its local header");
        }
        let sizes = [(u32_at(&fixed, 18), entry.compressed), (u32_at(&fixed, 22), entry.size)];
        if let Some(field) = extra.zip64 {
            // Local headers have both sizes (APPNOTE 4.5.3), even if these fit into the header itself.
            if field.len() != 16 {
                return self.refuse_member(
                    entry,
                    "zip64-extra",
                    "has a local ZIP64 field without both sizes",
                );
            }
            if !agree(u64_at(field, 8), entry.compressed) || !agree(u64_at(field, 0), entry.size) {
                return self.refuse_member(entry, "zip-local-size", "has other sizes in its local header");
            }
        }
        let wide = extra.zip64.is_some();
        for (short, size) in sizes {
            let sentinel = wide && short == u32::MAX;
            if !sentinel && !agree(short.into(), size) {
                return self.refuse_member(entry, "zip-local-size", "has other sizes in its local header");
            }
        }
        Ok(wide)
    }

    /// Decompresses all of a member, whether or not the visitor wants it.
    fn data<V: Visitor>(&mut self, entry: &Entry, visitor: &mut V) -> Result<()> {
        let kind = if entry.is_directory() { MemberKind::Directory } else { MemberKind::File };
        let member = Member { name: entry.path(), kind, size: entry.size, mode: entry.mode };
        let take = visitor.member(&member)?;

        let what = self.what;
        let broken = |error: &dyn std::fmt::Display| {
            let detail = format!("member {} does not decompress: {error}", shown(&entry.name));
            Error::malformed(what, "zip-data", detail)
        };
        let mut inflater = Inflater::new(entry.method).map_err(|error| broken(&error))?;
        let (mut left, mut size, mut crc) = (entry.compressed, 0_u64, Crc::new());
        let mut finished = entry.method == Method::Stored && left == 0;
        while !finished {
            let input = self.source.peek()?;
            let input = &input[..input.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            let step = inflater.step(input, &mut self.buffer).map_err(|error| broken(&error))?;
            self.source.skip(step.consumed);
            left -= step.consumed as u64;
            if step.consumed == 0 && step.produced == 0 && !step.finished {
                let rule = if left == 0 { "zip-compressed-size" } else { "zip-overlap" };
                return self.refuse_member(entry, rule, "ends before its compressed data does");
            }
            size += step.produced as u64;
            if size > entry.size {
                let detail = format!("expands to more than the {} bytes it says", entry.size);
                return self.refuse_member(entry, "zip-size", &detail);
            }
            self.meter.expand(step.produced as u64)?;
            let chunk = &self.buffer[..step.produced];
            crc.update(chunk);
            if take == Take::Read && !chunk.is_empty() {
                visitor.data(chunk)?;
            }
            finished = step.finished || entry.method == Method::Stored && left == 0;
        }
        if left != 0 {
            let detail = format!("has {left} bytes behind its compressed data");
            return self.refuse_member(entry, "zip-compressed-size", &detail);
        }
        if size != entry.size {
            let detail = format!("expands to {size} bytes, not the {} it says", entry.size);
            return self.refuse_member(entry, "zip-size", &detail);
        }
        if crc.sum() != entry.crc {
            let detail = format!("has CRC-32 {:08x}, not the {:08x} it says", crc.sum(), entry.crc);
            return self.refuse_member(entry, "zip-crc", &detail);
        }
        if take == Take::Read {
            visitor.end()?;
        }
        Ok(())
    }

    /// The data descriptor (APPNOTE 4.3.9). Every writer puts the optional signature before it;
    /// without one, a reader cannot tell it from data.
    fn descriptor(&mut self, entry: &Entry, wide: bool) -> Result<()> {
        let wide = wide || entry.size.max(entry.compressed) >= u64::from(u32::MAX);
        let bytes = self.take(entry, if wide { 24 } else { 16 })?;
        if !bytes.starts_with(DESCRIPTOR_SIGNATURE) {
            return self.refuse_member(entry, "zip-descriptor", "has no data descriptor, or an unsigned one");
        }
        let (compressed, size) = if wide {
            (u64_at(&bytes, 8), u64_at(&bytes, 16))
        } else {
            (u32_at(&bytes, 8).into(), u32_at(&bytes, 12).into())
        };
        if u32_at(&bytes, 4) != entry.crc || compressed != entry.compressed || size != entry.size {
            return self.refuse_member(entry, "zip-descriptor", "has other values in its data descriptor");
        }
        Ok(())
    }
}
