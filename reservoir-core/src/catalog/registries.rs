//! Named remote sources.

use serde_json::json as object;

use super::{
    Catalog,
    rows::{Columns as _, json, sql},
};
use crate::{
    ecosystem::Registry,
    error::{Error, Result},
    name::{Actor, RegistryName},
};

impl Catalog {
    /// Adds or changes a registry; `false` when it was exactly so already. Hosts call
    /// [`Engine::configure_registry`](crate::Engine::configure_registry), which checks what it says.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a [reserved](Registry::RESERVED) name and for a change of ecosystem.
    pub async fn put_registry(&self, registry: &Registry, actor: &Actor) -> Result<bool> {
        if Registry::RESERVED.contains(&registry.name.as_str()) {
            let detail = "the name says where files come from that no registry has; choose another";
            return Err(Error::invalid(format!("registry `{}`", registry.name), detail));
        }
        let config = json(registry)?;
        let mut write = self.write("put a registry").await?;
        let known = sql("SELECT config FROM registry WHERE name = $1").bind(registry.name.as_str());
        let known = write.optional(known).await?.map(|row| row.decoded::<Registry>("config")).transpose()?;
        if known.as_ref() == Some(registry) {
            return Ok(false);
        }
        if let Some(known) = known.filter(|known| known.ecosystem != registry.ecosystem) {
            return Err(Error::invalid(
                format!("registry `{}`", registry.name),
                format!("its ecosystem is `{}` and cannot change; choose another name", known.ecosystem),
            ));
        }
        let now = write.now().as_micros();
        let put = sql("INSERT INTO registry (name, config, created_at, changed_at) VALUES ($1, $2, $3, $3) \
                       ON CONFLICT (name) DO UPDATE SET config = excluded.config, changed_at = excluded.changed_at");
        write.execute(put.bind(registry.name.as_str()).bind(config).bind(now)).await?;
        // The address may carry credentials: it stays out of the audit log.
        let detail = object!({ "ecosystem": registry.ecosystem, "allowed_hosts": registry.allowed_hosts });
        write.audit(actor, "registry.put", registry.name.as_str(), &detail).await?;
        write.commit().await?;
        Ok(true)
    }

    /// One registry.
    pub async fn registry(&self, name: &RegistryName) -> Result<Registry> {
        let query = sql("SELECT config FROM registry WHERE name = $1").bind(name.as_str());
        let row = self.optional("read a registry", query).await?;
        row.ok_or_else(|| Error::not_found("registry", name))?.decoded("config")
    }

    /// All registries, by name.
    pub async fn registries(&self) -> Result<Vec<Registry>> {
        let rows = self.all("list registries", sql("SELECT config FROM registry ORDER BY name")).await?;
        rows.iter().map(|row| row.decoded("config")).collect()
    }

    /// Forgets a registry. What came from it stays.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a repository uses it.
    pub async fn remove_registry(&self, name: &RegistryName, actor: &Actor) -> Result<()> {
        let mut write = self.write("remove a registry").await?;
        let repositories = write.all(sql("SELECT config FROM repository ORDER BY name")).await?;
        for row in &repositories {
            let config: crate::ecosystem::RepositoryConfig = row.decoded("config")?;
            if config.registries.contains(name) {
                return Err(Error::Conflict {
                    what: format!("registry `{name}`"),
                    detail: format!("the repository `{}` uses it", config.name),
                });
            }
        }
        let remove = sql("DELETE FROM registry WHERE name = $1").bind(name.as_str());
        if write.execute(remove).await? == 0 {
            return Err(Error::not_found("registry", name));
        }
        write.audit(actor, "registry.remove", name.as_str(), &object!({})).await?;
        write.commit().await
    }
}
