//! Repositories as configured here.

use serde_json::json as object;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{
    Catalog, Fence, RepositoryId,
    rows::{Columns as _, json, sql},
    write::Write,
};
use crate::{
    clock::Timestamp,
    ecosystem::RepositoryConfig,
    error::{Error, Result},
    name::{Actor, RepositoryName},
};

/// A repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Repository {
    /// Its id in this catalog.
    pub id: RepositoryId,
    /// Its permanent id: names its line of records in the store.
    pub uuid: Uuid,
    /// How it is configured.
    pub config: RepositoryConfig,
    /// When it was first applied.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "SELECT id, uuid, config, created_at FROM repository";

impl Catalog {
    /// Under what the last sync of a repository left nothing to do; `None` when there may be something.
    pub async fn complete(&self, repository: RepositoryId) -> Result<Option<String>> {
        let query = sql("SELECT complete FROM repository WHERE id = $1").bind(repository.0);
        match self.optional("read a repository", query).await? {
            Some(row) => row.text_or_none("complete"),
            None => Ok(None),
        }
    }

    /// Notes under what a sync left nothing to do. With `since` only if that is still noted: nobody changed a status
    /// meanwhile.
    pub async fn note_complete(
        &self,
        repository: RepositoryId,
        since: Option<&str>,
        complete: Option<&str>,
        fence: &Fence,
    ) -> Result<()> {
        let mut write = self.fenced("note a complete sync", Some(fence)).await?;
        let update =
            sql("UPDATE repository SET complete = $1 WHERE id = $2 AND ($3 IS NULL OR complete = $3)");
        let update = update.bind(complete.map(str::to_owned)).bind(repository.0);
        write.execute(update.bind(since.map(str::to_owned))).await?;
        write.commit().await
    }

    /// Adds or changes a repository; `false` when it was exactly so already. Hosts call
    /// [`Engine::configure`](crate::Engine::configure), which checks what it says.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a registry that is not known, [`Error::Invalid`] for a change of ecosystem.
    pub async fn put_repository(&self, config: &RepositoryConfig, actor: &Actor) -> Result<bool> {
        let mut write = self.write("put a repository").await?;
        let known = sql("SELECT id, uuid, config, created_at FROM repository WHERE name = $1");
        let known = write.optional(known.bind(config.name.as_str())).await?;
        let Some(known) = known.as_ref().map(repository).transpose()? else {
            check_registries(&mut write, config).await?;
            insert(&mut write, Uuid::new_v4(), config, actor).await?;
            write.commit().await?;
            return Ok(true);
        };
        if known.config == *config {
            return Ok(false);
        }
        if known.config.ecosystem != config.ecosystem {
            return Err(Error::invalid(
                format!("repository `{}`", config.name),
                format!(
                    "its ecosystem is `{}` and cannot change; choose another name",
                    known.config.ecosystem
                ),
            ));
        }
        check_registries(&mut write, config).await?;
        let update =
            sql("UPDATE repository SET config = $1 WHERE id = $2").bind(json(config)?).bind(known.id.0);
        write.execute(update).await?;
        write.touch_epoch().await?;
        let detail = object!({ "ecosystem": config.ecosystem, "changed": true });
        write.audit(actor, "repository.put", config.name.as_str(), &detail).await?;
        write.commit().await?;
        Ok(true)
    }

    /// Adds a repository whose permanent id is known from its records, when a lost catalog is rebuilt. Its
    /// registries were lost too: they may become known later.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the name or the id is taken.
    pub async fn restore_repository(
        &self,
        uuid: Uuid,
        config: &RepositoryConfig,
        actor: &Actor,
    ) -> Result<Repository> {
        let mut write = self.write("restore a repository").await?;
        let taken = sql("SELECT name FROM repository WHERE name = $1 OR uuid = $2");
        let taken = write.optional(taken.bind(config.name.as_str()).bind(uuid.to_string())).await?;
        if let Some(row) = taken {
            return Err(Error::Conflict {
                what: format!("repository `{}` ({uuid})", config.name),
                detail: format!("its name or id is taken by `{}`", row.text("name")?),
            });
        }
        let restored = insert(&mut write, uuid, config, actor).await?;
        write.commit().await?;
        Ok(restored)
    }

    /// One repository, by name.
    pub async fn repository(&self, name: &RepositoryName) -> Result<Repository> {
        let query =
            sql("SELECT id, uuid, config, created_at FROM repository WHERE name = $1").bind(name.as_str());
        let row = self.optional("read a repository", query).await?;
        repository(&row.ok_or_else(|| Error::not_found("repository", name))?)
    }

    /// One repository, by id.
    pub async fn repository_by_id(&self, id: RepositoryId) -> Result<Repository> {
        let query = sql("SELECT id, uuid, config, created_at FROM repository WHERE id = $1").bind(id.0);
        let row = self.optional("read a repository", query).await?;
        repository(&row.ok_or_else(|| Error::not_found("repository", id.0))?)
    }

    /// All repositories, by name.
    pub async fn repositories(&self) -> Result<Vec<Repository>> {
        let query = super::rows::built(format!("{COLUMNS} ORDER BY name"));
        self.all("list repositories", query).await?.iter().map(repository).collect()
    }

    /// Forgets a repository with everything known of it. Its blobs become garbage, its audit records stay. Hosts call
    /// [`Engine::remove_repository`](crate::Engine::remove_repository): without what that writes into the store, a
    /// rebuild brings it back.
    pub async fn remove_repository(&self, name: &RepositoryName, actor: &Actor) -> Result<()> {
        let mut write = self.write("remove a repository").await?;
        let row =
            write.optional(sql("SELECT id FROM repository WHERE name = $1").bind(name.as_str())).await?;
        let id = row.ok_or_else(|| Error::not_found("repository", name))?.int("id")?;
        // Refs hold snapshots, whatever the order of a cascade.
        write.execute(sql("DELETE FROM reference WHERE repository = $1").bind(id)).await?;
        write.execute(sql("DELETE FROM repository WHERE id = $1").bind(id)).await?;
        write.touch_epoch().await?;
        write.audit(actor, "repository.remove", name.as_str(), &object!({})).await?;
        write.commit().await
    }
}

async fn insert(
    write: &mut Write,
    uuid: Uuid,
    config: &RepositoryConfig,
    actor: &Actor,
) -> Result<Repository> {
    let insert =
        sql("INSERT INTO repository (uuid, name, config, created_at) VALUES ($1, $2, $3, $4) RETURNING id");
    let insert = insert.bind(uuid.to_string()).bind(config.name.as_str()).bind(json(config)?);
    let created_at = write.now();
    let id = write.one(insert.bind(created_at.as_micros())).await?.int("id")?;
    write.touch_epoch().await?;
    let detail = object!({ "ecosystem": config.ecosystem, "uuid": uuid });
    write.audit(actor, "repository.put", config.name.as_str(), &detail).await?;
    Ok(Repository { id: RepositoryId(id), uuid, config: config.clone(), created_at })
}

async fn check_registries(write: &mut Write, config: &RepositoryConfig) -> Result<()> {
    for name in &config.registries {
        let known = sql("SELECT name FROM registry WHERE name = $1").bind(name.as_str());
        if write.optional(known).await?.is_none() {
            return Err(Error::not_found("registry", name));
        }
    }
    Ok(())
}

fn repository(row: &AnyRow) -> Result<Repository> {
    Ok(Repository {
        id: RepositoryId(row.int("id")?),
        uuid: row.parsed("uuid")?,
        config: row.decoded("config")?,
        created_at: row.time("created_at")?,
    })
}
