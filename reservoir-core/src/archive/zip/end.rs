//! The end of a ZIP: where its central directory is.

use std::ops::Range;

use super::{u16_at, u32_at, u64_at};
use crate::error::{Error, Result};

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const END64_SIZE: usize = 56;

/// The end of central directory record (APPNOTE 4.3.16), with that of ZIP64 where there is one (4.3.14).
#[derive(Debug)]
pub(super) struct End {
    /// Where the central directory lies in the archive.
    pub(super) directory: Range<u64>,
    /// How many members it lists.
    pub(super) entries: u64,
}

impl End {
    /// The longest end there is: all three records and a comment.
    pub(super) const TAIL: u64 = (END_SIZE + LOCATOR_SIZE + END64_SIZE + u16::MAX as usize) as u64;

    /// Finds the end in the last bytes of the archive, which begin at `start`.
    pub(super) fn find(what: &str, tail: &[u8], start: u64) -> Result<Self> {
        let refuse = |rule, detail: String| Err(Error::malformed(what, rule, detail));
        let at = locate(what, tail)?;
        let end = &tail[at..];
        let comment = &end[END_SIZE..];
        // As uv does: every signature within a ZIP has such a byte, no text has.
        if comment.iter().any(|byte| matches!(byte, 1..=8)) {
            return refuse("zip-comment", "the comment looks like a part of another ZIP".to_owned());
        }
        if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 {
            return refuse("zip-multi-disk", "it is one part of several".to_owned());
        }
        let on_disk = u64::from(u16_at(end, 8));
        let (mut entries, mut size, mut offset) =
            (u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
        if on_disk != entries {
            return refuse("zip-entry-count", format!("it says {on_disk} members and {entries} members"));
        }

        let mut directory_end = start + at as u64;
        if at >= LOCATOR_SIZE && tail[at - LOCATOR_SIZE..].starts_with(LOCATOR) {
            let end64 = end64(what, tail, start, at)?;
            let agree = |short: u64, sentinel: u64, long: u64| short == sentinel || short == long;
            if !agree(entries, u16::MAX.into(), end64.entries)
                || !agree(size, u32::MAX.into(), end64.size)
                || !agree(offset, u32::MAX.into(), end64.offset)
            {
                return refuse("zip64-disagrees", "its two end records differ".to_owned());
            }
            (entries, size, offset) = (end64.entries, end64.size, end64.offset);
            directory_end -= (LOCATOR_SIZE + END64_SIZE) as u64;
        }
        if offset.checked_add(size) != Some(directory_end) {
            let detail = format!(
                "a central directory of {size} bytes at {offset} does not end at byte {directory_end}, \
                 where the end record begins"
            );
            return refuse("zip-directory-place", detail);
        }
        Ok(Self { directory: offset..directory_end, entries })
    }
}

/// The one end record whose comment ends with the archive; also the last one, which is what others take.
fn locate(what: &str, tail: &[u8]) -> Result<usize> {
    let refuse = |rule, detail: &str| Err(Error::malformed(what, rule, detail));
    let ends = || {
        let last = tail.len().saturating_sub(END_SIZE - END.len());
        let starts = tail[..last].windows(END.len()).enumerate();
        starts.filter(|(_, window)| *window == END).map(|(at, _)| at)
    };
    let reach = |at: usize| at + END_SIZE + usize::from(u16_at(tail, at + 20));
    let mut whole = ends().filter(|&at| reach(at) == tail.len());
    match (whole.next(), whole.next(), ends().next_back()) {
        (Some(at), None, Some(last)) if at == last => Ok(at),
        (Some(_), _, _) => refuse("zip-many-ends", "it has more than one end record"),
        (None, _, Some(last)) if reach(last) < tail.len() => {
            refuse("zip-trailing-data", "bytes follow its end record")
        }
        (None, _, Some(_)) => refuse("zip-truncated", "its comment is cut short"),
        (None, _, None) => refuse("zip-no-end", "no end record; it is no ZIP or cut short"),
    }
}

struct End64 {
    entries: u64,
    size: u64,
    offset: u64,
}

/// The ZIP64 record, which must lie right before its locator, which lies right before `end`.
fn end64(what: &str, tail: &[u8], start: u64, end: usize) -> Result<End64> {
    let refuse = |rule, detail: &str| Err(Error::malformed(what, rule, detail));
    let locator = &tail[end - LOCATOR_SIZE..end];
    let Some(at) = end.checked_sub(LOCATOR_SIZE + END64_SIZE) else {
        return refuse("zip64-end", "there is a locator but no room for the record");
    };
    if u32_at(locator, 4) != 0 || u32_at(locator, 16) != 1 {
        return refuse("zip-multi-disk", "it is one part of several");
    }
    let record = &tail[at..];
    if !record.starts_with(END64) || u64_at(locator, 8) != start + at as u64 {
        // Either a wrong offset, or a record that is longer than its fixed fields.
        let extensible = u64_at(locator, 8)
            .checked_sub(start)
            .and_then(|at| tail.get(at as usize..at as usize + 12))
            .is_some_and(|record| record.starts_with(END64) && u64_at(record, 4) != 44);
        if extensible {
            return refuse("zip64-extensible", "the end record has an extensible data sector");
        }
        return refuse("zip64-end", "the record is not where its locator points, right before it");
    }
    if u64_at(record, 4) != (END64_SIZE - 12) as u64 {
        return refuse("zip64-extensible", "the end record has an extensible data sector");
    }
    if u32_at(record, 16) != 0 || u32_at(record, 20) != 0 {
        return refuse("zip-multi-disk", "it is one part of several");
    }
    let entries = u64_at(record, 32);
    if u64_at(record, 24) != entries {
        return refuse("zip-entry-count", "the end record has two counts of members");
    }
    Ok(End64 { entries, size: u64_at(record, 40), offset: u64_at(record, 48) })
}
