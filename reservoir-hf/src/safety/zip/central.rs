//! The central directory, compared with the members that were walked.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
};

use super::{
    super::input::{Input, le16, le32, le64},
    Ambiguity, CENTRAL, END, END64, WIDE,
};

const CENTRAL_SIZE: usize = 46;
const END64_SIZE: usize = 56;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END_SIZE: usize = 22;

thread_local! {
    /// Names are compared by a keyed hash, so that a hundred thousand of them are not held.
    static NAMES: RandomState = RandomState::new();
}

fn hash(name: &[u8]) -> u64 {
    NAMES.with(|state| state.hash_one(name))
}

/// A member as its local header and its data have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    offset: u64,
    name: u64,
    method: u16,
    stored: u64,
    size: u64,
}

impl Known {
    pub(super) fn new(offset: u64, name: &[u8], method: u16, (stored, size): (u64, u64)) -> Self {
        Self { offset, name: hash(name), method, stored, size }
    }
}

/// The ZIP64 field of an extra field.
pub(super) fn zip64(extra: &[u8]) -> Option<&[u8]> {
    let mut rest = extra;
    while rest.len() >= 4 {
        let (id, length) = (le16(rest, 0), usize::from(le16(rest, 2)));
        let body = rest.get(4..4 + length)?;
        if id == 1 {
            return Some(body);
        }
        rest = &rest[4 + length..];
    }
    None
}

/// Reads the directory and the end; both must tell of exactly the members in `known`, which are in order.
pub(super) fn check(input: &mut Input<'_>, known: &[Known]) -> io::Result<Result<(), Ambiguity>> {
    let start = input.position();
    let count = known.len() as u64;
    let mut seen = vec![false; known.len()];
    while input.peek(4)? == CENTRAL {
        let at = input.position();
        let Some(entry) = entry(input)? else {
            return Ok(Err(format!("has a broken directory at byte {at}")));
        };
        let index = known.binary_search_by_key(&entry.offset, |known| known.offset);
        let Ok(index) = index else {
            return Ok(Err(format!("lists a member at byte {}, where none begins", entry.offset)));
        };
        if known[index] != entry {
            return Ok(Err(format!("lists a member at byte {} otherwise than it is", entry.offset)));
        }
        if std::mem::replace(&mut seen[index], true) {
            return Ok(Err(format!("lists the member at byte {} twice", entry.offset)));
        }
    }
    if let Some(index) = seen.iter().position(|seen| !seen) {
        return Ok(Err(format!("does not list the member at byte {}", known[index].offset)));
    }
    end(input, start, count)
}

fn entry(input: &mut Input<'_>) -> io::Result<Option<Known>> {
    let Some(fixed) = input.array::<CENTRAL_SIZE>()? else { return Ok(None) };
    let Some(name) = input.bytes(le16(&fixed, 28).into())? else { return Ok(None) };
    let Some(extra) = input.bytes(le16(&fixed, 30).into())? else { return Ok(None) };
    if !input.skip(le16(&fixed, 32).into())? {
        return Ok(None);
    }
    let mut wide = zip64(&extra).unwrap_or_default();
    let mut number = |at: usize| {
        let short = u64::from(le32(&fixed, at));
        if short != WIDE || wide.len() < 8 {
            return short;
        }
        let long = le64(wide, 0);
        wide = &wide[8..];
        long
    };
    let size = number(24);
    let stored = number(20);
    let offset = number(42);
    Ok(Some(Known { offset, name: hash(&name), method: le16(&fixed, 10), stored, size }))
}

fn end(input: &mut Input<'_>, start: u64, count: u64) -> io::Result<Result<(), Ambiguity>> {
    let directory = input.position() - start;
    let end64_at = input.position();
    let mut has_end64 = false;
    if input.peek(4)? == END64 {
        let Some(record) = input.array::<END64_SIZE>()? else { return Ok(Err("has a broken end".into())) };
        let rest = le64(&record, 4);
        let agrees = le64(&record, 24) == count
            && le64(&record, 32) == count
            && le64(&record, 40) == directory
            && le64(&record, 48) == start
            && rest == END64_SIZE as u64 - 12;
        let Some(locator) = input.array::<LOCATOR_SIZE>()? else { return Ok(Err("has a broken end".into())) };
        if !agrees || !locator.starts_with(LOCATOR) || le64(&locator, 8) != end64_at {
            return Ok(Err("has a ZIP64 end that tells of another directory".into()));
        }
        has_end64 = true;
    }
    let Some(record) = input.array::<END_SIZE>()? else { return Ok(Err("has no end".into())) };
    if !record.starts_with(END) {
        return Ok(Err("has no end where its directory ends".into()));
    }
    let agrees = |short: u64, sentinel: u64, real: u64| short == real || has_end64 && short == sentinel;
    let is_whole = agrees(le16(&record, 8).into(), u16::MAX.into(), count)
        && agrees(le16(&record, 10).into(), u16::MAX.into(), count)
        && agrees(le32(&record, 12).into(), WIDE, directory)
        && agrees(le32(&record, 16).into(), WIDE, start);
    if !is_whole {
        return Ok(Err("has an end that tells of another directory".into()));
    }
    let comment = input.bytes(le16(&record, 20).into())?;
    if comment.is_none_or(|comment| memchr::memmem::find(&comment, b"PK").is_some()) {
        return Ok(Err("has a comment that is cut short or looks like a part of a ZIP".into()));
    }
    if !input.is_at_end()? {
        return Ok(Err(format!("has bytes after its end, from {} on", input.position())));
    }
    Ok(Ok(()))
}
