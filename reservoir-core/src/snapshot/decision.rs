//! Signed decisions: what a person says of a revision is written into the store before the catalog knows of it, so
//! that a rebuilt catalog serves nothing that was refused and not yet published.
//!
//! They lie beside the records of ref moves, in a line of their own for each repository. They need no chain: each
//! stands for itself, and the last one said of a revision holds. One that names more files than a record holds is
//! several records that differ in nothing else.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    envelope::Kind,
    key::{InstanceKey, PublicKey},
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::Result,
    name::{Actor, ArtifactName, RevisionName},
    store::RecordKey,
};

const DECISION: Kind = Kind { name: "decision", context: b"reservoir decision v1\n" };

/// Digests a record holds at most, so that none outgrows its envelope.
pub const DIGESTS: usize = 8000;

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// Let it in.
    Approve,
    /// Keep it out.
    Reject,
    /// Drop its files; it may be imported again.
    Cleanup,
}

/// One decision of one person about one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The repository's permanent id.
    pub repository: Uuid,
    /// Of which artifact.
    pub artifact: ArtifactName,
    /// Of which of its revisions.
    pub revision: RevisionName,
    /// What was said.
    pub said: Said,
    /// Who said it.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// The files it was said of; of very many, [`DIGESTS`] a record.
    pub digests: Vec<Sha256Digest>,
    /// When.
    pub at: Timestamp,
}

impl Decision {
    /// In pieces that each fit a record; one at least.
    pub fn pieces(&self) -> impl Iterator<Item = Self> {
        let count = self.digests.len().div_ceil(DIGESTS).max(1);
        (0..count).map(|piece| {
            let digests = self.digests.iter().skip(piece * DIGESTS).take(DIGESTS).copied().collect();
            Self { digests, ..self.clone() }
        })
    }

    /// Where the store keeps it: in order of time; `unique` tells two of one microsecond apart.
    #[must_use]
    pub fn key(&self, unique: u64) -> RecordKey {
        let number = u64::try_from(self.at.as_micros()).unwrap_or_default();
        RecordKey { line: line(self.repository), number, fence: unique }
    }
}

/// The line that the decisions of a repository are kept in.
#[must_use]
pub fn line(repository: Uuid) -> Uuid {
    derived_line(b"reservoir decisions\n", repository)
}

/// A line beside the records of a repository, for what is signed of another kind.
pub(super) fn derived_line(kind: &[u8], repository: Uuid) -> Uuid {
    let digest = Sha256Digest::of(&[kind, repository.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The bytes to store. [`LimitExceeded`](crate::Error::LimitExceeded) over 1 MiB.
pub fn sign_decision(decision: &Decision, key: &InstanceKey) -> Result<Bytes> {
    DECISION.seal(decision, key, || format!("decision on `{}@{}`", decision.artifact, decision.revision))
}

/// Reads a decision; its signature is checked before it is parsed. Errors as of
/// [`open_record`](super::record::open_record).
pub fn open_decision(bytes: &[u8], trusted: &[PublicKey]) -> Result<Decision> {
    DECISION.open(bytes, trusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_on_very_many_files_fits_in_records() {
        let decision = Decision {
            repository: Uuid::nil(),
            artifact: "org/model".parse().unwrap(),
            revision: "main".parse().unwrap(),
            said: Said::Reject,
            actor: "ann".parse().unwrap(),
            reason: "\u{1}".repeat(1000),
            digests: (0..=2 * DIGESTS as u64).map(|n| Sha256Digest::of(&n.to_le_bytes())).collect(),
            at: Timestamp::from_micros(1),
        };
        let key = InstanceKey::generate().unwrap();
        let mut digests = Vec::new();
        for piece in decision.pieces() {
            let bytes = sign_decision(&piece, &key).unwrap();
            digests.extend(open_decision(&bytes, &[key.public()]).unwrap().digests);
        }
        assert_eq!(digests, decision.digests);
        assert_eq!(Decision { digests: Vec::new(), ..decision }.pieces().count(), 1);
    }
}
