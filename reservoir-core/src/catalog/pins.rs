//! Pins: what is about to be referenced is protected from garbage collection.
//!
//! A writer pins a digest before it asks whether the blob exists, and unpins after the reference is
//! committed. Pinning spares what was only [condemned](Catalog::condemn); what is being deleted already
//! must be waited for and written anew.

use std::collections::HashSet;

use super::{
    Catalog,
    pool::Wait,
    rows::{BATCH, Columns as _, built, list, sql, tuples},
};
use crate::{clock::Timestamp, digest::Sha256Digest, error::Result};

/// What pinning a digest found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pinned {
    /// It is protected: if the blob is there, it stays.
    Safe,
    /// Garbage collection is deleting it. Wait until it is done (or finish it, when the collector's lease is
    /// over), pin again, and write the blob anew.
    Deleting,
}

impl Catalog {
    /// Pins digests for `owner` until `expires`; answers in their order.
    pub async fn pin(
        &self,
        owner: &str,
        expires: Timestamp,
        digests: &[Sha256Digest],
    ) -> Result<Vec<Pinned>> {
        self.pin_and(owner, expires, digests, Wait::Durable).await
    }

    /// The same for what is given up when this machine stops: the work of a task.
    pub(crate) async fn pin_for_now(
        &self,
        owner: &str,
        expires: Timestamp,
        digests: &[Sha256Digest],
    ) -> Result<Vec<Pinned>> {
        self.pin_and(owner, expires, digests, Wait::Relaxed).await
    }

    async fn pin_and(
        &self,
        owner: &str,
        expires: Timestamp,
        digests: &[Sha256Digest],
        wait: Wait,
    ) -> Result<Vec<Pinned>> {
        if !self.pinning() {
            return Ok(vec![Pinned::Safe; digests.len()]);
        }
        let mut write = self.write_and("pin blobs", wait).await?;
        let mut deleting: HashSet<Sha256Digest> = HashSet::new();
        let unique: Vec<Sha256Digest> = digests.iter().copied().collect::<HashSet<_>>().into_iter().collect();
        for digests in unique.chunks(BATCH) {
            let tuples = tuples(digests.len(), 3);
            // A pin is never shortened by pinning again.
            let text = format!(
                "INSERT INTO pin (owner, sha256, expires) VALUES {tuples} ON CONFLICT (owner, sha256) \
                 DO UPDATE SET expires = excluded.expires WHERE pin.expires < excluded.expires"
            );
            let put = digests.iter().fold(built(text), |put, digest| {
                put.bind(owner).bind(digest.to_string()).bind(expires.as_micros())
            });
            write.execute(put).await?;
            let names = list(1, digests.len());
            let text = format!("DELETE FROM condemned WHERE state = 'condemned' AND sha256 IN ({names})");
            write
                .execute(digests.iter().fold(built(text), |query, digest| query.bind(digest.to_string())))
                .await?;
            let text = format!("SELECT sha256 FROM condemned WHERE sha256 IN ({names})");
            let query = digests.iter().fold(built(text), |query, digest| query.bind(digest.to_string()));
            for row in write.all(query).await? {
                deleting.insert(row.parsed("sha256")?);
            }
        }
        write.commit().await?;
        let state = |digest| if deleting.contains(digest) { Pinned::Deleting } else { Pinned::Safe };
        Ok(digests.iter().map(state).collect())
    }

    /// Gives all pins of an owner back.
    pub async fn unpin(&self, owner: &str) -> Result<()> {
        let mut write = self.write_relaxed("unpin blobs").await?;
        write.execute(sql("DELETE FROM pin WHERE owner = $1").bind(owner)).await?;
        write.commit().await
    }

    /// Moves the end of all pins of an owner to `expires`.
    pub async fn extend_pins(&self, owner: &str, expires: Timestamp) -> Result<()> {
        let mut write = self.write_relaxed("extend pins").await?;
        let extend = sql("UPDATE pin SET expires = $1 WHERE owner = $2 AND expires < $1");
        write.execute(extend.bind(expires.as_micros()).bind(owner)).await?;
        write.commit().await
    }

    /// Removes the pins that are over; returns how many.
    pub async fn expire_pins(&self) -> Result<u64> {
        let mut write = self.write_relaxed("expire pins").await?;
        let now = write.now().as_micros();
        let expired = write.execute(sql("DELETE FROM pin WHERE expires <= $1").bind(now)).await?;
        write.commit().await?;
        Ok(expired)
    }

    /// Whether an owner pins a digest now.
    pub async fn is_pinned_by(&self, owner: &str, digest: &Sha256Digest) -> Result<bool> {
        let query = sql("SELECT 1 AS pinned FROM pin WHERE owner = $1 AND sha256 = $2 AND expires > $3");
        let query = query.bind(owner.to_owned()).bind(digest.to_string());
        let query = query.bind(self.clock().now().as_micros());
        Ok(self.optional("look for a pin", query).await?.is_some())
    }

    /// Whether anybody pins a digest now.
    #[cfg(any(test, feature = "testing"))]
    pub async fn is_pinned(&self, digest: &Sha256Digest) -> Result<bool> {
        let query = sql("SELECT 1 AS pinned FROM pin WHERE sha256 = $1 AND expires > $2 LIMIT 1");
        let query = query.bind(digest.to_string()).bind(self.clock().now().as_micros());
        Ok(self.optional("look for a pin", query).await?.is_some())
    }
}
