//! What a Release says of a suite. Made from verified text only.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result, clock::Timestamp, digest::Sha256Digest, openpgp::Verified, path::ContentPath,
};

use super::date;
use crate::{
    control::{Stanza, words},
    name::Suite,
    sha512::Sha512Digest,
};

/// Most bytes of a Release, as of a signed message.
pub(super) const LIMIT: usize = 8 << 20;
/// Most files that it may list.
const FILES: usize = 200_000;

/// A Release that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What a Release says of one file. One of the digests is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// Bytes.
    pub(super) size: u64,
    /// Their digest.
    pub(super) sha256: Option<Sha256Digest>,
    /// Their other digest.
    pub(super) sha512: Option<Sha512Digest>,
}

impl Listed {
    /// What tells its bytes from others, as text.
    pub(super) fn identity(&self) -> String {
        match (self.sha256, self.sha512) {
            (Some(sha256), _) => sha256.to_string(),
            (None, Some(sha512)) => sha512.to_string(),
            (None, None) => String::new(),
        }
    }

    /// Its name by hash, below its folder.
    pub(super) fn by_hash(&self) -> String {
        let algorithm = if self.sha256.is_some() { "SHA256" } else { "SHA512" };
        format!("by-hash/{algorithm}/{}", self.identity())
    }
}

/// Fields that list files. Weaker digests than SHA-256 do not count.
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
        let mut files = BTreeMap::new();
        let mut any = false;
        if let Some(list) = stanza.get("SHA256") {
            any = true;
            read_list(what, list, &mut files, |text| Some((Some(text.parse().ok()?), None)))?;
        }
        if let Some(list) = stanza.get("SHA512") {
            any = true;
            read_list(what, list, &mut files, |text| Some((None, Some(text.parse().ok()?))))?;
        }
        if !any {
            let detail = "it lists neither SHA256 nor SHA512; weaker digests do not count";
            return Err(refused("release-hashes", detail.into()));
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

type Digests = (Option<Sha256Digest>, Option<Sha512Digest>);

/// Reads one list of files; what another list said of one is added to.
fn read_list(
    what: &str,
    list: &str,
    files: &mut BTreeMap<ContentPath, Listed>,
    digests: impl Fn(&str) -> Option<Digests>,
) -> Result<()> {
    let refused = |detail: String| Err(Error::malformed(what, "release-list", detail));
    for line in list.lines().filter(|line| !line.is_empty()) {
        let mut parts = words(line);
        let entry = (|| {
            let (digest, size, path) = (parts.next()?, parts.next()?, parts.next()?);
            let (sha256, sha512) = digests(digest)?;
            let listed = Listed { size: size.parse().ok()?, sha256, sha512 };
            parts.next().is_none().then_some((path, listed))
        })();
        let Some((path, listed)) = entry else {
            let shown: String = line.chars().take(120).collect();
            return refused(format!("{shown:?} is not a digest, a size and a path"));
        };
        // A path that could lead elsewhere is no index that anybody reads.
        let Ok(path) = path.strip_prefix("./").unwrap_or(path).parse::<ContentPath>() else { continue };
        if files.len() == FILES && !files.contains_key(&path) {
            return Err(Error::LimitExceeded { what: what.to_owned(), limit: format!("{FILES} files") });
        }
        let known = files.entry(path.clone()).or_insert(listed);
        let both = Listed {
            size: listed.size,
            sha256: known.sha256.or(listed.sha256),
            sha512: known.sha512.or(listed.sha512),
        };
        let agree = known.size == listed.size
            && listed.sha256.is_none_or(|sha256| both.sha256 == Some(sha256))
            && listed.sha512.is_none_or(|sha512| both.sha512 == Some(sha512));
        if !agree {
            return refused(format!("`{path}` is listed twice, differently"));
        }
        *known = both;
    }
    Ok(())
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
    fn sha512_counts_alone_and_beside_sha256() {
        let sha512 = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                      47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        let path: ContentPath = "main/binary-amd64/Packages".parse().unwrap();
        let both = good() + &format!("\nSHA512:\n {sha512} 12 {path}");
        let release = Release::read("Release", both.as_bytes()).unwrap();
        assert_eq!(release.files[&path].by_hash(), format!("by-hash/SHA256/{SHA}"));
        assert!(release.files[&path].sha512.is_some());
        let alone = both.replace("SHA256:", "SHA3-256:");
        let release = Release::read("Release", alone.as_bytes()).unwrap();
        assert_eq!(release.files[&path].by_hash(), format!("by-hash/SHA512/{sha512}"));
        assert_eq!(rule(&(good() + &format!("\nSHA512:\n {sha512} 13 {path}"))), "release-list");
        assert_eq!(rule(&(good() + &format!("\nSHA512:\n {} 12 {path}", &sha512[1..]))), "release-list");
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
