//! What a task tells those who watch.

use serde::Serialize;

use crate::{catalog::TaskId, name::ArtifactName, path::ContentPath};

/// One thing a task reports. Watchers that fall behind lose the oldest; the journal keeps the totals.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Progress {
    /// A new phase began: `discover`, `pull`, `publish`…
    Phase {
        /// Its name.
        name: &'static str,
        /// Units to do, when known.
        total: Option<u64>,
    },
    /// What the phase has to do is known in bytes too, so that the time that is left can be told.
    Expected {
        /// Bytes that will be reported as [`FileBytes`](Self::FileBytes).
        bytes: u64,
    },
    /// A registry was asked about an artifact.
    Discovered {
        /// The artifact.
        artifact: ArtifactName,
    },
    /// A file began to arrive.
    FileStarted {
        /// The file.
        path: ContentPath,
        /// Bytes, when known.
        size: Option<u64>,
    },
    /// More of a file arrived.
    FileBytes {
        /// The file.
        path: ContentPath,
        /// Bytes since the last report.
        bytes: u64,
    },
    /// A file is stored and verified.
    FileDone {
        /// The file.
        path: ContentPath,
        /// Bytes.
        size: u64,
        /// Whether it had to be fetched.
        fetched: bool,
    },
    /// Something that a person should know; the task goes on.
    Warning {
        /// In words.
        message: String,
    },
}

/// A [`Progress`] and the task it belongs to.
#[derive(Debug, Clone, Serialize)]
pub struct TaskEvent {
    /// The task.
    pub task: TaskId,
    /// What happened.
    #[serde(flatten)]
    pub progress: Progress,
}
