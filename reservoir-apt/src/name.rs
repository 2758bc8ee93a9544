//! Names of packages, versions, architectures, suites; and what they are called within Reservoir.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use reservoir_core::{
    Error, Result,
    name::{ArtifactName, RegistryName, RevisionName},
    path::ContentPath,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $label:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// As it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.into()));
                }
                let shown: String = text.chars().take(80).collect();
                Err(Error::invalid($label, format!("{shown:?} {}", $rule)))
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

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

word! {
    /// The name of a binary or source package: letters, digits, `+`, `-` and `.`, a letter or digit first
    /// (Debian policy 5.6.1; upper case and one-letter names are taken, as apt takes them).
    PackageName, "package name",
    "is not letters, digits, `+`, `-` and `.` with a letter or digit first, 200 characters at most",
    |text| {
        text.len() <= 200
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    }
}

word! {
    /// An architecture as Debian names it: `amd64`, `arm64`, `all`. Other words are taken as they are
    /// (`x86_64` of vendors' flat repositories).
    Architecture, "architecture", "is not lower-case letters, digits, `-` and `_`",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
            && !text.starts_with(['-', '_'])
    }
}

word! {
    /// A component of a suite: `main`, `restricted`, `updates/main`.
    Component, "component", "is not a relative path of letters, digits, `.`, `_`, `+` and `-`",
    |text| is_relative(text)
}

impl Architecture {
    /// Packages that fit every architecture.
    #[must_use]
    pub fn all() -> Self {
        Self("all".into())
    }
}

/// What clients call a component or a section: apt takes `updates/main` for `main`, and Ubuntu writes `universe/net` for
/// the section `net`.
pub(crate) fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn is_relative(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-~".contains(&byte))
        })
}

/// A suite as `sources.list` writes it: a name below `dists/` (`bookworm`, `noble-updates`, `stable/updates`), or,
/// with a slash at its end, the folder of a flat repository (`/`, `./`, `x86_64/`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suite {
    /// `bookworm`, or the folder of a flat repository without slashes around it (empty for its root).
    path: Arc<str>,
    flat: bool,
}

impl Suite {
    /// Whether indexes lie beside the packages, without components.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.flat
    }

    /// Where its Release lies, relative to the archive's address, without slashes around it:
    /// `dists/bookworm`; empty for the root of a flat repository.
    #[must_use]
    pub fn folder(&self) -> String {
        if self.flat { self.path.to_string() } else { format!("dists/{}", self.path) }
    }

    /// The name without a slash at its end: `bookworm`; empty for the root of a flat repository.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.path
    }

    /// The artifact that stands for the suite: `dists/bookworm`, `dists:flat`, `dists:flat/x86_64`.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the grammar of suites is stricter than the engine's")]
    pub fn to_artifact(&self) -> ArtifactName {
        let text = match (self.flat, &*self.path) {
            (false, name) => format!("dists/{name}"),
            (true, "") => FLAT.to_owned(),
            (true, folder) => format!("{FLAT}/{folder}"),
        };
        text.parse().expect("letters, digits and slashes are an artifact name")
    }

    /// The suite that an artifact stands for, if it does for one.
    #[must_use]
    pub fn of_artifact(artifact: &ArtifactName) -> Option<Self> {
        let text = artifact.as_str();
        if let Some(name) = text.strip_prefix("dists/") {
            return Some(Self { path: name.into(), flat: false });
        }
        let folder = text.strip_prefix(FLAT)?;
        if folder.is_empty() {
            return Some(Self { path: "".into(), flat: true });
        }
        folder.strip_prefix('/').map(|folder| Self { path: folder.into(), flat: true })
    }

    /// The artifact that stands for what the suite lists, of which a cache remembers what it has read:
    /// `lists/bookworm`, `lists:flat`, `lists:flat/x86_64`.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "as of the suite itself")]
    pub fn to_lists(&self) -> ArtifactName {
        let suite = self.to_artifact();
        let rest = suite.as_str().strip_prefix("dists").unwrap_or_default();
        format!("lists{rest}").parse().expect("letters, digits and slashes are an artifact name")
    }

    /// The key in the attributes `stanzas` and `sources` of what a component of this suite lists:
    /// `bookworm/main`; flat: the suite itself (`/`, `x86_64/`).
    #[must_use]
    pub fn key(&self, component: Option<&Component>) -> String {
        match component {
            Some(component) if !self.flat => format!("{}/{component}", self.path),
            _ => self.to_string(),
        }
    }

    /// Where what upstream signed is kept: `upstream/<registry>/<suite>/<revision>/<file>`; a flat root is
    /// called `flat:`, its folders `flat:/<folder>`.
    pub fn upstream_path(
        &self,
        registry: &RegistryName,
        revision: &RevisionName,
        file: &str,
    ) -> Result<ContentPath> {
        let suite = match (self.flat, &*self.path) {
            (false, name) => name.to_owned(),
            (true, "") => "flat:".to_owned(),
            (true, folder) => format!("flat:/{folder}"),
        };
        format!("upstream/{registry}/{suite}/{revision}/{file}").parse()
    }
}

const FLAT: &str = "dists:flat";

impl FromStr for Suite {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let shown: String = text.chars().take(80).collect();
            Error::invalid(
                "suite",
                format!("{shown:?} is neither a name such as `bookworm` nor a folder that ends with `/`"),
            )
        };
        let Some(folder) = text.strip_suffix('/') else {
            return if is_relative(text) {
                Ok(Self { path: text.into(), flat: false })
            } else {
                Err(refuse())
            };
        };
        let folder = folder.strip_prefix("./").unwrap_or(folder).trim_matches('/');
        if folder.is_empty() || folder == "." {
            return Ok(Self { path: "".into(), flat: true });
        }
        if is_relative(folder) { Ok(Self { path: folder.into(), flat: true }) } else { Err(refuse()) }
    }
}

impl fmt::Display for Suite {
    /// `bookworm`, `/`, `x86_64/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.flat { f.write_str("/") } else { Ok(()) }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Suite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Suite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A version, compared as dpkg compares (Debian policy 5.6.12). Keeps its spelling: `0:1.0` and `1.0` are equal
/// in order and differ as text.
#[derive(Clone)]
pub struct Version {
    text: Arc<str>,
    parsed: debversion::Version,
}

impl Version {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown = || text.chars().take(80).collect::<String>();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte);
        // What stands before the first colon is the epoch; the crate takes other text there for the version.
        let epoch = text.split_once(':').map_or("0", |(epoch, _)| epoch);
        let is_number = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
        if text.is_empty() || text.len() > 256 || !is_number || !text.bytes().all(allowed) {
            return Err(Error::invalid("version", format!("{:?} is no Debian version", shown())));
        }
        let parsed = text
            .parse()
            .map_err(|_| Error::invalid("version", format!("{:?} is no Debian version", shown())))?;
        Ok(Self { text: text.into(), parsed })
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
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

/// What an artifact of an apt repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A binary package, by its `Package` field.
    Binary(PackageName),
    /// A source package: `src:NAME`.
    Source(PackageName),
    /// A suite as upstream signed it.
    Suite(Suite),
    /// What a suite lists.
    Lists(Suite),
}

impl Kind {
    /// What `artifact` is; `None` for names that no index of this ecosystem makes.
    #[must_use]
    pub fn of(artifact: &ArtifactName) -> Option<Self> {
        let text = artifact.as_str();
        if let Some(suite) = Suite::of_artifact(artifact) {
            return Some(Self::Suite(suite));
        }
        if let Some(rest) = text.strip_prefix("lists") {
            let suite = format!("dists{rest}").parse().ok().and_then(|suite| Suite::of_artifact(&suite));
            if let Some(suite) = suite {
                return Some(Self::Lists(suite));
            }
        }
        match text.strip_prefix("src:") {
            Some(name) => name.parse().ok().map(Self::Source),
            None => text.parse().ok().map(Self::Binary),
        }
    }
}

/// The revision of a binary package: `VERSION:ARCH`. That of a source package has `source` for an architecture.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "the grammars of both parts are stricter than the engine's")]
pub fn revision(version: &Version, architecture: &str) -> RevisionName {
    format!("{version}:{architecture}").parse().expect("a version and a word are a revision")
}

/// Version and architecture of a revision made by [`revision`].
#[must_use]
pub fn split_revision(revision: &RevisionName) -> Option<(Version, &str)> {
    let (version, architecture) = revision.as_str().rsplit_once(':')?;
    Some((version.parse().ok()?, architecture))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn suites_are_named_as_sources_lists_write_them() {
        for (text, folder, artifact, key) in [
            ("bookworm", "dists/bookworm", "dists/bookworm", "bookworm/main"),
            ("stable/updates", "dists/stable/updates", "dists/stable/updates", "stable/updates/main"),
            ("/", "", "dists:flat", "/"),
            ("./", "", "dists:flat", "/"),
            ("./x86_64/", "x86_64", "dists:flat/x86_64", "x86_64/"),
        ] {
            let suite: Suite = text.parse().unwrap();
            assert_eq!((suite.folder().as_str(), suite.to_artifact().as_str()), (folder, artifact), "{text}");
            assert_eq!(suite.key(Some(&"main".parse().unwrap())), key, "{text}");
            assert_eq!(Kind::of(&suite.to_lists()), Some(Kind::Lists(suite.clone())));
            assert_eq!(Suite::of_artifact(&suite.to_artifact()), Some(suite));
        }
        for text in ["", "a b", "../x", "a/../b", "a//b", "ä", "a\n"] {
            assert!(text.parse::<Suite>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn versions_compare_as_dpkg_does_and_keep_their_spelling() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        for (less, more) in
            [("1.0~rc1", "1.0"), ("1.0-1", "1.0-2"), ("1.9", "1.10"), ("2.0", "1:0.1"), ("1.0", "1.0+b1")]
        {
            assert!(version(less) < version(more), "{less} {more}");
        }
        assert_eq!(version("0:1.0"), version("1.0"));
        assert_eq!(version("0:1.0").as_str(), "0:1.0");
        for text in ["", "1 0", "1_0", "a\n", "x:1", "ü"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn revisions_come_apart_as_they_were_put_together(text in "([0-9]:)?[0-9][0-9a-z.+~]{0,8}(-[0-9a-z]{1,4})?") {
            if let Ok(version) = text.parse::<Version>() {
                let name = revision(&version, "amd64");
                let (again, architecture) = split_revision(&name).unwrap();
                prop_assert_eq!((again.as_str(), architecture), (version.as_str(), "amd64"));
            }
        }

        #[test]
        fn any_text_is_a_name_or_refused(text in "\\PC{0,20}") {
            let _ = (text.parse::<Suite>(), text.parse::<Version>(), text.parse::<PackageName>());
            let _ = (text.parse::<Component>(), text.parse::<Architecture>());
        }
    }
}
