//! Verifying what registries sign. Only what this module returns was verified, so only that may be parsed.

use std::fmt;

use bytes::Bytes;
use pgp::{
    composed::{Deserializable as _, DetachedSignature},
    packet::{Signature, SignatureType},
};

use super::{Keyring, cleartext, policy};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
};

/// Most bytes of a signed text.
const TEXT_LIMIT: usize = 8 << 20;
/// Most bytes of the signatures of one text, armored.
const SIGNATURE_LIMIT: usize = 256 << 10;
/// Most signatures of one text.
const SIGNATURES: usize = 64;

/// By whom something must be signed.
#[derive(Debug, Clone)]
pub struct Trust<'a> {
    /// The certificates that may sign.
    pub keyring: &'a Keyring,
    /// Where not empty: only certificates or subkeys with these fingerprints (upper-case hexadecimal digits).
    pub pins: &'a [String],
    /// The time at which keys must not have expired.
    pub now: Timestamp,
}

/// A text and who signed it. Made by verification only.
#[derive(Clone)]
pub struct Verified {
    text: Bytes,
    signers: Vec<SignedBy>,
}

/// A key whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The fingerprint of the certificate: upper-case hexadecimal digits.
    pub certificate: String,
    /// The fingerprint of the key that signed: that of the certificate, or of one of its subkeys.
    pub key: String,
    /// When it was signed, by the signer's own clock.
    pub at: Timestamp,
}

impl Verified {
    /// The text that was verified, and nothing else: of a cleartext message what is signed, without white space at
    /// the ends of lines.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The keys whose signatures hold; one at least.
    #[must_use]
    pub fn signers(&self) -> &[SignedBy] {
        &self.signers
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("bytes", &self.text.len()).field("signers", &self.signers).finish()
    }
}

impl Trust<'_> {
    /// Verifies a message in the cleartext signature framework (`InRelease`). One good signature suffices; those of
    /// unknown keys count for nothing. `what` names the message in errors. Hashes in place: call it off the reactor.
    ///
    /// # Errors
    /// [`Error::Untrusted`] with the reason for each signature of a known key, [`Error::Malformed`],
    /// [`Error::LimitExceeded`].
    pub fn cleartext(&self, what: &str, message: &[u8]) -> Result<Verified> {
        check_limit(what, message.len(), TEXT_LIMIT)?;
        let message = cleartext::split(what, message)?;
        let signers = self.signers(what, &message.text, message.armor, &[SignatureType::Text])?;
        Ok(Verified { text: message.text.into(), signers })
    }

    /// Verifies a text under armored detached signatures (`Release` under `Release.gpg`), otherwise as
    /// [`cleartext`](Self::cleartext).
    ///
    /// # Errors
    /// As [`cleartext`](Self::cleartext).
    pub fn detached(&self, what: &str, text: Bytes, armored: &[u8]) -> Result<Verified> {
        check_limit(what, text.len(), TEXT_LIMIT)?;
        cleartext::check_armor(what, armored)?;
        let signers = self.signers(what, &text, armored, &[SignatureType::Binary, SignatureType::Text])?;
        Ok(Verified { text, signers })
    }

    fn signers(
        &self,
        what: &str,
        text: &[u8],
        armor: &[u8],
        kinds: &[SignatureType],
    ) -> Result<Vec<SignedBy>> {
        check_limit(&format!("the signature of {what}"), armor.len(), SIGNATURE_LIMIT)?;
        let unreadable = |error: &dyn fmt::Display| {
            Error::malformed(what, "signature-data", format!("its signature cannot be read: {error}"))
        };
        let (signatures, _) =
            DetachedSignature::from_armor_many_buf(armor).map_err(|error| unreadable(&error))?;
        let mut signers = Vec::new();
        let mut refused = Vec::new();
        for (index, signature) in signatures.enumerate() {
            if index == SIGNATURES {
                let limit = format!("{SIGNATURES} signatures");
                return Err(Error::LimitExceeded { what: what.to_owned(), limit });
            }
            // One of a kind that is unknown here must not hide the good one beside it.
            let Ok(signature) = signature else { continue };
            match self.judge(&signature.signature, text, kinds) {
                Ok(signer) => signers.push(signer),
                Err(reason) => refused.push(reason),
            }
        }
        if signers.is_empty() {
            refused.dedup();
            let reason =
                if refused.is_empty() { "it has no signature".to_owned() } else { refused.join("; ") };
            return Err(Error::Untrusted { what: what.to_owned(), reason });
        }
        Ok(signers)
    }

    /// Whether one signature counts; why not, in words.
    fn judge(&self, signature: &Signature, text: &[u8], kinds: &[SignatureType]) -> Result<SignedBy, String> {
        let candidates: Vec<_> =
            self.keyring.certificates.iter().flat_map(|certificate| certificate.issuers(signature)).collect();
        if candidates.is_empty() {
            return Err(format!("a signature is by {}, which is not in the keyring", issuer(signature)));
        }
        let mut reason = String::new();
        for key in candidates {
            let (certificate, fingerprint) = (key.certificate().fingerprint().to_owned(), key.fingerprint());
            let pinned =
                self.pins.is_empty() || self.pins.contains(&certificate) || self.pins.contains(&fingerprint);
            let at = signature.created().map_or(0, pgp::types::Timestamp::as_secs);
            let judged = if pinned { Ok(()) } else { Err("is none of those pinned in `keys`".to_owned()) }
                .and_then(|()| key.judge(at, self.now))
                .map_err(|reason| format!("key {fingerprint} {reason}"))
                .and_then(|()| {
                    let known = signature.typ().is_some_and(|kind| kinds.contains(&kind));
                    if known { policy::check(signature, self.now) } else { Err("is of another kind".into()) }
                        .map_err(|reason| format!("the signature by key {fingerprint} {reason}"))
                })
                .and_then(|()| {
                    let wrong = || format!("the signature by key {fingerprint} does not fit the text");
                    if key.verifies(signature, text) { Ok(()) } else { Err(wrong()) }
                });
            match judged {
                Ok(()) => {
                    let at = Timestamp::from_micros(i64::from(at) * 1_000_000);
                    return Ok(SignedBy { certificate, key: fingerprint, at });
                }
                Err(refused) => reason = refused,
            }
        }
        Err(reason)
    }
}

fn issuer(signature: &Signature) -> String {
    if let Some(fingerprint) = signature.issuer_fingerprint().first() {
        return format!("key {fingerprint:X}");
    }
    match signature.issuer_key_id().first() {
        Some(id) => format!("key {id}"),
        None => "a key that it does not name".into(),
    }
}

fn check_limit(what: &str, length: usize, limit: usize) -> Result<()> {
    if length > limit {
        return Err(Error::LimitExceeded { what: what.to_owned(), limit: format!("{limit} bytes") });
    }
    Ok(())
}
