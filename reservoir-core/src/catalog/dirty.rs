//! Revisions whose part of the next snapshot is not made yet. See [`Catalog::dirty_until`](super::Catalog::dirty_until).

use super::{RepositoryId, rows::sql, write::Write};
use crate::{error::Result, lifecycle::RevisionId};

impl Write {
    /// Marks a revision as changed, later than every mark that anybody has read.
    pub(super) async fn mark_dirty(&mut self, repository: RepositoryId, revision: RevisionId) -> Result<()> {
        let seq = self.next("dirty").await?;
        let put = sql("INSERT INTO dirty (revision, repository, seq) VALUES ($1, $2, $3) \
                       ON CONFLICT (revision) DO UPDATE SET seq = excluded.seq");
        self.execute(put.bind(revision.0).bind(repository.0).bind(seq)).await.map(drop)
    }
}
