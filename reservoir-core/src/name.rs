//! Names that are valid by construction. Each validates in `FromStr` and nowhere else; serde goes through it.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// First path segments that the server keeps for itself.
pub const RESERVED: [&str; 5] = ["api", "healthz", "metrics", "ui", "static"];

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $label:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(text).map_err(|rule| {
                    let shown: String = text.chars().take(80).collect();
                    Error::invalid($label, format!("{shown:?} {rule}"))
                })?;
                Ok(Self(text.into()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// A repository: `[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)?`, the first segment not [`RESERVED`].
    RepositoryName, "repository name", |text| {
        let segments: Vec<&str> = text.split('/').collect();
        if segments.len() > 2 || !segments.iter().all(|segment| is_segment(segment)) || text.len() > 128 {
            return Err("does not match [a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)?, 128 characters at most");
        }
        if RESERVED.contains(&segments[0]) {
            return Err("begins with a reserved name (api, healthz, metrics, ui, static)");
        }
        Ok(())
    }
}

name! {
    /// A registry (upstream): `[a-z0-9][a-z0-9-]*`.
    RegistryName, "registry name", |text| {
        if is_segment(text) && text.len() <= 64 { Ok(()) } else { Err("does not match [a-z0-9][a-z0-9-]*") }
    }
}

name! {
    /// The short name of an ecosystem: `pypi`, `apt`, `rpm`, `cran`, `hf`, or a stranger's sixth.
    EcosystemId, "ecosystem", |text| {
        if is_segment(text) && text.len() <= 32 { Ok(()) } else { Err("does not match [a-z0-9][a-z0-9-]*") }
    }
}

name! {
    /// An artifact within a repository, in its ecosystem's normal form: `requests`, `org/model`.
    ArtifactName, "artifact name", |text| plain(text, 512)
}

name! {
    /// A revision of an artifact: `2.31.0`, `0:1.6-9.el9.x86_64`, `main`.
    RevisionName, "revision", |text| plain(text, 512)
}

name! {
    /// A branch or tag: `[a-z0-9][a-z0-9._-]*`, not all digits (those are snapshot numbers).
    RefName, "ref", |text| {
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let tail = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte));
        if !head || !tail || text.len() > 128 {
            return Err("does not match [a-z0-9][a-z0-9._-]*");
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("is a snapshot number, not a ref");
        }
        Ok(())
    }
}

name! {
    /// Who did something: a user, a token's name, `policy`, `schedule`.
    Actor, "actor", |text| plain(text, 256)
}

impl RefName {
    /// The ref that clients read unless they ask otherwise.
    #[must_use]
    pub fn main() -> Self {
        Self("main".into())
    }
}

impl Actor {
    /// The engine acting by a rule, with no person behind it.
    #[must_use]
    pub fn policy() -> Self {
        Self("policy".into())
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn plain(text: &str, limit: usize) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > limit {
        return Err("is empty or too long");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("contains white space, a control character or a backslash");
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("contains an empty or dot segment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names() {
        for good in ["python", "ns/prod", "a", "0-9"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b/c", "a/", "/a", "api", "api/x", "a b", "a.b", "ü"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn refs_are_never_numbers() {
        assert!("12".parse::<RefName>().is_err());
        assert!("v1.2".parse::<RefName>().is_ok());
    }

    #[test]
    fn artifact_names_have_no_dot_segments() {
        for bad in ["", ".", "a/../b", "a//b", "a\0", "a b", "a\\b"] {
            assert!(bad.parse::<ArtifactName>().is_err(), "{bad:?}");
        }
        assert!("org/model.v1".parse::<ArtifactName>().is_ok());
    }
}
