//! From one repository to another: what is served there becomes what is served here, under the policy here.

use futures::StreamExt as _;
use futures::{TryStreamExt as _, stream};

use super::{Engine, publish::Publication};
use crate::{
    ecosystem::Approval,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    snapshot::{Change, Edit, Entry, Snapshot},
};

/// Entries adopted in one transaction.
const BATCH: usize = 500;

impl Engine {
    /// Makes the content of `to` equal to that of `from`, as a new number of `to`, under the policy of `to`:
    /// what it has denied stays out, and what it must approve by a person waits for that person. Dropping the future
    /// leaves `main` of `to` where it was, and revisions of `from` known there.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a repository, or for `from` while nothing is published in it; [`Error::Invalid`] for
    /// repositories of two ecosystems; those of [`publish`](Self::publish).
    pub async fn promote(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        author: Actor,
    ) -> Result<Snapshot> {
        let (source, _) = self.repository(from).await?;
        let promoted = self.inner.catalog.resolve(source.id, "main").await?;
        let theirs = self.inner.pages.open(promoted.content).await?;
        // What the source denies is not served there, whatever its newest snapshot still lists.
        let denied = self.denials(source.id).await?;
        let publication = Publication::begin(self, to).await?;
        let result = async {
            let target = publication.repository();
            if target.config.ecosystem != source.config.ecosystem {
                return Err(Error::invalid(
                    format!("promote {from} {to}"),
                    format!("`{from}` is {}, `{to}` is {}", source.config.ecosystem, target.config.ecosystem),
                ));
            }
            let reason = format!("promoted from {from} {}", promoted.number);
            let mut changes = self.inner.pages.diff(publication.parent_content(), &theirs);
            let mut edits = Vec::new();
            let mut batch: Vec<Entry> = Vec::with_capacity(BATCH);
            while let Some(change) = changes.try_next().await? {
                match change {
                    Change::Added(new) | Change::Changed { new, .. } if denied.of(&new).is_some() => {
                        edits.push(Edit::Remove(new.path));
                    }
                    Change::Added(new) | Change::Changed { new, .. } => batch.push(*new),
                    Change::Removed(old) => edits.push(Edit::Remove(old.path)),
                }
                if batch.len() == BATCH {
                    self.adopt(&publication, &mut batch, &mut edits, &author, &reason).await?;
                }
            }
            self.adopt(&publication, &mut batch, &mut edits, &author, &reason).await?;
            edits.sort_by(|a, b| path(a).cmp(path(b)));
            let edits = stream::iter(edits.into_iter().map(Ok)).boxed();
            let written =
                self.inner.pages.write(publication.parent_content(), edits, publication.sink()).await?;
            let source = (source.id, promoted.number);
            publication.commit(written.root, None, Some(source), author, reason).await
        }
        .await;
        publication.end(result).await
    }

    /// Makes entries known to the target's catalog; those that its policy lets in become edits.
    async fn adopt(
        &self,
        publication: &Publication<'_>,
        batch: &mut Vec<Entry>,
        edits: &mut Vec<Edit>,
        author: &Actor,
        reason: &str,
    ) -> Result<()> {
        let target = publication.repository();
        let automatic = target.config.approval == Approval::Automatic;
        let admitted = self
            .inner
            .catalog
            .adopt_entries(target.id, batch, automatic, author, reason, Some(publication.fence()))
            .await?;
        edits.extend(
            batch
                .drain(..)
                .filter(|entry| admitted.contains(&entry.path))
                .map(|entry| Edit::Put(Box::new(entry))),
        );
        Ok(())
    }
}

fn path(edit: &Edit) -> &str {
    match edit {
        Edit::Put(entry) => entry.path.as_str(),
        Edit::Remove(path) => path.as_str(),
    }
}
