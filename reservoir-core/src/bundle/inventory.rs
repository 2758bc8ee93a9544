//! What the inside has, so that the outside can send exactly what it lacks: small, signed, made inside.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{canonical, header::CarriedRef, key::BundleKey, version};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// The largest inventory, in bytes.
pub const LIMIT: usize = 128 << 20;
/// Bytes of each digest that are kept. A digest taken for another would leave one blob out, and the load would say so.
const PREFIX: usize = 8;
/// Blobs listed at most; with more, only the streams are.
pub const BLOBS: usize = 8_000_000;

/// Where one stream stands inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The stream.
    pub stream: Uuid,
    /// The last bundle applied.
    pub sequence: u64,
    /// The digest of its header.
    pub header: Sha256Digest,
    /// Where its refs point.
    pub refs: Vec<CarriedRef>,
    /// The key it is bound to; absent in inventories of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BundleKey>,
}

/// What one Reservoir has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// When it was made.
    pub created: Timestamp,
    /// The streams that arrive there.
    pub streams: Vec<StreamState>,
    /// The first bytes of the digests of its blobs, sorted, back to back.
    prefixes: Vec<[u8; PREFIX]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    blobs: String,
    created: Timestamp,
    format: String,
    kind: String,
    streams: Vec<StreamState>,
}

impl Inventory {
    /// An inventory of these blobs.
    #[must_use]
    pub fn new(created: Timestamp, streams: Vec<StreamState>) -> Self {
        Self { created, streams, prefixes: Vec::new() }
    }

    /// Adds a blob; they come in the order of their digests.
    pub fn add(&mut self, sha256: &Sha256Digest) {
        if self.prefixes.len() < BLOBS {
            self.prefixes.push(prefix(sha256));
        }
    }

    /// Whether a blob is listed.
    #[must_use]
    pub fn has(&self, sha256: &Sha256Digest) -> bool {
        self.prefixes.binary_search(&prefix(sha256)).is_ok()
    }

    /// Blobs listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The bytes that are signed.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let document = Document {
            blobs: BASE64_STANDARD.encode(self.prefixes.as_flattened()),
            created: self.created,
            format: version::FORMAT.into(),
            kind: "inventory".into(),
            streams: self.streams.clone(),
        };
        canonical::encode("the inventory", &document)
    }

    /// Reads an inventory whose signature was checked.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let malformed = |detail: &str| Error::malformed("the inventory", "bundle-inventory", detail);
        if bytes.len() > LIMIT {
            return Err(malformed("it is too long"));
        }
        let document: Document = canonical::decode("the inventory", bytes)?;
        version::check("the inventory", &document.format)?;
        if document.kind != "inventory" {
            return Err(malformed("it is something else"));
        }
        let blobs =
            BASE64_STANDARD.decode(&document.blobs).map_err(|_| malformed("its blobs are not base64"))?;
        let (prefixes, rest) = blobs.as_chunks::<PREFIX>();
        if !rest.is_empty() || !prefixes.is_sorted() {
            return Err(malformed("its blobs are not in order"));
        }
        Ok(Self { created: document.created, streams: document.streams, prefixes: prefixes.to_vec() })
    }
}

fn prefix(sha256: &Sha256Digest) -> [u8; PREFIX] {
    std::array::from_fn(|index| sha256.as_bytes()[index])
}
