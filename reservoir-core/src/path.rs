//! Paths inside a repository. They name content and never reach a file system or an object key.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::is_nfc;

use crate::error::Error;

/// A relative path with clean components: UTF-8 NFC, no empty, `.` or `..` component, no backslash,
/// no control or bidirectional-override character, no `%` escape left; 255 bytes a component, 4096 in all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentPath(Arc<str>);

impl ContentPath {
    /// The path as text, without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// What two different paths must not share: case, a trailing dot or space and the like
    /// do not make a difference on every client's disk.
    #[must_use]
    pub fn collision_key(&self) -> String {
        self.0
            .split('/')
            .map(|part| part.trim_end_matches(['.', ' ']).to_lowercase())
            .collect::<Vec<_>>()
            .join("/")
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 4096 {
        return Err("is empty or over 4096 bytes");
    }
    // Nearly all are ASCII, for which both questions are simple.
    let is_ascii = text.is_ascii();
    if !is_ascii && !is_nfc(text) {
        return Err("is not in Unicode normal form C");
    }
    let forbidden = |c: char| {
        c.is_control()
            || c == '\\'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let has_forbidden = if is_ascii {
        text.bytes().any(|byte| byte < b' ' || byte == 0x7f || byte == b'\\')
    } else {
        text.contains(forbidden)
    };
    if has_forbidden {
        return Err("contains a backslash, a control or a bidirectional character");
    }
    for part in text.split('/') {
        match part {
            "" => return Err("has an empty component"),
            "." | ".." => return Err("has a dot component"),
            _ if part.len() > 255 => return Err("has a component over 255 bytes"),
            _ => {}
        }
    }
    let escape = |w: &[u8]| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit();
    if text.contains('%') && text.as_bytes().windows(3).any(escape) {
        return Err("has a percent escape left in it");
    }
    Ok(())
}

impl FromStr for ContentPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        check(text).map_err(|rule| {
            let shown: String = text.chars().take(120).collect();
            Error::malformed(format!("path {shown:?}"), "path", rule)
        })?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for ContentPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for ContentPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContentPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused() {
        let long = "a".repeat(256);
        let bad = [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a\\b",
            "a\0b",
            "a\nb",
            "%2e%2e/a",
            "a/%2F",
            "a\u{202e}b",
            "e\u{301}",
            &long,
        ];
        for text in bad {
            assert!(text.parse::<ContentPath>().is_err(), "{text:?}");
        }
        for text in ["six/six-1.17.0-py2.py3-none-any.whl", "100%/a", "é", "a b", "x+cu121"] {
            assert!(text.parse::<ContentPath>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn collisions_are_seen() {
        let key = |text: &str| text.parse::<ContentPath>().unwrap().collision_key();
        assert_eq!(key("A/b. "), key("a/B"));
        assert_ne!(key("a/b"), key("a/c"));
    }
}
