//! `METADATA` of a wheel that stays where it is: its directory is read from its end, then the one member.
//!
//! What is read is a hint, and the whole wheel is looked at with care when it is pulled. So this reads the plain form
//! of a ZIP alone; whoever writes another is read whole.

use std::io::Read as _;

use bytes::Bytes;
use flate2::{Crc, read::DeflateDecoder};
use reservoir_core::{
    Error, Result,
    fetch::{Fetcher, Piece, Span},
};
use url::Url;

use crate::metadata;

/// Bytes of the end that are asked for first; tools put `*.dist-info` there.
const TAIL: u64 = 48 << 10;
/// Most bytes of a directory: a hundred thousand members.
const DIRECTORY: u64 = 16 << 20;
/// Room for an extra field of the member that the directory does not know.
const EXTRA: u64 = 512;

const END: &[u8] = b"PK\x05\x06";
const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

/// A member as the directory has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    deflated: bool,
    crc: u32,
    stored: u64,
    size: u64,
    name: u64,
    at: u64,
}

/// Reads the one top-level `*.dist-info/METADATA`; `None` where pieces are not to be had.
///
/// # Errors
/// [`Error::Malformed`] (`wheel-dist-info`, `wheel-incomplete`) for a wheel with none or several, or whose bytes
/// disagree; what the fetcher reports.
pub(super) async fn metadata(fetcher: &Fetcher, url: &Url, what: &str) -> Result<Option<Bytes>> {
    let Some(tail) = fetcher.get_piece(url, Span::Last(TAIL), None).await? else { return Ok(None) };
    let Some((start, length)) = directory(&tail).filter(|(_, length)| *length <= DIRECTORY) else {
        return Ok(None);
    };
    let Some(directory) = piece(fetcher, url, &tail, start, length).await? else { return Ok(None) };
    let Some(member) = find(&directory, what)? else { return Ok(None) };
    let most = (30 + member.name + EXTRA + member.stored).min(start.saturating_sub(member.at));
    let Some(local) = piece(fetcher, url, &tail, member.at, most).await? else { return Ok(None) };
    let Some(data) = data(&local, member) else { return Ok(None) };
    let broken = || Error::malformed(what, "wheel-incomplete", "is not what the wheel's directory says");
    let mut bytes = Vec::new();
    if member.deflated {
        // The size was bounded when the member was found.
        DeflateDecoder::new(data).take(member.size + 1).read_to_end(&mut bytes).map_err(|_| broken())?;
    } else {
        bytes.extend_from_slice(data);
    }
    let mut crc = Crc::new();
    crc.update(&bytes);
    if bytes.len() as u64 != member.size || crc.sum() != member.crc {
        return Err(broken());
    }
    Ok(Some(bytes.into()))
}

/// Bytes of the file, from the piece that is here if they are in it.
async fn piece(
    fetcher: &Fetcher,
    url: &Url,
    known: &Piece,
    start: u64,
    length: u64,
) -> Result<Option<Bytes>> {
    if length == 0 {
        return Ok(None);
    }
    if let Some(from) = start.checked_sub(known.start).and_then(|from| usize::try_from(from).ok())
        && let Some(to) = usize::try_from(length).ok().and_then(|length| from.checked_add(length))
        && to <= known.bytes.len()
    {
        return Ok(Some(known.bytes.slice(from..to)));
    }
    Ok(fetcher.get_piece(url, Span::At { start, length }, Some(known)).await?.map(|piece| piece.bytes))
}

fn number(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(count)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Where the directory is, by the end record; `None` for ZIP64 and for what has no plain end.
fn directory(tail: &Piece) -> Option<(u64, u64)> {
    let bytes = &tail.bytes[..];
    let last = bytes.len().checked_sub(22)?;
    let end = (0..=last).rev().find(|at| {
        bytes[*at..].starts_with(END)
            && number(bytes, at + 20, 2).is_some_and(|comment| at + 22 + comment as usize == bytes.len())
    })?;
    let (length, start) = (number(bytes, end + 12, 4)?, number(bytes, end + 16, 4)?);
    let end = tail.start + end as u64;
    (start.checked_add(length)? == end).then_some((start, length))
}

/// The member, in the directory; `None` when only the whole wheel can tell.
fn find(directory: &[u8], what: &str) -> Result<Option<Member>> {
    let refuse = |detail: &str| Err(Error::malformed(what, "wheel-dist-info", detail.to_owned()));
    let mut found = None;
    let mut at = 0;
    while at < directory.len() {
        let field = |offset, count| number(directory, at + offset, count);
        let header = (field(28, 2), field(30, 2), field(32, 2));
        let (Some(name), Some(extra), Some(comment)) = header else {
            return refuse("the wheel's directory ends early");
        };
        let text = directory.get(at + 46..at + 46 + name as usize);
        let (Some(text), true) = (text, directory[at..].starts_with(CENTRAL)) else {
            return refuse("the wheel's directory cannot be read");
        };
        let folder = text.strip_suffix(b"/METADATA").and_then(|folder| folder.strip_suffix(b".dist-info"));
        if folder.is_some_and(|folder| !folder.contains(&b'/')) {
            let numbers = (field(8, 2), field(10, 2), field(16, 4), field(20, 4), field(24, 4), field(42, 4));
            let (Some(flags), Some(method), Some(crc), Some(stored), Some(size), Some(at)) = numbers else {
                return refuse("the wheel's directory ends early");
            };
            if found.is_some() {
                return refuse("has two top-level *.dist-info/METADATA");
            }
            let plain = flags & 1 == 0 && matches!(method, 0 | 8) && (method == 8 || stored == size);
            if !plain || stored > metadata::LIMIT || size > metadata::LIMIT {
                return Ok(None);
            }
            let crc = crc as u32;
            found = Some(Member { deflated: method == 8, crc, stored, size, name, at });
        }
        at += 46 + (name + extra + comment) as usize;
    }
    if found.is_none() { refuse("has no top-level *.dist-info/METADATA") } else { Ok(found) }
}

/// The member's data, behind its own header.
fn data(local: &[u8], member: Member) -> Option<&[u8]> {
    if !local.starts_with(LOCAL) {
        return None;
    }
    let start = 30 + (number(local, 26, 2)? + number(local, 28, 2)?) as usize;
    local.get(start..start.checked_add(usize::try_from(member.stored).ok()?)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reservoir_core::fetch::Validators;

    use super::*;

    fn piece(bytes: &[u8], start: u64) -> Piece {
        let total = start + bytes.len() as u64;
        Piece { bytes: Bytes::copy_from_slice(bytes), start, total, validators: Validators::default() }
    }

    proptest! {
        #[test]
        fn any_end_is_read_or_passed_over(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            end in 0_usize..300,
            start in any::<u32>(),
        ) {
            if end + 4 <= bytes.len() {
                bytes[end..end + 4].copy_from_slice(END);
            }
            let _ = directory(&piece(&bytes, u64::from(start)));
        }

        #[test]
        fn any_directory_is_read_or_refused(
            rows in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 42..43), "[a-z./]{0,30}METADATA"), 0..4),
            cut in 0_usize..200,
        ) {
            let mut bytes = Vec::new();
            for (header, name) in rows {
                bytes.extend_from_slice(CENTRAL);
                bytes.extend(header);
                bytes.extend(name.as_bytes());
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok(Some(member)) = find(&bytes, "a wheel") {
                let _ = data(&bytes, member);
            }
        }
    }
}
