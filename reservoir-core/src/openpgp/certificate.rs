//! What the keys of a certificate may do, by its own self-signatures.
//!
//! Nothing that a certificate says counts unless its primary key signed it with a hash that policy accepts.
//! Signatures of others are not looked at. A revocation that holds counts whenever it was made and whatever its
//! reason: what was signed before it is not to be believed either, because its date could be forged.

use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    packet::{Signature, SignatureType},
    ser::Serialize as _,
    types::{KeyDetails, KeyVersion, PublicParams, Tag, VerifyingKey},
};

use super::policy;
use crate::{
    clock::Timestamp,
    error::{Error, Result},
};

/// RSA keys of fewer bits are refused.
const RSA_BITS: u16 = 2048;

/// A public key with its subkeys and everything that is said of them.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    key: SignedPublicKey,
    fingerprint: String,
}

/// A key of a certificate that made a signature.
#[derive(Clone, Copy)]
pub(super) enum SigningKeyOf<'a> {
    Primary(&'a Certificate),
    Subkey(&'a Certificate, &'a SignedPublicSubKey),
}

impl Certificate {
    pub(super) fn new(key: SignedPublicKey, fingerprint: String) -> Self {
        Self { key, fingerprint }
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        let failed = |error: pgp::errors::Error| {
            Error::invalid(format!("certificate {}", self.fingerprint), error.to_string())
        };
        self.key.to_writer(out).map_err(failed)
    }

    /// The keys that `signature` says it may be by.
    pub(super) fn issuers(&self, signature: &Signature) -> Vec<SigningKeyOf<'_>> {
        let mut found = Vec::new();
        if is_issuer(signature, &self.key.primary_key) {
            found.push(SigningKeyOf::Primary(self));
        }
        let subkeys = self.key.public_subkeys.iter().filter(|subkey| is_issuer(signature, &subkey.key));
        found.extend(subkeys.map(|subkey| SigningKeyOf::Subkey(self, subkey)));
        found
    }

    /// Whether the certificate holds at all, and whether its primary key may sign.
    fn judge(&self, now: Timestamp) -> Result<bool, String> {
        let key = &self.key.primary_key;
        check_strength(key)?;
        let revoked = self.key.details.revocation_signatures.iter().any(|revocation| {
            revocation.typ() == Some(SignatureType::KeyRevocation) && revocation.verify_key(key).is_ok()
        });
        if revoked {
            return Err("is revoked".into());
        }
        let statements = self.statements(now);
        let Some(newest) = statements.iter().max_by_key(|signature| created(signature)) else {
            return Err("has no self-signature that policy accepts".into());
        };
        check_expiry(key, newest, now)?;
        Ok(may_sign(newest))
    }

    /// The self-signatures that hold: on the key itself, and on names that were not revoked.
    fn statements(&self, now: Timestamp) -> Vec<&Signature> {
        let key = &self.key.primary_key;
        let own = |signature: &&Signature| is_issuer(signature, key) && policy::check(signature, now).is_ok();
        let direct = self.key.details.direct_signatures.iter().filter(own).filter(|signature| {
            signature.typ() == Some(SignatureType::Key) && signature.verify_key(key).is_ok()
        });
        let mut statements: Vec<&Signature> = direct.collect();
        for user in &self.key.details.users {
            let holds =
                |signature: &&Signature| signature.verify_certification(key, Tag::UserId, &user.id).is_ok();
            let is_revocation =
                |signature: &&Signature| signature.typ() == Some(SignatureType::CertRevocation);
            let revoked = user
                .signatures
                .iter()
                .filter(|signature| is_revocation(signature) && is_issuer(signature, key))
                .filter(holds)
                .map(created)
                .max();
            let certifications =
                user.signatures.iter().filter(|signature| !is_revocation(signature)).filter(own);
            statements.extend(
                certifications
                    .filter(|signature| revoked.is_none_or(|revoked| created(signature) > revoked))
                    .filter(holds),
            );
        }
        statements
    }

    /// Whether a subkey is bound to the primary key for signing.
    fn judge_subkey(&self, subkey: &SignedPublicSubKey, now: Timestamp) -> Result<(), String> {
        let (primary, key) = (&self.key.primary_key, &subkey.key);
        check_strength(key)?;
        let bound = |signature: &&Signature| signature.verify_subkey_binding(primary, key).is_ok();
        let of = |kind| move |signature: &&Signature| signature.typ() == Some(kind);
        let revocations = subkey.signatures.iter().filter(of(SignatureType::SubkeyRevocation));
        if revocations.filter(|signature| is_issuer(signature, primary)).any(|signature| bound(&signature)) {
            return Err("is revoked".into());
        }
        let bindings = subkey.signatures.iter().filter(of(SignatureType::SubkeyBinding));
        let newest = bindings
            .filter(|signature| policy::check(signature, now).is_ok())
            .filter(bound)
            .max_by_key(|signature| created(signature))
            .ok_or("is not bound to its certificate by a signature that policy accepts")?;
        check_expiry(key, newest, now)?;
        if !newest.key_flags().sign() {
            return Err("is not for signing".into());
        }
        // Without it, anybody could adopt the signing key of another.
        let back = newest.embedded_signature().ok_or("has not agreed to its certificate")?;
        let accepted =
            policy::check(back, now).is_ok() && back.verify_primary_key_binding(key, primary).is_ok();
        if accepted { Ok(()) } else { Err("has not agreed to its certificate".into()) }
    }
}

impl<'a> SigningKeyOf<'a> {
    pub(super) fn certificate(self) -> &'a Certificate {
        match self {
            Self::Primary(certificate) | Self::Subkey(certificate, _) => certificate,
        }
    }

    /// The fingerprint of the key itself.
    pub(super) fn fingerprint(self) -> String {
        match self {
            Self::Primary(certificate) => certificate.fingerprint.clone(),
            Self::Subkey(_, subkey) => format!("{:X}", subkey.key.fingerprint()),
        }
    }

    /// Whether the key may have made a signature over data at `at`; why not, in words.
    pub(super) fn judge(self, at: u32, now: Timestamp) -> Result<(), String> {
        let certificate = self.certificate();
        let primary_signs = certificate.judge(now).map_err(|reason| {
            if matches!(self, Self::Subkey(..)) {
                format!("belongs to a certificate that {reason}")
            } else {
                reason
            }
        })?;
        let made = match self {
            Self::Primary(_) if !primary_signs => return Err("is not for signing".into()),
            Self::Primary(_) => certificate.key.primary_key.created_at(),
            Self::Subkey(_, subkey) => {
                certificate.judge_subkey(subkey, now)?;
                subkey.key.created_at()
            }
        };
        if at < made.as_secs() { Err("is younger than the signature".into()) } else { Ok(()) }
    }

    /// Whether the signature over `data` is by this key, mathematically.
    pub(super) fn verifies(self, signature: &Signature, data: &[u8]) -> bool {
        match self {
            Self::Primary(certificate) => signature.verify(&certificate.key.primary_key, data).is_ok(),
            Self::Subkey(_, subkey) => signature.verify(&subkey.key, data).is_ok(),
        }
    }
}

fn created(signature: &Signature) -> u32 {
    signature.created().map_or(0, pgp::types::Timestamp::as_secs)
}

/// Whether a signature names this key as its issuer.
fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    fingerprints.contains(&&key.fingerprint())
}

/// Of the primary key: without flags it may do everything its algorithm can.
fn may_sign(statement: &Signature) -> bool {
    let stated = statement.config().is_some_and(|config| {
        config.hashed_subpackets().any(|part| matches!(part.data, pgp::packet::SubpacketData::KeyFlags(_)))
    });
    !stated || statement.key_flags().sign()
}

fn check_expiry(key: &impl KeyDetails, statement: &Signature, now: Timestamp) -> Result<(), String> {
    let Some(lifetime) = statement.key_expiration_time().filter(|lifetime| lifetime.as_secs() > 0) else {
        return Ok(());
    };
    let end = i64::from(key.created_at().as_secs()) + i64::from(lifetime.as_secs());
    if end > now.as_seconds() {
        return Ok(());
    }
    Err(format!("expired at {}", Timestamp::from_micros(end * 1_000_000)))
}

/// Algorithms and sizes that policy accepts.
fn check_strength(key: &impl VerifyingKey) -> Result<(), String> {
    if !matches!(key.version(), KeyVersion::V4 | KeyVersion::V6) {
        return Err("has an outdated version".into());
    }
    match key.public_params() {
        parameters @ PublicParams::RSA(_) => {
            // The first number of an RSA key is its modulus, behind its length in bits.
            let bits = match parameters.to_bytes().as_deref() {
                Ok([high, low, ..]) => u16::from_be_bytes([*high, *low]),
                _ => 0,
            };
            if bits < RSA_BITS {
                return Err(format!("is RSA with {bits} bits; {RSA_BITS} are needed"));
            }
            Ok(())
        }
        PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => Ok(()),
        PublicParams::DSA(_) => Err("is DSA, which policy does not accept".into()),
        _ => Err("has an algorithm that policy does not accept for signatures".into()),
    }
}
