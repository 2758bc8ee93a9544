//! The Ed25519 key (RFC 8032) by which one Reservoir signs its records, and the public keys it trusts.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::format;
use crate::{
    error::{Error, Result},
    secret,
};

const KIND: &str = "instance-key";

/// The secret key of one Reservoir. `Debug` shows the public half only.
pub struct InstanceKey(SigningKey);

/// The public half of an [`InstanceKey`]; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    kind: String,
    version: String,
    algorithm: String,
    public: String,
    secret: String,
}

impl InstanceKey {
    /// Makes a new key from the operating system's randomness.
    pub fn generate() -> Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Error::Io {
            operation: "read random bytes for a key".to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key file. Blocks on the disk.
    ///
    /// [`Error::NotFound`] when there is none, [`Error::TooNew`] when a newer program wrote it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let what = format!("key file `{}`", path.display());
        Self::parse(&secret::read(path)?, &what)
    }

    /// Writes a new key file, mode 0600, durable before `Ok`. Blocks on the disk.
    ///
    /// Never overwrites: [`Error::Conflict`] when the file exists.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let file = KeyFile {
            kind: KIND.to_owned(),
            version: format::VERSION.to_owned(),
            algorithm: "ed25519".to_owned(),
            public: self.public().to_string(),
            secret: BASE64_STANDARD.encode(self.0.as_bytes()),
        };
        let mut bytes = serde_json::to_vec_pretty(&file)
            .map_err(|error| Error::invalid("key file", error.to_string()))?;
        bytes.push(b'\n');
        secret::write_new(path.as_ref(), &bytes)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        format::check(bytes, KIND, what)?;
        // Parser messages quote what they read; of a secret they must not.
        let malformed = |detail: &str| Error::malformed(what, "key-file", detail);
        let file: KeyFile = serde_json::from_slice(bytes)
            .map_err(|_| malformed("a field is missing, unknown or misshapen"))?;
        if file.algorithm != "ed25519" {
            return Err(malformed("the algorithm is not `ed25519`"));
        }
        let seed = BASE64_STANDARD.decode(&file.secret).ok().and_then(|seed| <[u8; 32]>::try_from(seed).ok());
        let key = Self(SigningKey::from_bytes(&seed.ok_or_else(|| malformed("the secret is not 32 bytes"))?));
        if key.public().to_string() != file.public {
            return Err(malformed("the public half does not belong to the secret"));
        }
        Ok(key)
    }
}

impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl PublicKey {
    /// The point, as RFC 8032 writes it.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Takes 32 bytes that are a point on the curve that is not weak.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Result<Self> {
        crate::digest::Sha256Digest::from_bytes(bytes).to_string().parse()
    }

    /// Checks a signature strictly: one message and key have one valid encoding of it.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{self}")
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    /// Takes 64 hexadecimal digits of a point on the curve that is not weak.
    fn from_str(text: &str) -> Result<Self> {
        let shown = || text.chars().take(80).collect::<String>();
        let bad = |rule| Error::invalid("public key", format!("`{}` {rule}", shown()));
        // A digest has the same shape.
        let digits: crate::digest::Sha256Digest =
            text.parse().map_err(|_| bad("is not 64 hexadecimal digits"))?;
        let key = VerifyingKey::from_bytes(digits.as_bytes()).map_err(|_| bad("is no Ed25519 key"))?;
        if key.is_weak() {
            return Err(bad("is a weak key"));
        }
        Ok(Self(key))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn saves_and_loads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instance.key");
        let key = InstanceKey::generate().unwrap();
        key.save(&path).unwrap();
        assert_eq!(InstanceKey::load(&path).unwrap().public(), key.public());
        assert_eq!(InstanceKey::generate().unwrap().save(&path).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
    }

    #[test]
    fn the_secret_is_never_printed() {
        let key = InstanceKey::generate().unwrap();
        let secret = BASE64_STANDARD.encode(key.0.as_bytes());
        let hex: String =
            key.0.as_bytes().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let file = format!(
            r#"{{"kind":"instance-key","version":"1","algorithm":"ed25519","public":"x","secret":{secret:?},"a":0}}"#
        );
        let shown = format!("{key:?} {:?}", InstanceKey::parse(file.as_bytes(), "key").unwrap_err());
        assert!(!shown.contains(&secret) && !shown.contains(&hex), "{shown}");
    }

    #[test]
    fn foreign_files_are_refused() {
        let parse = |text: &str| InstanceKey::parse(text.as_bytes(), "key").unwrap_err().kind();
        assert_eq!(parse(""), ErrorKind::Malformed);
        assert_eq!(parse(r#"{"kind":"page","version":"1"}"#), ErrorKind::Malformed);
        assert_eq!(parse(r#"{"kind":"instance-key","version":"2"}"#), ErrorKind::TooNew);
        assert_eq!(parse(r#"{"kind":"instance-key","version":"1"}"#), ErrorKind::Malformed);
        assert!("0".repeat(64).parse::<PublicKey>().is_err(), "the identity point signs anything");
    }
}
