//! Two-phase deletion of blobs: condemned, then being deleted, then gone.
//!
//! A collector condemns what it found unreferenced. A blob may be referenced between the look and the
//! sentence, so each run first [spares](Catalog::spare) what it finds referenced now and only then
//! starts deleting what earlier runs condemned. Writers that [pin](Catalog::pin) spare it too.

use std::time::Duration;

use serde_json::json as object;

use super::{
    Catalog, Fence,
    rows::{BATCH, Columns as _, built, list, sql, tuples},
};
use crate::{digest::Sha256Digest, error::Result, name::Actor};

impl Catalog {
    /// Condemns digests that nobody pins now; those condemned already keep their time. Returns how many are new.
    pub async fn condemn(&self, digests: &[Sha256Digest]) -> Result<u64> {
        let mut write = self.write("condemn blobs").await?;
        let now = write.now().as_micros();
        let mut condemned = 0;
        for digests in digests.chunks(BATCH) {
            let text = format!(
                "SELECT sha256 FROM pin WHERE expires > $1 AND sha256 IN ({})",
                list(2, digests.len())
            );
            let query =
                digests.iter().fold(built(text).bind(now), |query, digest| query.bind(digest.to_string()));
            let rows = write.all(query).await?;
            let pinned =
                rows.iter().map(|row| row.parsed("sha256")).collect::<Result<Vec<Sha256Digest>>>()?;
            let free: Vec<_> = digests.iter().filter(|digest| !pinned.contains(digest)).collect();
            if free.is_empty() {
                continue;
            }
            let tuples = tuples(free.len(), 3);
            let text = format!(
                "INSERT INTO condemned (sha256, state, since) VALUES {tuples} ON CONFLICT (sha256) DO NOTHING"
            );
            let put = free
                .iter()
                .fold(built(text), |put, digest| put.bind(digest.to_string()).bind("condemned").bind(now));
            condemned += write.execute(put).await?;
        }
        write.commit().await?;
        Ok(condemned)
    }

    /// What is condemned and not being deleted yet, in order, those after `after`: what a run looks up among
    /// the live ones, to [spare](Self::spare) it.
    pub async fn condemned(&self, after: Option<Sha256Digest>, limit: u32) -> Result<Vec<Sha256Digest>> {
        let query = sql("SELECT sha256 FROM condemned WHERE state = 'condemned' AND sha256 > $1 \
                         ORDER BY sha256 LIMIT $2");
        let after = after.map(|digest| digest.to_string()).unwrap_or_default();
        let rows = self.all("list condemned blobs", query.bind(after).bind(i64::from(limit))).await?;
        rows.iter().map(|row| row.parsed("sha256")).collect()
    }

    /// Lifts the sentence of digests that turned out to be referenced; returns how many had one.
    /// What is being deleted already is not lifted.
    pub async fn spare(&self, digests: &[Sha256Digest]) -> Result<u64> {
        let mut write = self.write("spare blobs").await?;
        let mut spared = 0;
        for digests in digests.chunks(BATCH) {
            let names = list(1, digests.len());
            let text = format!("DELETE FROM condemned WHERE state = 'condemned' AND sha256 IN ({names})");
            spared += write
                .execute(digests.iter().fold(built(text), |query, digest| query.bind(digest.to_string())))
                .await?;
        }
        write.commit().await?;
        Ok(spared)
    }

    /// Moves what was condemned at least `grace` ago, is not pinned and not referred to by any file, on to
    /// being deleted; returns it, `limit` at most. From here on [`pin`](Catalog::pin) answers
    /// [`Pinned::Deleting`](super::Pinned::Deleting).
    pub async fn start_deleting(
        &self,
        grace: Duration,
        limit: u32,
        fence: &Fence,
    ) -> Result<Vec<Sha256Digest>> {
        let mut write = self.fenced("start deleting blobs", Some(fence)).await?;
        let now = write.now();
        let latest = now.as_micros().saturating_sub(i64::try_from(grace.as_micros()).unwrap_or(i64::MAX));
        let start = sql("UPDATE condemned SET state = 'deleting', since = $1 WHERE sha256 IN ( \
                         SELECT c.sha256 FROM condemned c WHERE c.state = 'condemned' AND c.since <= $2 \
                         AND NOT EXISTS (SELECT 1 FROM pin p WHERE p.sha256 = c.sha256 AND p.expires > $1) \
                         AND NOT EXISTS (SELECT 1 FROM file f WHERE f.stored_sha256 = c.sha256) \
                         AND NOT EXISTS (SELECT 1 FROM derived d JOIN file o ON o.id = d.file \
                         WHERE d.sha256 = c.sha256 AND (o.stored_sha256 IS NOT NULL OR d.announced = 1)) \
                         ORDER BY c.sha256 LIMIT $3) RETURNING sha256");
        let rows = write.all(start.bind(now.as_micros()).bind(latest).bind(i64::from(limit))).await?;
        let mut digests =
            rows.iter().map(|row| row.parsed("sha256")).collect::<Result<Vec<Sha256Digest>>>()?;
        digests.sort_unstable();
        if !digests.is_empty() {
            let detail = object!({ "blobs": digests.len() });
            write.audit(&Actor::policy(), "gc.delete", &fence.lease, &detail).await?;
        }
        write.commit().await?;
        Ok(digests)
    }

    /// Forgets digests whose blobs are deleted now.
    pub async fn deleted(&self, digests: &[Sha256Digest], fence: &Fence) -> Result<()> {
        let mut write = self.fenced("finish deleting blobs", Some(fence)).await?;
        for digests in digests.chunks(BATCH) {
            let names = list(1, digests.len());
            let text = format!("DELETE FROM condemned WHERE state = 'deleting' AND sha256 IN ({names})");
            write
                .execute(digests.iter().fold(built(text), |query, digest| query.bind(digest.to_string())))
                .await?;
        }
        write.commit().await
    }

    /// What is being deleted: after a crash, what must be deleted first.
    pub async fn deleting(&self) -> Result<Vec<Sha256Digest>> {
        let query = sql("SELECT sha256 FROM condemned WHERE state = 'deleting' ORDER BY sha256");
        let rows = self.all("list blobs being deleted", query).await?;
        rows.iter().map(|row| row.parsed("sha256")).collect()
    }
}
