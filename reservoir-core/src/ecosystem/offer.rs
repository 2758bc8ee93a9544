//! What is on offer of one artifact through a cache.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Candidate;
use crate::name::ArtifactName;

/// Everything that a cache may list of one artifact: what the registry offered when it was last asked, and what
/// is here though the registry has stopped offering it. Being listed says nothing about being let in.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The artifact.
    pub artifact: ArtifactName,
    /// Facts from the registry.
    pub attributes: BTreeMap<String, Value>,
    /// Why the registry has withdrawn it, if it has: nothing of it may be listed.
    pub quarantined: Option<String>,
    /// Its revisions with their files. Those that were refused or blocked are not among them.
    pub candidates: Vec<Candidate>,
    /// Tells one state of the offer from another, within one process.
    pub(crate) version: u64,
}
