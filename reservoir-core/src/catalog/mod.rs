//! What must be queried or changed: SQL, the same text for SQLite and PostgreSQL.

use serde::{Deserialize, Serialize};

/// The catalog's id of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositoryId(pub i64);

/// Proof of holding a lease: checked inside the transaction of every fenced write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lease.
    pub lease: String,
    /// The token it was given.
    pub token: i64,
}
