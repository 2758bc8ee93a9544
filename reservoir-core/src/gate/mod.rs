//! What may be let in: scanners judge bytes, policy judges verdicts, a person judges what policy leaves open.

pub(crate) mod guard;
pub mod integrity;
pub mod policy;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    ecosystem::Inspection,
    error::Result,
    name::{ArtifactName, EcosystemId, RevisionName},
    path::ContentPath,
    store::{Blob, Store},
};

/// What one scanner says of one blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// Looked at all of it; nothing found.
    Clean,
    /// Found something.
    Finding {
        /// A short stable name of what was found.
        rule: String,
        /// What and where, in words.
        detail: String,
    },
    /// Could not look at all of it. Never treated as clean.
    Incomplete {
        /// Why not.
        reason: String,
    },
}

/// The thing a scanner looks at: bytes, and under which names it meets them, for messages.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The ecosystem it belongs to.
    pub ecosystem: &'a EcosystemId,
    /// The artifact.
    pub artifact: &'a ArtifactName,
    /// The revision.
    pub revision: &'a RevisionName,
    /// The file within the repository.
    pub path: &'a ContentPath,
    /// Its bytes, to be read from `store`.
    pub blob: &'a Blob,
    /// Where to read them.
    pub store: &'a dyn Store,
    /// What the ecosystem's own inspection found.
    pub inspection: &'a Inspection,
}

/// One opinion about one blob.
///
/// # Contract
/// - Never panics and never passes in silence: what it could not read, open, afford or wait for is
///   [`Verdict::Incomplete`] with the reason. `Err` is treated as Incomplete by the gate, and so is what panics or does
///   not come: within ten minutes, and a second more for each MiB of the file.
/// - Streams: memory does not grow with the file. Writes nothing to disk outside its own scratch space.
/// - Deterministic in the bytes for one `rules` version. A verdict is kept by (blob, id, rules) and not asked for again,
///   so whatever else has these bytes, under another name or in another repository, has it too: names and inspection
///   are for messages, and decide nothing. [`Verdict::Incomplete`] is asked for again by the next sync.
/// - Dropping the future stops the scan; nothing is recorded.
///
/// The conformance suite is `reservoir_core::testing::scanner`.
#[async_trait]
pub trait Scanner: fmt::Debug + Send + Sync + 'static {
    /// A short stable name, such as `integrity` or `clamav`.
    fn id(&self) -> &str;

    /// The version of its rules or data. Under a new one nothing is known of any blob: what is judged from then on is
    /// judged by it, what waits for a person too. What is AVAILABLE stays so, and is not judged again by itself.
    async fn rules(&self) -> Result<String>;

    /// Whether it judges files of an ecosystem at all. Where it does not, it is not asked and nobody waits for it.
    fn judges(&self, ecosystem: &EcosystemId) -> bool {
        let _ = ecosystem;
        true
    }

    /// Whether a cache may pass a file on while it arrives and this scanner has not judged it yet, as long as the
    /// end is withheld until it has: where a file cut short can do nothing. Names decide when it is asked, never
    /// what it says. Nothing is passed on by default.
    fn lets_follow(&self, path: &ContentPath) -> bool {
        let _ = path;
        false
    }

    /// Judges.
    async fn scan(&self, subject: &Subject<'_>) -> Result<Verdict>;
}
