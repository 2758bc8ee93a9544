//! Numpy arrays: an array of objects is a pickle behind a header.

use std::io;

use super::{
    input::Input,
    look::{Place, Scan},
    pickle,
};

/// The longest header that is read; numpy itself refuses to evaluate more than 10,000 bytes.
const HEADER: u64 = 64 << 10;

pub(super) fn walk(scan: &mut Scan, input: &mut Input<'_>, place: &Place) -> io::Result<()> {
    let Some(head) = input.array::<8>()? else {
        scan.report.incomplete(&place.shown(), "a numpy header is cut short");
        return Ok(());
    };
    let length = if head[6] >= 2 {
        input.array()?.map(|bytes| u64::from(u32::from_le_bytes(bytes)))
    } else {
        input.array()?.map(|bytes| u64::from(u16::from_le_bytes(bytes)))
    };
    let Some(length) = length.filter(|&length| length <= HEADER) else {
        scan.report.incomplete(&place.shown(), "a numpy header is cut short or too long");
        return Ok(());
    };
    let Some(header) = input.bytes(length as usize)? else {
        scan.report.incomplete(&place.shown(), "a numpy header is cut short");
        return Ok(());
    };
    let is_plain = std::str::from_utf8(&header).is_ok_and(is_plain);
    let expect = if is_plain { pickle::Expect::Maybe } else { pickle::Expect::Pickle };
    // Of a plain array too: what begins as a pickle there is none of its numbers.
    pickle::walk(scan, input, place, expect)
}

/// Whether an array with this header has no objects. What is not understood may have.
fn is_plain(header: &str) -> bool {
    let Some((_, rest)) = header.split_once("'descr'") else { return false };
    let rest = rest.trim_start().trim_start_matches(':').trim_start();
    if let Some(text) = rest.strip_prefix('\'') {
        return text.split('\'').next().is_some_and(is_plain_type);
    }
    // A structure: a list of tuples of a name, a type and perhaps a shape.
    let Some(list) = rest.split("'fortran_order'").next().filter(|list| list.starts_with('[')) else {
        return false;
    };
    let mut quoted = list.split('\'').skip(1).step_by(2);
    let mut has_types = false;
    while let Some(_name) = quoted.next() {
        match quoted.next() {
            Some(kind) if is_plain_type(kind) => has_types = true,
            _ => return false,
        }
    }
    has_types && !list.contains(['"', '\\'])
}

/// A type in the array protocol's words: byte order, kind, size.
fn is_plain_type(kind: &str) -> bool {
    let kind = kind.trim_start_matches(['<', '>', '|', '=']);
    let unit = kind.split_once('[').map_or("", |(_, unit)| unit);
    let kind = kind.split('[').next().unwrap_or(kind);
    let mut chars = kind.chars();
    chars.next().is_some_and(|c| "?biufcmMSUVaB".contains(c))
        && chars.all(|c| c.is_ascii_digit())
        && unit.trim_end_matches(']').chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_seen_however_they_are_written() {
        for plain in ["'<f4'", "'|b1'", "'<M8[ns]'", "'|V2'", "[('a', '<f4'), ('b', '|S10', (2, 3))]"] {
            assert!(
                is_plain(&format!("{{'descr': {plain}, 'fortran_order': False, 'shape': (3,), }}")),
                "{plain}"
            );
        }
        for objects in [
            "'|O'",
            "'O8'",
            "'object'",
            "'i4,O'",
            "[('a', '<f4'), ('b', '|O')]",
            "[('a', [('b', 'O')])]",
            "\"O\"",
            "'\\x4f'",
            "[]",
        ] {
            assert!(
                !is_plain(&format!("{{'descr': {objects}, 'fortran_order': False, 'shape': (3,), }}")),
                "{objects}"
            );
        }
        assert!(!is_plain("{}"));
    }
}
