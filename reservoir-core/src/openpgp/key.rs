//! The OpenPGP key by which what is published here is signed for clients.

use std::{fmt, path::Path};

use pgp::{
    composed::{ArmorOptions, Deserializable as _, KeyType, SecretKeyParamsBuilder, SignedSecretKey},
    crypto::hash::HashAlgorithm,
    types::{KeyDetails as _, KeyVersion},
};
use rand_core::OsRng;

use crate::{
    error::{Error, Result},
    secret,
};

/// A version 4 Ed25519 key (algorithm 22, RFC 9580 section 9.1) that certifies and signs with its primary key,
/// without a passphrase and without an end date.
///
/// `gpgv` 2.1 and later accepts it, so does apt of Ubuntu 22.04 and later; version 6 keys they do not know.
/// `Debug` shows the fingerprint only.
pub struct SigningKey {
    secret: SignedSecretKey,
}

impl SigningKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// `user_id` is what clients show, such as `Reservoir <reservoir@example.com>`; [`Error::Invalid`] when it is
    /// empty, over 256 bytes or has control characters.
    pub fn generate(user_id: &str) -> Result<Self> {
        if user_id.trim().is_empty() || user_id.len() > 256 || user_id.chars().any(char::is_control) {
            return Err(Error::invalid(
                "user id of the signing key",
                "it must be one line of text, 256 bytes at most, such as `Reservoir <reservoir@example.com>`",
            ));
        }
        let failed = |error: &dyn fmt::Display| Error::invalid("new signing key", error.to_string());
        let parameters = SecretKeyParamsBuilder::default()
            .version(KeyVersion::V4)
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id(user_id.to_owned())
            .preferred_hash_algorithms([HashAlgorithm::Sha512, HashAlgorithm::Sha256].into_iter().collect())
            .build()
            .map_err(|error| failed(&error))?;
        let secret = parameters.generate(OsRng).map_err(|error| failed(&error))?;
        Ok(Self { secret })
    }

    /// Reads a key file. Blocks on the disk.
    ///
    /// [`Error::NotFound`] when there is none, [`Error::Malformed`] when it is no unlocked secret key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&secret::read(path)?, &format!("key file `{}`", path.display()))
    }

    /// Writes a new key file (an armored secret key, as `gpg --import` takes it), mode 0600, durable before `Ok`.
    /// Blocks on the disk.
    ///
    /// Never overwrites: [`Error::Conflict`] when the file exists.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let armored =
            self.secret.to_armored_bytes(ArmorOptions::default()).map_err(|error| bug(&error, "armor"))?;
        secret::write_new(path.as_ref(), &armored)
    }

    /// The public key as clients import it.
    pub fn armored_public(&self) -> Result<String> {
        let public = self.secret.to_public_key();
        public.to_armored_string(ArmorOptions::default()).map_err(|error| bug(&error, "armor"))
    }

    /// The fingerprint: 40 upper-case hexadecimal digits, as `gpg` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.secret.fingerprint())
    }

    pub(super) fn secret(&self) -> &SignedSecretKey {
        &self.secret
    }

    fn parse(armored: &[u8], what: &str) -> Result<Self> {
        // What the parser says may quote what it read; of a secret it must not.
        let malformed = |detail| Error::malformed(what, "openpgp-secret-key", detail);
        let (secret, _) = SignedSecretKey::from_armor_single(armored)
            .map_err(|_| malformed("it is not one armored OpenPGP secret key"))?;
        if secret.primary_key.secret_params().is_encrypted() {
            return Err(malformed("it is locked by a passphrase; give an unlocked key"));
        }
        secret.verify_bindings().map_err(|_| malformed("its self-signatures do not hold"))?;
        Ok(Self { secret })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// The crate failed on a key that it made or accepted itself.
pub(super) fn bug(error: &pgp::errors::Error, operation: &str) -> Error {
    Error::invalid("signing key", format!("cannot {operation}: {error}"))
}
