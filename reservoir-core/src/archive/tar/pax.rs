//! Extended headers of pax: records `length key=value\n`.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

/// What records say about the member that follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<String>,
    pub(super) linkpath: Option<String>,
    pub(super) size: Option<u64>,
}

/// Parses the records for one member.
pub(super) fn parse(what: &str, bytes: &[u8]) -> Result<Pax> {
    let mut pax = Pax::default();
    records(what, bytes, |key, value| {
        match key {
            "path" => pax.path = Some(utf8(what, key, value)?),
            "linkpath" => pax.linkpath = Some(utf8(what, key, value)?),
            "size" => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                let size = size.filter(|&size: &u64| digits && i64::try_from(size).is_ok());
                pax.size = Some(size.ok_or_else(|| {
                    Error::malformed(what, "tar-pax-size", "a pax size is no number of bytes")
                })?);
            }
            _ => reject_unknown_meaning(what, key, value)?,
        }
        Ok(())
    })?;
    Ok(pax)
}

/// Checks the records for all members that follow; none may matter to us.
pub(super) fn check_global(what: &str, bytes: &[u8]) -> Result<()> {
    records(what, bytes, |key, value| match key {
        "path" | "linkpath" | "size" => {
            let detail = format!("a global pax header sets `{key}` for all members");
            Err(Error::malformed(what, "tar-pax-global", detail))
        }
        _ => reject_unknown_meaning(what, key, value),
    })
}

/// Records change the meaning of data, or none that concerns us: owners, times, comments, attributes.
fn reject_unknown_meaning(what: &str, key: &str, value: &[u8]) -> Result<()> {
    if key.starts_with("GNU.sparse.") || key.starts_with("SCHILY.realsize") {
        return Err(Error::malformed(what, "tar-sparse", "it has a sparse file"));
    }
    let charset = matches!(key, "hdrcharset" | "charset");
    if charset && value != b"ISO-IR 10646 2000 UTF-8" {
        return Err(Error::malformed(what, "tar-pax-charset", "its pax headers are not UTF-8"));
    }
    Ok(())
}

fn utf8(what: &str, key: &str, value: &[u8]) -> Result<String> {
    String::from_utf8(value.to_vec())
        .map_err(|_| Error::malformed(what, "tar-name-encoding", format!("a pax `{key}` is not UTF-8")))
}

/// Splits `bytes` into records; every byte must belong to one.
fn records(what: &str, mut bytes: &[u8], mut record: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
    let broken = || Error::malformed(what, "tar-pax-record", "a pax header has a broken record");
    let mut keys = BTreeSet::new();
    while !bytes.is_empty() {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse::<usize>().ok());
        let length =
            length.filter(|&length| length > digits + 1 && length <= bytes.len() && bytes[0] != b'0');
        let (one, rest) = bytes.split_at(length.ok_or_else(broken)?);
        let body = one[digits..].strip_prefix(b" ").and_then(|body| body.strip_suffix(b"\n"));
        let body = body.ok_or_else(broken)?;
        let equals = body.iter().position(|&byte| byte == b'=').ok_or_else(broken)?;
        let key = std::str::from_utf8(&body[..equals]).map_err(|_| broken())?;
        if key.is_empty() || key.contains(|c: char| c.is_control()) {
            return Err(broken());
        }
        if !keys.insert(key) {
            let detail = format!("a pax header has `{key}` twice");
            return Err(Error::malformed(what, "tar-pax-duplicate", detail));
        }
        record(key, &body[equals + 1..])?;
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_are_read_to_the_byte() {
        let pax = parse("t", b"12 path=abc\n11 size=12\n20 comment=a\nb=c= d\n").unwrap();
        assert_eq!(pax, Pax { path: Some("abc".to_owned()), linkpath: None, size: Some(12) });
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse("t", &bytes);
            let _ = check_global("t", &bytes);
        }

        #[test]
        fn what_is_written_is_read(path in "[a-z/é=\n]{1,200}", size in 0..i64::MAX as u64) {
            let mut bytes = crate::testing::archives::pax_record("path", path.as_bytes());
            bytes.extend(crate::testing::archives::pax_record("size", size.to_string().as_bytes()));
            prop_assert_eq!(
                parse("t", &bytes).unwrap(),
                Pax { path: Some(path), linkpath: None, size: Some(size) }
            );
        }
    }
}
