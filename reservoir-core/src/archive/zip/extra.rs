//! Extra fields: those that change what a header means.

use super::u16_at;
use crate::error::{Error, Result};

const ZIP64: u16 = 0x0001;
const UNICODE_PATH: u16 = 0x7075;
/// `WinZip` AES; other encryptions show in the flags.
const AES: u16 = 0x9901;

/// The extra fields of a header that matter.
#[derive(Debug, Default)]
pub(super) struct Extra<'a> {
    /// 64-bit sizes and offset (APPNOTE 4.5.3).
    pub(super) zip64: Option<&'a [u8]>,
}

impl<'a> Extra<'a> {
    /// Parses the extra fields of the member `name`.
    pub(super) fn parse(what: &str, name: &str, mut bytes: &'a [u8]) -> Result<Self> {
        let refuse = |rule, detail: &str| {
            Err(Error::malformed(
                what,
                rule,
                format!("member {} {detail}", crate::archive::names::shown(name)),
            ))
        };
        let mut extra = Self::default();
        while !bytes.is_empty() {
            let body = bytes.get(..4).and_then(|head| bytes.get(4..4 + usize::from(u16_at(head, 2))));
            let Some(body) = body else {
                return refuse("zip-extra", "has extra fields that do not fit their length");
            };
            match u16_at(bytes, 0) {
                ZIP64 if extra.zip64.is_some() => return refuse("zip64-extra", "has two ZIP64 fields"),
                ZIP64 => extra.zip64 = Some(body),
                // Version, CRC-32 of the header's name, then a name that some readers prefer.
                UNICODE_PATH if body.get(5..) != Some(name.as_bytes()) => {
                    return refuse("zip-unicode-path", "has a second name in an extra field");
                }
                AES => return refuse("zip-encrypted", "is encrypted"),
                _ => {}
            }
            bytes = &bytes[4 + body.len()..];
        }
        Ok(extra)
    }
}
