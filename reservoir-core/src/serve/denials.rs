//! What may not be served, and why.

use std::collections::{BTreeMap, HashMap};

use crate::{digest::Sha256Digest, snapshot::Entry};

/// The denials of one repository at one time.
#[derive(Debug, Clone, Default)]
pub struct Denials {
    /// Bytes that must not leave, whatever snapshot or path they are found by. Bytes that another, AVAILABLE
    /// revision has too are not among them: they were judged there.
    pub digests: HashMap<Sha256Digest, String>,
    /// Paths of what is rejected or blocked: refused in old snapshots, and told 403 with the reason where no
    /// snapshot has them any more.
    pub paths: HashMap<String, String>,
    /// What came with the metadata of those, by path.
    pub metadata: BTreeMap<String, Entry>,
}

impl Denials {
    /// Why an entry may not be served; `None` when it may.
    #[must_use]
    pub fn of(&self, entry: &Entry) -> Option<&str> {
        let denied = self.digests.get(&entry.blob.sha256).or_else(|| self.paths.get(entry.path.as_str()));
        denied.map(String::as_str)
    }
}

impl From<HashMap<Sha256Digest, String>> for Denials {
    fn from(digests: HashMap<Sha256Digest, String>) -> Self {
        Self { digests, ..Self::default() }
    }
}
