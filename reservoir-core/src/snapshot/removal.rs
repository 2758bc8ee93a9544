//! Signed removals: that a repository was taken away on purpose is written into the store before the catalog forgets it,
//! so that a rebuilt catalog does not bring it back.
//!
//! A removal lies in a line of its own, beside the repository's records, and says which of them was the last. A
//! repository that went on after it was not removed after all: the process was killed before the catalog knew.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    decision::derived_line,
    envelope::Kind,
    key::{InstanceKey, PublicKey},
};
use crate::{
    clock::Timestamp,
    error::Result,
    name::{Actor, RepositoryName},
    store::RecordKey,
};

const REMOVAL: Kind = Kind { name: "removal", context: b"reservoir removal v1\n" };

/// One repository that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The repository's permanent id.
    pub repository: Uuid,
    /// Its name then; another repository may have it since.
    pub name: RepositoryName,
    /// The number of its last record; 0 when it had none.
    pub last: u64,
    /// Who removed it.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

impl Removal {
    /// Where the store keeps it: in order of time; `unique` tells two of one microsecond apart.
    #[must_use]
    pub fn key(&self, unique: u64) -> RecordKey {
        let number = u64::try_from(self.at.as_micros()).unwrap_or_default();
        let line = derived_line(b"reservoir removals\n", self.repository);
        RecordKey { line, number, fence: unique }
    }
}

/// The bytes to store. [`LimitExceeded`](crate::Error::LimitExceeded) over 1 MiB.
pub fn sign_removal(removal: &Removal, key: &InstanceKey) -> Result<Bytes> {
    REMOVAL.seal(removal, key, || format!("removal of `{}`", removal.name))
}

/// Reads a removal; its signature is checked before it is parsed. Errors as of
/// [`open_record`](super::record::open_record).
pub fn open_removal(bytes: &[u8], trusted: &[PublicKey]) -> Result<Removal> {
    REMOVAL.open(bytes, trusted)
}
