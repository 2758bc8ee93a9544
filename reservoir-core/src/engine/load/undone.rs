//! What a person took back here, and a bundle shows again.

use futures::TryStreamExt as _;

use super::apply::BATCH;
use crate::{
    Engine,
    catalog::{ArrivingStream, Repository, Served},
    engine::publish::Publication,
    error::{ErrorKind, Result},
    name::RefName,
    snapshot::{Change, Entry},
};

impl Engine {
    /// A line for people, where `main` is not what the bundle before left there and decisions made of it since: somebody
    /// has rolled it back, or promoted something over it. The sender decides what a repository of its stream shows, so
    /// the bundle undoes that; what was rejected here stays away.
    pub(super) async fn undone(
        &self,
        publication: &Publication<'_>,
        repository: &Repository,
        known: Option<&ArrivingStream>,
    ) -> Result<Option<String>> {
        let (Some(known), Some(now)) = (known, publication.parent_snapshot()) else { return Ok(None) };
        let name = &repository.config.name;
        let mut brought = known.refs.iter().map(|arrived| &arrived.carried);
        let is_main = |carried: &&crate::bundle::CarriedRef| {
            carried.repository == *name && carried.reference == RefName::main()
        };
        let Some(brought) = brought.find(is_main) else { return Ok(None) };
        let pages = publication.pages();
        let brought = match pages.open(brought.snapshot).await {
            Ok(brought) => brought,
            // The repository was made anew of what was left.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut changes = pages.diff(publication.parent_content(), &brought).try_chunks(BATCH);
        let mut files = 0;
        while let Some(batch) = changes.try_next().await.map_err(|error| error.1)? {
            let missing = |change: &Change| match change {
                Change::Added(entry) | Change::Changed { new: entry, .. } => Some((**entry).clone()),
                Change::Removed(_) => None,
            };
            let missing: Vec<Entry> = batch.iter().filter_map(missing).collect();
            files += batch.iter().filter(|change| matches!(change, Change::Removed(_))).count();
            files += self.inner.catalog.served_entries(repository.id, &missing, Served::Settled).await?.len();
        }
        Ok((files > 0).then(|| {
            let (number, message, author) = (now.number, &now.message, &now.author);
            format!(
                "{name}: snapshot {number} (`{message}`, {author}) had {files} files otherwise than bundle {}",
                known.sequence
            )
        }))
    }
}
