//! Keys and signatures in minisign's format (prehashed Ed25519), so that the stock `minisign -V` checks a bundle
//! without us.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use blake2::{Blake2b512, Digest as _};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    snapshot::{InstanceKey, PublicKey},
};

/// The longest comment of a key or signature, in bytes.
const COMMENT: usize = 1024;
/// The longest key or signature file, in bytes.
pub(crate) const FILE: usize = 4096;
const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";

/// The secret key that signs what leaves one Reservoir: bundles and inventories. It is not the instance key, so
/// that it can be replaced without touching the history that the instance key signed.
#[derive(Debug)]
pub struct StreamKey(InstanceKey);

impl StreamKey {
    /// Makes a new key from the operating system's randomness.
    pub fn generate() -> Result<Self> {
        InstanceKey::generate().map(Self)
    }

    /// Reads a key file. Blocks on the disk. [`Error::NotFound`] when there is none.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        InstanceKey::load(path).map(Self)
    }

    /// Writes a new key file, mode 0600. Blocks on the disk. Never overwrites.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.0.save(path)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> BundleKey {
        BundleKey(self.0.public())
    }

    /// A minisign signature file over `bytes`; `comment` is signed too.
    #[must_use]
    pub fn sign(&self, bytes: &[u8], comment: &str) -> String {
        let signature = self.0.sign(&Blake2b512::digest(bytes));
        let comment: String = comment.chars().filter(|c| !c.is_control()).take(COMMENT / 4).collect();
        let global = self.0.sign(&[&signature[..], comment.as_bytes()].concat());
        let id = self.public().id();
        let first = [&b"ED"[..], &id, &signature].concat();
        format!(
            "{UNTRUSTED}signature from reservoir key {}\n{}\n{TRUSTED}{comment}\n{}\n",
            self.public().name(),
            BASE64_STANDARD.encode(first),
            BASE64_STANDARD.encode(global),
        )
    }
}

/// The public half of a [`StreamKey`]; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BundleKey(PublicKey);

impl BundleKey {
    /// The first half of its own digest: minisign's short name of a key.
    fn id(&self) -> [u8; 8] {
        let digest = Blake2b512::digest(self.0.to_bytes());
        std::array::from_fn(|index| digest[index])
    }

    /// The short name, as `minisign` prints it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{:016X}", u64::from_le_bytes(self.id()))
    }

    /// A minisign public key file.
    #[must_use]
    pub fn to_file(&self) -> String {
        let bytes = [&b"Ed"[..], &self.id(), &self.0.to_bytes()].concat();
        format!("{UNTRUSTED}minisign public key {}\n{}\n", self.name(), BASE64_STANDARD.encode(bytes))
    }

    /// Reads a minisign public key file, or its second line alone.
    ///
    /// The short name is what the file says; only a Reservoir derives it from the key, so keys made by `minisign`
    /// itself are not taken.
    pub fn from_file(text: &str) -> Result<Self> {
        let malformed = |detail: &str| Error::malformed("public key", "minisign-key", detail);
        if text.len() > FILE {
            return Err(malformed("is too long"));
        }
        let mut lines = text.lines();
        let mut line = lines.next().unwrap_or_default();
        if line.starts_with(UNTRUSTED) {
            line = lines.next().unwrap_or_default();
        }
        if lines.any(|line| !line.trim().is_empty()) {
            return Err(malformed("has more lines than a minisign public key"));
        }
        let bytes = BASE64_STANDARD.decode(line.trim()).map_err(|_| malformed("is not base64"))?;
        let bytes: [u8; 42] = bytes.try_into().map_err(|_| malformed("is not 42 bytes long"))?;
        if &bytes[..2] != b"Ed" {
            return Err(malformed("is not an Ed25519 key of minisign"));
        }
        let key = Self(PublicKey::from_bytes(std::array::from_fn(|index| bytes[10 + index]))?);
        if bytes[2..10] != key.id() {
            return Err(malformed("was not made by a reservoir"));
        }
        Ok(key)
    }

    /// Checks a minisign signature file over `bytes`, and nothing else of either; returns the signed comment.
    ///
    /// # Errors
    /// [`Error::Untrusted`] whatever is wrong with it.
    pub fn verify(&self, what: &str, bytes: &[u8], signature: &str) -> Result<String> {
        let refused = |reason: &str| Error::Untrusted { what: what.to_owned(), reason: reason.to_owned() };
        let parts = Signature::parse(signature).map_err(refused)?;
        if parts.id != self.id() {
            return Err(refused("another key signed it"));
        }
        let global = [&parts.first[..], parts.comment.as_bytes()].concat();
        if !self.0.verify(&Blake2b512::digest(bytes), &parts.first) || !self.0.verify(&global, &parts.global)
        {
            return Err(refused("the signature does not hold"));
        }
        Ok(parts.comment.to_owned())
    }

    /// Which of `keys` made a signature that holds.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when none did.
    pub fn verify_any(keys: &[Self], what: &str, bytes: &[u8], signature: &str) -> Result<Self> {
        let refused = |reason: String| Error::Untrusted { what: what.to_owned(), reason };
        if keys.is_empty() {
            return Err(refused("no key is trusted here; run `reservoir key trust FILE`".to_owned()));
        }
        let parts = Signature::parse(signature).map_err(|reason| refused(reason.to_owned()))?;
        let name = u64::from_le_bytes(parts.id);
        let key = keys.iter().find(|key| key.id() == parts.id).ok_or_else(|| {
            refused(format!(
                "it is signed by key {name:016X}, which is not trusted here; see `reservoir key trust`"
            ))
        })?;
        key.verify(what, bytes, signature).map(|_| *key)
    }
}

struct Signature<'a> {
    id: [u8; 8],
    first: [u8; 64],
    comment: &'a str,
    global: [u8; 64],
}

impl<'a> Signature<'a> {
    fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > FILE {
            return Err("the signature file is too long");
        }
        let mut lines = text.split('\n');
        let mut next = || lines.next().ok_or("the signature file is cut short");
        if !next()?.starts_with(UNTRUSTED) {
            return Err("the signature file does not begin as minisign's do");
        }
        let first = BASE64_STANDARD.decode(next()?).map_err(|_| "the signature is not base64")?;
        let comment = next()?.strip_prefix(TRUSTED).ok_or("the signature file has no trusted comment")?;
        let global = BASE64_STANDARD.decode(next()?).map_err(|_| "the second signature is not base64")?;
        if lines.any(|line| !line.is_empty()) {
            return Err("the signature file has too many lines");
        }
        let first: [u8; 74] = first.try_into().map_err(|_| "the signature is not 74 bytes long")?;
        if &first[..2] != b"ED" {
            return Err("the signature is not a prehashed one of minisign");
        }
        Ok(Self {
            id: std::array::from_fn(|index| first[2 + index]),
            first: std::array::from_fn(|index| first[10 + index]),
            comment,
            global: global.try_into().map_err(|_| "the second signature is not 64 bytes long")?,
        })
    }
}

impl fmt::Display for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BundleKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_bytes_and_key_only() {
        let (key, other) = (StreamKey::generate().unwrap(), StreamKey::generate().unwrap());
        let signature = key.sign(b"bytes", "sequence 1");
        assert_eq!(key.public().verify("it", b"bytes", &signature).unwrap(), "sequence 1");
        assert!(key.public().verify("it", b"Bytes", &signature).is_err());
        assert!(other.public().verify("it", b"bytes", &signature).is_err());
        let forged = signature.replace("sequence 1", "sequence 2");
        assert!(key.public().verify("it", b"bytes", &forged).is_err(), "the comment is signed");
        assert!(BundleKey::verify_any(&[], "it", b"bytes", &signature).is_err(), "no key means refuse");
        assert_eq!(
            BundleKey::verify_any(&[other.public(), key.public()], "it", b"bytes", &signature).unwrap(),
            key.public()
        );
    }

    #[test]
    fn every_changed_byte_of_a_signature_is_noticed() {
        let key = StreamKey::generate().unwrap();
        let signature = key.sign(b"bytes", "comment");
        let first = signature.find('\n').unwrap();
        for at in first + 1..signature.len() - 1 {
            let mut bytes = signature.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(key.public().verify("it", b"bytes", &text).is_err(), "{at}");
        }
    }

    #[test]
    fn public_key_files_round_trip() {
        let key = StreamKey::generate().unwrap().public();
        let file = key.to_file();
        assert_eq!(BundleKey::from_file(&file).unwrap(), key);
        assert_eq!(BundleKey::from_file(file.lines().nth(1).unwrap()).unwrap(), key);
        for bad in
            ["", "untrusted comment: x\n", &file.repeat(2), &file.replace("RW", "AW"), &"A".repeat(5000)]
        {
            assert!(BundleKey::from_file(bad).is_err(), "{bad:.80}");
        }
    }
}
