//! Immutable states of a repository: what is in it (content), and what was rendered from it here (publication).

mod cache;
mod canonical;
pub mod decision;
pub(crate) mod departed;
pub mod entry;
mod envelope;
mod format;
pub mod key;
pub mod manifest;
mod page;
pub mod record;
pub mod removal;
mod writer;

use serde::{Deserialize, Serialize};

pub use self::{
    entry::Entry,
    key::{InstanceKey, PublicKey},
    manifest::{Change, Edit, Manifest, Pages, Written},
    record::{Brought, Record},
    writer::{Contents, IndexWriter},
};
use crate::{clock::Timestamp, digest::Sha256Digest, name::Actor};

/// One numbered state of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its number within the repository, from 1; never reused.
    pub number: u64,
    /// The root of its content manifest.
    pub content: Sha256Digest,
    /// The root of its publication manifest.
    pub publication: Sha256Digest,
    /// The number it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// Who made it.
    pub author: Actor,
    /// When; strictly later than its parent, by what the format asks for (`Ecosystem::spacing`) at least.
    pub created_at: Timestamp,
    /// Why.
    pub message: String,
}
