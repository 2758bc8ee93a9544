//! Certificates that may sign, as read from keyring files.

use std::{fmt, path::Path};

use pgp::{
    composed::{Deserializable as _, SignedPublicKey},
    types::KeyDetails as _,
};

use super::certificate::Certificate;
use crate::error::{Error, Result};

/// Most bytes of one keyring file.
const LIMIT: u64 = 8 << 20;
/// Most certificates of one keyring.
const CERTIFICATES: usize = 4096;
const BEGIN_KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END_KEY: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Certificates (public keys with their subkeys and self-signatures). What they may do is judged when they are used.
#[derive(Clone, Default)]
pub struct Keyring {
    pub(super) certificates: Vec<Certificate>,
}

impl Keyring {
    /// Reads certificates, binary or as any number of armored blocks one after the other. Certificates that cannot be
    /// read, such as those of algorithms unknown here, are left out; `what` names the keyring in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] (`keyring`) when no certificate is left, [`Error::LimitExceeded`].
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > LIMIT {
            return Err(Error::LimitExceeded { what: what.to_owned(), limit: format!("{LIMIT} bytes") });
        }
        let mut keyring = Self::default();
        if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
            keyring.read(what, bytes)?;
        } else {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Error::malformed(what, "keyring", "it is neither binary nor armored"))?;
            let mut rest = text;
            while let Some((_, block)) = rest.split_once(BEGIN_KEY) {
                let Some((body, after)) = block.split_once(END_KEY) else {
                    return Err(Error::malformed(what, "keyring", "an armored block has no end"));
                };
                keyring.read_armored(what, &format!("{BEGIN_KEY}{body}{END_KEY}\n"))?;
                rest = after;
            }
        }
        if keyring.is_empty() {
            return Err(Error::malformed(what, "keyring", "no OpenPGP certificate was found in it"));
        }
        Ok(keyring)
    }

    /// Reads a keyring file. Blocks on the disk.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`Error::NotFound`], [`Error::Io`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let what = format!("keyring `{}`", path.display());
        let bytes = match std::fs::metadata(path)
            .and_then(|found| if found.len() > LIMIT { Ok(None) } else { std::fs::read(path).map(Some) })
        {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(Error::LimitExceeded { what, limit: format!("{LIMIT} bytes") }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::not_found("keyring", path.display()));
            }
            Err(error) => return Err(Error::io(format!("read {what}"))(error)),
        };
        Self::parse(&what, &bytes)
    }

    /// Takes over the certificates of another keyring.
    pub fn merge(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
    }

    /// Whether there is no certificate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The certificates as a binary keyring, as clients take it; with `fingerprints`, those of them, where one is left.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a certificate that cannot be written.
    pub fn export(&self, fingerprints: &[String]) -> Result<Vec<u8>> {
        let pinned =
            |certificate: &&Certificate| fingerprints.iter().any(|own| own == certificate.fingerprint());
        let any = self.certificates.iter().any(|certificate| pinned(&certificate));
        let mut bytes = Vec::new();
        for certificate in self.certificates.iter().filter(|certificate| !any || pinned(certificate)) {
            certificate.write(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// The fingerprints of the certificates: upper-case hexadecimal digits.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.certificates.iter().map(Certificate::fingerprint)
    }

    fn read(&mut self, what: &str, bytes: &[u8]) -> Result<()> {
        let keys = SignedPublicKey::from_bytes_many(bytes)
            .map_err(|error| Error::malformed(what, "keyring", error.to_string()))?;
        self.take(what, keys)
    }

    fn read_armored(&mut self, what: &str, block: &str) -> Result<()> {
        let (keys, _) = SignedPublicKey::from_string_many(block)
            .map_err(|error| Error::malformed(what, "keyring", error.to_string()))?;
        self.take(what, keys)
    }

    fn take(
        &mut self,
        what: &str,
        keys: impl Iterator<Item = pgp::errors::Result<SignedPublicKey>>,
    ) -> Result<()> {
        for key in keys.flatten() {
            if self.certificates.len() == CERTIFICATES {
                let limit = format!("{CERTIFICATES} certificates");
                return Err(Error::LimitExceeded { what: what.to_owned(), limit });
            }
            let fingerprint = format!("{:X}", key.primary_key.fingerprint());
            self.certificates.push(Certificate::new(key, fingerprint));
        }
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fingerprints()).finish()
    }
}
