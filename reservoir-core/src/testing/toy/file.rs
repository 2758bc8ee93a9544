//! A toy file: its name and its head.

use std::str::FromStr;

use crate::error::{Error, Result};

/// `NAME-VERSION.toy` or `NAME-VERSION+VARIANT.toy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// Lower-case letters and digits.
    pub name: String,
    /// Numbers with dots between them.
    pub version: String,
    /// Which of several files of the version.
    pub variant: Option<String>,
}

impl FromStr for FileName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (name, rest) = text.strip_suffix(".toy")?.split_once('-')?;
            let (version, variant) = match rest.split_once('+') {
                Some((version, variant)) => (version, Some(variant)),
                None => (rest, None),
            };
            let good = is_word(name) && is_version(version) && variant.is_none_or(is_word);
            good.then(|| Self {
                name: name.to_owned(),
                version: version.to_owned(),
                variant: variant.map(str::to_owned),
            })
        };
        parse().ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::malformed(
                format!("file name {shown:?}"),
                "toy-file-name",
                "is not NAME-VERSION[+VARIANT].toy",
            )
        })
    }
}

/// The first lines of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// From `name:`.
    pub name: String,
    /// From `version:`.
    pub version: String,
    /// From each `requires:`, as written.
    pub requires: Vec<String>,
}

impl Head {
    /// The longest head, in bytes.
    const LIMIT: usize = 64 << 10;

    /// Reads the head of a file; returns its length too, the empty line included.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rule `toy-head`.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<(Self, usize)> {
        let refuse = |detail: &str| Error::malformed(format!("`{what}`"), "toy-head", detail);
        let window = &bytes[..bytes.len().min(Self::LIMIT)];
        let end = window.windows(2).position(|pair| pair == b"\n\n");
        let end = end.ok_or_else(|| refuse("has no empty line after its head"))?;
        let text = std::str::from_utf8(&window[..end]).map_err(|_| refuse("is not UTF-8"))?;
        let (mut name, mut version, mut requires) = (None, None, Vec::new());
        for line in text.lines() {
            let (key, value) = line.split_once(": ").ok_or_else(|| refuse("has a line without `: `"))?;
            let slot = match key {
                "name" if is_word(value) => &mut name,
                "version" if is_version(value) => &mut version,
                "requires" => {
                    requires.push(value.to_owned());
                    continue;
                }
                _ => return Err(refuse("has an unknown key or a bad value")),
            };
            if slot.replace(value.to_owned()).is_some() {
                return Err(refuse("has a key twice"));
            }
        }
        let missing = || refuse("has no `name` or no `version`");
        let (name, version) = (name.ok_or_else(missing)?, version.ok_or_else(missing)?);
        Ok((Self { name, version, requires }, end + 2))
    }
}

pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

pub(super) fn is_version(text: &str) -> bool {
    text.len() <= 64
        && text
            .split('.')
            .all(|part| (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_names_and_heads() {
        let name: FileName = "hammer-1.0+left.toy".parse().unwrap();
        assert_eq!((name.version.as_str(), name.variant.as_deref()), ("1.0", Some("left")));
        let (head, length) =
            Head::parse("x", b"name: hammer\nversion: 1.0\nrequires: nail>=1\n\npayload").unwrap();
        assert_eq!((head.requires, length), (vec!["nail>=1".to_owned()], 45));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(name in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = name.parse::<FileName>();
            let _ = Head::parse("x", &bytes);
        }
    }
}
