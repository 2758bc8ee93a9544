//! Digests that somebody other than the registry promises of files.

use super::{Catalog, RepositoryId, discovery::collision, rows::sql};
use crate::{digest::Sha256Digest, error::Result, path::ContentPath};

impl Catalog {
    /// Holds files for which their registry tells no digest to these: other bytes will not be taken. What the
    /// registry does tell stays.
    pub async fn promise_digests(
        &self,
        repository: RepositoryId,
        digests: &[(ContentPath, Sha256Digest)],
    ) -> Result<()> {
        if digests.is_empty() {
            return Ok(());
        }
        let mut write = self.write("note promised digests").await?;
        for (path, sha256) in digests {
            let update = sql("UPDATE file SET sha256 = $1 \
                              WHERE repository = $2 AND collision = $3 AND sha256 IS NULL");
            let update = update.bind(sha256.to_string()).bind(repository.0).bind(collision(path));
            write.execute(update).await?;
        }
        write.commit().await
    }
}
