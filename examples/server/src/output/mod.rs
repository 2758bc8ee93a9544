//! What commands print: one type a command, with `--json` and as text. The schemas are checked in (`tests/it/schemas.rs`).

pub(crate) mod bundle;
mod convert;
pub(crate) mod models;

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Something a command prints.
pub(crate) trait Output: Serialize + fmt::Display {
    /// Whether everything that was expected is there; otherwise the exit status is 3.
    fn is_complete(&self) -> bool {
        true
    }
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Serialize, JsonSchema)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        })*
    };
}

/// How `apply` changed one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    /// New.
    Added,
    /// Different now.
    Changed,
    /// As it was.
    Unchanged,
    /// Gone.
    Removed,
}

impl ChangeKind {
    /// From whether it was known and whether it changed.
    pub(crate) const fn of(known: bool, changed: bool) -> Self {
        match (known, changed) {
            (false, _) => Self::Added,
            (true, true) => Self::Changed,
            (true, false) => Self::Unchanged,
        }
    }
}

rows! {
    /// `init`
    InitOutput {
        /// The home directory.
        home: String,
        /// Whether it is new.
        created: bool,
    }
    /// One line of `apply`.
    ApplyChange {
        /// `registry` or `repository`.
        kind: String,
        /// Its name.
        name: String,
        /// What happened to it.
        change: ChangeKind,
    }
    /// `scan`, `import`, `sync`
    SyncOutput {
        /// The task in the journal.
        task: i64,
        /// The repository.
        repository: String,
        /// Artifacts the registries were asked about.
        asked: u64,
        /// Of those, unchanged.
        unchanged: u64,
        /// Files that became known.
        new_files: u64,
        /// Files fetched.
        fetched_files: u64,
        /// Bytes fetched.
        fetched_bytes: u64,
        /// Revisions that became AVAILABLE.
        admitted: u64,
        /// Revisions that were AVAILABLE before.
        kept: u64,
        /// The snapshot that was published, if any.
        published: Option<u64>,
        /// Revisions that wait for a person.
        waiting: Vec<WaitingRow>,
        /// Revisions that are rejected or blocked and were asked for.
        blocked: Vec<WaitingRow>,
        /// Revisions that could not be brought in.
        failed: Vec<FailedRow>,
        /// Requirements that nothing satisfies.
        missing: Vec<String>,
        /// Things a person must look at.
        alarms: Vec<String>,
        /// Entries of registries that were skipped, with the reason.
        skipped: Vec<String>,
    }
    /// `import --dry-run`
    PlanOutput {
        /// The repository.
        repository: String,
        /// Files that would be pulled.
        files: u64,
        /// Their bytes, as far as registries tell.
        bytes: u64,
        /// Of those files, the ones whose size no registry tells.
        unsized_files: u64,
        /// Files that are chosen and here already.
        kept_files: u64,
        /// Their bytes.
        kept_bytes: u64,
        /// Files of which only the bytes tell what they need: what that is, is not in the plan.
        unread_files: u64,
        /// What is chosen; of more than ten thousand the first found.
        revisions: Vec<PlannedRow>,
        /// Requirements that nothing satisfies.
        missing: Vec<String>,
        /// Things a person must look at.
        alarms: Vec<String>,
        /// Entries of registries that were skipped, with the reason.
        skipped: Vec<String>,
    }
    /// A revision in a plan.
    PlannedRow {
        /// Its artifact.
        artifact: String,
        /// Its name.
        revision: String,
        /// The files that are chosen of it.
        files: Vec<String>,
        /// Their bytes, as far as known.
        bytes: u64,
    }
    /// A revision that is not served.
    WaitingRow {
        /// Its artifact.
        artifact: String,
        /// Its name.
        revision: String,
        /// Where it stands.
        status: String,
        /// Why.
        reason: String,
    }
    /// A revision that could not be brought in.
    FailedRow {
        /// Its artifact.
        artifact: String,
        /// Its name.
        revision: String,
        /// Why.
        reason: String,
    }
    /// One repository in `list`.
    RepositoryRow {
        /// Its name.
        name: String,
        /// Its ecosystem.
        ecosystem: String,
        /// Its mode.
        mode: String,
        /// The number `main` points to.
        snapshot: Option<u64>,
        /// Revisions by status.
        revisions: std::collections::BTreeMap<String, u64>,
    }
    /// `list`
    RepositoriesOutput {
        /// All repositories.
        repositories: Vec<RepositoryRow>,
    }
    /// One revision in `list REPO`; also `approve`, `reject`.
    RevisionRow {
        /// Its artifact.
        artifact: String,
        /// Its name.
        revision: String,
        /// Where it stands.
        status: String,
        /// Since when, RFC 3339.
        changed_at: String,
    }
    /// `list REPO`
    RevisionsOutput {
        /// The repository.
        repository: String,
        /// Its revisions.
        revisions: Vec<RevisionRow>,
    }
    /// One file in `show`.
    FileRow {
        /// Its path within the repository.
        path: String,
        /// Bytes, when known.
        size: Option<u64>,
        /// Its digest, when known.
        sha256: Option<String>,
        /// Whether its bytes are here.
        stored: bool,
        /// Whether it may be served.
        admitted: bool,
        /// Whether the registry has withdrawn it.
        gone: bool,
        /// What inspection says of it in a word, such as `needs-build`.
        labels: Vec<String>,
        /// What its ecosystem tells of it, by name: the fields of a Debian package.
        facts: std::collections::BTreeMap<String, String>,
    }
    /// One revision in `show`.
    ShownRevision {
        /// Its name.
        revision: String,
        /// Where it stands.
        status: String,
        /// What its own files say of it: licence, results of benchmarks…
        facts: std::collections::BTreeMap<String, serde_json::Value>,
        /// Its files.
        files: Vec<FileRow>,
    }
    /// `show`
    ShowOutput {
        /// The repository.
        repository: String,
        /// The artifact.
        artifact: String,
        /// Facts from the registry.
        attributes: std::collections::BTreeMap<String, serde_json::Value>,
        /// Why the registry has withdrawn it, if it has.
        quarantined: Option<String>,
        /// What its registry did that it must not do, the latest first.
        alarms: Vec<String>,
        /// Its revisions.
        revisions: Vec<ShownRevision>,
    }
    /// One line of `history`.
    HistoryRow {
        /// When, RFC 3339.
        at: String,
        /// Who.
        actor: String,
        /// From where.
        from: Option<String>,
        /// To where.
        to: String,
        /// The attempt.
        attempt: i64,
        /// Why.
        reason: String,
    }
    /// `history`
    HistoryOutput {
        /// The revision, as ARTIFACT@REVISION.
        revision: String,
        /// Oldest first.
        history: Vec<HistoryRow>,
        /// What the audit log has of it and of its artifact as a whole, oldest first.
        audit: Vec<AuditRow>,
    }
    /// One record of the audit log in `history`.
    AuditRow {
        /// Its place in the chain.
        seq: i64,
        /// When, RFC 3339.
        at: String,
        /// Who.
        actor: String,
        /// What was done, such as `revision.approval` or `alarm`.
        action: String,
        /// To what.
        subject: String,
        /// Counts and reasons.
        detail: serde_json::Value,
        /// The hash that the next record names.
        hash: String,
    }
    /// `cleanup`
    CleanupOutput {
        /// The revision after it.
        revision: RevisionRow,
        /// Files dropped.
        files: u64,
    }
    /// One snapshot in `log`; also `rollback`, `promote`.
    SnapshotRow {
        /// Its number.
        number: u64,
        /// The number it was made from.
        parent: Option<u64>,
        /// When, RFC 3339.
        created_at: String,
        /// Who.
        author: String,
        /// Why.
        message: String,
        /// The root of its content.
        content: String,
        /// The root of its publication.
        publication: String,
        /// The refs that point to it.
        refs: Vec<String>,
    }
    /// `log`
    LogOutput {
        /// The repository.
        repository: String,
        /// The newest first.
        snapshots: Vec<SnapshotRow>,
    }
    /// `publish`
    PublishOutput {
        /// The new snapshot; absent when nothing had changed.
        published: Option<SnapshotRow>,
    }
    /// One line of `diff`.
    DiffRow {
        /// `added`, `removed` or `changed`.
        change: String,
        /// The path.
        path: String,
        /// Its digest in the newer one (in the older, when removed).
        sha256: String,
        /// Its size there, bytes.
        size: u64,
    }
    /// `diff`
    DiffOutput {
        /// The older number.
        from: u64,
        /// The newer number.
        to: u64,
        /// What differs, by path.
        changes: Vec<DiffRow>,
    }
    /// A blob that is missing or damaged, in `verify`.
    DamagedRow {
        /// Its digest.
        sha256: String,
        /// What is wrong.
        problem: String,
        /// Who refers to it, as `REPO PATH` (the first few).
        used_by: Vec<String>,
    }
    /// `check`
    CheckOutput {
        /// The repository.
        repository: String,
        /// The snapshot that was looked at.
        snapshot: u64,
        /// For each target what cannot be installed.
        targets: Vec<CheckedTargetRow>,
    }
    /// One target of `check`.
    CheckedTargetRow {
        /// Which, in the format's words: `bookworm amd64`.
        target: String,
        /// Packages that clients of it see.
        packages: u64,
        /// Of those, the ones that were in question: not what is only beside them.
        checked: u64,
        /// Those that cannot be installed, whatever else is installed with them.
        broken: Vec<BrokenRow>,
        /// What was not looked at.
        notes: Vec<String>,
    }
    /// A package that cannot be installed.
    BrokenRow {
        /// The package, in the format's words.
        package: String,
        /// Its artifact; absent for something that the selection asks for.
        artifact: Option<String>,
        /// Its revision; absent for something that the selection asks for.
        revision: Option<String>,
        /// Why, step by step; empty for those beyond the first five hundred.
        why: Vec<String>,
    }
    /// `verify`
    VerifyOutput {
        /// Blobs that something served refers to.
        referenced: u64,
        /// Blobs read and hashed (with `--deep`).
        hashed: u64,
        /// Bytes read and hashed (with `--deep`).
        bytes: u64,
        /// Audit records whose chain was checked.
        audit_records: u64,
        /// What is wrong.
        damaged: Vec<DamagedRow>,
    }
    /// `gc`
    GcOutput {
        /// Snapshots forgotten.
        snapshots: u64,
        /// Digests that something refers to.
        live: u64,
        /// Blobs condemned now.
        condemned: u64,
        /// Blobs deleted now.
        deleted: u64,
        /// Leftovers of interrupted writes removed.
        leftovers: u64,
    }
    /// `backup`
    BackupOutput {
        /// Files written.
        files: Vec<String>,
    }
    /// `rebuild`
    RebuildOutput {
        /// Repositories brought back.
        repositories: Vec<String>,
        /// Snapshots brought back.
        snapshots: u64,
        /// Files brought back.
        files: u64,
        /// Records that no line continues.
        dangling: u64,
        /// Decisions of persons brought back.
        decisions: u64,
        /// Snapshots that retention had forgotten.
        forgotten: u64,
        /// Streams of bundles that go on, each with its last bundle and the key that has to be trusted again.
        streams: Vec<String>,
        /// Repositories that have records and were not brought back, each with the reason.
        skipped: Vec<String>,
    }
    /// One task in `task list`.
    TaskRow {
        /// Its id.
        id: i64,
        /// `scan`, `import`, `sync`…
        kind: String,
        /// Its repository.
        repository: Option<String>,
        /// Where it stands.
        state: String,
        /// When it was created, RFC 3339.
        created_at: String,
        /// When it last wrote progress, RFC 3339.
        updated_at: String,
        /// What went wrong.
        error: Option<String>,
    }
    /// `task list`
    TasksOutput {
        /// The newest first.
        tasks: Vec<TaskRow>,
    }
    /// `task cancel`
    CancelOutput {
        /// The task.
        id: i64,
        /// Whether it was running and will stop.
        requested: bool,
    }
    /// One file of `client-setup`.
    SetupFile {
        /// Its name.
        name: String,
        /// Its text.
        text: String,
    }
    /// `client-setup`
    ClientSetupOutput {
        /// A line that works at once.
        command: String,
        /// Files to write.
        files: Vec<SetupFile>,
    }
    /// An error, with `--json`.
    ErrorOutput {
        /// The class of the error.
        kind: String,
        /// What, where, and what to do.
        error: String,
    }
}

/// `apply`
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct ApplyOutput {
    /// One line for each registry and repository of the file.
    pub(crate) changes: Vec<ApplyChange>,
}
