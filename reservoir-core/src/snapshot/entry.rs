//! One line of a manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    name::{ArtifactName, RevisionName},
    path::ContentPath,
    store::Blob,
};

/// One path of a snapshot and the bytes behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub path: ContentPath,
    /// What.
    #[serde(flatten)]
    pub blob: Blob,
    /// The artifact it belongs to; absent in publications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactName>,
    /// The revision it belongs to; absent in publications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionName>,
    /// Facts that indexes are written from, sorted by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Value>,
}
