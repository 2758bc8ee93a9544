//! Yanking: what was uploaded stays, but clients take it only when they ask for exactly that revision.

use std::time::Duration;

use super::{
    Engine,
    run::{release_after, wait_for_lease},
};
use crate::{
    catalog::FileRow,
    ecosystem::Publish,
    error::{Error, Result},
    name::{Actor, ArtifactName, RepositoryName, RevisionName},
    snapshot::Snapshot,
};

/// How long a yank waits for whoever changes the repository.
const PATIENCE: Duration = Duration::from_mins(2);

impl Engine {
    /// Marks the files of a revision that was uploaded as yanked for `reason` (which may be empty), or takes the
    /// mark away with `None`; publishes unless the repository says `publish = "manual"`.
    ///
    /// The files are marked in one transaction. Dropped before the snapshot is made, the next publish shows the mark.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where clients of the format know no such mark, [`Error::Invalid`] for a revision that
    /// comes from a registry, which says itself what is yanked, [`Error::Denied`] in a repository that bundles fill,
    /// whose next bundle would take the mark away, [`Error::NotFound`], and [`Error::Conflict`] while
    /// somebody else changes the repository for longer than two minutes. Those of [`publish`](Self::publish).
    pub async fn yank(
        &self,
        name: &RepositoryName,
        (artifact, revision): (&ArtifactName, &RevisionName),
        reason: Option<&str>,
        actor: Actor,
    ) -> Result<Option<Snapshot>> {
        let (repository, ecosystem) = self.repository(name).await?;
        let Some((key, value)) = ecosystem.yank_mark(reason.unwrap_or_default()) else {
            return Err(Error::Unsupported {
                what: format!("yanking `{artifact}@{revision}`"),
                detail: format!(
                    "clients of {} know no such mark; rejecting it takes it away",
                    repository.config.ecosystem
                ),
            });
        };
        self.refuse_carried(&repository).await?;
        let catalog = &self.inner.catalog;
        let fence = wait_for_lease(catalog, &format!("sync/{}", repository.uuid), PATIENCE).await?;
        let marked = async {
            let found = catalog.find_revision(repository.id, artifact, revision).await?;
            let mut files: Vec<FileRow> = catalog.files(found.id).await?;
            files.retain(FileRow::is_uploaded);
            if files.is_empty() {
                return Err(Error::invalid(
                    format!("`{artifact}@{revision}`"),
                    "was not uploaded here: its registry says what is yanked, and rejecting it takes it away",
                ));
            }
            let facts = files.into_iter().map(|file| {
                let mut attributes = file.attributes;
                match reason {
                    Some(_) => drop(attributes.insert(key.to_owned(), value.clone())),
                    None => drop(attributes.remove(key)),
                }
                (file.path, attributes)
            });
            let facts: Vec<_> = facts.collect();
            catalog.annotate_files(repository.id, &facts, &actor, &fence).await
        }
        .await;
        release_after(catalog, &fence, marked).await?;
        if repository.config.publish != Publish::Automatic {
            return Ok(None);
        }
        let done = if reason.is_some() { "yank" } else { "unyank" };
        self.publish(name, actor, format!("{done} {artifact}@{revision}")).await
    }
}
