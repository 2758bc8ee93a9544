//! Signing what clients check: one document, one or several keys.

use std::{fmt, io};

use pgp::{
    armor::{self, BlockType},
    composed::{ArmorOptions, CleartextSignedMessage, SignedPublicKey},
    crypto::hash::HashAlgorithm,
    packet::{PacketTrait as _, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData},
    ser::Serialize,
    types::{KeyDetails as _, Password},
};

use super::{SigningKey, key::bug};
use crate::{clock::Timestamp, error::Result};

/// The keys that everything published here is signed with.
///
/// Several keys make several signatures, of which a client needs to know one: that is how a key is replaced
/// without a day on which some clients refuse. `Debug` shows fingerprints only.
///
/// Signing hashes in memory and takes under a millisecond for a Release of a few hundred kilobytes.
pub struct Signer {
    keys: Vec<SigningKey>,
}

impl Signer {
    /// Signs with these keys, the newest first.
    ///
    /// [`Error::Invalid`](crate::Error::Invalid) without any.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self> {
        if keys.is_empty() {
            return Err(crate::Error::invalid("signer", "needs a key"));
        }
        Ok(Self { keys })
    }

    /// The fingerprints: 40 upper-case hexadecimal digits each.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(SigningKey::fingerprint).collect()
    }

    /// `text` in the cleartext signature framework, dated `at` in whole seconds.
    ///
    /// The same text, time and keys give the same bytes. Lines of `text` should not end in blanks: the framework
    /// drops them from what is signed.
    pub fn clearsign(&self, text: &str, at: Timestamp) -> Result<String> {
        let message = CleartextSignedMessage::new_many(text, |normalised| {
            self.keys.iter().map(|key| sign(key, SignatureType::Text, normalised.as_bytes(), at)).collect()
        });
        message
            .and_then(|message| message.to_armored_string(ArmorOptions::default()))
            .map_err(|error| bug(&error, "sign"))
    }

    /// An armored detached signature over `bytes`, dated `at` in whole seconds.
    pub fn sign_detached(&self, bytes: &[u8], at: Timestamp) -> Result<String> {
        let signatures: pgp::errors::Result<Vec<Signature>> =
            self.keys.iter().map(|key| sign(key, SignatureType::Binary, bytes, at)).collect();
        signatures
            .and_then(|signatures| armored(&Signatures(signatures), BlockType::Signature))
            .map_err(|error| bug(&error, "sign"))
    }

    /// The public keys as clients import them, in one armored block.
    pub fn armored_public(&self) -> Result<String> {
        armored(&self.certificates(), BlockType::PublicKey).map_err(|error| bug(&error, "armor"))
    }

    /// The public keys as a binary keyring, as `gpgv --keyring` takes it.
    pub fn binary_public(&self) -> Result<Vec<u8>> {
        self.certificates().to_bytes().map_err(|error| bug(&error, "serialize"))
    }

    fn certificates(&self) -> Certificates {
        Certificates(self.keys.iter().map(|key| key.secret().to_public_key()).collect())
    }
}

impl From<SigningKey> for Signer {
    fn from(key: SigningKey) -> Self {
        Self { keys: vec![key] }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fingerprints()).finish()
    }
}

/// Version 4 signatures have no salt, so that nothing random goes in.
fn sign(
    key: &SigningKey,
    kind: SignatureType,
    bytes: &[u8],
    at: Timestamp,
) -> pgp::errors::Result<Signature> {
    let primary = &key.secret().primary_key;
    let seconds = u32::try_from(at.as_seconds()).unwrap_or(u32::MAX);
    let mut config = SignatureConfig::v4(kind, primary.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(primary.fingerprint()))?,
        Subpacket::critical(SubpacketData::SignatureCreationTime(pgp::types::Timestamp::from_secs(seconds)))?,
    ];
    config.unhashed_subpackets =
        vec![Subpacket::regular(SubpacketData::IssuerKeyId(primary.legacy_key_id()))?];
    config.sign(primary, &Password::empty(), bytes)
}

fn armored(packets: &impl Serialize, kind: BlockType) -> pgp::errors::Result<String> {
    let mut out = Vec::new();
    armor::write(packets, kind, &mut out, None, true)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Several signatures in one block.
struct Signatures(Vec<Signature>);

impl Serialize for Signatures {
    fn to_writer<W: io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        self.0.iter().try_for_each(|signature| signature.to_writer_with_header(writer))
    }

    fn write_len(&self) -> usize {
        self.0.iter().map(pgp::packet::PacketTrait::write_len_with_header).sum()
    }
}

/// Several certificates in one block.
struct Certificates(Vec<SignedPublicKey>);

impl Serialize for Certificates {
    fn to_writer<W: io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        self.0.iter().try_for_each(|certificate| certificate.to_writer(writer))
    }

    fn write_len(&self) -> usize {
        self.0.iter().map(Serialize::write_len).sum()
    }
}
