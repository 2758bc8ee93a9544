//! The engine: what a host builds once, clones freely and drives by async calls.

mod approval;
mod builder;
mod check;
mod collect;
mod configure;
mod export;
mod intake;
mod inventory;
mod load;
mod lock;
mod materialize;
mod peer;
pub(crate) mod pinned;
mod promote;
mod publish;
mod rebuild;
mod receive;
mod refresh;
mod run;
mod serving;
mod share;
pub(crate) mod through;
mod verify;
mod watch;
mod working;
mod yank;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::broadcast;

pub use self::{
    approval::CleanupReport,
    builder::{EngineBuilder, Limits},
    check::{BrokenPackage, BrokenRevision, Checked, CheckedTarget},
    collect::{Collected, Retention},
    export::{Base, ExportOptions, Exported},
    intake::{Intake, Submission, Turn},
    load::{Inspected, Loaded, LoadedRepository, Medium},
    materialize::{Materialized, Placement},
    rebuild::{Rebuilt, RestoredStream, Skipped},
    refresh::Refreshed,
    serving::{Health, Incoming},
    share::SHARE,
    verify::{Damaged, Verified},
};
use crate::{
    bundle::StreamKey,
    catalog::{Catalog, Repository},
    digest::Sha256Digest,
    ecosystem::Ecosystem,
    error::{Error, Result},
    fetch::Fetcher,
    gate::Scanner,
    name::{EcosystemId, RepositoryName},
    openpgp::Signer,
    snapshot::{InstanceKey, Pages},
    store::{Blob, Store},
    task::TaskEvent,
};

/// The engine. Cheap to clone; all clones are one engine and own its tasks together.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    store: Arc<dyn Store>,
    pages: Pages,
    ecosystems: Vec<Arc<dyn Ecosystem>>,
    scanners: Vec<Arc<dyn Scanner>>,
    fetcher: Fetcher,
    key: InstanceKey,
    signer: Option<Signer>,
    keyring: Option<serving::Keyring>,
    bundle_key: Option<Arc<StreamKey>>,
    scratch: PathBuf,
    limits: Limits,
    write_refusal: String,
    events: broadcast::Sender<TaskEvent>,
    serving: serving::Serving,
    through: through::Shared,
    /// What was hashed while clients uploaded it.
    hashed: quick_cache::sync::Cache<Sha256Digest, Blob>,
}

impl Engine {
    /// Starts building an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// What can be queried: artifacts, revisions, history, tasks, audit.
    ///
    /// Everything that reads is for hosts. Of what writes, hosts want [`set_ref`](Catalog::set_ref) and
    /// [`delete_ref`](Catalog::delete_ref), [`trust_key`](Catalog::trust_key) and
    /// [`distrust_key`](Catalog::distrust_key), [`remove_registry`](Catalog::remove_registry),
    /// [`request_cancel`](Catalog::request_cancel) and [`close`](Catalog::close). The other writers are the engine's own
    /// and those of tests: they leave out what the engine does around them (checks, signed records, leases, publishing).
    /// Configure by [`configure`](Self::configure) and [`configure_registry`](Self::configure_registry), decide by
    /// [`approve`](Self::approve), [`reject`](Self::reject) and [`cleanup`](Self::cleanup).
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The bytes.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Reads manifests of snapshots.
    #[must_use]
    pub fn pages(&self) -> &Pages {
        &self.inner.pages
    }

    /// One ecosystem by name.
    pub fn ecosystem(&self, id: &EcosystemId) -> Result<Arc<dyn Ecosystem>> {
        if peer::Peer::is_meant(id) {
            return Ok(Arc::new(peer::Peer));
        }
        self.inner.ecosystems.iter().find(|ecosystem| ecosystem.id() == *id).cloned().ok_or_else(|| {
            let known: Vec<String> = self.inner.ecosystems.iter().map(|e| format!("`{}`", e.id())).collect();
            Error::invalid(
                format!("ecosystem `{id}`"),
                format!("is not built in; there are {}", known.join(", ")),
            )
        })
    }

    /// Everything that tasks of this process report from now on. A slow reader loses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<TaskEvent> {
        self.inner.events.subscribe()
    }

    /// Where unfinished downloads and scratch files are kept.
    #[must_use]
    pub fn scratch(&self) -> &std::path::Path {
        &self.inner.scratch
    }

    /// A repository and its ecosystem.
    pub(crate) async fn repository(&self, name: &RepositoryName) -> Result<(Repository, Arc<dyn Ecosystem>)> {
        let repository = self.inner.catalog.repository(name).await?;
        let ecosystem = self.ecosystem(&repository.config.ecosystem)?;
        Ok((repository, ecosystem))
    }
}
