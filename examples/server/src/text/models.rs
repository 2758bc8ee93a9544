//! What the commands about models print, as text.

use std::fmt;

use super::bytes;
use crate::output::{
    Output,
    models::{ImportListOutput, MaterializeOutput},
};

/// Files that are shown of those that are not here.
const SHOWN: usize = 10;

impl Output for ImportListOutput {
    fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.imported.as_ref().is_none_or(Output::is_complete)
    }
}

impl Output for MaterializeOutput {
    fn is_complete(&self) -> bool {
        self.denied.is_empty() && self.absent.is_empty()
    }
}

impl fmt::Display for ImportListOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(imported) = &self.imported {
            write!(f, "{imported}")?;
        }
        for row in &self.refused {
            let reason = row.reason.as_deref().unwrap_or_default();
            writeln!(f, "line {}  {} ({}): {reason}", row.line, row.path, row.name.escape_debug())?;
        }
        let (served, all) = (self.served.len(), self.served.len() + self.refused.len());
        writeln!(f, "{served} of {all} rows are served by {}", self.repository)
    }
}

impl fmt::Display for MaterializeOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { artifact, revision, files, cloned, linked, .. } = self;
        let size = bytes(self.bytes);
        writeln!(f, "{artifact}@{revision}: {files} files ({size}), {cloned} cloned, {linked} linked")?;
        for row in &self.denied {
            writeln!(f, "denied   {}: {}", row.path, row.reason)?;
        }
        for path in self.absent.iter().take(SHOWN) {
            writeln!(f, "absent   {path}")?;
        }
        let all = *files as usize + self.absent.len() + self.denied.len() + self.left_out.len();
        let told = [(&self.absent, "are not here"), (&self.left_out, "are left out by the selection")];
        for (paths, what) in told.into_iter().filter(|(paths, _)| !paths.is_empty()) {
            writeln!(f, "{} of {all} files of the revision {what}", paths.len())?;
        }
        Ok(())
    }
}
