//! TAR: every block belongs to a header, to a member that is looked at, or to an end of zeros.

use std::io;

use super::{
    input::Input,
    look::{Place, Scan},
    report::Rule,
};

const BLOCK: usize = 512;
/// The most that one pax header or long name may have.
const EXTENSION: u64 = 1 << 20;

/// Whether a TAR begins here: a block whose checksum holds.
pub(super) fn is_header(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK>() else { return false };
    block[0] != 0 && Header::parse(block).is_some()
}

#[derive(Debug)]
struct Header {
    name: String,
    size: u64,
    kind: u8,
}

impl Header {
    fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let expected = number(&block[148..156])?;
        let sum = |signed: bool| {
            let byte = |(at, &byte): (usize, &u8)| match at {
                148..156 => i64::from(b' '),
                _ if signed => i64::from(byte.cast_signed()),
                _ => i64::from(byte),
            };
            block.iter().enumerate().map(byte).sum::<i64>()
        };
        if ![sum(false), sum(true)].contains(&i64::try_from(expected).ok()?) {
            return None;
        }
        let name = block[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        Some(Self {
            name: String::from_utf8_lossy(name).into_owned(),
            size: number(&block[124..136])?,
            kind: block[156],
        })
    }
}

/// Octal digits, or base 256 as GNU has it.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (first, rest) = field.split_first()?;
        let mut value = u64::from(first & 0x7f);
        for &byte in rest {
            value = value.checked_mul(256)? | u64::from(byte);
        }
        return Some(value);
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

pub(super) fn walk(scan: &mut Scan, input: &mut Input<'_>, place: &Place) -> io::Result<()> {
    loop {
        let Some(block) = input.array::<BLOCK>()? else {
            scan.report.incomplete(&place.shown(), "a TAR ends without its end, it may be cut short");
            return Ok(());
        };
        if block.iter().all(|&byte| byte == 0) {
            return end(scan, input, place);
        }
        scan.count_member()?;
        let Some(header) = Header::parse(&block) else {
            let detail = format!("has no TAR header before byte {}", input.position());
            scan.report.find(Rule::TarAmbiguous, &place.shown(), detail);
            return Ok(());
        };
        match header.kind {
            b'x' | b'g' | b'L' | b'K' | b'X' => extension(scan, input, place, &header)?,
            b'S' => {
                scan.report.incomplete(&place.shown(), "a sparse member of a TAR cannot be put together");
                member(scan, input, place, &header)?;
            }
            _ => member(scan, input, place, &header)?,
        }
        let padding = (BLOCK as u64 - header.size % BLOCK as u64) % BLOCK as u64;
        if !input.skip(padding)? {
            scan.report.incomplete(&place.shown(), "a TAR is cut short");
            return Ok(());
        }
    }
}

/// A header about the next member. A size in it that readers may or may not take makes two archives of one.
fn extension(scan: &mut Scan, input: &mut Input<'_>, place: &Place, header: &Header) -> io::Result<()> {
    if header.size > EXTENSION {
        return Err(io::Error::other("a pax header or long name is longer than 1 MiB"));
    }
    let Some(body) = input.bytes(header.size as usize)? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let has_size = memchr::memmem::find(&body, b" size=").is_some();
    let is_sparse = memchr::memmem::find(&body, b" GNU.sparse.").is_some();
    if matches!(header.kind, b'x' | b'g' | b'X') && (has_size || is_sparse) {
        let detail = format!("has a member whose size is told twice, before byte {}", input.position());
        scan.report.find(Rule::TarAmbiguous, &place.shown(), detail);
    }
    Ok(())
}

fn member(scan: &mut Scan, input: &mut Input<'_>, place: &Place, header: &Header) -> io::Result<()> {
    if header.size == 0 {
        return Ok(());
    }
    let inner = place.member(&header.name);
    if !matches!(header.kind, b'0' | 0 | b'7' | b'S') {
        scan.report.find(Rule::TarAmbiguous, &inner.shown(), "is no file by its type and yet has bytes");
    }
    let mut data = input.take_reader(header.size);
    let looked = scan.look(&mut Input::new(&mut data), &inner, Some(header.size));
    if let Err(error) = looked {
        scan.report.incomplete(&inner.shown(), error.to_string());
    }
    io::copy(&mut data, &mut io::sink())?;
    if data.limit() > 0 {
        scan.report.incomplete(&inner.shown(), "a TAR is cut short");
    }
    Ok(())
}

/// One zero block was read: nothing but zeros may follow.
fn end(scan: &mut Scan, input: &mut Input<'_>, place: &Place) -> io::Result<()> {
    loop {
        let shown = input.available()?;
        let count = shown.len();
        if count == 0 {
            return Ok(());
        }
        if shown.iter().any(|&byte| byte != 0) {
            scan.report.find(Rule::TarAmbiguous, &place.shown(), "goes on after the end of its TAR");
            return Ok(());
        }
        input.consume(count);
    }
}
