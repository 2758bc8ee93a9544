//! The engine of Reservoir: verified, content-addressed, immutable repositories of packages and models.
//!
//! A host gives [`Engine::builder`] a [catalog](catalog::Catalog) (SQL), a [store](store::Store) (bytes), a key that
//! signs its history, and [ecosystems](ecosystem::Ecosystem) (package formats; this crate has none). The engine
//! fetches from registries, checks, judges, publishes numbered snapshots, and answers HTTP requests from them.
//!
//! # From nothing to an answered request
//!
//! The format here is the toy of the `testing` feature; a real host would name `reservoir_pypi::Pypi`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::{HeaderMap, Method, StatusCode};
//! use reservoir_core::{
//!     Engine,
//!     catalog::{Catalog, CatalogOptions},
//!     name::{Actor, RepositoryName},
//!     snapshot::InstanceKey,
//!     store::{self, ObjectStoreOptions, Store},
//!     testing::toy::{Toy, ToyFile, ToyRegistry},
//! };
//! use serde_json::json;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut upstream = ToyRegistry::start().await;
//! # upstream.offer(ToyFile::new("hammer", "1.0", None, &["nail>=1"], 100));
//! # upstream.offer(ToyFile::new("nail", "2.0", None, &[], 100));
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! // A key lives as long as the instance: generate it once, then `InstanceKey::load` it.
//! let key = InstanceKey::generate()?;
//! let catalog = format!("sqlite:{}", folder.join("catalog.sqlite").display());
//! let options = ObjectStoreOptions { scratch: folder.join("scratch"), ..ObjectStoreOptions::default() };
//! let store: Arc<dyn Store> = Arc::new(store::open("memory://", options).await?);
//! let engine = Engine::builder()
//!     .catalog(Catalog::open(&catalog, CatalogOptions::default()).await?)
//!     .store(store)
//!     .ecosystem(Toy)
//!     .key(key)
//!     .scratch(folder.join("scratch"))
//!     .build()?;
//!
//! // Registries and repositories are plain, serialisable data: `Registry` and `RepositoryConfig`.
//! let (ann, tools): (Actor, RepositoryName) = ("ann".parse()?, "tools".parse()?);
//! let registry = json!({ "name": "upstream", "ecosystem": "toy", "url": upstream.url() });
//! engine.configure_registry(&serde_json::from_value(registry)?, &ann).await?;
//! let repository = json!({ "name": "tools", "ecosystem": "toy", "registries": ["upstream"], "dependencies": true,
//!                          "options": { "packages": ["hammer"] } });
//! engine.configure(&serde_json::from_value(repository)?, &ann).await?;
//!
//! // The work is a task of the engine: dropping the handle does not stop it, `cancel` does.
//! let report = engine.sync(&tools, ann.clone()).await?.wait().await?;
//! assert!(report.is_complete());
//! assert_eq!((report.admitted, report.published), (2, Some(1)));
//!
//! // A request is a method, a URI and headers; what comes back is a status, headers and a body.
//! let list = "/tools/list/hammer".parse()?;
//! let response = engine.respond(&Method::GET, &list, &HeaderMap::new()).await;
//! assert_eq!(response.status, StatusCode::OK);
//!
//! // What a person decides takes effect at once, in every process, and makes a new snapshot.
//! let (hammer, one) = ("hammer".parse()?, "1.0".parse()?);
//! engine.reject(&tools, &hammer, &one, ann, "the handle comes off".into()).await?;
//! let file = "/tools@1/files/hammer/hammer-1.0.toy".parse()?;
//! let response = engine.respond(&Method::GET, &file, &HeaderMap::new()).await;
//! assert_eq!(response.status, StatusCode::FORBIDDEN);
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! | to | look at |
//! |---|---|
//! | drive an engine | [`Engine`]: sync, approve, check, publish, roll back, promote, materialize |
//! | cross a gap, keep house | [`Engine`]: export, load, share; collect garbage, verify, rebuild |
//! | ask what is known | [`Engine::catalog`]: artifacts, revisions, history, tasks, the audit log |
//! | name a snapshot beside `main` | [`catalog::Catalog::set_ref`] |
//! | watch work | [`Engine::events`], [`task::TaskHandle`] |
//! | stop work | [`task::TaskHandle::cancel`]; from elsewhere [`catalog::Catalog::request_cancel`] |
//! | bring a package format | [`ecosystem::Ecosystem`] |
//! | judge bytes | [`gate::Scanner`] |
//! | keep bytes elsewhere | [`store::Store`], or any `object_store` backend by [`store::ObjectBlobs::over`] |
//! | do work that blocks or takes long | [`blocking::run`] |
//! | tune how registries are read | [`fetch::FetchOptions`], [`EngineBuilder::fetcher`] |
//! | act on an error | [`Error`], [`Error::kind`] |
//!
//! # What holds everywhere
//!
//! - **Futures may be dropped at any await.** What was acknowledged stays, what was not is absent or whole. Tasks belong
//!   to the engine, so dropping a caller's future never ends an import.
//! - **Memory does not grow with a file or with the bytes of a repository.** What grows with the number of its packages:
//!   [`Engine::check`] and [`Engine::solve`] take some hundred bytes for each in a universe, and
//!   [`Engine::collect_garbage`] holds the digests of the pages of manifests.
//! - **Nothing is believed unread**: bytes are checked against digests while they are written *and* while they are read.
//! - **Several processes may share** one catalog and one store: with SQLite those of one machine, with PostgreSQL those of
//!   many. Each needs the same keys, and judges with the scanners that it was built with; leases with fencing tokens keep
//!   writers apart.
//! - **An engine lives on a Tokio runtime** with time and I/O, of either kind, and spawns its tasks there. There is nothing
//!   to shut down: a runtime that ends is like a process that is killed, and whoever begins the same work again goes on
//!   where it was. To end sooner and in order, cancel the tasks, wait for them, and [close](catalog::Catalog::close) the
//!   catalog.
//!
//! # Features
//!
//! `sqlite` (default) and `postgres` are the catalogs; `testing` has conformance suites for implementations of the
//! traits, and stores and upstreams that fail on purpose.

pub mod archive;
pub mod blocking;
pub mod bundle;
pub mod catalog;
pub mod clock;
pub mod depends;
pub mod digest;
pub mod ecosystem;
mod engine;
mod error;
pub mod fetch;
pub mod gate;
pub mod lifecycle;
pub mod name;
pub mod openpgp;
pub mod path;
mod secret;
pub mod serve;
pub mod snapshot;
pub mod store;
pub mod sync;
pub mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use self::{
    engine::{
        Base, BrokenPackage, BrokenRevision, Checked, CheckedTarget, CleanupReport, Collected, Damaged,
        Engine, EngineBuilder, ExportOptions, Exported, Health, Incoming, Inspected, Intake, Limits, Loaded,
        LoadedRepository, Materialized, Medium, Placement, Rebuilt, Refreshed, RestoredStream, Retention,
        SHARE, Skipped, Submission, Turn, Verified,
    },
    error::{Cause, Error, ErrorKind, Result},
};
