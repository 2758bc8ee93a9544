//! One header block, field by field.

use super::input::BLOCK;
use crate::error::{Error, Result};

/// How the header is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `ustar` of POSIX: a long name continues in a prefix.
    Posix,
    /// `ustar` of GNU: other fields are in the place of the prefix.
    Gnu,
}

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: u8,
    /// The raw name, its prefix included.
    pub(super) name: Vec<u8>,
    /// The raw link target.
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) mode: u32,
}

impl Header {
    /// Parses a block that is not all zero.
    pub(super) fn parse(what: &str, block: &[u8; BLOCK]) -> Result<Self> {
        let refuse = |rule, detail: &str| Err(Error::malformed(what, rule, detail));
        // The checksum is over the block with its own field as spaces.
        let sum = block.iter().map(|&byte| u64::from(byte)).sum::<u64>()
            - block[148..156].iter().map(|&byte| u64::from(byte)).sum::<u64>()
            + 8 * u64::from(b' ');
        if number(&block[148..156]) != Some(sum) {
            return refuse(
                "tar-checksum",
                "a header has a wrong checksum, or there is none where one should be",
            );
        }
        let layout = match &block[257..265] {
            b"ustar\x0000" => Layout::Posix,
            b"ustar  \0" => Layout::Gnu,
            _ => return refuse("tar-magic", "a header is neither POSIX ustar nor GNU"),
        };
        let mut name = text(&block[..100]).to_vec();
        let prefix = text(&block[345..500]);
        if layout == Layout::Posix && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        // Some readers take what is there for a prefix all the same.
        if layout == Layout::Gnu && block[345..500].iter().any(|&byte| byte != 0) {
            return refuse("tar-gnu-prefix", "a GNU header has data where others have the prefix of a name");
        }
        let field = |field: &str, bytes| {
            number(bytes).ok_or_else(|| {
                Error::malformed(what, "tar-number", format!("the {field} of a header is no number"))
            })
        };
        Ok(Self {
            kind: block[156],
            name,
            link: text(&block[157..257]).to_vec(),
            size: field("size", &block[124..136])?,
            mode: field("mode", &block[100..108])? as u32 & 0o7777,
        })
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Octal digits between spaces and NULs, or GNU's big-endian binary. An empty field is zero.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        let (high, low) = field[1..].split_at(field.len().saturating_sub(9));
        if high.iter().any(|&byte| byte != 0) {
            return None;
        }
        let value = low.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        // Sums of sizes must not overflow.
        return i64::try_from(value).is_ok().then_some(value);
    }
    let start = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let length = digits.iter().position(|byte| !matches!(byte, b'0'..=b'7')).unwrap_or(digits.len());
    if digits[length..].iter().any(|byte| !matches!(byte, b' ' | 0)) {
        return None;
    }
    Some(digits[..length].iter().fold(0, |value, &digit| value << 3 | u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0000755\0"), Some(0o755));
        assert_eq!(number(b"   755 \0"), Some(0o755));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777777\0"), Some((8 << 30) - 1));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(8 << 30));
        for bad in [
            &b"00007x5\0"[..],
            b"-0000755",
            b"75 5\0\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"8\0\0\0\0\0\0\0",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None, "over 63 bits");
        assert_eq!(number(b"\x80\0\0\0\xff\0\0\0\0\0\0\0"), None, "over 63 bits");
    }
}
