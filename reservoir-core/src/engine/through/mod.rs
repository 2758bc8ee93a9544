//! Pull-through: what a cache brings when a client first asks. See "Pull-through" in ARCHITECTURE.md.

mod asked;
mod companion;
mod failure;
mod file;
mod offers;
mod runs;
mod sources;
mod upkeep;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, broadcast};

pub use self::{asked::News, offers::Shown};
use self::{offers::Known, runs::Runs, sources::Sources};
use super::{Engine, pinned::PinnedStore};
use crate::{
    catalog::{
        ArtifactRow, DERIVED_FROM, Fence, FileId, FileRow, Repository, RepositoryId, RevisionFilter, TaskId,
    },
    clock::Timestamp,
    ecosystem::{CacheOptions, Ecosystem},
    error::{Error, Result},
    name::{Actor, ArtifactName, RevisionName},
    path::ContentPath,
    serve::{Denials, FileOptions, RenderKey, RenderedPages, Request, Response, View, arriving::Arrival},
    snapshot::Entry,
    sync::{Follower, Partials, Source, Syncer},
    task::TaskContext,
};

/// Entries of the overlay in memory, of all repositories; the catalog has the others.
const OVERLAY: usize = 16 << 10;
/// Files of the offers in memory, a kilobyte each; an artifact counts for some more, a name that nobody knows too.
const OFFERED: u64 = 96 << 10;
/// Files that are brought at a time; others wait. The fetcher limits transfers of one registry further.
const FILES_AT_ONCE: usize = 64;
/// Failures that are remembered for a moment.
const FAILURES: usize = 4 << 10;
/// Uses that are remembered until they are written down.
const USES: usize = 100_000;
/// Revisions are told apart by this many locks.
const TURNS: usize = 256;
/// Revisions asked of the catalog at a time.
const REVISIONS: u32 = 1000;
/// How long whoever may not follow a run waits for its end. pip and uv give up later than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Artifacts that a list shows beside the snapshot; more than arrive between two snapshots.
const UNFOLDED: u32 = 5000;

/// Where partial files are, below the engine's scratch folder.
const PARTIALS: &str = "through";

type FileKey = (RepositoryId, ContentPath);
type ArtifactKey = (RepositoryId, ArtifactName);

/// What the caches of one process share.
#[derive(Debug)]
pub(super) struct Shared {
    files: Runs<FileKey, Arc<Arrival>>,
    companions: Runs<FileKey, Arc<Arrival>>,
    asked: Runs<ArtifactKey, offers::Asking>,
    questions: asked::Questions,
    offers: Cache<ArtifactKey, Known, offers::Weight>,
    places: Semaphore,
    versions: AtomicU64,
    overlay: Cache<FileKey, Arc<Entry>>,
    failures: Cache<FileKey, (Instant, Arc<Error>)>,
    rendered: RenderedPages,
    uses: Mutex<HashMap<FileKey, Timestamp>>,
    turns: Vec<AsyncMutex<()>>,
    sources: AsyncMutex<HashMap<RepositoryId, Sources>>,
    upkeep: Mutex<HashMap<RepositoryId, upkeep::Due>>,
    pub(super) beginning: AsyncMutex<()>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            files: Runs::default(),
            companions: Runs::default(),
            asked: Runs::default(),
            questions: asked::Questions::default(),
            offers: Cache::with_weighter(1024, OFFERED, offers::Weight),
            places: Semaphore::new(FILES_AT_ONCE),
            versions: AtomicU64::new(1),
            overlay: Cache::new(OVERLAY),
            failures: Cache::new(FAILURES),
            rendered: RenderedPages::default(),
            uses: Mutex::default(),
            turns: std::iter::repeat_with(AsyncMutex::default).take(TURNS).collect(),
            sources: AsyncMutex::default(),
            upkeep: Mutex::default(),
            beginning: AsyncMutex::default(),
        }
    }
}

/// The way through to the registries of one cache, for the length of a request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Through {
    engine: Engine,
    repository: Arc<Repository>,
    ecosystem: Arc<dyn Ecosystem>,
    options: CacheOptions,
    denials: Arc<Denials>,
    epoch: i64,
}

/// What a cache knows of a path that its newest snapshot lacks.
#[derive(Debug)]
pub enum Held {
    /// It arrived since, and may be served.
    Here(Arc<Entry>),
    /// A registry offers it; these are its facts.
    Offered(Box<FileRow>),
    /// Nobody has it.
    Missing,
}

impl Through {
    pub(super) fn new(
        engine: &Engine,
        repository: &Arc<Repository>,
        ecosystem: &Arc<dyn Ecosystem>,
        options: CacheOptions,
        denials: &Arc<Denials>,
        epoch: i64,
    ) -> Self {
        let (repository, ecosystem, denials) = (repository.clone(), ecosystem.clone(), denials.clone());
        Self { engine: engine.clone(), repository, ecosystem, options, denials, epoch }
    }

    /// The repository as it is configured.
    #[must_use]
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    /// How long a page is fresh.
    #[must_use]
    pub fn fresh_for(&self) -> Duration {
        self.options.fresh_for
    }

    /// Answers with a page about one artifact that `render` makes of what is on offer, rendered once for each
    /// state of the offer, each `language` and each `state` of whatever else it depends on. While the registry is
    /// away the page is as it last was, and says so in `x-reservoir-stale-page`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that no registry knows; [`Error::Upstream`] or [`Error::Unreachable`] when a
    /// registry is away and nothing is known of the name; those of `render`.
    pub async fn page<R>(
        &self,
        request: &Request,
        artifact: &ArtifactName,
        (language, state): (&'static str, u64),
        options: FileOptions,
        render: R,
    ) -> Result<Response>
    where
        R: FnOnce(&crate::ecosystem::Offer) -> Result<Vec<u8>> + Send + 'static,
    {
        let found = self.offer(artifact).await?;
        let key = RenderKey {
            repository: self.repository.id.0,
            artifact: artifact.clone(),
            language,
            state,
            version: found.offer.version,
        };
        let (offer, at) = (Arc::clone(&found.offer), self.engine.inner.catalog.clock().now());
        let page = self.shared().rendered.get(key, at, move || render(&offer)).await?;
        let mut response = page.respond(request, options)?;
        found.mark(&mut response);
        Ok(response)
    }

    /// What is known of a path that the snapshots lack. `artifact` is whose file it would be: a registry that was
    /// not asked about it before is asked now. The question is the engine's: dropping the future does not end it.
    ///
    /// # Errors
    /// [`Error::Upstream`] or [`Error::Unreachable`] when a registry is away and nothing is known of the artifact; those of
    /// the catalog.
    pub async fn find(&self, artifact: &ArtifactName, path: &str) -> Result<Held> {
        let Ok(path) = path.parse::<ContentPath>() else { return Ok(Held::Missing) };
        let key = (self.repository.id, path);
        if let Some(entry) = self.in_memory(&key).await? {
            return Ok(Held::Here(entry));
        }
        if let Some(held) = self.look_up(&key).await? {
            return Ok(held);
        }
        match self.offer(artifact).await {
            Ok(_) => Ok(self.look_up(&key).await?.unwrap_or(Held::Missing)),
            Err(Error::NotFound { .. }) => Ok(Held::Missing),
            Err(error) => Err(error),
        }
    }

    /// What is known of a path that the snapshots lack, without asking anybody. What is denied is missing.
    ///
    /// # Errors
    /// Those of the catalog. Reads only; may be dropped at any time, as those below.
    pub async fn known(&self, path: &str) -> Result<Held> {
        let Ok(path) = path.parse::<ContentPath>() else { return Ok(Held::Missing) };
        if self.denials.paths.contains_key(path.as_str()) {
            return Ok(Held::Missing);
        }
        let key = (self.repository.id, path);
        if let Some(entry) = self.in_memory(&key).await? {
            return Ok(Held::Here(entry));
        }
        Ok(self.look_up(&key).await?.unwrap_or(Held::Missing))
    }

    /// The one file of each revision of an artifact that `path` names, here or on offer; those that are denied are
    /// left out. In no order.
    ///
    /// # Errors
    /// Those of `path` and of the catalog.
    pub async fn one_of_each(
        &self,
        artifact: &ArtifactName,
        path: impl Fn(&RevisionName) -> Result<ContentPath>,
    ) -> Result<Vec<FileRow>> {
        let catalog = &self.engine.inner.catalog;
        let filter = RevisionFilter { artifact: Some(artifact.clone()), ..RevisionFilter::default() };
        let (mut paths, mut after) = (Vec::new(), None);
        loop {
            let revisions = catalog.revisions(self.repository.id, &filter, after, REVISIONS).await?;
            let Some(last) = revisions.last() else { break };
            after = Some(last.id);
            for revision in revisions {
                paths.push(path(&revision.revision)?);
            }
        }
        let mut files = catalog.files_at(self.repository.id, &paths).await?;
        files.retain(|file| !self.denials.paths.contains_key(file.path.as_str()));
        Ok(files)
    }

    /// The newest snapshot, and the artifacts of which something arrived that it lacks, by name; a few thousand at
    /// most. One that another process publishes meanwhile may be in both, never in neither.
    ///
    /// # Errors
    /// [`Error::NotFound`] while nothing is published; those of the catalog and the store.
    pub async fn unfolded(&self) -> Result<(View, Vec<ArtifactName>)> {
        // A publication takes from the second what it adds to the first: what is taken last has to be read first.
        let names = self.engine.inner.catalog.unfolded(self.repository.id, UNFOLDED).await?;
        Ok((self.engine.newest_view(&self.repository.config.name).await?, names))
    }

    /// What the registry says of an artifact itself, as last recorded; `None` for one that nobody has asked about.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn artifact(&self, name: &ArtifactName) -> Result<Option<ArtifactRow>> {
        self.engine.inner.catalog.artifact(self.repository.id, name).await
    }

    /// What arrived lately. Where names may become internal at any time, in any process, the catalog is asked whether it
    /// is served still: it, or the file that it was taken out of.
    async fn in_memory(&self, key: &FileKey) -> Result<Option<Arc<Entry>>> {
        let Some(entry) = self.shared().overlay.get(key) else { return Ok(None) };
        if !self.repository.config.takes_uploads() {
            return Ok(Some(entry));
        }
        let owner = entry.attributes.get(DERIVED_FROM).and_then(|owner| owner.as_str());
        let owner = owner.map_or_else(|| Ok(key.1.clone()), str::parse)?;
        let entries = self.engine.inner.catalog.entries_at(key.0, &owner).await?;
        Ok(self.shared().overlay(key.0, entries, &key.1))
    }

    async fn look_up(&self, key: &FileKey) -> Result<Option<Held>> {
        let entries = self.engine.inner.catalog.entries_at(key.0, &key.1).await?;
        if let Some(entry) = self.shared().overlay(key.0, entries, &key.1) {
            return Ok(Some(Held::Here(entry)));
        }
        let file = self.engine.inner.catalog.file_at(key.0, &key.1).await?;
        Ok(file.map(|file| Held::Offered(Box::new(file))))
    }

    /// Notes that a file was used, so that a full cache keeps it.
    pub fn used(&self, path: &ContentPath) {
        self.shared().used((self.repository.id, path.clone()), self.engine.inner.catalog.clock().now());
    }

    /// Why an entry may not be served; `None` when it may.
    fn denied(&self, entry: &Entry) -> Option<Error> {
        let reason = self.denials.of(entry)?.to_owned();
        Some(Error::Denied { what: format!("`{}`", entry.path.file_name()), reason })
    }

    fn shared(&self) -> &Shared {
        &self.engine.inner.through
    }
}

impl Shared {
    /// Puts what is served into memory; the entry of `path` itself.
    fn overlay(
        &self,
        repository: RepositoryId,
        entries: Vec<Entry>,
        path: &ContentPath,
    ) -> Option<Arc<Entry>> {
        let mut found = None;
        for entry in entries {
            let entry = Arc::new(entry);
            if entry.path == *path {
                found = Some(Arc::clone(&entry));
            }
            self.overlay.insert((repository, entry.path.clone()), entry);
        }
        found
    }

    fn used(&self, key: FileKey, at: Timestamp) {
        let mut uses = lock(&self.uses);
        // Written down twice a minute: so many in that time are told apart no more.
        if uses.len() < USES || uses.contains_key(&key) {
            uses.insert(key, at);
        }
    }

    fn turn(&self, revision: crate::lifecycle::RevisionId) -> &AsyncMutex<()> {
        &self.turns[revision.0.unsigned_abs() as usize % TURNS]
    }
}

/// One lease, its pins, and what a syncer needs, for a run that is no task: it has no row in the journal, because
/// the request that wants it is its record.
struct Work {
    engine: Engine,
    repository: Arc<Repository>,
    ecosystem: Arc<dyn Ecosystem>,
    sources: Arc<Vec<Source>>,
    context: TaskContext,
    fence: Fence,
    owner: String,
}

impl Work {
    async fn new(through: &Through, fence: Fence) -> Result<Self> {
        let sources = through.sources().await?;
        // Nobody watches: a run is short, and its clients see it.
        let context = TaskContext::new(TaskId(0), fence.clone(), broadcast::channel(1).0);
        let owner = format!("{}/{}", fence.lease, fence.token);
        let (engine, repository) = (through.engine.clone(), Arc::clone(&through.repository));
        let ecosystem = Arc::clone(&through.ecosystem);
        Ok(Self { engine, repository, ecosystem, sources, context, fence, owner })
    }

    fn store(&self) -> PinnedStore {
        let inner = &self.engine.inner;
        PinnedStore::new(inner.store.clone(), inner.catalog.clone(), self.owner.clone())
    }

    async fn syncer<'a>(&'a self, hasty: bool, follower: Option<Follower<'a>>) -> Result<Syncer<'a>> {
        let inner = &self.engine.inner;
        let source = |source: &Source| Source {
            registry: source.registry.clone(),
            fetcher: if hasty { source.fetcher.hasty() } else { source.fetcher.clone() },
        };
        Ok(Syncer {
            catalog: &inner.catalog,
            store: self.store(),
            ecosystem: Arc::clone(&self.ecosystem),
            scanners: &inner.scanners,
            // Apart from those of syncs: nobody else writes into one.
            partials: Partials::open(inner.scratch.join(PARTIALS)).await?,
            sources: self.sources.iter().map(source).collect(),
            repository: &self.repository,
            task: &self.context,
            fence: self.fence.clone(),
            actor: actor(),
            follower,
            planning: None,
        })
    }
}

/// Who does what clients make a cache do.
fn actor() -> Actor {
    "cache".parse().expect("a word is an actor")
}

/// The lease under which a file is brought.
fn lease(file: FileId) -> String {
    format!("through/{}", file.0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
