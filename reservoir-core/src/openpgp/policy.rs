//! What a signature must be like, whoever made it.

use pgp::{
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureVersion},
};

use crate::clock::Timestamp;

/// How far the clocks of signers may be ahead of ours, in seconds.
const SKEW: i64 = 600;

/// Version, hash and time of a signature over anything; why it is refused, in words.
pub(super) fn check(signature: &Signature, now: Timestamp) -> Result<(), String> {
    if !matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6) {
        return Err("has an outdated version".into());
    }
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => {}
        Some(weak) => return Err(format!("uses {weak:?}, which policy does not accept")),
        None => return Err("cannot be read".into()),
    }
    let Some(created) = signature.created() else { return Err("has no date".into()) };
    let (created, now) = (i64::from(created.as_secs()), now.as_seconds());
    if created > now + SKEW {
        return Err(format!("is dated {}, in the future", Timestamp::from_micros(created * 1_000_000)));
    }
    match signature.signature_expiration_time() {
        Some(lifetime) if lifetime.as_secs() > 0 && created + i64::from(lifetime.as_secs()) <= now => {
            Err("has expired".into())
        }
        _ => Ok(()),
    }
}
