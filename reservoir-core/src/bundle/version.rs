//! The version of the format, which has nothing to do with the version of the program.

use crate::error::{Error, Result};

/// What this program writes. Readers take every `1.x.y`, preserve fields they do not know, and refuse other majors.
///
/// 1.1 brought patches of large blobs (`patches` in the header), 1.2 parity volumes (`parity` in header and trailer, which
/// older readers pass over: they take the volumes without them), 1.3 refs beside `main` (`other_refs` in the header, which
/// older readers pass over: they take `main` alone).
pub const FORMAT: &str = "1.3.0";

/// Refuses formats that this program cannot read.
pub(super) fn check(what: &str, found: &str) -> Result<()> {
    let mut parts = found.split('.').map(|part| {
        let plain = !part.is_empty() && part.len() <= 9 && (part == "0" || !part.starts_with('0'));
        part.parse::<u32>().ok().filter(|_| plain && part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
        (Some(1), Some(_), Some(_), None) => Ok(()),
        (Some(major), Some(_), Some(_), None) if major > 1 => {
            Err(Error::TooNew { what: what.to_owned(), found: found.to_owned(), known: FORMAT.to_owned() })
        }
        _ => {
            let shown: String = found.chars().take(40).collect();
            Err(Error::malformed(what, "bundle-format", format!("{shown:?} is no format of bundles")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn minor_versions_are_read_and_majors_are_not() {
        for good in ["1.0.0", "1.7.12"] {
            check("bundle", good).unwrap();
        }
        assert_eq!(check("bundle", "2.0.0").unwrap_err().kind(), ErrorKind::TooNew);
        for bad in ["", "1", "1.0", "0.1.0", "1.0.0.0", "1.0.00", "v1.0.0", "1.-1.0", "99999999999.0.0"] {
            assert_eq!(check("bundle", bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad}");
        }
    }
}
