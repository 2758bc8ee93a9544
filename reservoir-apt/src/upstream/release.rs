//! What a Release says of a suite. Made from verified text only.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result, clock::Timestamp, digest::Sha256Digest, openpgp::Verified, path::ContentPath,
};

use super::date;
use crate::{
    control::{Stanza, words},
    name::Suite,
};

/// Most bytes of a Release, as of a signed message.
pub(super) const LIMIT: usize = 8 << 20;
/// Most files that it may list.
const FILES: usize = 200_000;

/// A Release that was verified.
#[derive(Debug, Clone)]
pub(super) struct Release {
    /// Its fields but the lists of files, names in lower case, values on one line.
    pub(super) fields: BTreeMap<String, String>,
    /// When it was made.
    pub(super) date: Timestamp,
    /// Until when it may be believed.
    pub(super) valid_until: Option<Timestamp>,
    /// The files it lists, by their paths below the suite.
    pub(super) files: BTreeMap<ContentPath, Listed>,
}

/// What a Release says of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// Bytes.
    pub(super) size: u64,
    /// Their digest.
    pub(super) sha256: Sha256Digest,
}

/// Fields that list files; the strongest that is known here counts.
const LISTS: [&str; 4] = ["md5sum", "sha1", "sha256", "sha512"];

impl Release {
    /// Reads a verified Release.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rules of [`Stanza::parse`] and `release-date`, `release-hashes`,
    /// `release-list`.
    pub(super) fn parse(what: &str, verified: &Verified) -> Result<Self> {
        Self::read(what, verified.text())
    }

    fn read(what: &str, text: &[u8]) -> Result<Self> {
        let refused = |rule, detail: String| Error::malformed(what, rule, detail);
        let stanza = Stanza::parse_within(text.trim_ascii_end(), LIMIT)?;
        let time = |name: &str| match stanza.get(name) {
            None => Ok(None),
            Some(value) => match date::parse(value) {
                Some(time) => Ok(Some(time)),
                None => Err(refused("release-date", format!("`{name}: {value}` is no date"))),
            },
        };
        let Some(date) = time("Date")? else { return Err(refused("release-date", "it has no Date".into())) };
        let valid_until = time("Valid-Until")?;
        let Some(list) = stanza.get("SHA256") else {
            return Err(refused("release-hashes", "it lists no SHA256; weaker digests do not count".into()));
        };
        let mut files = BTreeMap::new();
        for line in list.lines().filter(|line| !line.is_empty()) {
            if files.len() == FILES {
                return Err(Error::LimitExceeded { what: what.to_owned(), limit: format!("{FILES} files") });
            }
            let mut parts = words(line);
            let entry = (|| {
                let (sha256, size, path) = (parts.next()?, parts.next()?, parts.next()?);
                let listed = Listed { size: size.parse().ok()?, sha256: sha256.parse().ok()? };
                parts.next().is_none().then_some((path, listed))
            })();
            let Some((path, listed)) = entry else {
                let shown: String = line.chars().take(120).collect();
                return Err(refused("release-list", format!("{shown:?} is not a digest, a size and a path")));
            };
            // A path that could lead elsewhere is no index that anybody reads.
            let Ok(path) = path.strip_prefix("./").unwrap_or(path).parse::<ContentPath>() else { continue };
            if files.insert(path.clone(), listed).is_some_and(|before| before != listed) {
                return Err(refused("release-list", format!("`{path}` is listed twice, differently")));
            }
        }
        let fields = stanza.fields().filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            (!LISTS.contains(&name.as_str()) && !value.contains('\n')).then(|| (name, value.to_owned()))
        });
        Ok(Self { fields: fields.collect(), date, valid_until, files })
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Whether indexes may be asked for by their digest.
    pub(super) fn by_hash(&self) -> bool {
        self.field("acquire-by-hash") == Some("yes")
    }

    /// Whether it speaks of the suite that was asked for. Archives that give no name speak of any.
    pub(super) fn is_of(&self, suite: &Suite) -> bool {
        let names: Vec<&str> =
            ["suite", "codename"].into_iter().filter_map(|name| self.field(name)).collect();
        if suite.is_flat() || names.is_empty() {
            return true;
        }
        // `stable/updates` of an archive may call itself `stable`, as may `bookworm-security` `stable-security`.
        let asked = suite.name();
        names
            .iter()
            .any(|name| *name == asked || asked.split_once('/').is_some_and(|(head, _)| head == *name))
    }

    /// The components it names, without what stands before their last slash where `components` are written so.
    pub(super) fn components(&self) -> Vec<&str> {
        self.field("components").map(|value| words(value).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn rule(text: &str) -> &'static str {
        match Release::read("Release", text.as_bytes()) {
            Err(Error::Malformed { rule, .. }) => rule,
            other => panic!("{other:?}"),
        }
    }

    fn good() -> String {
        format!(
            "Origin: Example\nSuite: stable\nCodename: one\nDate: Sat, 08 Nov 2025  9:11:29 UTC\n\
             Components: updates/main contrib\nMD5Sum:\n 00 1 a\nSHA256:\n {}        12 main/binary-amd64/Packages\n \
             {SHA} 0 ../escape\nAcquire-By-Hash: yes",
            SHA.to_uppercase()
        )
    }

    #[test]
    fn fields_and_files() {
        let release = Release::read("Release", format!("{}\n\n", good()).as_bytes()).unwrap();
        assert_eq!(release.files.len(), 1, "{:?}", release.files);
        assert!(release.by_hash());
        assert_eq!(release.components(), ["updates/main", "contrib"]);
        for (suite, expected) in
            [("stable", true), ("one", true), ("two", false), ("stable/updates", true), ("/", true)]
        {
            assert_eq!(release.is_of(&suite.parse().unwrap()), expected, "{suite}");
        }
        assert!(!release.fields.contains_key("sha256"));
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(rule(&good().replace("Date: ", "Data: ")), "release-date");
        assert_eq!(rule(&good().replace("Sat, 08 Nov", "soon")), "release-date");
        assert_eq!(rule(&good().replace("SHA256:", "SHA-256:")), "release-hashes");
        assert_eq!(rule(&good().replace(" 12 main", " twelve main")), "release-list");
        assert_eq!(rule(&good().replace("../escape", "main/binary-amd64/Packages")), "release-list");
        assert_eq!(rule(&good().replace("Codename:", "Suite:")), "control-duplicate");
        assert_eq!(rule(&good().replace("Codename: one", "\nCodename: one")), "control-blank-line");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(at in 0_usize..400, byte: u8) {
            let mut text = good().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            let _ = Release::read("Release", &text);
        }
    }
}
