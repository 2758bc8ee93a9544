//! Where links may point.

use crate::archive::names::is_control;

/// Whether the symbolic link `name` with `target` stays within the archive, whatever else is in it.
///
/// `..` counts only at the start of a target: behind a component that is a link itself it would lead elsewhere.
pub(super) fn stays_inside(name: &str, target: &str) -> bool {
    let drive = target.as_bytes().get(1) == Some(&b':');
    if target.is_empty() || target.starts_with('/') || drive {
        return false;
    }
    if target.contains('\\') || target.chars().any(is_control) {
        return false;
    }
    let mut depth = name.matches('/').count();
    let mut descended = false;
    for part in target.split('/') {
        match part {
            ".." if descended || depth == 0 => return false,
            ".." => depth -= 1,
            "." | "" => {}
            _ => descended = true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::stays_inside;

    #[test]
    fn targets() {
        for (name, target) in
            [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b"), ("a/b", ".."), ("a", "b/")]
        {
            assert!(stays_inside(name, target), "{name} -> {target}");
        }
        for (name, target) in [
            ("a", ".."),
            ("a", ""),
            ("a", "/b"),
            ("a/b", "../../c"),
            ("a/b", "c/../d"),
            ("a", "c:/b"),
            ("a", "..\\b"),
            ("a", "b\nc"),
        ] {
            assert!(!stays_inside(name, target), "{name} -> {target}");
        }
    }
}
