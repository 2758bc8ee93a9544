//! Python packages for Reservoir: a mirror of a Python package index that pip, uv and their kin install from,
//! unchanged.
//!
//! [`Pypi`] is what an engine is given; it reads an index's pages, picks wheels for the targets a repository
//! names, looks into each file before it is believed, and writes and serves the simple repository API.
//!
//! A repository's content holds files at `<project>/<file name>`, beside each wheel its `METADATA`,
//! beside each file the attestations that the registry has of it:
//!
//! ```text
//! requests/requests-2.31.0-py3-none-any.whl
//! requests/requests-2.31.0-py3-none-any.whl.metadata
//! requests/requests-2.31.0-py3-none-any.whl.provenance
//! ```
//!
//! and clients see, below the repository:
//!
//! ```text
//! simple/                                       the projects          PEP 503, 691
//! simple/requests/                              the files of one      PEP 503, 592, 658, 691, 700, 714, 792
//! packages/<2>/<2>/<60 hex>/<file name>         a file, under the BLAKE2b-256 digest of its bytes
//! packages/<2>/<2>/<60 hex>/<file name>.metadata
//! integrity/<project>/<version>/<file name>/provenance     PEP 740
//! pypi/<project>/json, pypi/<project>/<version>/json       what bandersnatch reads
//! pypi                                          what changed since when, for bandersnatch (XML-RPC)
//! legacy/                                       where twine and uv upload, if the repository is hosted
//! ```
//!
//! The lines a user needs come from the ecosystem as well:
//!
//! ```
//! use reservoir_core::ecosystem::{Ecosystem as _, RepositoryConfig};
//! use reservoir_pypi::Pypi;
//!
//! # fn main() -> reservoir_core::Result<()> {
//! let repository = RepositoryConfig::new("python".parse()?, Pypi.id());
//! let setup = Pypi.client_setup(&repository, &"http://127.0.0.1:8080/".parse().expect("a URL"));
//! assert_eq!(setup.command, "pip install --index-url http://127.0.0.1:8080/python/simple/");
//! # Ok(())
//! # }
//! ```

mod accept;
pub mod attribute;
pub mod depends;
pub mod filename;
pub mod filter;
mod index;
mod lock;
mod marker;
mod metadata;
pub mod name;
pub mod options;
mod package;
mod provenance;
mod record;
pub mod requirement;
mod respond;
pub mod select;
mod setup;
mod system;
pub mod tags;
pub mod target;
pub mod upstream;
pub mod version;

use async_trait::async_trait;
use reservoir_core::{
    Intake, Result,
    depends::Dependencies,
    ecosystem::{
        Accepted, Candidate, Chosen, ClientSetup, Discover, DiscoverySink, Ecosystem, Inspection, LockFile,
        Locked, LockedFiles, Mode, OptionSpec, PulledFile, Received, RepositoryConfig, Requirement,
        SystemRegistry,
    },
    name::EcosystemId,
    serve::{Request, Response, View},
    snapshot::{Contents, Entry, IndexWriter},
};
use serde_json::Value;
use url::Url;

use self::{
    depends::PypiDependencies,
    filter::Filter,
    options::{OPTIONS, Options},
};

/// The ecosystem of Python packages. It has no state: one value serves every repository.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pypi;

#[async_trait]
impl Ecosystem for Pypi {
    fn id(&self) -> EcosystemId {
        "pypi".parse().expect("four lowercase letters are an ecosystem")
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Mirror, Mode::Cache, Mode::Hosted]
    }

    fn repository_options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn configure(&self, repository: &RepositoryConfig) -> Result<()> {
        Options::of(repository).map(drop)
    }

    async fn system_registry(&self) -> Result<SystemRegistry> {
        system::system_registry().await
    }

    async fn discover(&self, request: Discover<'_>, found: &mut dyn DiscoverySink) -> Result<()> {
        upstream::discover(request, found).await
    }

    fn roots(&self, repository: &RepositoryConfig, specs: &[String]) -> Result<Vec<Requirement>> {
        select::roots(repository, specs)
    }

    fn choose(
        &self,
        repository: &RepositoryConfig,
        requirement: &Requirement,
        candidates: &[Candidate],
    ) -> Result<Vec<Chosen>> {
        select::choose(repository, requirement, candidates)
    }

    fn read_lock(&self, repository: &RepositoryConfig, name: &str, text: &str) -> Result<LockFile> {
        lock::read(repository, name, text)
    }

    fn choose_locked(
        &self,
        repository: &RepositoryConfig,
        locked: &Locked,
        candidates: &[Candidate],
    ) -> Result<LockedFiles> {
        lock::choose(repository, locked, candidates)
    }

    async fn inspect(&self, file: &PulledFile<'_>) -> Result<Inspection> {
        package::inspect(file).await
    }

    async fn identify(&self, file: &Received<'_>) -> Result<Accepted> {
        let (accepted, inspection) = package::accept(file).await?;
        Ok(Accepted { inspection: Some(inspection), ..accepted })
    }

    fn yank_mark(&self, reason: &str) -> Option<(&'static str, Value)> {
        let value = if reason.is_empty() { Value::Bool(true) } else { reason.into() };
        Some((attribute::YANKED, value))
    }

    fn dependencies(&self) -> Option<&dyn Dependencies> {
        Some(&PypiDependencies)
    }

    fn largest_file(&self, repository: &RepositoryConfig) -> Result<Option<u64>> {
        Filter::of(repository).map(|filter| filter.max_size())
    }

    async fn index(&self, contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
        index::write(contents, out).await
    }

    fn check_entry(&self, entry: &Entry) -> Result<()> {
        index::check(entry)
    }

    /// Clients ask by `ETag`.
    fn spacing(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    async fn respond(&self, view: &View, request: &Request) -> Result<Response> {
        respond::respond(view, request).await
    }

    fn takes_uploads_beside(&self) -> bool {
        true
    }

    fn is_write(&self, request: &Request) -> bool {
        !request.is_read() && !respond::is_call(request)
    }

    async fn accept(&self, intake: &Intake, _view: &View, request: &Request) -> Result<Response> {
        accept::accept(intake, request).await
    }

    fn client_setup(&self, repository: &RepositoryConfig, base: &Url) -> ClientSetup {
        setup::client_setup(&repository.name, base)
    }
}
