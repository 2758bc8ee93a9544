//! What a format has to say, so that the engine can do everything else.

mod cache;
mod candidate;
mod check;
mod config;
mod discovery;
mod inspection;
mod lock;
mod offer;
mod upload;

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use ::url::Url;
use async_trait::async_trait;
use serde_json::Value;

pub use self::{
    cache::{CacheOptions, RegistryLimits, bytes, duration, duration_within},
    candidate::{Candidate, CandidateFile, Chosen, Requirement},
    check::Mistake,
    config::{Approval, ClientSetup, Mode, OptionSpec, Publish, Registry, RepositoryConfig, SystemRegistry},
    discovery::{Cursor, Discover, Discovered, DiscoveredArtifact, DiscoveredFile, DiscoverySink, Scope},
    inspection::{Derived, Inspection, PulledFile},
    lock::{LockFile, Locked, LockedFiles},
    offer::Offer,
    upload::{Accepted, Received, Upload},
};
use crate::{
    clock::Timestamp,
    depends::Dependencies,
    engine::Intake,
    error::{Error, Result},
    lifecycle::RevisionId,
    name::{ArtifactName, EcosystemId, RevisionName},
    path::ContentPath,
    serve::{Request, Response, View},
    snapshot::{Contents, Entry, IndexWriter},
};

/// A package or model format.
///
/// # Contract
/// - Object-safe and stateless: everything it needs comes in the arguments, so one value serves every repository.
/// - Only bytes that were verified are parsed: `discover` checks the registry's signatures before it parses,
///   `inspect` reads from the store, which verifies each piece.
/// - Hostile input is [`Error::Malformed`] with a stable rule name; it never panics, hangs or allocates
///   without bound.
/// - Output is deterministic: the same contents give the same index bytes.
/// - Every future may be dropped at any await; nothing half-done becomes visible, because only the engine
///   moves statuses and refs.
///
/// Ten methods have no default: [`id`](Self::id), [`modes`](Self::modes),
/// [`repository_options`](Self::repository_options), [`configure`](Self::configure), [`discover`](Self::discover),
/// [`roots`](Self::roots), [`choose`](Self::choose), [`inspect`](Self::inspect), [`index`](Self::index) and
/// [`client_setup`](Self::client_setup). The others are for formats that need them; most formats want
/// [`dependencies`](Self::dependencies) and [`system_registry`](Self::system_registry) as well.
///
/// The conformance suite is `reservoir_core::testing::ecosystem`.
#[async_trait]
pub trait Ecosystem: Debug + Send + Sync + 'static {
    /// Its short name.
    fn id(&self) -> EcosystemId;

    /// The modes a repository of this ecosystem can have.
    fn modes(&self) -> &'static [Mode];

    /// The keys it adds to `[[repository]]`; [`Engine::configure`](crate::Engine::configure) refuses others.
    fn repository_options(&self) -> &'static [OptionSpec];

    /// The keys it adds to `[[registry]]`; [`Engine::configure_registry`](crate::Engine::configure_registry) refuses
    /// others.
    fn registry_options(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// Those of the registry's keys whose values are paths: a relative one is taken from the folder of the file
    /// that is applied.
    fn registry_paths(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks a repository's own keys when it is applied. Errors name the key.
    fn configure(&self, repository: &RepositoryConfig) -> Result<()>;

    /// The registry that this machine's own client is configured with (`url = "system"`): one for all registries without
    /// an address. Asked whenever one is about to be read, and never kept, so that a changed configuration counts at
    /// once. Credentials may stand in its address; the engine gives them to the fetcher alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] where that client is configured with nothing that can be used: name what to set instead, and
    /// show no address, as it may hold credentials. [`Error::Unsupported`] by default.
    async fn system_registry(&self) -> Result<SystemRegistry> {
        let detail =
            format!("no client of `{}` is asked for its registry here; write its address", self.id());
        Err(Error::Unsupported { what: "url = \"system\"".into(), detail })
    }

    /// How much one call of `discover` reports.
    fn scope(&self) -> Scope {
        Scope::Artifacts
    }

    /// Whether what a registry tells of an artifact depends on how it is wanted (a branch of a model): then a
    /// requirement with another constraint, met later in the same sync, asks again about the same artifact.
    fn asks_by_constraint(&self) -> bool {
        false
    }

    /// Lists what `request.registry` offers of the artifacts in `request.artifacts`, one
    /// [`Discovered`] unit at a time, incrementally from the cursors the sink remembers.
    ///
    /// Each artifact that was asked for gets one unit, in any order. [`Discovered::Missing`] is for a registry that
    /// answered and does not know it: only then the next registry is asked. One of which nothing is said, or an
    /// [`Discovered::Alarm`], stays as it was known. With [`Scope::Registry`] see
    /// [`begin_part`](DiscoverySink::begin_part).
    ///
    /// # Errors
    /// What concerns one artifact alone is an alarm, or an entry of [`DiscoveredArtifact::skipped`], and no error. An
    /// error says that this registry cannot be read now: what was told before it is kept, everything else stays as it was
    /// known, and with [`Scope::Artifacts`] no further registry is asked in its place, so that nobody is served a
    /// stranger's package because a registry was away. The sync goes on with what is known and ends incomplete, but for
    /// errors of the sink, which are to be passed on.
    async fn discover(&self, request: Discover<'_>, found: &mut dyn DiscoverySink) -> Result<()>;

    /// What the repository's selection asks for. `specs` replaces the configured selection when
    /// not empty (`reservoir import REPO SPEC…`).
    fn roots(&self, repository: &RepositoryConfig, specs: &[String]) -> Result<Vec<Requirement>>;

    /// Picks the files that satisfy a requirement among everything known of one artifact: what is on offer, and what is
    /// here though it is not on offer any more. The same arguments give the same choice.
    ///
    /// Called once for each requirement of each wave, for selections and dependencies alike, and so again and again for
    /// the same artifact: what is AVAILABLE already is chosen like anything else, as what was not chosen is not followed.
    /// Revisions that are REJECTED or BLOCKED are passed over. Where nothing is left, the engine asks once more with
    /// those as SCANNED, to tell by whose decision nothing fits. An empty answer is no error, but told as missing; not so
    /// for [`Requirement::everything`], for which each artifact is asked about in turn.
    ///
    /// # Errors
    /// They end the sync: [`Error::Invalid`] for the repository's own keys, [`Error::Malformed`] for a requirement that
    /// [`roots`](Self::roots) or [`Dependencies::requirements`] should have refused.
    fn choose(
        &self,
        repository: &RepositoryConfig,
        requirement: &Requirement,
        candidates: &[Candidate],
    ) -> Result<Vec<Chosen>>;

    /// Reads a lock file of one of the format's clients: what of it this repository is for. `name` is its file name.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no lock file; [`Error::Unsupported`] by default.
    fn read_lock(&self, repository: &RepositoryConfig, name: &str, text: &str) -> Result<LockFile> {
        let _ = (repository, text);
        let detail = format!("`{}` has no lock files that are read here", self.id());
        Err(Error::Unsupported { what: format!("`{name}`"), detail })
    }

    /// Picks the very files that a lock names among everything known of one artifact.
    fn choose_locked(
        &self,
        repository: &RepositoryConfig,
        locked: &Locked,
        candidates: &[Candidate],
    ) -> Result<LockedFiles> {
        let chosen = self.choose(repository, &locked.requirement, candidates)?;
        Ok(LockedFiles { chosen, ..LockedFiles::default() })
    }

    /// Whether an artifact is no file for clients but what its registry signed about the others (a suite of an
    /// archive): there is nothing in it that a person could approve or reject by itself, so `approval = "manual"` does
    /// not hold it back.
    fn is_statement(&self, artifact: &ArtifactName) -> bool {
        let _ = artifact;
        false
    }

    /// Whether an artifact says of others that clients can have them, as they are (a suite in upstream's own words).
    /// A sync brings it last, and not while any of the others failed for a reason that may pass: what was said before
    /// is shown until then.
    fn promises_others(&self, repository: &RepositoryConfig, artifact: &ArtifactName) -> bool {
        let _ = (repository, artifact);
        false
    }

    /// Of the revisions of a statement (see [`is_statement`](Self::is_statement)) those AVAILABLE that something newer has
    /// taken the place of: they leave the content, and their bytes are kept by old snapshots alone.
    fn superseded(&self, artifact: &ArtifactName, known: &[Candidate]) -> Vec<RevisionId> {
        let _ = (artifact, known);
        Vec::new()
    }

    /// Whether clients hold the files of a repository against what its registry signed last (suites in upstream's own
    /// words), so that the bytes a file had before are of no use to them: then what a registry replaced is brought anew,
    /// with an alarm. Elsewhere what is here stays.
    fn replaces_bytes(&self, repository: &RepositoryConfig) -> bool {
        let _ = repository;
        false
    }

    /// Whether files that were chosen bring others with them, see [`along`](Self::along).
    fn brings_along(&self, repository: &RepositoryConfig) -> bool {
        let _ = repository;
        false
    }

    /// What comes with a file that was chosen, for whatever reason: the source of a package. `attributes` are the
    /// registry's facts about the file. Asked after dependencies were decided; what it asks for brings nothing itself.
    fn along(
        &self,
        repository: &RepositoryConfig,
        (artifact, revision): (&ArtifactName, &RevisionName),
        attributes: &BTreeMap<String, Value>,
    ) -> Result<Vec<Requirement>> {
        let _ = (repository, artifact, revision, attributes);
        Ok(Vec::new())
    }

    /// Reads a pulled file itself and checks it against what the registry claimed.
    ///
    /// Its digest has held before; the store verifies what is read. The answer is kept with the file for as long as that
    /// has these bytes, and not asked for again: it may depend on nothing but the file, its names and the registry's facts.
    /// Scanners come afterwards.
    ///
    /// # Errors
    /// [`Error::Malformed`] or another refusal makes the revision FAILED with that reason, and the next sync that wants it
    /// tries again; the others go on. (An [optional](DiscoveredFile::OPTIONAL) file is left out instead.) Errors of the
    /// store, and those of kind [`Backend`](crate::ErrorKind::Backend) at large, end the sync: pass them on as they are.
    async fn inspect(&self, file: &PulledFile<'_>) -> Result<Inspection>;

    /// Says what a file is that somebody puts into a hosted repository: its artifact, revision and path, read from
    /// the file itself. [`inspect`](Self::inspect) is asked as of every other file, afterwards, unless the answer has
    /// the inspection already.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no file of this format; [`Error::Unsupported`] by default.
    async fn identify(&self, file: &Received<'_>) -> Result<Accepted> {
        let detail =
            format!("`{}` takes no files by `upload`; its own clients put them there over HTTP", self.id());
        Err(Error::Unsupported { what: format!("`{}`", file.name), detail })
    }

    /// The fact that marks a file as yanked by who published it, so that clients take it only when they ask for
    /// exactly that revision: the key of a file's attribute, and its value for a reason. `None` where clients of the
    /// format know no such mark.
    fn yank_mark(&self, reason: &str) -> Option<(&'static str, serde_json::Value)> {
        let _ = reason;
        None
    }

    /// Requirements, versions and capabilities, for closure and solvability; `None`, as by default, where a format has
    /// none.
    fn dependencies(&self) -> Option<&dyn Dependencies> {
        None
    }

    /// Writes the client-facing indexes for `contents`; what it does not touch stays as in the parent.
    async fn index(&self, contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()>;

    /// Refuses an entry of a content manifest that [`index`](Self::index) cannot write. A bundle's content was made by
    /// another program: its entries are asked about before anything of it is let in.
    ///
    /// # Errors
    /// [`Error::Malformed`] with a stable rule name.
    fn check_entry(&self, entry: &Entry) -> Result<()> {
        let _ = entry;
        Ok(())
    }

    /// Until when what was published at `published` is good although nothing changes; `None`: for ever. The engine
    /// publishes the same content again before (see [`Engine::refresh_due`](crate::Engine::refresh_due)), with
    /// new dates and signatures.
    fn fresh_until(&self, repository: &RepositoryConfig, published: Timestamp) -> Option<Timestamp> {
        let _ = (repository, published);
        None
    }

    /// How far apart the snapshots of a repository are at least; publishes wait for it. A second by default, because
    /// clients that compare dates of indexes, or ask by `If-Modified-Since`, cannot tell less. Formats whose clients
    /// ask by `ETag` need none, so that who writes does not wait for who wrote before.
    fn spacing(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Bytes of the largest file that a repository takes from its registries, whatever they tell of it; `None`: what
    /// [`DownloadOptions::announced`](crate::fetch::DownloadOptions::announced) has.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the repository's own keys.
    fn largest_file(&self, repository: &RepositoryConfig) -> Result<Option<u64>> {
        let _ = repository;
        Ok(None)
    }

    /// Answers a client. The default serves the paths of the snapshot.
    async fn respond(&self, view: &View, request: &Request) -> Result<Response> {
        view.respond_with_path(request).await
    }

    /// Whether a request to a hosted repository changes it, so that [`accept`](Self::accept) answers.
    fn is_write(&self, request: &Request) -> bool {
        !request.is_read()
    }

    /// Whether a mirror or a cache may take uploads, too (`hosted = true`). Names that were uploaded are then kept from
    /// registries, so [`scope`](Self::scope) is [`Scope::Artifacts`], and what is uploaded is marked as
    /// [`Accepted::INTERNAL`]: where every index is one document, nobody is asked for a name.
    fn takes_uploads_beside(&self) -> bool {
        false
    }

    /// Takes what a client sends to a hosted repository: puts bytes into `intake`, makes revisions in a
    /// [`Turn`](crate::Turn). `view` is what was published when the request came.
    async fn accept(&self, intake: &Intake, view: &View, request: &Request) -> Result<Response> {
        let _ = (view, request);
        let what = format!("uploading to `{}`", intake.repository().name);
        Err(Error::Unsupported { what, detail: format!("the ecosystem `{}` takes no uploads", self.id()) })
    }

    /// Whether clients escape slashes that belong to a name (`refs%2Fpr%2F1`), so that the format reads
    /// [`Request::raw_path`]. Elsewhere an escaped slash is refused.
    fn raw_paths(&self) -> bool {
        false
    }

    /// What a user pastes into their client's configuration.
    fn client_setup(&self, repository: &RepositoryConfig, base: &Url) -> ClientSetup;

    /// The artifacts whose candidates [`client_setup_knowing`](Self::client_setup_knowing) is shown.
    fn setup_artifacts(&self, repository: &RepositoryConfig) -> Vec<ArtifactName> {
        let _ = repository;
        Vec::new()
    }

    /// The same as [`client_setup`](Self::client_setup), where what a client must be told is partly upstream's to say
    /// (the components of a suite). `known` are the candidates of [`setup_artifacts`](Self::setup_artifacts).
    fn client_setup_knowing(
        &self,
        repository: &RepositoryConfig,
        base: &Url,
        known: &[Candidate],
    ) -> ClientSetup {
        let _ = known;
        self.client_setup(repository, base)
    }

    /// What a person wants to know of a file, by name, from the facts that its registry and the file itself gave.
    fn file_facts(&self, attributes: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        let _ = attributes;
        BTreeMap::new()
    }

    /// Which of an artifact's revisions a label means on the command line: its name, or what the format knows
    /// it by (the branch of a model). The default knows names alone.
    fn find_revision<'c>(&self, label: &str, known: &'c [Candidate]) -> Option<&'c Candidate> {
        known.iter().find(|candidate| candidate.revision.as_str() == label)
    }

    /// Where a file stands when its revision is put into a folder of its own; `None` for what is no file of it, such
    /// as a record. The default is the file's name.
    fn place(
        &self,
        artifact: &ArtifactName,
        revision: &RevisionName,
        path: &ContentPath,
    ) -> Result<Option<ContentPath>> {
        let _ = (artifact, revision);
        path.file_name().parse().map(Some)
    }

    /// What a person wants to know of a revision, in few words, of what inspection found in its files: the licence
    /// of a model, its results. Nothing by default.
    fn facts(&self, artifact: &ArtifactName, revision: &Candidate) -> BTreeMap<String, Value> {
        let _ = (artifact, revision);
        BTreeMap::new()
    }

    /// How a revision is written on the command line, split into artifact and revision.
    /// The default takes what stands after the last `@`.
    fn parse_spec<'s>(&self, spec: &'s str) -> Result<(&'s str, Option<&'s str>)> {
        match spec.rsplit_once('@') {
            Some((artifact, revision)) if !artifact.is_empty() && !revision.is_empty() => {
                Ok((artifact, Some(revision)))
            }
            None if !spec.is_empty() => Ok((spec, None)),
            _ => Err(Error::invalid("artifact", format!("`{spec}` is not ARTIFACT or ARTIFACT@REVISION"))),
        }
    }
}
