//! Revisions whose part of the next snapshot is not made yet.

use super::{
    Catalog, RepositoryId,
    rows::{Columns as _, sql},
    write::Write,
};
use crate::{error::Result, lifecycle::RevisionId};

impl Catalog {
    /// The revisions that changed since the last snapshot, by id (8 bytes each), and the mark up to which
    /// they were read. A snapshot made from them [settles](super::NewSnapshot::settles) that mark; what
    /// changes meanwhile has a later one.
    pub async fn dirty(&self, repository: RepositoryId) -> Result<(Option<i64>, Vec<RevisionId>)> {
        let query = sql("SELECT revision, seq FROM dirty WHERE repository = $1 ORDER BY revision");
        let rows = self.all("list changed revisions", query.bind(repository.0)).await?;
        let mut mark = None;
        let mut revisions = Vec::with_capacity(rows.len());
        for row in &rows {
            mark = mark.max(Some(row.int("seq")?));
            revisions.push(RevisionId(row.int("revision")?));
        }
        Ok((mark, revisions))
    }
}

impl Write {
    /// Marks a revision as changed, later than every mark that anybody has read.
    pub(super) async fn mark_dirty(&mut self, repository: RepositoryId, revision: RevisionId) -> Result<()> {
        let seq = self.next("dirty").await?;
        let put = sql("INSERT INTO dirty (revision, repository, seq) VALUES ($1, $2, $3) \
                       ON CONFLICT (revision) DO UPDATE SET seq = excluded.seq");
        self.execute(put.bind(revision.0).bind(repository.0).bind(seq)).await.map(drop)
    }
}
