//! The same outputs as text, for people.

mod bundle;
mod models;
mod plan;

use std::fmt;

use crate::output::{
    ApplyOutput, BackupOutput, CancelOutput, ChangeKind, CheckOutput, CleanupOutput, ClientSetupOutput,
    DiffOutput, GcOutput, HistoryOutput, InitOutput, LogOutput, Output, PublishOutput, RebuildOutput,
    RepositoriesOutput, RevisionRow, RevisionsOutput, ShowOutput, SnapshotRow, SyncOutput, TasksOutput,
    VerifyOutput,
};

/// Bytes as people write them, powers of 1024.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

macro_rules! outputs {
    ($($type:ty),* $(,)?) => { $(impl Output for $type {})* };
}

outputs!(
    InitOutput,
    ApplyOutput,
    RepositoriesOutput,
    RevisionsOutput,
    RevisionRow,
    ShowOutput,
    HistoryOutput,
    CleanupOutput,
    SnapshotRow,
    LogOutput,
    PublishOutput,
    DiffOutput,
    GcOutput,
    BackupOutput,
    RebuildOutput,
    TasksOutput,
    CancelOutput,
    ClientSetupOutput,
);

impl Output for SyncOutput {
    fn is_complete(&self) -> bool {
        self.waiting.is_empty()
            && self.blocked.is_empty()
            && self.failed.is_empty()
            && self.missing.is_empty()
            && self.alarms.is_empty()
    }
}

impl Output for CheckOutput {
    fn is_complete(&self) -> bool {
        self.targets.iter().all(|target| target.broken.is_empty())
    }
}

impl Output for VerifyOutput {
    fn is_complete(&self) -> bool {
        self.damaged.is_empty()
    }
}

impl fmt::Display for InitOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.created { "initialised" } else { "is initialised already:" };
        writeln!(f, "{state} {}", self.home)
    }
}

impl fmt::Display for ApplyOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let word = match change.change {
                ChangeKind::Added => "added",
                ChangeKind::Changed => "changed",
                ChangeKind::Unchanged => "unchanged",
                ChangeKind::Removed => "removed",
            };
            writeln!(f, "{word:<9} {} {}", change.kind, change.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for SyncOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} asked ({} unchanged), {} files fetched ({}), {} revisions new, {} kept",
            self.repository,
            self.asked,
            self.unchanged,
            self.fetched_files,
            bytes(self.fetched_bytes),
            self.admitted,
            self.kept,
        )?;
        match self.published {
            Some(number) => writeln!(f, "published snapshot {number}")?,
            None => writeln!(f, "nothing new to publish")?,
        }
        for row in &self.waiting {
            writeln!(f, "waiting  {}@{} ({}): {}", row.artifact, row.revision, row.status, row.reason)?;
        }
        for row in &self.blocked {
            writeln!(f, "blocked  {}@{} ({}): {}", row.artifact, row.revision, row.status, row.reason)?;
        }
        for row in &self.failed {
            writeln!(f, "failed   {}@{}: {}", row.artifact, row.revision, row.reason)?;
        }
        for line in &self.missing {
            writeln!(f, "missing  {line}")?;
        }
        for line in &self.alarms {
            writeln!(f, "alarm    {line}")?;
        }
        if !self.skipped.is_empty() {
            writeln!(
                f,
                "skipped {} entries of the registry; the first: {}",
                self.skipped.len(),
                self.skipped[0]
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for RepositoriesOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.repositories.is_empty() {
            return writeln!(f, "no repositories; see `reservoir help apply`");
        }
        for row in &self.repositories {
            let snapshot = row.snapshot.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let counts: Vec<String> =
                row.revisions.iter().map(|(status, count)| format!("{count} {status}")).collect();
            writeln!(
                f,
                "{:<24} {:<6} {:<7} snapshot {:<5} {}",
                row.name,
                row.ecosystem,
                row.mode,
                snapshot,
                counts.join(", ")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for RevisionsOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.revisions.iter().try_for_each(|row| row.fmt(f))
    }
}

impl fmt::Display for RevisionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<15} {}@{}", self.status, self.artifact, self.revision)
    }
}

impl fmt::Display for ShowOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} in {}", self.artifact, self.repository)?;
        if let Some(reason) = &self.quarantined {
            writeln!(f, "withdrawn by its registry: {reason}")?;
        }
        for alarm in &self.alarms {
            writeln!(f, "alarm: {alarm}")?;
        }
        for (key, value) in &self.attributes {
            writeln!(f, "  {key}: {value}")?;
        }
        for revision in &self.revisions {
            writeln!(f, "{} {}", revision.revision, revision.status)?;
            for (key, value) in &revision.facts {
                writeln!(f, "  {key}: {value}")?;
            }
            for file in &revision.files {
                let size = file.size.map_or_else(|| "?".to_owned(), bytes);
                let state = match (file.admitted, file.stored) {
                    (true, _) => "admitted",
                    (false, true) => "stored",
                    (false, false) => "known",
                };
                let gone = if file.gone { ", not listed by its registry any more" } else { "" };
                write!(f, "  {} ({size}, {state}{gone}", file.path)?;
                for label in &file.labels {
                    write!(f, ", {}", label.replace('-', " "))?;
                }
                writeln!(f, ")")?;
                if let Some(sha256) = &file.sha256 {
                    writeln!(f, "    sha256:{sha256}")?;
                }
                for (name, value) in &file.facts {
                    writeln!(f, "    {name}: {value}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for HistoryOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.history {
            let from = row.from.as_deref().unwrap_or("(new)");
            writeln!(f, "{}  {:<12} {from} -> {}: {}", row.at, row.actor, row.to, row.reason)?;
        }
        // The rest of the audit log says the same in other words; `--json` has all of it.
        for row in self.audit.iter().filter(|row| row.action == "alarm") {
            let (rule, detail) = (&row.detail["rule"], &row.detail["detail"]);
            let (rule, detail) = (rule.as_str().unwrap_or_default(), detail.as_str().unwrap_or_default());
            writeln!(f, "{}  {:<12} alarm {rule}: {detail} (audit record {})", row.at, row.actor, row.seq)?;
        }
        Ok(())
    }
}

impl fmt::Display for CleanupOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.revision.fmt(f)?;
        writeln!(
            f,
            "{} files dropped; `reservoir gc` frees their space once no kept snapshot needs them",
            self.files
        )
    }
}

impl fmt::Display for SnapshotRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refs = if self.refs.is_empty() { String::new() } else { format!(" ({})", self.refs.join(", ")) };
        writeln!(f, "{}{refs}  {}  {}  {}", self.number, self.created_at, self.author, self.message)
    }
}

impl fmt::Display for LogOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshots.iter().try_for_each(|row| row.fmt(f))
    }
}

impl fmt::Display for PublishOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.published {
            Some(snapshot) => snapshot.fmt(f),
            None => writeln!(f, "nothing new to publish"),
        }
    }
}

impl fmt::Display for DiffOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.changes {
            let sign = match row.change.as_str() {
                "added" => '+',
                "removed" => '-',
                _ => '~',
            };
            writeln!(f, "{sign} {} ({})", row.path, bytes(row.size))?;
        }
        Ok(())
    }
}

impl fmt::Display for CheckOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.targets {
            for broken in &row.broken {
                writeln!(f, "broken   {} in {}", broken.package, row.target)?;
                for step in &broken.why {
                    writeln!(f, "         {step}")?;
                }
            }
            for note in &row.notes {
                writeln!(f, "note     {note}")?;
            }
            let (fine, broken) = (row.checked - row.broken.len() as u64, row.broken.len());
            writeln!(f, "{}: {fine} packages can be installed, {broken} cannot", row.target)?;
        }
        Ok(())
    }
}

impl fmt::Display for VerifyOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.damaged {
            writeln!(f, "damaged  {} {}", row.sha256, row.problem)?;
            for user in &row.used_by {
                writeln!(f, "         used by {user}")?;
            }
        }
        writeln!(
            f,
            "{} references, {} blobs hashed ({}), {} audit records checked, {} damaged",
            self.referenced,
            self.hashed,
            bytes(self.bytes),
            self.audit_records,
            self.damaged.len()
        )
    }
}

impl fmt::Display for GcOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} snapshots forgotten, {} blobs live, {} condemned, {} deleted, {} leftovers removed",
            self.snapshots, self.live, self.condemned, self.deleted, self.leftovers
        )
    }
}

impl fmt::Display for BackupOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|file| writeln!(f, "wrote {file}"))
    }
}

impl fmt::Display for RebuildOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} repositories, {} snapshots, {} files, {} decisions brought back; {} records were never committed",
            self.repositories.len(),
            self.snapshots,
            self.files,
            self.decisions,
            self.dangling
        )?;
        self.streams.iter().try_for_each(|line| writeln!(f, "stream {line}"))?;
        self.skipped.iter().try_for_each(|line| writeln!(f, "not brought back: {line}"))
    }
}

impl fmt::Display for TasksOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.tasks {
            let repository = row.repository.as_deref().unwrap_or("-");
            let error = row.error.as_deref().map(|error| format!("  {error}")).unwrap_or_default();
            writeln!(
                f,
                "{:<5} {:<8} {repository:<20} {:<12} {}{error}",
                row.id, row.kind, row.state, row.created_at
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for CancelOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.requested {
            writeln!(f, "task {} will stop", self.id)
        } else {
            writeln!(f, "task {} is not running", self.id)
        }
    }
}

impl fmt::Display for ClientSetupOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        for file in &self.files {
            writeln!(f, "\n# {}\n{}", file.name, file.text.trim_end())?;
        }
        Ok(())
    }
}
