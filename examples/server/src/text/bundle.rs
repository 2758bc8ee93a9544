//! Bundles as text.

use std::fmt;

use super::bytes;
use crate::output::{
    Output,
    bundle::{
        CarriedRefRow, ExportOutput, InspectOutput, InventoryOutput, KeyOutput, KeysOutput, LoadOutput,
        LoadedRow, TrustedKeyRow,
    },
};

impl Output for KeyOutput {}
impl Output for TrustedKeyRow {}
impl Output for KeysOutput {}
impl Output for InventoryOutput {}

impl Output for ExportOutput {
    fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

impl Output for LoadOutput {
    fn is_complete(&self) -> bool {
        self.bundles.iter().all(|bundle| bundle.missing.is_empty() && bundle.waiting.is_empty())
    }
}

impl Output for InspectOutput {
    fn is_complete(&self) -> bool {
        self.finished && self.missing.is_empty() && self.refused.is_none() && self.damage.is_none()
    }
}

impl fmt::Display for KeyOutput {
    /// Exactly a minisign public key file, so that it can be written to one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)
    }
}

impl fmt::Display for TrustedKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.trusted { "trusted" } else { "not trusted any more" };
        write!(f, "{} {state}, accept {}", self.name, self.accept)?;
        if let Some(predecessor) = &self.predecessor {
            write!(f, ", in the place of {predecessor}")?;
        }
        if !self.comment.is_empty() {
            write!(f, "  {}", self.comment)?;
        }
        writeln!(f)
    }
}

impl fmt::Display for KeysOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return writeln!(f, "no key is trusted; see `reservoir key trust`");
        }
        self.keys.iter().try_for_each(|row| row.fmt(f))
    }
}

impl fmt::Display for ExportOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(sequence) = self.sequence else {
            return writeln!(f, "nothing new for {}", self.site);
        };
        let verb = if self.written { "wrote" } else { "would write" };
        writeln!(
            f,
            "{verb} bundle {sequence} for {} ({}): {}, {}, and {} of records, on {}",
            self.site,
            self.kind,
            counted(self.blobs, "blob"),
            bytes(self.bytes),
            bytes(self.metadata_bytes),
            counted(self.volumes.len() as u64, "volume")
        )?;
        if self.saved_bytes > 0 {
            let blobs = counted(self.patched, "blob");
            writeln!(f, "of {blobs} only the pieces that changed: {} less", bytes(self.saved_bytes))?;
        }
        if self.resumed_at > 0 {
            writeln!(f, "went on after {}", bytes(self.resumed_at))?;
        }
        for row in &self.refs {
            writeln!(f, "  {} {} = snapshot {}", row.repository, row.r#ref, row.number)?;
        }
        for label in &self.volumes {
            writeln!(f, "  volume {label}")?;
        }
        if self.parity_volumes > 0 {
            let volumes = counted(self.parity_volumes.into(), "parity volume");
            writeln!(f, "  {volumes}, {}", bytes(self.parity_bytes))?;
        }
        if self.metadata_only > 0 {
            writeln!(f, "as metadata only: {}", counted(self.metadata_only, "revision"))?;
        }
        self.missing.iter().try_for_each(|line| writeln!(f, "missing  {line}"))
    }
}

impl fmt::Display for LoadOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bundles.iter().try_for_each(|bundle| loaded(f, bundle, self.dry_run))
    }
}

fn loaded(f: &mut fmt::Formatter<'_>, row: &LoadedRow, dry_run: bool) -> fmt::Result {
    write!(f, "bundle {} for {}: ", row.sequence, row.site)?;
    if row.already {
        return writeln!(f, "applied already, nothing to do");
    }
    let state = match (row.applied, dry_run) {
        (true, _) => "applied",
        (false, true) if row.missing.is_empty() => "would be applied",
        (false, true) => "would not be applied yet",
        (false, false) => "not applied yet",
    };
    writeln!(f, "{state}, {}, {} of them new", counted(row.blobs, "blob"), bytes(row.new_bytes))?;
    for repository in &row.repositories {
        let made = if repository.created { " (new)" } else { "" };
        match repository.snapshot {
            Some(number) => writeln!(
                f,
                "  {}{made}: snapshot {number}, {} new",
                repository.repository,
                counted(repository.admitted, "revision")
            )?,
            None => writeln!(f, "  {}{made}: nothing new for clients", repository.repository)?,
        }
    }
    for volume in &row.repaired {
        writeln!(
            f,
            "repaired volume {} ({}) from parity volumes; copy that medium anew",
            volume.index, volume.label
        )?;
    }
    for volume in &row.missing {
        writeln!(f, "missing  volume {} ({}); load it the same way", volume.index, volume.label)?;
    }
    for kept in &row.kept_refs {
        writeln!(f, "kept     {kept} points where it was pointed here; the sender has another of that name")?;
    }
    for line in &row.undone {
        writeln!(f, "undone   {line}; `main` is as the sender has it again")?;
    }
    row.waiting.iter().try_for_each(|line| writeln!(f, "waiting  {line}"))
}

impl fmt::Display for InventoryOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|file| writeln!(f, "wrote {file}"))
    }
}

impl fmt::Display for InspectOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bundle {} for {} ({}), format {}", self.sequence, self.site, self.kind, self.format)?;
        write!(f, "  signed by {}", self.key)?;
        if !self.signer.is_empty() {
            write!(f, " ({})", self.signer)?;
        }
        writeln!(f, ", which is trusted, accept {}", self.accept)?;
        writeln!(f, "  stream {}, header {}", self.stream, self.bundle)?;
        if let (Some(follows), Some(previous)) = (self.follows, &self.previous) {
            writeln!(f, "  follows bundle {follows}, header {previous}")?;
        }
        for base in &self.base {
            writeln!(f, "  builds on {base}")?;
        }
        write!(f, "  made {}", self.created)?;
        if let Some(expires) = &self.expires {
            write!(f, ", expires {expires}")?;
        }
        writeln!(f)?;
        writeln!(f, "  policy {}", self.policy)?;
        for row in &self.scanners {
            writeln!(f, "  scanner {} with rules {}", row.scanner, row.rules)?;
        }
        writeln!(f, "  audit log at {}, {}", self.audit_seq, self.audit_hash)?;
        for row in &self.refs {
            let CarriedRefRow { repository, ecosystem, r#ref, number, content } = row;
            writeln!(f, "  {repository} ({ecosystem}) {ref} = snapshot {number}, {content}")?;
        }
        let (blobs, records) = (counted(self.blobs, "blob"), counted(self.records, "line"));
        write!(f, "  {blobs}, {}, {records} of records", bytes(self.bytes))?;
        if self.patched > 0 {
            write!(f, ", {} as patches", self.patched)?;
        }
        writeln!(f)?;
        for label in &self.labels {
            writeln!(f, "  volume {label}")?;
        }
        if let Some(parity) = self.parity {
            writeln!(f, "  parity volumes for {parity} % of it")?;
        }
        for volume in &self.missing {
            writeln!(f, "missing  volume {} ({})", volume.index, volume.label)?;
        }
        if !self.finished {
            writeln!(f, "missing  its end: `volumes.json` is not here")?;
        }
        if let Some(damage) = &self.damage {
            writeln!(f, "damaged  {damage}")?;
            for volume in &self.repairable {
                writeln!(
                    f,
                    "damaged  volume {} ({}); `load` makes it again from parity volumes",
                    volume.index, volume.label
                )?;
            }
        }
        if self.verified {
            writeln!(f, "  every byte is as it was written")?;
        }
        match (&self.refused, self.already) {
            (Some(reason), _) => writeln!(f, "refused  {reason}"),
            (None, true) => writeln!(f, "  was applied here already"),
            (None, false) => writeln!(f, "  can be applied here"),
        }
    }
}

/// `1 volume`, `2 volumes`.
fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
