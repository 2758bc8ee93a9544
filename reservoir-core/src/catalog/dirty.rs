//! Revisions whose part of the next snapshot is not made yet. See [`Catalog::dirty_until`](super::Catalog::dirty_until).

use super::{
    RepositoryId,
    rows::{BATCH, built, list},
    write::Write,
};
use crate::{error::Result, lifecycle::RevisionId};

impl Write {
    /// Marks a revision as changed, later than every mark that anybody has read.
    pub(super) async fn mark_dirty(&mut self, repository: RepositoryId, revision: RevisionId) -> Result<()> {
        self.mark_all_dirty(repository, &[revision]).await
    }

    /// The same for many.
    pub(super) async fn mark_all_dirty(
        &mut self,
        repository: RepositoryId,
        revisions: &[RevisionId],
    ) -> Result<()> {
        let seq = self.next("dirty").await?;
        for part in revisions.chunks(BATCH) {
            let put = built(format!(
                "INSERT INTO dirty (revision, repository, seq) SELECT id, $1, $2 FROM revision WHERE id IN ({}) \
                 ON CONFLICT (revision) DO UPDATE SET seq = excluded.seq",
                list(3, part.len())
            ));
            let put = put.bind(repository.0).bind(seq);
            self.execute(part.iter().fold(put, |put, id| put.bind(id.0))).await?;
        }
        Ok(())
    }
}
