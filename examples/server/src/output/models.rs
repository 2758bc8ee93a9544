//! What the commands about models print.

use schemars::JsonSchema;
use serde::Serialize;

use super::SyncOutput;

/// `import-list`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ImportListOutput {
    /// The repository.
    pub(crate) repository: String,
    /// Rows whose models are served now.
    pub(crate) served: Vec<ListedRow>,
    /// Rows whose models are not.
    pub(crate) refused: Vec<ListedRow>,
    /// What the import said; absent when no row could be taken.
    pub(crate) imported: Option<SyncOutput>,
}

/// A row of a list of models.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ListedRow {
    /// Its line.
    pub(crate) line: u64,
    /// What people call the model.
    pub(crate) name: String,
    /// Where it is, as written.
    pub(crate) path: String,
    /// What was selected: `org/name@main`.
    pub(crate) revision: Option<String>,
    /// Why it is not served.
    pub(crate) reason: Option<String>,
}

/// `materialize`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct MaterializeOutput {
    /// The repository.
    pub(crate) repository: String,
    /// The artifact.
    pub(crate) artifact: String,
    /// The revision.
    pub(crate) revision: String,
    /// Files that are there now.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Of them, those that share blocks with the store.
    pub(crate) cloned: u64,
    /// Of them, those that are the store's own files.
    pub(crate) linked: u64,
    /// Files that may not be served.
    pub(crate) denied: Vec<LeftOutRow>,
    /// Files whose bytes are not here.
    pub(crate) absent: Vec<String>,
    /// Files that the selection of the mirror leaves out.
    pub(crate) left_out: Vec<String>,
}

/// A file that was left out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LeftOutRow {
    /// Its path.
    pub(crate) path: String,
    /// Why.
    pub(crate) reason: String,
}
