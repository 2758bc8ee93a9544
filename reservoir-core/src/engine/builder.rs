//! Putting an engine together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::{
    Engine, Inner,
    serving::{Keyring, Serving},
    through::Shared,
};
use crate::{
    bundle::StreamKey,
    catalog::Catalog,
    ecosystem::Ecosystem,
    error::{Error, Result},
    fetch::{FetchOptions, Fetcher},
    gate::{Scanner, guard::Guarded, integrity::Integrity},
    openpgp::Signer,
    snapshot::{InstanceKey, Pages},
    store::Store,
};

/// Uploads whose digests are remembered until a revision names them.
const HASHED: usize = 16 << 10;

/// Where the host says nothing better.
const WRITE_REFUSAL: &str = "nobody may by this request; whoever runs this server can allow it";

/// Memory and time the engine may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of decoded manifest pages kept in memory.
    pub page_cache: u64,
    /// How long refs and denials are served from memory while the catalog cannot be reached.
    pub serve_stale: Duration,
}

impl Default for Limits {
    /// 48 MiB of pages, one hour of stale serving.
    fn default() -> Self {
        Self { page_cache: 48 << 20, serve_stale: Duration::from_hours(1) }
    }
}

/// Collects the parts of an [`Engine`]. Nothing can fail before [`build`](Self::build).
#[derive(Debug, Default)]
pub struct EngineBuilder {
    catalog: Option<Catalog>,
    store: Option<Arc<dyn Store>>,
    ecosystems: Vec<Arc<dyn Ecosystem>>,
    scanners: Vec<Arc<dyn Scanner>>,
    fetcher: Option<Fetcher>,
    key: Option<InstanceKey>,
    signer: Option<Signer>,
    bundle_key: Option<Arc<StreamKey>>,
    scratch: Option<PathBuf>,
    limits: Limits,
    write_refusal: Option<String>,
}

impl EngineBuilder {
    /// The catalog. Required.
    #[must_use]
    pub fn catalog(mut self, catalog: Catalog) -> Self {
        self.catalog = Some(catalog);
        self
    }

    /// The store. Required.
    #[must_use]
    pub fn store(mut self, store: impl Into<Arc<dyn Store>>) -> Self {
        self.store = Some(store.into());
        self
    }

    /// Adds an ecosystem. At least one is required.
    #[must_use]
    pub fn ecosystem(mut self, ecosystem: impl Ecosystem) -> Self {
        self.ecosystems.push(Arc::new(ecosystem));
        self
    }

    /// Adds a scanner beside the built-in [`Integrity`].
    #[must_use]
    pub fn scanner(mut self, scanner: impl Scanner) -> Self {
        self.scanners.push(Arc::new(scanner));
        self
    }

    /// How registries are read; sensible defaults when absent.
    #[must_use]
    pub fn fetcher(mut self, fetcher: Fetcher) -> Self {
        self.fetcher = Some(fetcher);
        self
    }

    /// The key that signs records of ref moves. Required: a new one with every start could not be checked.
    #[must_use]
    pub fn key(mut self, key: InstanceKey) -> Self {
        self.key = Some(key);
        self
    }

    /// What signs the indexes of formats whose clients check OpenPGP signatures; every repository offers the
    /// public keys at `/REPO/keyring.asc` and `/REPO/keyring.gpg`. Such formats cannot publish without it.
    #[must_use]
    pub fn signer(mut self, signer: impl Into<Signer>) -> Self {
        self.signer = Some(signer.into());
        self
    }

    /// The key that signs bundles and inventories. Without it nothing can be exported.
    #[must_use]
    pub fn bundle_key(mut self, key: StreamKey) -> Self {
        self.bundle_key = Some(Arc::new(key));
        self
    }

    /// A folder for unfinished downloads and scratch files, kept between runs. Required.
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = Some(folder.into());
        self
    }

    /// Memory and time limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What clients are told whose requests carry nobody who may write: how this host lets them.
    #[must_use]
    pub fn write_refusal(mut self, reason: impl Into<String>) -> Self {
        self.write_refusal = Some(reason.into());
        self
    }

    /// Puts the engine together.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the missing part.
    pub fn build(self) -> Result<Engine> {
        let missing = |what: &str| Error::invalid("Engine::builder()", format!("needs .{what}(…)"));
        let store = self.store.ok_or_else(|| missing("store"))?;
        if self.ecosystems.is_empty() {
            return Err(missing("ecosystem"));
        }
        let mut scanners: Vec<Arc<dyn Scanner>> = vec![Arc::new(Integrity)];
        let guarded = |scanner| Arc::new(Guarded::new(scanner)) as Arc<dyn Scanner>;
        scanners.extend(self.scanners.into_iter().map(guarded));
        let inner = Inner {
            catalog: self.catalog.ok_or_else(|| missing("catalog"))?,
            pages: Pages::new(Arc::clone(&store), self.limits.page_cache),
            store,
            ecosystems: self.ecosystems,
            scanners,
            fetcher: match self.fetcher {
                Some(fetcher) => fetcher,
                None => Fetcher::new(FetchOptions::default())?,
            },
            key: self.key.ok_or_else(|| missing("key"))?,
            keyring: self.signer.as_ref().map(Keyring::of).transpose()?,
            signer: self.signer,
            bundle_key: self.bundle_key,
            scratch: self.scratch.ok_or_else(|| missing("scratch"))?,
            limits: self.limits,
            write_refusal: self.write_refusal.unwrap_or_else(|| WRITE_REFUSAL.to_owned()),
            events: broadcast::channel(4096).0,
            serving: Serving::default(),
            through: Shared::default(),
            hashed: quick_cache::sync::Cache::new(HASHED),
        };
        Ok(Engine { inner: Arc::new(inner) })
    }
}
