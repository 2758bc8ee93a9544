//! The kind and version that head everything kept at rest here.

use serde::Deserialize;

use crate::error::{Error, Result};

/// The only version so far, of pages, roots, records and keys alike.
pub(crate) const VERSION: &str = "1";

#[derive(Deserialize)]
struct Header {
    kind: String,
    version: String,
}

/// Checks kind and version before anything else is parsed, so that data of a newer program is told from damage.
pub(crate) fn check(json: &[u8], kind: &str, what: &str) -> Result<()> {
    let header: Header = serde_json::from_slice(json)
        .map_err(|error| Error::malformed(what, "format-header", error.to_string()))?;
    if header.kind != kind {
        let found: String = header.kind.chars().take(40).collect();
        return Err(Error::malformed(what, "format-kind", format!("is a {found:?}, not a {kind:?}")));
    }
    if header.version == VERSION {
        return Ok(());
    }
    let found: String = header.version.chars().take(40).collect();
    let major = found.split('.').next().unwrap_or_default();
    if !major.is_empty() && major != "0" && major.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::TooNew { what: what.to_owned(), found, known: VERSION.to_owned() });
    }
    Err(Error::malformed(what, "format-version", format!("{found:?} is no version")))
}
