//! From the catalog's rows to edits of a content manifest.

use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::Engine;
use crate::{catalog::RepositoryId, error::Result, snapshot::Edit};

/// Rows read from the catalog at a time.
const BATCH: u32 = 1000;

impl Engine {
    /// The edits that bring a content manifest up to date with everything that changed up to `until`,
    /// sorted by path, read in batches.
    pub(super) fn dirty_edits(
        &self,
        repository: RepositoryId,
        until: i64,
    ) -> BoxStream<'static, Result<Edit>> {
        let catalog = self.inner.catalog.clone();
        let batches = futures::stream::try_unfold(Some(None), move |state| {
            let catalog = catalog.clone();
            async move {
                let Some(after) = state else { return Ok(None) };
                let edits: Vec<Edit> = catalog.dirty_edits(repository, until, after.as_ref(), BATCH).await?;
                let next = match edits.last() {
                    Some(Edit::Put(entry)) => Some(Some(entry.path.clone())),
                    Some(Edit::Remove(path)) => Some(Some(path.clone())),
                    None => None,
                };
                Ok(Some((futures::stream::iter(edits.into_iter().map(Ok)), next)))
            }
        });
        batches.try_flatten().boxed()
    }
}
