//! From what the engine says to what is printed.

use reservoir_core::{
    catalog::{AuditRecord, RepositoryId, Task, TaskState},
    lifecycle::{HistoryEntry, Revision},
    snapshot::{Change, Snapshot},
    sync::{FileProblem, SyncReport, Waiting},
};

use super::{
    AuditRow, DiffRow, FailedRow, HistoryRow, RevisionRow, SnapshotRow, SyncOutput, TaskRow, WaitingRow,
};

impl SyncOutput {
    /// From a task's report.
    pub(crate) fn new(task: i64, repository: &str, mut report: SyncReport) -> Self {
        // Revisions are brought in side by side; what is printed has one order.
        let name = |row: &Waiting| (row.artifact.to_string(), row.revision.to_string());
        report.waiting.sort_by_cached_key(name);
        report.blocked.sort_by_cached_key(name);
        report.failed.sort_by_cached_key(|row| (row.artifact.to_string(), row.revision.to_string()));
        let waiting = |row: Waiting| WaitingRow {
            artifact: row.artifact.to_string(),
            revision: row.revision.to_string(),
            status: row.status.to_string(),
            reason: row.reason,
        };
        let failed = |row: FileProblem| FailedRow {
            artifact: row.artifact.to_string(),
            revision: row.revision.to_string(),
            reason: row.reason,
        };
        Self {
            task,
            repository: repository.to_owned(),
            asked: report.asked,
            unchanged: report.unchanged,
            new_files: report.new_files,
            fetched_files: report.fetched_files,
            fetched_bytes: report.fetched_bytes,
            admitted: report.admitted,
            kept: report.kept,
            published: report.published,
            waiting: report.waiting.into_iter().map(waiting).collect(),
            blocked: report.blocked.into_iter().map(waiting).collect(),
            failed: report.failed.into_iter().map(failed).collect(),
            missing: report.missing,
            alarms: report.alarms,
            skipped: report.skipped,
        }
    }
}

impl From<Revision> for RevisionRow {
    fn from(revision: Revision) -> Self {
        Self {
            artifact: revision.artifact.to_string(),
            revision: revision.revision.to_string(),
            status: revision.status.to_string(),
            changed_at: revision.changed_at.to_string(),
        }
    }
}

impl From<HistoryEntry> for HistoryRow {
    fn from(entry: HistoryEntry) -> Self {
        Self {
            at: entry.at.to_string(),
            actor: entry.actor.to_string(),
            from: entry.from.map(|status| status.to_string()),
            to: entry.to.to_string(),
            attempt: entry.attempt,
            reason: entry.reason,
        }
    }
}

impl From<AuditRecord> for AuditRow {
    fn from(record: AuditRecord) -> Self {
        Self {
            seq: record.seq,
            at: record.at.to_string(),
            actor: record.actor.to_string(),
            action: record.action,
            subject: record.subject,
            detail: record.detail,
            hash: record.hash.to_string(),
        }
    }
}

impl SnapshotRow {
    /// With the refs that point to it.
    pub(crate) fn new(snapshot: Snapshot, refs: Vec<String>) -> Self {
        Self {
            number: snapshot.number,
            parent: snapshot.parent,
            created_at: snapshot.created_at.to_string(),
            author: snapshot.author.to_string(),
            message: snapshot.message,
            content: snapshot.content.to_string(),
            publication: snapshot.publication.to_string(),
            refs,
        }
    }
}

impl From<Change> for DiffRow {
    fn from(change: Change) -> Self {
        let (kind, entry) = match change {
            Change::Added(entry) => ("added", entry),
            Change::Removed(entry) => ("removed", entry),
            Change::Changed { new, .. } => ("changed", new),
        };
        Self {
            change: kind.to_owned(),
            path: entry.path.to_string(),
            sha256: entry.blob.sha256.to_string(),
            size: entry.blob.size,
        }
    }
}

impl TaskRow {
    /// With the name of its repository.
    pub(crate) fn new(task: Task, repository: impl Fn(RepositoryId) -> Option<String>) -> Self {
        Self {
            id: task.id.0,
            kind: task.kind,
            repository: task.repository.and_then(repository),
            state: task.state.to_string(),
            created_at: task.created_at.to_string(),
            updated_at: task.updated_at.to_string(),
            error: task.error,
        }
    }

    /// Whether the task is at work.
    pub(crate) fn is_running(task: &Task) -> bool {
        matches!(task.state, TaskState::Queued | TaskState::Running)
    }
}
