//! `allow_patterns` and `ignore_patterns`, as `huggingface_hub` has them.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use reservoir_core::{Error, Result};

/// Which files of a commit are taken: those that an `allow` pattern matches (all when there is none) and no
/// `ignore` pattern does. `*` matches slashes too, a pattern that ends with `/` means everything below it.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    pub(crate) allow: Option<GlobSet>,
    pub(crate) ignore: Option<GlobSet>,
}

impl Patterns {
    /// Whether a file is taken.
    #[must_use]
    pub fn takes(&self, path: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.is_match(path))
            && !self.ignore.as_ref().is_some_and(|ignore| ignore.is_match(path))
    }
}

/// Reads a list of patterns.
///
/// # Errors
/// [`Error::Invalid`] naming the pattern.
pub(crate) fn set(patterns: &[String]) -> Result<GlobSet> {
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
        let globs = |list: &[&str]| set(&strings(list)).unwrap();
        let allow = Some(globs(&["*.json", "onnx/", "a[0-9].txt"]));
        let patterns = Patterns { allow, ignore: Some(globs(&["secret*"])) };
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
        let allowing = |list: &[&str]| Patterns { allow: Some(globs(list)), ignore: None };
        assert!(!allowing(&[]).takes("anything"));
        assert!(allowing(&["{a,b}"]).takes("{a,b}"));
        assert!(set(&strings(&["[a"])).is_err());
    }
}
