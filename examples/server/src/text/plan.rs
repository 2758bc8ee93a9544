//! import --dry-run.

use std::fmt;

use super::bytes;
use crate::output::{Output, PlanOutput};

impl Output for PlanOutput {
    fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.alarms.is_empty()
    }
}

impl fmt::Display for PlanOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.revisions {
            writeln!(
                f,
                "{}@{} ({} files, {})",
                row.artifact,
                row.revision,
                row.files.len(),
                bytes(row.bytes)
            )?;
        }
        writeln!(
            f,
            "{}: {} files to pull ({}), {} here already ({})",
            self.repository,
            self.files,
            bytes(self.bytes),
            self.kept_files,
            bytes(self.kept_bytes),
        )?;
        if self.unsized_files > 0 {
            writeln!(f, "the size of {} files is not known before they are pulled", self.unsized_files)?;
        }
        if self.unread_files > 0 {
            writeln!(f, "what {} files need is not known before they are pulled", self.unread_files)?;
        }
        for line in &self.missing {
            writeln!(f, "missing  {line}")?;
        }
        for line in &self.alarms {
            writeln!(f, "alarm    {line}")?;
        }
        Ok(())
    }
}
