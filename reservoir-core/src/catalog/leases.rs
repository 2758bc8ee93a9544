//! Leases: who may write, and the proof of it.

use std::time::Duration;

use sqlx::any::AnyRow;

use super::{
    Catalog, Holder,
    pool::Wait,
    rows::{Columns as _, sql},
    write::Write,
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
};

/// Proof of holding a lease: checked inside the transaction of every fenced write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lease.
    pub lease: String,
    /// The token it was given.
    pub token: i64,
}

/// A lease as somebody holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// Who holds it, see [`Holder`].
    pub holder: String,
    /// The token it was given.
    pub token: i64,
    /// When it ends without a heartbeat.
    pub expires: Timestamp,
}

impl Lease {
    /// Whether another may take it over: it expired, or its holder was on this host and is dead.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now || self.holder.parse::<Holder>().is_ok_and(|holder| holder.is_dead())
    }
}

impl Catalog {
    /// Takes a lease that is free or [over](Lease::is_over); `None` while another holds it. Tokens grow with
    /// every lease taken and are never given twice: those that end up in signed records (`publish/…`) not even after
    /// power was lost, when no other holder is left.
    pub async fn acquire_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Fence>> {
        let wait = if name.starts_with("publish/") { Wait::Durable } else { Wait::Relaxed };
        let mut write = self.write_and("acquire a lease", wait).await?;
        let fence = write.take_lease(name, holder, ttl).await?;
        if fence.is_some() {
            write.commit().await?;
        }
        Ok(fence)
    }

    /// Keeps a lease for `ttl` from now.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another has taken it over.
    pub async fn heartbeat(&self, fence: &Fence, ttl: Duration) -> Result<()> {
        let mut write = self.write_relaxed("keep a lease").await?;
        let expires = write.now().plus(ttl).as_micros();
        let beat = sql("UPDATE lease SET expires = $1, touched = touched + 1 WHERE name = $2 AND token = $3");
        let beat = beat.bind(expires).bind(fence.lease.as_str()).bind(fence.token);
        if write.execute(beat).await? != 1 {
            return Err(Error::Fenced { lease: fence.lease.clone() });
        }
        write.commit().await
    }

    /// Gives a lease back; nothing happens when another has taken it over.
    pub async fn release(&self, fence: &Fence) -> Result<()> {
        let mut write = self.write_relaxed("release a lease").await?;
        write.drop_lease(fence).await?;
        write.commit().await
    }

    /// Gives a lease and the pins of `owner` back, in one write.
    pub(crate) async fn release_with_pins(&self, fence: &Fence, owner: &str) -> Result<()> {
        let mut write = self.write_relaxed("release a lease").await?;
        write.drop_lease(fence).await?;
        write.execute(sql("DELETE FROM pin WHERE owner = $1").bind(owner)).await?;
        write.commit().await
    }

    /// Who holds a lease, even if it is over.
    pub async fn lease_holder(&self, name: &str) -> Result<Option<Lease>> {
        let query = sql("SELECT name, holder, token, expires FROM lease WHERE name = $1").bind(name);
        self.optional("read a lease", query).await?.as_ref().map(lease).transpose()
    }
}

impl Write {
    /// Whether somebody holds a lease that is not over.
    pub(super) async fn is_held(&mut self, name: &str) -> Result<bool> {
        let query = sql("SELECT name, holder, token, expires FROM lease WHERE name = $1").bind(name);
        let held = self.optional(query).await?.as_ref().map(lease).transpose()?;
        Ok(held.is_some_and(|held| !held.is_over(self.now())))
    }

    pub(super) async fn take_lease(
        &mut self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Fence>> {
        if self.is_held(name).await? {
            return Ok(None);
        }
        let token = self.next("lease").await?;
        let expires = self.now().plus(ttl).as_micros();
        let put = sql("INSERT INTO lease (name, holder, token, expires) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, \
                       expires = excluded.expires, touched = 0");
        self.execute(put.bind(name).bind(holder).bind(token).bind(expires)).await?;
        Ok(Some(Fence { lease: name.to_owned(), token }))
    }

    pub(super) async fn drop_lease(&mut self, fence: &Fence) -> Result<()> {
        let release = sql("DELETE FROM lease WHERE name = $1 AND token = $2");
        self.execute(release.bind(fence.lease.as_str()).bind(fence.token)).await.map(drop)
    }
}

fn lease(row: &AnyRow) -> Result<Lease> {
    Ok(Lease {
        name: row.text("name")?,
        holder: row.text("holder")?,
        token: row.int("token")?,
        expires: row.time("expires")?,
    })
}
