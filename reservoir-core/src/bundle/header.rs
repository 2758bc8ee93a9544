//! `bundle.json`: small, canonical, signed. From it alone everything else in the bundle is checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    canonical, objects, parity,
    patch::{self, Patched},
    records, version,
    volume::Layout,
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    name::{EcosystemId, RefName, RepositoryName},
};

/// The largest header, in bytes.
pub const LIMIT: usize = 16 << 20;
/// Refs of one bundle at most.
const REFS: usize = 10_000;

/// What kind of bundle it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Everything that its refs reach.
    Full,
    /// What its refs reach and `base` does not.
    Delta,
}

/// Where a ref shall point on the inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedRef {
    /// The repository.
    pub repository: RepositoryName,
    /// Its ecosystem.
    pub ecosystem: EcosystemId,
    /// The ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// The content root.
    pub snapshot: Sha256Digest,
    /// The number of that snapshot where it was made.
    pub number: u64,
    /// The content root that the receiver has and the rest is told against, in a delta: what the bundle before carried
    /// for it, or, for one of the [`other_refs`](Header::other_refs) that was made or moved, what this one carries for
    /// `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Sha256Digest>,
}

/// A compressed file beside the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The digest of the file.
    pub sha256: Sha256Digest,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes once decompressed.
    pub unpacked: u64,
    /// Lines.
    pub lines: u64,
}

/// Where the sender's audit chain stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheckpoint {
    /// The number of the last record.
    pub seq: i64,
    /// Its hash.
    pub hash: Sha256Digest,
}

/// The header of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub format: String,
    /// The line of bundles it belongs to: one for each destination.
    pub stream: Uuid,
    /// The destination, as the sender calls it.
    pub site: String,
    /// Its place in that line, from 1.
    pub sequence: u64,
    /// The place of the bundle that it follows, which the receiver must have applied last; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<u64>,
    /// The digest of the header of the bundle that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Sha256Digest>,
    /// Full or delta.
    pub kind: Kind,
    /// Content roots that the receiver must have.
    #[serde(default)]
    pub base: Vec<Sha256Digest>,
    /// When it was made.
    pub created: Timestamp,
    /// When it is no longer taken, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Where `main` of each repository shall point.
    pub refs: Vec<CarriedRef>,
    /// All other refs of those repositories: what the bundle before brought and this one does not was deleted. Absent
    /// where the sender says nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_refs: Option<Vec<CarriedRef>>,
    /// The digest of the policy under which its content was let in.
    pub policy: Sha256Digest,
    /// The versions of the scanners' rules, by scanner.
    #[serde(default)]
    pub scanner_data: BTreeMap<String, String>,
    /// Where the sender's audit chain stood.
    pub audit_checkpoint: AuditCheckpoint,
    /// `records.jsonl.zst`.
    pub records: Part,
    /// `objects.jsonl.zst`.
    pub objects: Part,
    /// How the payload is cut into volumes.
    pub volumes: Layout,
    /// Blobs that travel as patches of blobs that the receiver has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patched>,
    /// Recovery volumes in per cent of the payload, if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<u32>,
    /// What a newer program of the same major version added.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

fn patched(patched: &Patched) -> Sha256Digest {
    patched.blob.sha256
}

/// What is looked at first.
#[derive(Deserialize)]
struct Format {
    format: String,
}

impl Header {
    /// The bytes that are signed, and whose digest names the bundle.
    pub fn encode(&self) -> Result<Vec<u8>> {
        canonical::encode("bundle.json", self)
    }

    /// Reads a header whose signature was checked, and holds it against its own rules.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let malformed = |rule, detail: &str| Error::malformed("bundle.json", rule, detail);
        if bytes.len() > LIMIT {
            return Err(malformed("bundle-size", "it is too long"));
        }
        let format: Format =
            serde_json::from_slice(bytes).map_err(|error| malformed("bundle-json", &error.to_string()))?;
        version::check("bundle.json", &format.format)?;
        let header: Self = canonical::decode("bundle.json", bytes)?;
        header.volumes.check()?;
        let is_place = (1..=canonical::LARGEST).contains(&header.sequence);
        if !is_place || header.previous.is_some() != header.follows.is_some() {
            return Err(malformed("bundle-sequence", "its place in the stream cannot be"));
        }
        if header.follows.is_some_and(|follows| follows == 0 || follows >= header.sequence) {
            return Err(malformed("bundle-sequence", "it follows a bundle that is not before it"));
        }
        if header.kind == Kind::Delta && header.previous.is_none() {
            return Err(malformed("bundle-sequence", "a delta follows another bundle"));
        }
        header.check_refs()?;
        if header.site.is_empty() || header.site.len() > 64 || header.site.chars().any(char::is_control) {
            return Err(malformed("bundle-site", "the name of its site cannot be"));
        }
        if header.patches.len() > patch::MOST
            || !header.patches.iter().map(patched).is_sorted_by(|a, b| a < b)
        {
            return Err(malformed("bundle-patch", "its patches are too many, or not in order"));
        }
        if header.parity.is_some_and(|percent| parity::check(percent, &header.volumes).is_err()) {
            return Err(malformed("bundle-parity", "its parity cannot be"));
        }
        objects::check_part(&header.objects)?;
        records::check_part(&header.records)?;
        Ok(header)
    }

    /// All refs that it brings.
    pub fn all_refs(&self) -> impl Iterator<Item = &CarriedRef> {
        self.refs.iter().chain(self.other_refs.iter().flatten())
    }

    /// What it carries for `main` of a repository.
    #[must_use]
    pub fn main_of(&self, repository: &RepositoryName) -> Option<&CarriedRef> {
        self.refs.iter().find(|carried| carried.repository == *repository)
    }

    fn check_refs(&self) -> Result<()> {
        let malformed = |detail: &str| Err(Error::malformed("bundle.json", "bundle-refs", detail));
        if self.all_refs().count() > REFS || self.base.len() > REFS {
            return malformed("it has too many refs");
        }
        let mut names: Vec<_> =
            self.all_refs().map(|carried| (&carried.repository, &carried.reference)).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return malformed("it moves one ref twice");
        }
        if self.all_refs().any(|carried| carried.number > canonical::LARGEST) {
            return malformed("a snapshot has a number that cannot be");
        }
        if self.refs.iter().any(|carried| carried.reference != RefName::main()) {
            return malformed("it moves a ref other than `main` among those of `main`");
        }
        for other in self.other_refs.iter().flatten() {
            let Some(main) = self.main_of(&other.repository) else {
                return malformed("it moves a ref of a repository that it does not bring");
            };
            if main.ecosystem != other.ecosystem {
                return malformed("a repository has two ecosystems");
            }
            if other.parent.is_some_and(|parent| parent != other.snapshot && parent != main.snapshot) {
                return malformed("a ref is told against what the receiver may not have");
            }
        }
        Ok(())
    }

    /// What to write on the medium of volume `index`.
    #[must_use]
    pub fn label(&self, index: u32) -> String {
        format!("{} {:06} {index}/{}", self.site, self.sequence, self.volumes.count)
    }
}
