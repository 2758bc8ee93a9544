//! Names of the Hub: repositories, object ids, refs and file paths. They exist only parsed.

use std::{fmt, str::FromStr};

use reservoir_core::{Error, Result, name::ArtifactName, path::ContentPath};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The two kinds of repositories that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A dataset.
    Dataset,
}

impl RepoKind {
    /// As the API's paths have it: `models`, `datasets`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    /// From a path segment of the API.
    #[must_use]
    pub fn from_plural(text: &str) -> Option<Self> {
        [Self::Model, Self::Dataset].into_iter().find(|kind| kind.plural() == text)
    }
}

/// A repository of the Hub: `org/name`, `datasets/org/name`, or a legacy name without an organisation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId {
    kind: RepoKind,
    namespace: Option<String>,
    name: String,
}

impl RepoId {
    /// From the id as the API writes it, without the kind: `org/name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rule `repo-id`.
    pub fn new(kind: RepoKind, id: &str) -> Result<Self> {
        let refuse = || {
            let shown: String = id.chars().take(120).collect();
            Error::malformed(format!("repository {shown:?}"), "repo-id", "is not ORG/NAME")
        };
        let (namespace, name) = match id.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, id),
        };
        if !namespace.is_none_or(is_part) || !is_part(name) {
            return Err(refuse());
        }
        Ok(Self { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }

    /// Model or dataset.
    #[must_use]
    pub fn kind(&self) -> RepoKind {
        self.kind
    }

    /// The organisation or user.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// `org/name`, without the kind.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// The id as segments of a path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.namespace.as_deref().into_iter().chain([self.name.as_str()])
    }

    /// Where it is kept: `models/org/name`. A name without an organisation stands below `-`, which no
    /// organisation can be called.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}/{}/{}", self.kind.plural(), self.namespace.as_deref().unwrap_or("-"), self.name)
    }

    /// As an artifact of a repository.
    ///
    /// # Errors
    /// None in practice: what is an id is an artifact name.
    pub fn to_artifact(&self) -> Result<ArtifactName> {
        self.to_string().parse()
    }
}

/// One part of an id: letters, digits, `_`, `.` and `-`, 96 at most; the Hub's further rules.
fn is_part(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| !matches!(byte, b'-' | b'.'));
    let bytes = text.as_bytes();
    bytes.len() <= 96
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && !text.contains("--")
        && !text.contains("..")
        && !text.to_ascii_lowercase().ends_with(".git")
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RepoKind::Model => f.write_str(&self.id()),
            RepoKind::Dataset => write!(f, "datasets/{}", self.id()),
        }
    }
}

impl FromStr for RepoId {
    type Err = Error;

    /// `org/name` is a model, `datasets/org/name` a dataset.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('/') {
            Some(("datasets", id)) => Self::new(RepoKind::Dataset, id),
            Some(("models", id)) if id.contains('/') => Self::new(RepoKind::Model, id),
            _ => Self::new(RepoKind::Model, text),
        }
    }
}

/// The id of a git object: a commit, tree or blob. 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 20]);

impl ObjectId {
    /// From the raw bytes of a SHA-1.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FromStr for ObjectId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let nibble = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut id = [0; 20];
        let parsed = text.len() == 40
            && text.as_bytes().chunks_exact(2).zip(&mut id).all(|(pair, slot)| {
                let both = nibble(pair[0]).zip(nibble(pair[1]));
                both.is_some_and(|(high, low)| {
                    *slot = high << 4 | low;
                    true
                })
            });
        if parsed {
            return Ok(Self(id));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Error::malformed(format!("object id {shown:?}"), "object-id", "is not 40 hexadecimal digits"))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The branch that stands for a repository.
pub const MAIN: &str = "main";

/// What a user or client calls a revision by: a branch, a tag, `refs/…`, a commit or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit, when it is one in full.
    #[must_use]
    pub fn commit(&self) -> Option<ObjectId> {
        self.0.parse().ok()
    }

    /// The full names it may stand for, the likeliest first.
    #[must_use]
    pub fn refs(&self) -> Vec<String> {
        if self.0.starts_with("refs/") {
            vec![self.0.clone()]
        } else {
            vec![format!("refs/heads/{}", self.0), format!("refs/tags/{}", self.0)]
        }
    }

    /// Whether it is the beginning of a commit's id, long enough to mean one.
    #[must_use]
    pub fn abbreviates(&self, commit: &str) -> bool {
        self.0.len() >= 7 && commit.starts_with(&self.0)
    }
}

impl Default for Label {
    fn default() -> Self {
        Self(MAIN.to_owned())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_ref_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(120).collect();
        Err(Error::malformed(
            format!("revision {shown:?}"),
            "ref-name",
            "is no name of a branch, tag or commit",
        ))
    }
}

/// The rules of `git check-ref-format`, and 255 bytes at most.
#[must_use]
pub fn is_ref_name(text: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let part = |part: &str| {
        let extension = std::path::Path::new(part).extension();
        !part.is_empty() && !part.starts_with('.') && extension.is_none_or(|last| last != "lock")
    };
    !text.is_empty()
        && text.len() <= 255
        && text != "@"
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && !text.contains(bad)
        && text.split('/').all(part)
}

/// What is wrong with a path that a registry lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// No git repository has such a path; whoever lists it is not to be believed.
    Hostile(&'static str),
    /// Git has it, but it is not kept here.
    Unsupported(&'static str),
}

/// Bytes of a path that is kept: what is left of [`ContentPath`]'s when repository and commit stand before it.
const PATH_LIMIT: usize = 3800;

/// Checks the path of a file within a repository.
///
/// # Errors
/// What kind of bad path it is.
pub fn check_path(path: &str) -> Result<(), BadPath> {
    if path.is_empty() || path.len() >= 4096 {
        return Err(BadPath::Hostile("is empty or has 4096 bytes or more"));
    }
    if path.contains(['\0', '\\']) || path.contains(char::is_control) {
        return Err(BadPath::Hostile("contains a control character or a backslash"));
    }
    for part in path.split('/') {
        match part {
            "" => return Err(BadPath::Hostile("has an empty component")),
            "." | ".." => return Err(BadPath::Hostile("has a dot component")),
            _ if part.eq_ignore_ascii_case(".git") => return Err(BadPath::Hostile("has a component `.git`")),
            _ => {}
        }
    }
    match path.parse::<ContentPath>() {
        Ok(_) if path.len() > PATH_LIMIT => Err(BadPath::Unsupported("is too long to be kept")),
        Ok(_) => Ok(()),
        Err(Error::Malformed { .. }) => Err(BadPath::Unsupported(
            "is not in normal form C, or has a too long or percent-escaped component",
        )),
        Err(_) => Err(BadPath::Unsupported("is no path")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_the_hubs() {
        for (text, folder) in [
            ("org/name", "models/org/name"),
            ("gpt2", "models/-/gpt2"),
            ("datasets/org/na.me_1", "datasets/org/na.me_1"),
            ("datasets/squad", "datasets/-/squad"),
        ] {
            let id: RepoId = text.parse().unwrap();
            assert_eq!((id.to_string().as_str(), id.folder().as_str()), (text, folder));
        }
        let long = "a".repeat(97);
        for text in
            ["", "/", "a/", "/a", "a/b/c", "a--b", "a..b", "-a", "a.", "a.git", "a b", "é", "../a", &long]
        {
            assert!(RepoId::new(RepoKind::Model, text).is_err(), "{text}");
        }
    }

    #[test]
    fn object_ids_are_forty_lower_case_digits() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(id.parse::<ObjectId>().unwrap().to_string(), id);
        for text in ["", &id[1..], &id.to_uppercase(), "../../../../../../../../../../../../../evil"] {
            assert!(text.parse::<ObjectId>().is_err(), "{text}");
        }
    }

    #[test]
    fn refs_are_gits() {
        for text in ["main", "v1.0", "refs/pr/1", "dev/x", "refs/convert/parquet", "a@b"] {
            assert!(text.parse::<Label>().is_ok(), "{text}");
        }
        for text in [
            "", "a..b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a b", "a~1", "@", "a@{1}", "-x",
            "a\u{7f}",
        ] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_that_git_cannot_have_are_hostile() {
        let long = "a/".repeat(2048);
        for path in ["../x", "/abs", "a//b", ".git/config", "a/.GIT/b", "a\0b", "a\\b", "", "a/./b", &long] {
            assert!(matches!(check_path(path), Err(BadPath::Hostile(_))), "{path}");
        }
        for path in ["e\u{301}", "a%2fb"] {
            assert!(matches!(check_path(path), Err(BadPath::Unsupported(_))), "{path}");
        }
        for path in ["CON", "model.safetensors", "a b/é.json", ".gitattributes"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = text.parse::<RepoId>();
            let _ = text.parse::<Label>();
            let _ = text.parse::<ObjectId>();
            let _ = check_path(&text);
        }
    }
}
