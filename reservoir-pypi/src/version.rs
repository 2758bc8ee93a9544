//! Versions ([PEP 440]) that remember how they were written.
//!
//! [PEP 440]: https://peps.python.org/pep-0440/

use std::{cmp::Ordering, fmt, hash, str::FromStr, sync::Arc};

use reservoir_core::{Error, name::RevisionName};

/// Longest version text taken; file names are shorter than this.
const LIMIT: usize = 255;

/// A version. Compared by PEP 440: `1.0` equals `1.0.0`; `as_str` is the text it was parsed from.
#[derive(Clone)]
pub struct Version {
    parsed: pep440_rs::Version,
    text: Arc<str>,
}

impl Version {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// In normal form: `1.0-RC.1` is `1.0rc1`. Trailing zeros stay, as PEP 440 has it.
    #[must_use]
    pub fn normal(&self) -> String {
        self.parsed.to_string()
    }

    /// The normal form, as the engine keeps it.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "the grammar of versions is stricter than the engine's rule"
    )]
    pub fn to_revision(&self) -> RevisionName {
        self.normal().parse().expect("a version in normal form has no white space, slash or dot segment")
    }

    /// For specifiers.
    #[must_use]
    pub fn as_pep440(&self) -> &pep440_rs::Version {
        &self.parsed
    }

    /// Whether it is an alpha, beta, release candidate or development release.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        self.parsed.any_prerelease()
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > LIMIT {
            return Err(Error::malformed(
                format!("version {:?}…", shown()),
                "version",
                "is over 255 bytes long",
            ));
        }
        let parsed = text.parse::<pep440_rs::Version>().map_err(|error| {
            Error::malformed(format!("version {:?}", shown()), "version", error.to_string())
        })?;
        Ok(Self { parsed, text: text.trim().into() })
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.parsed == other.parsed
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parsed.cmp(&other.parsed)
    }
}

impl hash::Hash for Version {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.parsed.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}
