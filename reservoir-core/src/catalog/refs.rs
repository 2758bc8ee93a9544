//! Names that point at snapshots.

use serde_json::json as object;

use super::{
    Catalog, Fence, RefMove, RepositoryId,
    rows::{Columns as _, sql},
    write::Write,
};
use crate::{
    error::{Error, Result},
    name::{Actor, RefName},
    snapshot::Snapshot,
};

impl Catalog {
    /// The refs of a repository and where they point, by name.
    pub async fn refs(&self, repository: RepositoryId) -> Result<Vec<(RefName, u64)>> {
        let query =
            sql("SELECT name, number FROM reference WHERE repository = $1 ORDER BY name").bind(repository.0);
        let rows = self.all("list refs", query).await?;
        rows.iter().map(|row| Ok((row.parsed("name")?, row.count("number")?))).collect()
    }

    /// Points a ref at a snapshot that is there.
    pub async fn set_ref(
        &self,
        repository: RepositoryId,
        name: &RefName,
        number: u64,
        actor: &Actor,
        fence: Option<&Fence>,
    ) -> Result<()> {
        let mut write = self.fenced("set a ref", fence).await?;
        let known = sql("SELECT number FROM snapshot WHERE repository = $1 AND number = $2");
        if write.optional(known.bind(repository.0).bind(number as i64)).await?.is_none() {
            return Err(Error::not_found("snapshot", number));
        }
        let before = write.ref_number(repository, name).await?;
        write.point(repository, name, number).await?;
        let detail = object!({ "repository": repository, "from": before, "to": number });
        write.audit(actor, "ref.set", name.as_str(), &detail).await?;
        write.commit().await
    }

    /// Deletes a ref; its snapshot stays for as long as retention says.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there, [`Error::Invalid`] for `main`, without which clients read nothing.
    pub async fn delete_ref(
        &self,
        repository: RepositoryId,
        name: &RefName,
        actor: &Actor,
        fence: Option<&Fence>,
    ) -> Result<()> {
        if *name == RefName::main() {
            return Err(Error::invalid("ref `main`", "is what clients read; it stays"));
        }
        let mut write = self.fenced("delete a ref", fence).await?;
        let from = write.ref_number(repository, name).await?;
        if from.is_none() {
            return Err(Error::not_found("ref", name));
        }
        write.move_ref(&RefMove { repository, name: name.clone(), from, to: None }, actor).await?;
        write.commit().await
    }

    /// The snapshot that a number or a ref means.
    pub async fn resolve(&self, repository: RepositoryId, what: &str) -> Result<Snapshot> {
        if !what.is_empty() && what.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = what.parse().map_err(|_| Error::not_found("snapshot", what))?;
            return self.snapshot(repository, number).await;
        }
        let name: RefName = what.parse()?;
        let query = sql(
            "SELECT s.number, s.content, s.publication, s.parent, s.author, s.created_at, s.message \
                         FROM reference r JOIN snapshot s ON s.repository = r.repository AND s.number = r.number \
                         WHERE r.repository = $1 AND r.name = $2",
        );
        let row = self.optional("resolve a ref", query.bind(repository.0).bind(name.as_str())).await?;
        super::snapshots::snapshot(&row.ok_or_else(|| Error::not_found("ref", name))?)
    }
}

impl Write {
    pub(super) async fn ref_number(
        &mut self,
        repository: RepositoryId,
        name: &RefName,
    ) -> Result<Option<u64>> {
        let query = sql("SELECT number FROM reference WHERE repository = $1 AND name = $2");
        let row = self.optional(query.bind(repository.0).bind(name.as_str())).await?;
        row.map(|row| row.count("number")).transpose()
    }

    /// Makes, moves or deletes a ref that points where the caller believes.
    pub(super) async fn move_ref(&mut self, change: &RefMove, actor: &Actor) -> Result<()> {
        let RefMove { repository, name, from, to } = change;
        let now = self.ref_number(*repository, name).await?;
        if now != *from {
            let what = format!("ref `{name}`");
            return Err(Error::Conflict { what, detail: "it was moved here meanwhile; load again".into() });
        }
        if let Some(number) = *to {
            let known = sql("SELECT number FROM snapshot WHERE repository = $1 AND number = $2");
            if self.optional(known.bind(repository.0).bind(number as i64)).await?.is_none() {
                return Err(Error::not_found("snapshot", number));
            }
            self.point(*repository, name, number).await?;
        } else {
            let delete = sql("DELETE FROM reference WHERE repository = $1 AND name = $2");
            self.execute(delete.bind(repository.0).bind(name.as_str())).await?;
            self.touch_epoch().await?;
        }
        let detail = object!({ "repository": repository, "from": from, "to": to });
        self.audit(actor, "ref.set", name.as_str(), &detail).await
    }

    /// Moves a ref and tells serving processes.
    pub(super) async fn point(
        &mut self,
        repository: RepositoryId,
        name: &RefName,
        number: u64,
    ) -> Result<()> {
        let put = sql("INSERT INTO reference (repository, name, number) VALUES ($1, $2, $3) \
                       ON CONFLICT (repository, name) DO UPDATE SET number = excluded.number");
        self.execute(put.bind(repository.0).bind(name.as_str()).bind(number as i64)).await?;
        self.touch_epoch().await
    }
}
