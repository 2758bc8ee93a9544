//! What must be queried or changed: SQL, the same text for SQLite and PostgreSQL.
//!
//! # How writes behave
//! - Every write is one transaction, and writers are serialised on both engines (`BEGIN IMMEDIATE`, or an
//!   advisory lock in PostgreSQL), so that one line of reasoning holds for both. Readers never wait.
//! - A fenced write checks its [`Fence`] inside its own transaction.
//! - What decides something is in the [audit](AuditRecord) chain by the same transaction.
//! - Dropping the future of a write leaves everything as it was or the whole change made.

mod alarms;
mod approvals;
mod arrivals;
mod artifacts;
mod audit;
mod bundles;
mod carry;
mod conclude;
mod condemned;
mod content;
mod denials;
mod dirty;
mod discovery;
mod failure;
mod files;
mod findings;
mod history;
mod holder;
mod internal;
mod leases;
mod lifecycle;
mod migrate;
mod offered;
mod offers;
mod overlay;
mod pins;
mod pool;
mod promised;
mod received;
mod refs;
mod registries;
mod repositories;
mod restored;
mod revisions;
mod rows;
mod snapshots;
mod taken;
mod tasks;
mod told;
mod verdicts;
mod write;

use serde::{Deserialize, Serialize};

pub use self::{
    alarms::{Alarm, RecordedAlarm},
    approvals::Approval,
    artifacts::ArtifactRow,
    audit::AuditRecord,
    bundles::{Accept, ArrivedRef, ArrivingStream, SentBundle, SentRef, TrustedKey},
    content::RevisionMetadata,
    discovery::DiscoveryOutcome,
    files::{FileId, FileRow},
    holder::Holder,
    leases::{Fence, Lease},
    offers::{Part, Seen},
    overlay::Evicted,
    pins::Pinned,
    pool::{Backend, Catalog, CatalogOptions},
    received::{ReceivedFile, ReceivedFiles},
    repositories::Repository,
    revisions::RevisionFilter,
    snapshots::NewSnapshot,
    tasks::{Task, TaskFilter, TaskId, TaskState},
    verdicts::VerdictRow,
};

pub(crate) use self::{
    arrivals::{Arrival, ArrivedFile},
    bundles::{LoadedBundle, RefMove},
    carry::Served,
    conclude::{Conclusion, Finding, steps},
    content::DERIVED_FROM,
    lifecycle::in_quarantine,
    restored::RestoredBundle,
    taken::Reception,
    verdicts::NewVerdict,
};

/// The catalog's id of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositoryId(pub i64);
