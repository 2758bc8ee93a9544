//! Registries and repositories as configured.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned},
};
use serde_json::Value;
use url::Url;

use super::bytes;
use crate::{
    error::{Error, Result},
    name::{EcosystemId, RegistryName, RepositoryName},
};

/// Where a repository's content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A selection is pulled ahead of use.
    #[default]
    Mirror,
    /// Pulled when a client first asks.
    Cache,
    /// Uploaded here.
    Hosted,
}

/// A named remote source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Its name here.
    pub name: RegistryName,
    /// Its ecosystem.
    pub ecosystem: EcosystemId,
    /// Its address; `None` means `url = "system"`, resolved each time it is used.
    pub url: Option<Url>,
    /// Hosts (`host` or `host:port`) beside its own that files may come from; empty means any public host.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// The ecosystem's own keys (`keyring`…).
    #[serde(default)]
    pub options: BTreeMap<String, Value>,
}

/// What this machine's own client is configured with.
#[derive(Debug, Clone)]
pub struct SystemRegistry {
    /// The address.
    pub url: Url,
    /// A CA bundle (PEM) that the client was told to use.
    pub ca_bundle: Option<std::path::PathBuf>,
    /// A proxy that the client was told to use, beside the environment's.
    pub proxy: Option<Url>,
}

/// A repository as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepositoryConfig {
    /// Its name.
    pub name: RepositoryName,
    /// Its ecosystem.
    pub ecosystem: EcosystemId,
    /// Registries, the first that knows an artifact wins.
    #[serde(default)]
    pub registries: Vec<RegistryName>,
    /// Where content comes from.
    #[serde(default)]
    pub mode: Mode,
    /// Whether uploads are taken beside what a mirror or a cache brings. A name that was uploaded is internal: no
    /// registry is asked about it, and nothing that one offers under it is listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hosted: bool,
    /// Whether a person must approve each revision.
    #[serde(default)]
    pub approval: Approval,
    /// Whether approval and sync publish by themselves.
    #[serde(default)]
    pub publish: Publish,
    /// When `serve` syncs it: `6h`, `30m` or a cron expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Whether dependencies are pulled too.
    #[serde(default)]
    pub dependencies: bool,
    /// Most bytes that one sync or import may pull; what would pull more is refused, with its size, before anything is
    /// pulled. Written as a number or `"20GiB"`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "size")]
    pub max_import: Option<u64>,
    /// The ecosystem's own keys (`packages`, `targets`, `suites`…).
    #[serde(default)]
    pub options: BTreeMap<String, Value>,
}

/// `approval = "automatic" | "manual"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Policy decides alone.
    #[default]
    Automatic,
    /// A person decides on everything.
    Manual,
}

/// `publish = "automatic" | "manual"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Publish {
    /// Changes are published as they become available.
    #[default]
    Automatic,
    /// Only by `publish`.
    Manual,
}

/// One key that an ecosystem adds to a configuration table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The key.
    pub key: &'static str,
    /// What it means, one line, for `--help` and the documentation.
    pub help: &'static str,
}

/// What a user pastes into their client's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSetup {
    /// One line for a shell: what a user appends package names to (`pip install --index-url …`), exports (a Hub's
    /// address), or runs as root in the folder of the files (apt).
    pub command: String,
    /// Files to write: name and text.
    pub files: Vec<(String, String)>,
}

impl RepositoryConfig {
    /// A repository of which nothing but its name and ecosystem is said: a mirror without registries.
    #[must_use]
    pub fn new(name: RepositoryName, ecosystem: EcosystemId) -> Self {
        Self {
            name,
            ecosystem,
            registries: Vec::new(),
            mode: Mode::default(),
            hosted: false,
            approval: Approval::default(),
            publish: Publish::default(),
            schedule: None,
            dependencies: false,
            max_import: None,
            options: BTreeMap::new(),
        }
    }

    /// Whether files can be put into it.
    #[must_use]
    pub fn takes_uploads(&self) -> bool {
        self.hosted || self.mode == Mode::Hosted
    }

    /// One of the ecosystem's own keys, in the ecosystem's own type; the default when absent.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the repository and the key.
    pub fn option<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T> {
        option(&self.options, key, || format!("repository `{}`", self.name))
    }
}

impl Registry {
    /// One of the ecosystem's own keys, in the ecosystem's own type; the default when absent.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the registry and the key.
    pub fn option<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T> {
        option(&self.options, key, || format!("registry `{}`", self.name))
    }
}

fn option<T: DeserializeOwned + Default>(
    options: &BTreeMap<String, Value>,
    key: &str,
    owner: impl FnOnce() -> String,
) -> Result<T> {
    let Some(value) = options.get(key) else { return Ok(T::default()) };
    T::deserialize(value)
        .map_err(|error| Error::invalid(format!("{}, key `{key}`", owner()), error.to_string()))
}

/// `max_import = "20GiB"`.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => {
            bytes(&value).map(Some).map_err(|detail| de::Error::custom(format!("`max_import`: {detail}")))
        }
    }
}
