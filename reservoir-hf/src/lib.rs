//! Hugging Face Hub models and datasets for Reservoir: a mirror that `huggingface_hub`, `hf`, `transformers` and
//! `datasets` use with nothing but `HF_ENDPOINT`, with upstream's own commit ids.
//!
//! [`Hf`] is what an engine is given. An artifact is a model (`org/name`) or a dataset (`datasets/org/name`), a
//! revision is a commit. A branch is resolved to a commit first, and only the commit is fetched, so that a branch
//! which moves meanwhile mixes nothing. Every file is checked against the commit: by its git id, or by SHA-256
//! and the id of the pointer that git has instead of a large file.
//!
//! A repository's content holds, for each commit, its files and a record of everything that is in it:
//!
//! ```text
//! models/org/name/<commit>/config.json
//! models/org/name/<commit>/model.safetensors
//! commits/models/org/name/<commit>              what the commit lists, also what is not kept here
//! ```
//!
//! and clients see the Hub's API below the repository:
//!
//! ```text
//! api/models                                    lists
//! api/models/org/name[/revision/<rev>]          info; also tree/, paths-info/, refs, commits/
//! org/name/resolve/<rev>/config.json            a file; datasets/org/name/resolve/… for datasets
//! v2/org/name/manifests/<tag>                   a GGUF model, as llama.cpp asks for it
//! api/repos/create, api/models/org/name/…       hosted: repositories, preupload/, commit/, branch/, tag/
//! org/name.git/info/lfs/objects/…               hosted: large files, in parts
//! ```
//!
//! ```
//! use reservoir_core::ecosystem::{Ecosystem as _, RepositoryConfig};
//! use reservoir_hf::Hf;
//!
//! # fn main() -> reservoir_core::Result<()> {
//! let repository = RepositoryConfig::new("hub".parse()?, Hf.id());
//! let setup = Hf.client_setup(&repository, &"http://127.0.0.1:8080/".parse().expect("a URL"));
//! assert_eq!(setup.command, "export HF_ENDPOINT=http://127.0.0.1:8080/hub");
//! # Ok(())
//! # }
//! ```

mod accept;
mod attribute;
pub mod card;
pub mod depends;
mod facts;
pub mod git;
mod index;
mod layout;
mod lines;
pub mod list;
pub mod name;
mod needs;
pub mod options;
mod package;
pub mod patterns;
mod record;
mod respond;
pub mod safety;
pub mod select;
mod setup;
mod system;
pub mod upstream;

use std::collections::BTreeMap;

use async_trait::async_trait;
use reservoir_core::{
    Intake, Result,
    depends::Dependencies,
    ecosystem::{
        Candidate, Chosen, ClientSetup, Discover, DiscoverySink, Ecosystem, Inspection, Mode, OptionSpec,
        PulledFile, RepositoryConfig, Requirement, SystemRegistry,
    },
    name::{ArtifactName, EcosystemId, RevisionName},
    path::ContentPath,
    serve::{Request, Response, View},
    snapshot::{Contents, Entry, IndexWriter},
};
use serde_json::Value;
use url::Url;

use self::{
    depends::HfDependencies,
    layout::Place,
    options::{OPTIONS, Options},
};

/// Its short name.
const ID: &str = "hf";
/// Bytes of the largest file that is taken. The size of each is in its commit.
const LARGEST_FILE: u64 = 1 << 40;

/// The ecosystem of models and datasets. It has no state: one value serves every repository.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hf;

#[async_trait]
impl Ecosystem for Hf {
    fn id(&self) -> EcosystemId {
        ID.parse().expect("two lowercase letters are an ecosystem")
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
        system::system_registry(|name| std::env::var(name).ok())
    }

    fn asks_by_constraint(&self) -> bool {
        true
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

    async fn inspect(&self, file: &PulledFile<'_>) -> Result<Inspection> {
        package::inspect(file).await
    }

    fn dependencies(&self) -> Option<&dyn Dependencies> {
        Some(&HfDependencies)
    }

    async fn index(&self, contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
        index::write(contents, out).await
    }

    fn check_entry(&self, entry: &Entry) -> Result<()> {
        index::check(entry)
    }

    fn largest_file(&self, _: &RepositoryConfig) -> Result<Option<u64>> {
        Ok(Some(LARGEST_FILE))
    }

    /// Clients ask by `ETag`.
    fn spacing(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    async fn respond(&self, view: &View, request: &Request) -> Result<Response> {
        respond::respond(view, request).await
    }

    fn is_write(&self, request: &Request) -> bool {
        accept::is_write(request)
    }

    async fn accept(&self, intake: &Intake, view: &View, request: &Request) -> Result<Response> {
        accept::accept(intake, view, request).await
    }

    fn raw_paths(&self) -> bool {
        true
    }

    fn find_revision<'c>(&self, label: &str, known: &'c [Candidate]) -> Option<&'c Candidate> {
        select::named(label, &known.iter().collect::<Vec<_>>())
    }

    fn place(
        &self,
        artifact: &ArtifactName,
        revision: &RevisionName,
        path: &ContentPath,
    ) -> Result<Option<ContentPath>> {
        match layout::place(path, &artifact.as_str().parse()?, revision.as_str().parse()?)? {
            Place::Record => Ok(None),
            Place::File(inner) => inner.parse().map(Some),
        }
    }

    fn facts(&self, artifact: &ArtifactName, revision: &Candidate) -> BTreeMap<String, Value> {
        facts::of(artifact, revision).unwrap_or_default()
    }

    fn parse_spec<'s>(&self, spec: &'s str) -> Result<(&'s str, Option<&'s str>)> {
        select::split_spec(spec)
    }

    fn client_setup(&self, repository: &RepositoryConfig, base: &Url) -> ClientSetup {
        setup::client_setup(&repository.name, base)
    }
}
