//! Project names, in the one form that can be compared.

use std::{fmt, str::FromStr, sync::Arc};

use reservoir_core::{Error, name::ArtifactName};
use serde::{Deserialize, Deserializer, de};

/// A project name in normal form ([PEP 503]): lower case, runs of `-`, `_` and `.` folded into one `-`.
///
/// Made by parsing only; any spelling that the specification allows is accepted.
///
/// [PEP 503]: https://peps.python.org/pep-0503/#normalized-names
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(Arc<str>);

/// Longest name taken; the index itself allows 200 characters or fewer.
const LIMIT: usize = 200;

impl ProjectName {
    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name, as the engine keeps it.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the normal form is stricter than the engine's rule")]
    pub fn to_artifact(&self) -> ArtifactName {
        self.0.parse().expect("letters, digits and single dashes are an artifact name")
    }

    /// Whether `text` is a spelling of this name.
    #[must_use]
    pub fn is_spelled(&self, text: &str) -> bool {
        is_valid(text) && normalize(text) == *self.0
    }
}

/// `^([A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])$`, case ignored.
pub(crate) fn is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    text.len() <= LIMIT
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// `re.sub(r"[-_.]+", "-", name).lower()`; also the normal form of extras ([PEP 685]).
///
/// [PEP 685]: https://peps.python.org/pep-0685/
pub(crate) fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut dash = false;
    for c in text.chars() {
        if matches!(c, '-' | '_' | '.') {
            if !dash {
                out.push('-');
            }
            dash = true;
        } else {
            out.extend(c.to_lowercase());
            dash = false;
        }
    }
    out
}

impl FromStr for ProjectName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if !is_valid(text) {
            let shown: String = text.chars().take(80).collect();
            return Err(Error::invalid(
                "project name",
                format!(
                    "{shown:?} is not letters, digits, `.`, `_` and `-` with a letter or digit at both ends \
                     (PEP 503), {LIMIT} characters at most"
                ),
            ));
        }
        Ok(Self(normalize(text).into()))
    }
}

impl<'de> Deserialize<'de> for ProjectName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl TryFrom<&ArtifactName> for ProjectName {
    type Error = Error;

    fn try_from(name: &ArtifactName) -> Result<Self, Error> {
        name.as_str().parse()
    }
}

impl AsRef<str> for ProjectName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_are_equal() {
        for text in ["zope.interface", "Zope_Interface", "zope-interface", "ZOPE.-_interface"] {
            assert_eq!(text.parse::<ProjectName>().unwrap().as_str(), "zope-interface");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(201);
        for text in ["", ".", "-a", "a-", "_a", "a b", "a/b", "..", "é", "a\0b", "a\n", &long] {
            assert!(text.parse::<ProjectName>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in "\\PC{0,40}|[a-zA-Z0-9._-]{1,40}") {
            if let Ok(name) = text.parse::<ProjectName>() {
                prop_assert_eq!(name.as_str().parse::<ProjectName>().unwrap(), name.clone());
                let artifact = name.to_artifact();
                prop_assert_eq!(artifact.as_str(), name.as_str());
            }
        }
    }
}
