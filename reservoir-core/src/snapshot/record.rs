//! Signed records: every ref move writes one into the store, so that a lost catalog can be rebuilt.
//!
//! A record is an envelope of one JSON line, `{"key":"…","payload":"…","signature":"…"}`: the public key in hex, the
//! record's own JSON in base64, and its Ed25519 signature in base64. Each record names the one before it by the
//! SHA-256 of its whole envelope, so a line of records is a chain that cannot be cut in the middle unseen.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Snapshot,
    envelope::Kind,
    key::{InstanceKey, PublicKey},
};
use crate::{
    bundle::BundleKey,
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::RepositoryConfig,
    error::{Error, Result},
    name::RefName,
    store::RecordKey,
};

const RECORD: Kind = Kind { name: "record", context: b"reservoir record v1\n" };

/// One move of one ref.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The repository's permanent id.
    pub line: Uuid,
    /// The record's number in that line, from 1.
    pub number: u64,
    /// The fencing token of the writer.
    pub fence: u64,
    /// The SHA-256 of the bytes of the record before; `None` for number 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Sha256Digest>,
    /// The repository as configured then.
    pub repository: RepositoryConfig,
    /// The ref that moved.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Where it points now.
    pub snapshot: Snapshot,
    /// When it moved.
    pub created_at: Timestamp,
    /// What brought the content, where a bundle did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Brought>,
}

/// The bundle that brought a content: with its header, which the store keeps as a blob, all that the ledger of its
/// stream needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// The stream that fills the repository.
    pub stream: Uuid,
    /// The digest of the bundle's header.
    pub header: Sha256Digest,
    /// The signature of that, in minisign's format.
    pub signature: String,
    /// The key that made it.
    pub key: BundleKey,
}

impl Record {
    /// Where the store keeps it.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        RecordKey { line: self.line, number: self.number, fence: self.fence }
    }
}

/// The bytes to store. [`Error::LimitExceeded`] over 1 MiB.
pub fn sign_record(record: &Record, key: &InstanceKey) -> Result<Bytes> {
    RECORD.seal(record, key, || format!("record {} of `{}`", record.number, record.repository.name))
}

/// Reads a record; its signature is checked before it is parsed.
///
/// [`Error::Malformed`] when it is no envelope (there is only one spelling of one), [`Error::Untrusted`] when none
/// of the `trusted` keys signed it, [`Error::TooNew`] when a newer program did.
pub fn open_record(bytes: &[u8], trusted: &[PublicKey]) -> Result<Record> {
    RECORD.open(bytes, trusted)
}

/// Picks, from all records found under one line, the history that was committed; oldest first.
///
/// A writer that crashed between its record and its transaction leaves a record that no later one names: it loses
/// against the one that later records chain to. At the tip nothing chains to any yet, and the highest fence wins.
/// Each record comes with the key it was found under and the digest of its bytes.
///
/// [`Error::Integrity`] when a record that a later one names is missing: history is never silently shortened in the
/// middle. [`Error::Malformed`] when a record is not what its key says, or lines are mixed.
pub fn choose_line(records: Vec<(RecordKey, Record, Sha256Digest)>) -> Result<Vec<Record>> {
    let Some(line) = records.first().map(|(key, ..)| key.line) else { return Ok(Vec::new()) };
    for (key, record, _) in &records {
        let what = || format!("record {}-{} of line {}", key.number, key.fence, key.line);
        if record.key() != *key || key.line != line {
            return Err(Error::malformed(what(), "record-key", "it was found under the key of another"));
        }
        if record.number == 0 || (record.number == 1) != record.previous.is_none() {
            return Err(Error::malformed(what(), "record-previous", "only number 1 has none before it"));
        }
    }

    // A chain has no gaps, so the longest is the one with the highest number at its end.
    let tip = records.iter().max_by_key(|(key, ..)| (key.number, key.fence)).map(|(.., digest)| *digest);
    let mut by_digest: HashMap<_, _> =
        records.into_iter().map(|(_, record, digest)| (digest, record)).collect();
    let mut chain = Vec::new();
    let mut wanted = tip;
    while let Some(digest) = wanted {
        let after: Option<&Record> = chain.last();
        let record = by_digest.remove(&digest).ok_or_else(|| Error::Integrity {
            what: format!("the record before {} of line {line}", after.map_or(0, |after| after.number)),
            expected: digest.to_string(),
            actual: "no such record".to_owned(),
        })?;
        if after.is_some_and(|after| after.number != record.number + 1) {
            let what = format!("record {} of line {line}", record.number);
            return Err(Error::malformed(
                what,
                "record-previous",
                "it is not the number before the one that names it",
            ));
        }
        wanted = record.previous;
        chain.push(record);
    }
    chain.reverse();
    Ok(chain)
}
