//! One line of a manifest.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Serialize, Serializer,
    ser::{Error as _, SerializeMap as _, SerializeSeq as _},
};
use serde_json::Value;

use crate::{
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    name::{ArtifactName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// One path of a snapshot and the bytes behind it.
///
/// As JSON it is one flat object with sorted keys; the blob's three fields stand beside the others.
/// Attributes hold no fractional numbers: they have more than one spelling, and the same entry must always
/// have the same bytes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Line")]
pub struct Entry {
    /// Where.
    pub path: ContentPath,
    /// What.
    pub blob: Blob,
    /// The artifact it belongs to; absent in publications.
    pub artifact: Option<ArtifactName>,
    /// The revision it belongs to; absent in publications.
    pub revision: Option<RevisionName>,
    /// Facts that indexes are written from, sorted by key.
    pub attributes: BTreeMap<String, Value>,
}

impl Entry {
    /// Appends the canonical JSON, without a line end.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        serde_json::to_writer(out, self)
            .map_err(|error| Error::invalid(format!("entry `{}`", self.path), error.to_string()))
    }
}

/// What is stored; written out by hand since `#[serde(flatten)]` buffers every field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    artifact: Option<ArtifactName>,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
    blake3: Blake3Digest,
    path: ContentPath,
    #[serde(default)]
    revision: Option<RevisionName>,
    sha256: Sha256Digest,
    size: u64,
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        Self {
            path: line.path,
            blob: Blob { sha256: line.sha256, blake3: line.blake3, size: line.size },
            artifact: line.artifact,
            revision: line.revision,
            attributes: line.attributes,
        }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(artifact) = &self.artifact {
            map.serialize_entry("artifact", artifact)?;
        }
        if !self.attributes.is_empty() {
            map.serialize_entry("attributes", &Attributes(&self.attributes))?;
        }
        map.serialize_entry("blake3", &self.blob.blake3)?;
        map.serialize_entry("path", &self.path)?;
        if let Some(revision) = &self.revision {
            map.serialize_entry("revision", revision)?;
        }
        map.serialize_entry("sha256", &self.blob.sha256)?;
        map.serialize_entry("size", &self.blob.size)?;
        map.end()
    }
}

struct Attributes<'a>(&'a BTreeMap<String, Value>);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, Canonical(value))))
    }
}

/// A JSON value with sorted keys, even where a host turned on `serde_json/preserve_order`.
pub(crate) struct Canonical<'a>(pub(crate) &'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) if !number.is_i64() && !number.is_u64() => {
                Err(S::Error::custom(format!("attribute `{number}` is not a whole number; write it as text")))
            }
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Canonical(item))?;
                }
                seq.end()
            }
            Value::Object(object) => {
                let mut fields: Vec<_> = object.iter().collect();
                fields.sort_by_key(|(key, _)| *key);
                serializer.collect_map(fields.into_iter().map(|(key, value)| (key, Canonical(value))))
            }
            plain => plain.serialize(serializer),
        }
    }
}
