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

/// How the document begins: with the list of blobs.
const FIRST: &[u8] = b"{\"blobs\":\"";
/// Characters of that list that are written or read at a time: whole blobs, and whole bytes of base64.
const TEXT: usize = 16 << 10;

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

    /// The bytes that are signed. The list of blobs is most of them, and is written without another copy of it: as the
    /// first of all fields it stands in front of the rest.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let document = Document {
            blobs: String::new(),
            created: self.created,
            format: version::FORMAT.into(),
            kind: "inventory".into(),
            streams: self.streams.clone(),
        };
        let rest = canonical::encode("the inventory", &document)?;
        let blobs = self.prefixes.as_flattened();
        let mut bytes = Vec::with_capacity(blobs.len().div_ceil(3) * 4 + rest.len());
        bytes.extend_from_slice(FIRST);
        let mut text = [0; TEXT];
        for part in blobs.chunks(TEXT / 4 * 3) {
            let length = BASE64_STANDARD
                .encode_slice(part, &mut text)
                .map_err(|error| Error::invalid("the inventory", error.to_string()))?;
            bytes.extend_from_slice(&text[..length]);
        }
        let rest = rest
            .strip_prefix(FIRST)
            .ok_or_else(|| Error::invalid("the inventory", "its fields have moved"))?;
        bytes.extend_from_slice(rest);
        Ok(bytes)
    }

    /// Reads an inventory whose signature was checked.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let malformed = |detail: &str| Error::malformed("the inventory", "bundle-inventory", detail);
        if bytes.len() > LIMIT {
            return Err(malformed("it is too long"));
        }
        let listed =
            bytes.strip_prefix(FIRST).ok_or_else(|| malformed("it does not begin with its blobs"))?;
        let end = listed.iter().position(|byte| *byte == b'"').ok_or_else(|| malformed("it is cut short"))?;
        let (blobs, rest) = listed.split_at(end);
        let document: Document = canonical::decode("the inventory", &[FIRST, rest].concat())?;
        version::check("the inventory", &document.format)?;
        if document.kind != "inventory" {
            return Err(malformed("it is something else"));
        }
        if document.streams.iter().any(|stream| stream.sequence > canonical::LARGEST) {
            return Err(malformed("a stream stands where no bundle can be"));
        }
        let mut prefixes: Vec<[u8; PREFIX]> = Vec::with_capacity(blobs.len() / 4 * 3 / PREFIX);
        let mut bytes = [0; TEXT / 4 * 3];
        for text in blobs.chunks(TEXT) {
            let length = BASE64_STANDARD
                .decode_slice(text, &mut bytes)
                .map_err(|_| malformed("its blobs are not base64"))?;
            let (some, rest) = bytes[..length].as_chunks::<PREFIX>();
            // Parts before the last are full, and end where a blob does.
            if !rest.is_empty() || (text.len() == TEXT && length != bytes.len()) {
                return Err(malformed("its blobs are not in order"));
            }
            prefixes.extend_from_slice(some);
        }
        if !prefixes.is_sorted() {
            return Err(malformed("its blobs are not in order"));
        }
        Ok(Self { created: document.created, streams: document.streams, prefixes })
    }
}

fn prefix(sha256: &Sha256Digest) -> [u8; PREFIX] {
    std::array::from_fn(|index| sha256.as_bytes()[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(count: u64) -> Inventory {
        let mut inventory = Inventory::new(Timestamp::from_micros(7), Vec::new());
        for number in 0..count {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number * 3).to_be_bytes());
            inventory.add(&Sha256Digest::from_bytes(bytes));
        }
        inventory
    }

    /// Lists of every length, around that of the parts in which they are written.
    #[test]
    fn an_inventory_is_the_canonical_document_of_its_blobs() {
        let part = TEXT as u64 / 4 * 3 / PREFIX as u64;
        for count in [0, 1, 2, 3, part - 1, part, part + 1, 2 * part, 2 * part + 5] {
            let inventory = inventory(count);
            let bytes = inventory.encode().unwrap();
            let document = Document {
                blobs: BASE64_STANDARD.encode(inventory.prefixes.as_flattened()),
                created: inventory.created,
                format: version::FORMAT.into(),
                kind: "inventory".into(),
                streams: Vec::new(),
            };
            assert_eq!(bytes, canonical::encode("test", &document).unwrap(), "{count}");
            assert_eq!(Inventory::decode(&bytes).unwrap(), inventory, "{count}");
        }
    }

    #[test]
    fn a_stream_stands_where_a_bundle_can_be() {
        let stands = |sequence| {
            let header = Sha256Digest::of(b"");
            let stream = StreamState { stream: Uuid::nil(), sequence, header, refs: Vec::new(), key: None };
            Inventory::decode(&Inventory::new(Timestamp::from_micros(7), vec![stream]).encode().unwrap())
        };
        assert_eq!(stands(canonical::LARGEST).unwrap().streams[0].sequence, canonical::LARGEST);
        for sequence in [canonical::LARGEST + 1, u64::MAX] {
            assert!(stands(sequence).is_err(), "{sequence}");
        }
    }

    #[test]
    fn what_is_no_list_of_blobs_is_refused() {
        let good = String::from_utf8(inventory(3).encode().unwrap()).unwrap();
        let list = good.split('"').nth(3).unwrap();
        for other in [
            good.replace(list, &list[4..]),
            good.replace(list, &format!("{list}===")),
            good.replace(list, &list.replace('A', "\n")),
            good.replace(list, &BASE64_STANDARD.encode([[9; 8], [1; 8]].as_flattened())),
            good.replace("\"blobs\"", "\"blob\""),
            good.replace("\"inventory\"", "\"bundle\""),
            good.replace("{\"blobs", "{ \"blobs"),
            good.replace('\n', " "),
            good[..20].to_owned(),
            String::new(),
        ] {
            assert!(Inventory::decode(other.as_bytes()).is_err(), "{other}");
        }
    }
}
