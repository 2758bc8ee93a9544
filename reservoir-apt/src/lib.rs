//! Debian-style package archives for Reservoir: suites verified under their own signatures, mirrored for apt,
//! unchanged.
//!
//! [`Apt`] is what an engine is given. A repository's content:
//!
//! ```text
//! pool/main/j/jq/jq_1.6-2.1_amd64.deb                      artifact jq, revision 1.6-2.1:amd64
//! pool/main/j/jq/jq_1.6-2.1.dsc                            artifact src:jq, revision 1.6-2.1:source
//! upstream/REGISTRY/bookworm/20260101T000000Z/InRelease    artifact dists/bookworm, revision 20260101T000000Z
//! upstream/REGISTRY/bookworm/20260101T000000Z/main/binary-amd64/Packages.xz     (verbatim view only)
//! ```
//!
//! # What is kept with the files
//!
//! - A binary package is one file at its upstream `Filename` (a leading `./` removed, percent-decoded once) with
//!   the attribute [`stanzas`](attribute::STANZAS): an object from `"<suite>/<component>"` (of a flat repository the
//!   suite as written: `"/"`, `"x86_64/"`) to the raw stanza of that upstream index, byte for byte without the
//!   newline at its end, digests folded to lower case. A stanza that another reader might read differently (see
//!   [`control`]) is left out with an alarm. `Filename` is unchanged in it: it may begin with `./`.
//! - Beside it, of the same shape, [`descriptions`](attribute::DESCRIPTIONS): its stanza in `i18n/Translation-en`, where
//!   upstream has one and the view is curated.
//! - An uploaded package has the attribute [`control`](attribute::CONTROL) instead: its raw control paragraph, found
//!   by inspection.
//! - A source package (`sources = true`) is several files; its `.dsc` carries [`sources`](attribute::SOURCES), of
//!   the same shape, from the `Sources` index.
//! - A suite as upstream signed it is a revision named by its Release's Date (with `.01` behind it where the same date is
//!   signed again, or others may sign). Its `InRelease` (or `Release` and
//!   `Release.gpg`) came with the metadata and carries [`release`](attribute::RELEASE), the fields that matter (names
//!   in lower case, values as written, the hash lists left out), and [`signed-by`](attribute::SIGNED_BY). In the
//!   verbatim view every index file that the Release lists, the selection claims and upstream has is a file of
//!   the same revision, at the folder of its `InRelease` plus its path below the suite, which is also its attribute
//!   [`dists-path`](attribute::DISTS_PATH); its digest is that of its blob. [`name::Suite`] makes and reads these
//!   names. A cache has the same revisions, and of their files those that somebody asked for; what a suite lists is
//!   remembered under `lists/bookworm`. A mirror has the newest state that is here whole; the one before leaves the
//!   content then.
//! - What no index offers any more has its facts below `gone`
//!   ([`DiscoveredFile::GONE`](reservoir_core::ecosystem::DiscoveredFile::GONE)), and is listed no more.

mod accept;
pub mod attribute;
mod auth;
pub mod control;
pub mod depends;
mod facts;
mod index;
pub mod name;
pub mod options;
mod package;
pub mod presets;
mod respond;
pub mod select;
mod setup;
mod sha512;
mod system;
pub mod upstream;

use std::collections::BTreeMap;

use async_trait::async_trait;
use reservoir_core::{
    Intake, Result,
    clock::Timestamp,
    depends::Dependencies,
    ecosystem::{
        Accepted, Candidate, Chosen, ClientSetup, Discover, DiscoverySink, Ecosystem, Inspection, Mode,
        OptionSpec, PulledFile, Received, RepositoryConfig, Requirement, Scope, SystemRegistry,
    },
    lifecycle::RevisionId,
    name::{ArtifactName, EcosystemId, RevisionName},
    serve::{Request, Response, View},
    snapshot::{Contents, Entry, IndexWriter},
};
use serde_json::Value;
use url::Url;

use self::{
    depends::AptDependencies,
    name::Kind,
    options::{OPTIONS, Options, REGISTRY_OPTIONS},
};

/// The ecosystem of Debian-style archives. It has no state: one value serves every repository.
#[derive(Debug, Clone, Copy, Default)]
pub struct Apt;

#[async_trait]
impl Ecosystem for Apt {
    fn id(&self) -> EcosystemId {
        "apt".parse().expect("three lowercase letters are an ecosystem")
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Mirror, Mode::Cache, Mode::Hosted]
    }

    fn repository_options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn registry_options(&self) -> &'static [OptionSpec] {
        REGISTRY_OPTIONS
    }

    fn registry_paths(&self) -> &'static [&'static str] {
        &["keyring"]
    }

    fn configure(&self, repository: &RepositoryConfig) -> Result<()> {
        Options::of(repository).map(drop)
    }

    async fn system_registry(&self) -> Result<SystemRegistry> {
        system::system_registry().await
    }

    fn scope(&self) -> Scope {
        Scope::Registry
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

    fn is_statement(&self, artifact: &ArtifactName) -> bool {
        matches!(Kind::of(artifact), Some(Kind::Suite(_)))
    }

    fn promises_others(&self, repository: &RepositoryConfig, artifact: &ArtifactName) -> bool {
        self.is_statement(artifact) && is_verbatim(repository)
    }

    fn superseded(&self, _artifact: &ArtifactName, known: &[Candidate]) -> Vec<RevisionId> {
        select::superseded(known)
    }

    fn replaces_bytes(&self, repository: &RepositoryConfig) -> bool {
        is_verbatim(repository)
    }

    fn brings_along(&self, repository: &RepositoryConfig) -> bool {
        Options::of(repository).is_ok_and(|options| options.sources && options.packages.is_some())
    }

    fn along(
        &self,
        _repository: &RepositoryConfig,
        (artifact, revision): (&ArtifactName, &RevisionName),
        attributes: &BTreeMap<String, Value>,
    ) -> Result<Vec<Requirement>> {
        Ok(select::source_of(artifact, revision, attributes).into_iter().collect())
    }

    async fn identify(&self, file: &Received<'_>) -> Result<Accepted> {
        package::accept(file).await
    }

    async fn inspect(&self, file: &PulledFile<'_>) -> Result<Inspection> {
        package::inspect(file).await
    }

    fn dependencies(&self) -> Option<&dyn Dependencies> {
        Some(&AptDependencies)
    }

    async fn index(&self, contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
        index::write(contents, out).await
    }

    fn check_entry(&self, entry: &Entry) -> Result<()> {
        index::check(entry)
    }

    fn fresh_until(&self, repository: &RepositoryConfig, published: Timestamp) -> Option<Timestamp> {
        index::fresh_until(repository, published)
    }

    async fn respond(&self, view: &View, request: &Request) -> Result<Response> {
        respond::respond(view, request).await
    }

    async fn accept(&self, intake: &Intake, _view: &View, request: &Request) -> Result<Response> {
        accept::accept(intake, request).await
    }

    fn file_facts(&self, attributes: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        facts::of(attributes)
    }

    fn client_setup(&self, repository: &RepositoryConfig, base: &Url) -> ClientSetup {
        setup::client_setup(repository, base, &[])
    }

    fn setup_artifacts(&self, repository: &RepositoryConfig) -> Vec<ArtifactName> {
        let options = Options::of(repository).unwrap_or_default();
        // Where they are written down, nothing has to be looked up.
        let suites = options.suites.iter().filter(|_| options.components.is_empty());
        suites.filter(|suite| !suite.is_flat()).map(name::Suite::to_artifact).collect()
    }

    fn client_setup_knowing(
        &self,
        repository: &RepositoryConfig,
        base: &Url,
        known: &[Candidate],
    ) -> ClientSetup {
        setup::client_setup(repository, base, known)
    }
}

/// Whether clients read upstream's own indexes.
fn is_verbatim(repository: &RepositoryConfig) -> bool {
    Options::of(repository).is_ok_and(|options| options.view == options::View::Verbatim)
}
