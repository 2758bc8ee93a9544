//! The same content again, with new dates and signatures, before what was published goes stale.

use super::{Engine, publish::Publication};
use crate::{
    clock::Timestamp,
    ecosystem::{Ecosystem, RepositoryConfig},
    error::{Error, Result},
    name::{Actor, RepositoryName},
    snapshot::Snapshot,
};

/// What [`Engine::refresh_due`] did for one repository.
#[derive(Debug)]
pub struct Refreshed {
    /// The repository.
    pub repository: RepositoryName,
    /// Its new snapshot, or why there is none.
    pub result: Result<Snapshot>,
}

impl Engine {
    /// Publishes the content of `main` again, as a new number: rendered, dated and signed here and now. For what
    /// changes no content: a date that comes near, another key, another option.
    ///
    /// Dropping the future leaves the ref where it was, or moved.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing was published yet; those of [`publish`](Self::publish).
    pub async fn refresh(
        &self,
        name: &RepositoryName,
        author: Actor,
        message: impl Into<String>,
    ) -> Result<Snapshot> {
        let publication = Publication::begin(self, name).await?;
        let result = async {
            let Some(parent) = publication.parent_snapshot() else {
                return Err(Error::not_found("published snapshot of", name));
            };
            publication.commit(parent.content, None, None, author, message.into()).await
        }
        .await;
        publication.end(result).await
    }

    /// Refreshes every repository that is past half of the time for which its format says that a publication is
    /// good. Hosts call it on a timer; of several processes that do, one finds the work done.
    ///
    /// A repository that fails is reported and does not keep the others from their turn. Dropping the future leaves each
    /// ref where it was, or moved.
    ///
    /// # Errors
    /// Those of the catalog, where it cannot say which repositories there are.
    pub async fn refresh_due(&self, author: &Actor) -> Result<Vec<Refreshed>> {
        let mut refreshed = Vec::new();
        for repository in self.inner.catalog.repositories().await? {
            // Another program over the same catalog may know the format.
            let Ok(ecosystem) = self.ecosystem(&repository.config.ecosystem) else { continue };
            let Ok(main) = self.inner.catalog.resolve(repository.id, "main").await else { continue };
            if !self.is_due(&*ecosystem, &repository.config, main.created_at) {
                continue;
            }
            let name = repository.config.name;
            let result = async {
                let publication = Publication::begin(self, &name).await?;
                let result = publication.again_if_due(author.clone()).await;
                publication.end(result).await
            };
            if let Some(result) = result.await.transpose() {
                refreshed.push(Refreshed { repository: name, result });
            }
        }
        Ok(refreshed)
    }

    /// Whether half of the time is over.
    fn is_due(&self, ecosystem: &dyn Ecosystem, config: &RepositoryConfig, published: Timestamp) -> bool {
        ecosystem.fresh_until(config, published).is_some_and(|until| {
            self.inner.catalog.clock().now() >= published.plus(until.since(published) / 2)
        })
    }
}

impl Publication<'_> {
    /// Looks again under the lease: another process may have been faster.
    async fn again_if_due(&self, author: Actor) -> Result<Option<Snapshot>> {
        let Some(parent) = self.parent_snapshot() else { return Ok(None) };
        if !self.engine().is_due(self.ecosystem(), &self.repository().config, parent.created_at) {
            return Ok(None);
        }
        self.commit(parent.content, None, None, author, "refresh".to_owned()).await.map(Some)
    }
}
