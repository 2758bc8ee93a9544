//! The envelope of what is signed and kept in the store: one JSON line,
//! `{"key":"…","payload":"…","signature":"…"}`, with the public key in hex, the payload's own JSON in base64, and its
//! Ed25519 signature in base64.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    format,
    key::{InstanceKey, PublicKey},
};
use crate::error::{Error, Result};

/// No envelope is longer; the store reads no more.
const LIMIT: usize = 1 << 20;

/// What a payload is.
pub(super) struct Kind {
    /// As its header says, and errors.
    pub(super) name: &'static str,
    /// Signed before the payload, so that a signature made for one kind is never one of another.
    pub(super) context: &'static [u8],
}

#[derive(Serialize, Deserialize)]
struct Payload<T> {
    kind: String,
    version: String,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    key: String,
    payload: String,
    signature: String,
}

impl Envelope {
    fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings serialize into memory").into()
    }
}

impl Kind {
    /// The bytes to store. [`Error::LimitExceeded`] over 1 MiB; `what` names it there.
    pub(super) fn seal<T: Serialize>(
        &self,
        content: &T,
        key: &InstanceKey,
        what: impl Fn() -> String,
    ) -> Result<Bytes> {
        let payload = Payload { kind: self.name.to_owned(), version: format::VERSION.to_owned(), content };
        let payload =
            serde_json::to_vec(&payload).map_err(|error| Error::invalid(what(), error.to_string()))?;
        let envelope = Envelope {
            key: key.public().to_string(),
            payload: BASE64_STANDARD.encode(&payload),
            signature: BASE64_STANDARD.encode(key.sign(&self.signed(&payload))),
        };
        let bytes = envelope.encode();
        if bytes.len() > LIMIT {
            return Err(Error::LimitExceeded { what: what(), limit: format!("{LIMIT} bytes") });
        }
        Ok(bytes)
    }

    /// Reads one; its signature is checked before it is parsed.
    ///
    /// [`Error::Malformed`] when it is no envelope (there is only one spelling of one), [`Error::Untrusted`] when
    /// none of the `trusted` keys signed it as this kind, [`Error::TooNew`] when a newer program did.
    pub(super) fn open<T: DeserializeOwned>(&self, bytes: &[u8], trusted: &[PublicKey]) -> Result<T> {
        let malformed = |detail: &str| Error::malformed(self.name, "record-envelope", detail);
        let untrusted = |reason: String| Error::Untrusted { what: self.name.to_owned(), reason };
        if bytes.len() > LIMIT {
            return Err(malformed("over 1 MiB"));
        }
        let envelope: Envelope =
            serde_json::from_slice(bytes).map_err(|error| malformed(&error.to_string()))?;
        if envelope.encode() != bytes {
            return Err(malformed("not in canonical form"));
        }
        let key = trusted.iter().find(|key| key.to_string() == envelope.key).ok_or_else(|| {
            let shown: String = envelope.key.chars().take(64).collect();
            untrusted(format!("signed by {shown:?}, which is not a trusted key"))
        })?;
        let payload =
            BASE64_STANDARD.decode(&envelope.payload).map_err(|_| malformed("the payload is not base64"))?;
        let signature = BASE64_STANDARD.decode(&envelope.signature).ok();
        let signature = signature
            .and_then(|signature| <[u8; 64]>::try_from(signature).ok())
            .ok_or_else(|| malformed("the signature is not 64 bytes of base64"))?;
        if !key.verify(&self.signed(&payload), &signature) {
            return Err(untrusted("the signature does not hold".to_owned()));
        }

        format::check(&payload, self.name, self.name)?;
        let payload: Payload<T> = serde_json::from_slice(&payload)
            .map_err(|error| Error::malformed(self.name, "record-json", error.to_string()))?;
        Ok(payload.content)
    }

    fn signed(&self, payload: &[u8]) -> Vec<u8> {
        [self.context, payload].concat()
    }
}
