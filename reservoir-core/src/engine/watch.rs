//! Work on volumes that blocks, told of and stopped as the task it belongs to.

use crate::{
    bundle::Watch,
    error::Result,
    task::{Progress, TaskContext},
};

/// The task that a bundle is written or taken in by.
pub(super) struct Watcher {
    pub(super) task: TaskContext,
}

impl Watch for Watcher {
    fn bytes(&self, count: u64) -> Result<()> {
        self.task.checkpoint()?;
        if count > 0 {
            self.task.report(Progress::FileBytes { path: "volume".parse()?, bytes: count });
        }
        Ok(())
    }
}
