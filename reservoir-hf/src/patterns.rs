//! `allow_patterns` and `ignore_patterns`, as `huggingface_hub` has them.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use reservoir_core::{Error, Result};

/// Which files of a commit are taken: those that an `allow` pattern matches (all when there is none) and no
/// `ignore` pattern does. `*` matches slashes too, a pattern that ends with `/` means everything below it.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    allow: Option<GlobSet>,
    ignore: Option<GlobSet>,
}

impl Patterns {
    /// Reads both lists.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the pattern.
    pub fn new(allow: Option<&[String]>, ignore: Option<&[String]>) -> Result<Self> {
        Ok(Self { allow: allow.map(set).transpose()?, ignore: ignore.map(set).transpose()? })
    }

    /// Whether a file is taken.
    #[must_use]
    pub fn takes(&self, path: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.is_match(path))
            && !self.ignore.as_ref().is_some_and(|ignore| ignore.is_match(path))
    }
}

fn set(patterns: &[String]) -> Result<GlobSet> {
    let invalid = |pattern: &str, error: globset::Error| {
        Error::invalid(format!("pattern `{pattern}`"), error.kind().to_string())
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let whole = if pattern.ends_with('/') { format!("{pattern}*") } else { pattern.clone() };
        // Braces and backslashes mean themselves to `fnmatch`.
        let plain = whole.replace('\\', "[\\]").replace('{', "[{]").replace('}', "[}]");
        let glob = GlobBuilder::new(&plain).backslash_escape(false).build();
        set.add(glob.map_err(|error| invalid(pattern, error))?);
    }
    set.build().map_err(|error| invalid("", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_huggingface_hub() {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (allow, ignore) = (strings(&["*.json", "onnx/", "a[0-9].txt"]), strings(&["secret*"]));
        let patterns = Patterns::new(Some(&allow), Some(&ignore)).unwrap();
        for (path, taken) in [
            ("config.json", true),
            ("deep/er/config.json", true),
            ("onnx/model.onnx", true),
            ("onnx", false),
            ("a1.txt", true),
            ("ab.txt", false),
            ("secret.json", false),
            ("model.bin", false),
        ] {
            assert_eq!(patterns.takes(path), taken, "{path}");
        }
        assert!(Patterns::default().takes("anything"));
        assert!(!Patterns::new(Some(&[]), None).unwrap().takes("anything"));
        assert!(Patterns::new(Some(&strings(&["{a,b}"])), None).unwrap().takes("{a,b}"));
        assert!(Patterns::new(Some(&strings(&["[a"])), None).is_err());
    }
}
