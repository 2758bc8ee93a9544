//! The life of a revision: which states there are, which changes are allowed, who made them and why.

mod table;

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub use self::table::{TRANSITIONS, is_allowed};
use crate::{
    catalog::{Fence, RepositoryId},
    clock::Timestamp,
    error::{Error, Result},
    name::{Actor, ArtifactName, RevisionName},
};

/// Where a revision stands. Only [`Status::Available`] is reachable by clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Known from a registry; no bytes here.
    Scanned,
    /// Files are being fetched.
    Pulling,
    /// Files are here, not yet judged.
    Pulled,
    /// Inspection and scanners run.
    Verifying,
    /// Waits for a person.
    NeedsApproval,
    /// Served.
    Available,
    /// A person or policy said no.
    Rejected,
    /// Was served until its registry withdrew it; bytes stay as evidence. A person may lift that once the registry has
    /// taken it back.
    Blocked,
    /// Fetching or inspecting broke; the reason is in the history.
    Failed,
}

impl Status {
    /// All of them, in the order of a revision's life.
    pub const ALL: [Self; 9] = [
        Self::Scanned,
        Self::Pulling,
        Self::Pulled,
        Self::Verifying,
        Self::NeedsApproval,
        Self::Available,
        Self::Rejected,
        Self::Blocked,
        Self::Failed,
    ];

    /// Those that say no: see [`is_refused`](Self::is_refused).
    pub const REFUSED: [Self; 2] = [Self::Rejected, Self::Blocked];

    /// Whether a person or a rule said no. Such a revision is neither chosen nor served until a person says otherwise.
    #[must_use]
    pub const fn is_refused(self) -> bool {
        matches!(self, Self::Rejected | Self::Blocked)
    }

    /// As written in JSON, SQL and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scanned => "SCANNED",
            Self::Pulling => "PULLING",
            Self::Pulled => "PULLED",
            Self::Verifying => "VERIFYING",
            Self::NeedsApproval => "NEEDS_APPROVAL",
            Self::Available => "AVAILABLE",
            Self::Rejected => "REJECTED",
            Self::Blocked => "BLOCKED",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    /// Takes the names of [`Status::as_str`], in any case, `-` or `_`.
    fn from_str(text: &str) -> Result<Self> {
        let wanted = text.to_ascii_uppercase().replace('-', "_");
        Self::ALL.into_iter().find(|status| status.as_str() == wanted).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|status| status.as_str()).collect();
            Error::invalid("status", format!("`{text}` is none of {}", known.join(", ")))
        })
    }
}

/// The catalog's id of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionId(pub i64);

/// A revision as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its id.
    pub id: RevisionId,
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// Its artifact.
    pub artifact: ArtifactName,
    /// Its name within the artifact.
    pub revision: RevisionName,
    /// Where it stands.
    pub status: Status,
    /// Counts the times its life began anew; a late task of an older attempt is refused.
    pub attempt: i64,
    /// When the status last changed.
    pub changed_at: Timestamp,
}

/// A revision to make known.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// Its artifact, made known too.
    pub artifact: ArtifactName,
    /// Its name within the artifact.
    pub revision: RevisionName,
}

/// One change of status, valid only if the revision still stands where the caller saw it.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The revision.
    pub revision: RevisionId,
    /// Where the caller saw it.
    pub from: Status,
    /// The attempt the caller saw.
    pub attempt: i64,
    /// Where it shall go.
    pub to: Status,
    /// Who does it.
    pub actor: Actor,
    /// Why, in words for the history.
    pub reason: String,
}

/// One line of a revision's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// From where; absent for the first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Status>,
    /// To where.
    pub to: Status,
    /// The attempt.
    pub attempt: i64,
    /// Why.
    pub reason: String,
}

/// Told to watchers after a change is durable.
#[derive(Debug, Clone)]
pub struct LifecycleEvent {
    /// The revision after the change.
    pub revision: Revision,
    /// Where it came from.
    pub from: Status,
}

/// The durable state machine.
///
/// # Contract
/// - A change happens only along [`TRANSITIONS`], only from the (status, attempt) the caller names, and
///   only while the caller's fence (if given) still holds; otherwise [`Error::InvalidState`],
///   [`Error::Conflict`] or [`Error::Fenced`], and nothing changed.
/// - `transition` is all or nothing, durable before it returns, and writes one history line a change.
/// - Leaving [`Status::Available`] denies the revision's files in the same transaction;
///   entering it lifts that denial.
/// - Going back to [`Status::Scanned`] or from [`Status::Failed`] to [`Status::Pulling`] starts a new attempt.
/// - Dropping a future either leaves everything as it was or the whole change made.
///
/// The conformance suite is `reservoir_core::testing::lifecycle`.
#[async_trait]
pub trait ArtifactLifecycle: fmt::Debug + Send + Sync + 'static {
    /// Makes revisions known as [`Status::Scanned`]; known ones are left as they are.
    /// Ids come back in the order of `revisions`.
    async fn register(
        &self,
        repository: RepositoryId,
        revisions: &[NewRevision],
        actor: &Actor,
    ) -> Result<Vec<RevisionId>>;

    /// Reads one revision.
    async fn revision(&self, id: RevisionId) -> Result<Revision>;

    /// Makes changes, all or none.
    async fn transition(&self, changes: &[Transition], fence: Option<&Fence>) -> Result<Vec<Revision>>;

    /// Everything that happened to a revision, oldest first.
    async fn history(&self, id: RevisionId) -> Result<Vec<HistoryEntry>>;

    /// Changes made by this process from now on. A slow reader loses the oldest, and is told how many.
    fn watch(&self) -> broadcast::Receiver<LifecycleEvent>;
}
