//! What requests are answered from: refs, denials and open manifests in memory, under a second old.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use quick_cache::sync::Cache;
use serde::Serialize;

use super::{Engine, Intake, through::Through};
use crate::{
    catalog::{Repository, RepositoryId},
    digest::Sha256Digest,
    ecosystem::{CacheOptions, Ecosystem, Mode, RepositoryConfig},
    error::{Error, Result},
    lifecycle::Status,
    name::{Actor, RepositoryName},
    openpgp::Signer,
    serve::{Denials, KeyringForm, PageCache, RequestBody, Response, Route, Router, Selector, View, problem},
    snapshot::Snapshot,
};

/// How often the catalog is asked whether anything changed.
const POLL: Duration = Duration::from_millis(500);
/// A state older than this is refreshed before a request is answered.
const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for the catalog.
const PATIENCE: Duration = Duration::from_secs(2);
/// Repositories that are read at the same time: half of the connections to SQLite.
const READ_AT_ONCE: usize = 4;
/// Old snapshots kept open for `@NUMBER` requests.
const OPEN_SNAPSHOTS: usize = 256;
/// The header that tells a client that refs and denials may be old.
const STALE_HEADER: &str = "x-reservoir-stale";

/// The serving state of one process.
#[derive(Debug)]
pub(super) struct Serving {
    state: ArcSwap<State>,
    refreshing: tokio::sync::Mutex<()>,
    open: Cache<(i64, u64), Arc<Snapshot>>,
    pages: PageCache,
    failing_since: Mutex<Option<Instant>>,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            state: ArcSwap::from_pointee(State::default()),
            refreshing: tokio::sync::Mutex::default(),
            open: Cache::new(OPEN_SNAPSHOTS),
            pages: PageCache::default(),
            failing_since: Mutex::default(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    read_at: Option<Instant>,
    epoch: i64,
    router: Router,
    repositories: HashMap<String, Arc<Served>>,
}

#[derive(Debug)]
struct Served {
    repository: Arc<Repository>,
    /// How it keeps what it was asked for, when it is a cache.
    cache: Option<CacheOptions>,
    ecosystem: Arc<dyn Ecosystem>,
    refs: HashMap<String, u64>,
    main: Option<Arc<Snapshot>>,
    denials: Arc<Denials>,
}

/// The public keys, as clients fetch them.
#[derive(Debug)]
pub(super) struct Keyring {
    armored: Bytes,
    binary: Bytes,
}

impl Keyring {
    pub(super) fn of(signer: &Signer) -> Result<Self> {
        Ok(Self { armored: signer.armored_public()?.into(), binary: signer.binary_public()?.into() })
    }

    fn response(&self, form: KeyringForm) -> Response {
        match form {
            KeyringForm::Armored => {
                Response::ok(self.armored.clone(), HeaderValue::from_static("application/pgp-keys"))
            }
            KeyringForm::Binary => {
                Response::ok(self.binary.clone(), HeaderValue::from_static("application/octet-stream"))
            }
        }
    }
}

impl Served {
    /// Whether clients may come before anything was published: to put something there, or to have it fetched.
    fn begins_empty(&self) -> bool {
        self.cache.is_some() || self.repository.config.takes_uploads()
    }
}

/// A request as a host hands it over.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// `GET`, `HEAD`…
    pub method: Method,
    /// The path (and query) below the place where the host mounted the engine.
    pub uri: Uri,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The address of the place where the host mounted the engine, as the client reached it, without a slash at
    /// its end; for formats whose answers hold absolute links. Empty when unknown.
    pub origin: String,
    /// What the client sends.
    pub body: RequestBody,
    /// The repository that answers where a path begins with no repository's name.
    pub root: Option<RepositoryName>,
    /// Who may change hosted repositories by this request; `None` for nobody.
    pub writer: Option<Actor>,
}

/// What `/healthz` says.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Whether requests are answered.
    pub serving: bool,
    /// For how many seconds the catalog has not answered; absent while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
}

impl Engine {
    /// Keeps the serving state fresh until the returned guard is dropped, so that no request waits for the
    /// catalog, and looks after caches: folds what arrived into snapshots, lets go of what is too much.
    pub fn keep_serving_fresh(&self) -> tokio_util::task::AbortOnDropHandle<()> {
        let engine = self.clone();
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            let fresh = async {
                loop {
                    engine.refresh_serving().await;
                    tokio::time::sleep(POLL).await;
                }
            };
            tokio::join!(fresh, engine.keep_caches());
        }))
    }

    /// Answers an HTTP request; never fails, problems become responses.
    ///
    /// `uri` is the path (and query) below the place where the host mounted the engine. Dropping the future or
    /// the response's body stops the transfer; nothing else depends on it.
    pub async fn respond(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
        let (method, uri, headers) = (method.clone(), uri.clone(), headers.clone());
        self.answer(Incoming { method, uri, headers, ..Incoming::default() }).await
    }

    /// [`respond`](Self::respond) with all that a host knows of a request.
    pub async fn answer(&self, request: Incoming) -> Response {
        let (method, body) = (request.method.clone(), request.body.clone());
        // Whoever expects to be told so sends nothing before.
        let asks_first = request.headers.contains_key(header::EXPECT);
        let mut response = self.try_respond(request).await.unwrap_or_else(|error| problem(&error));
        if !asks_first {
            body.discard().await;
        }
        if let Some(since) = *self.failing_since() {
            let seconds = HeaderValue::from(since.elapsed().as_secs());
            response.headers.insert(header::HeaderName::from_static(STALE_HEADER), seconds);
        }
        response.for_method(&method)
    }

    async fn try_respond(&self, incoming: Incoming) -> Result<Response> {
        let Incoming { method, uri, headers, origin, body, root, writer } = incoming;
        let state = self.fresh_state().await?;
        let route = state.router.route_with_root(uri.path(), root.as_ref())?;
        let Some(served) = state.repositories.get(route.repository.as_str()) else {
            return Err(Error::not_found("repository", &route.repository));
        };
        if let Some(form) = route.keyring() {
            let keyring = self.inner.keyring.as_ref().ok_or_else(|| Error::not_found("page", uri.path()))?;
            return Ok(keyring.response(form));
        }
        let view = self.view(&state, served, &route).await?;
        let mut request = route.request(method, uri.query(), headers);
        (request.origin, request.body) = (origin, body);
        let is_write = served.repository.config.takes_uploads()
            && route.selector.is_none()
            && served.ecosystem.is_write(&request);
        match writer {
            Some(actor) if is_write => {
                self.refuse_carried(&served.repository).await?;
                let (repository, ecosystem) = ((*served.repository).clone(), Arc::clone(&served.ecosystem));
                let intake = Intake::new(self.clone(), repository, ecosystem, actor);
                served.ecosystem.accept(&intake, &view, &request).await.map_err(of_the_body)
            }
            None if is_write => Err(self.refuse_write(&route.repository)),
            _ => served.ecosystem.respond(&view, &request).await,
        }
    }

    /// The snapshot that a route asks for, with the denials of now.
    async fn view(&self, state: &State, served: &Served, route: &Route) -> Result<View> {
        let snapshot = match &route.selector {
            None => self.main_of(served).await?,
            Some(Selector::Ref(name)) if name.as_str() == "main" => self.main_of(served).await?,
            Some(Selector::Ref(name)) => match served.refs.get(name.as_str()) {
                Some(&number) => self.open_snapshot(served, number).await?,
                None => return Err(Error::not_found("ref", name)),
            },
            Some(Selector::Number(number)) => self.open_snapshot(served, *number).await?,
        };
        let pages = &self.inner.pages;
        Ok(View {
            content: pages.open(snapshot.content).await?,
            publication: pages.open(snapshot.publication).await?,
            snapshot,
            store: Arc::clone(&self.inner.store),
            denials: Arc::clone(&served.denials),
            pages: self.inner.serving.pages.clone(),
            departed_at: route.selector.is_none().then(|| self.inner.catalog.clock().now()),
            through: served.cache.filter(|_| route.selector.is_none()).map(|options| {
                let Served { repository, ecosystem, denials, .. } = served;
                Through::new(self, repository, ecosystem, options, denials, state.epoch)
            }),
            catalog: Some(self.inner.catalog.clone()),
        })
    }

    /// Where `main` stands. A cache and a hosted repository begin with an empty snapshot.
    async fn main_of(&self, served: &Served) -> Result<Arc<Snapshot>> {
        let name = &served.repository.config.name;
        match &served.main {
            Some(main) => return Ok(Arc::clone(main)),
            None if !served.begins_empty() => return Err(Error::not_found("published snapshot of", name)),
            None => {}
        }
        let _one = self.inner.through.beginning.lock().await;
        if let Ok(main) = self.inner.catalog.resolve(served.repository.id, "main").await {
            return Ok(Arc::new(main));
        }
        let begun = self.publish(name, Actor::policy(), "an empty repository").await?;
        begun.map(Arc::new).ok_or_else(|| Error::not_found("published snapshot of", name))
    }

    /// The caches that are served now.
    pub(super) fn caches(&self) -> Vec<(Arc<Repository>, CacheOptions)> {
        let state = self.inner.serving.state.load();
        let cache = |served: &Arc<Served>| Some((Arc::clone(&served.repository), served.cache?));
        state.repositories.values().filter_map(cache).collect()
    }

    /// What is published of a repository now.
    pub(super) async fn newest_view(&self, name: &RepositoryName) -> Result<View> {
        self.refresh_serving().await;
        let state = self.inner.serving.state.load_full();
        let route = state.router.route(&format!("/{name}"))?;
        match state.repositories.get(name.as_str()) {
            Some(served) => self.view(&state, served, &route).await,
            None => Err(Error::not_found("repository", name)),
        }
    }

    async fn open_snapshot(&self, served: &Served, number: u64) -> Result<Arc<Snapshot>> {
        let id = served.repository.id;
        let key = (id.0, number);
        if let Some(known) = self.inner.serving.open.get(&key) {
            return Ok(known);
        }
        let snapshot = Arc::new(self.inner.catalog.snapshot(id, number).await?);
        self.inner.serving.open.insert(key, Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// The state, refreshed if it is older than a second and the catalog answers.
    async fn fresh_state(&self) -> Result<Arc<State>> {
        let state = self.inner.serving.state.load_full();
        if state.read_at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(state);
        }
        // A catalog that is away answers late: requests wait for it once, then go on with what is known while
        // one of them keeps asking.
        let known_to_fail = state.read_at.is_some() && self.failing_since().is_some();
        if !known_to_fail || self.inner.serving.refreshing.try_lock().is_ok() {
            let engine = self.clone();
            let refresh = tokio::spawn(async move { engine.refresh_serving().await });
            let patience = if known_to_fail { Duration::ZERO } else { PATIENCE };
            if tokio::time::timeout(patience, refresh).await.is_err() {
                self.failing_since().get_or_insert_with(Instant::now);
            }
        }
        let state = self.inner.serving.state.load_full();
        match state.read_at {
            Some(at) if at.elapsed() <= self.inner.limits.serve_stale => Ok(state),
            _ => Err(Error::Catalog {
                operation: "say what may be served, for longer than it may be trusted from memory".into(),
                source: "see the log".into(),
            }),
        }
    }

    /// Asks the catalog once whether anything changed; a failure keeps what is known.
    pub(crate) fn refresh_serving(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let serving = &self.inner.serving;
            let asked = Instant::now();
            let _one = serving.refreshing.lock().await;
            if serving.state.load().read_at.is_some_and(|at| at > asked) {
                return; // Another refresh began after this one was asked for.
            }
            match self.read_state().await {
                Ok(()) => *self.failing_since() = None,
                Err(error) => {
                    tracing::warn!(%error, "serving goes on with what is known");
                    self.failing_since().get_or_insert_with(Instant::now);
                }
            }
        })
    }

    fn failing_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.inner.serving.failing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_state(&self) -> Result<()> {
        let (serving, catalog) = (&self.inner.serving, &self.inner.catalog);
        let old = serving.state.load_full();
        let read_at = Some(Instant::now());
        // The epoch is read first: what changes meanwhile is seen the next time.
        let epoch = catalog.epoch().await?;
        if old.read_at.is_some() && old.epoch == epoch {
            let state =
                State { read_at, epoch, router: old.router.clone(), repositories: old.repositories.clone() };
            serving.state.store(Arc::new(state));
            return Ok(());
        }
        // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
        let reads: Vec<_> =
            catalog.repositories().await?.into_iter().map(|repository| self.served(repository)).collect();
        let served: Vec<Option<Served>> = stream::iter(reads).buffered(READ_AT_ONCE).try_collect().await?;
        let by_name = |served: Served| (served.repository.config.name.to_string(), Arc::new(served));
        let repositories: HashMap<String, Arc<Served>> = served.into_iter().flatten().map(by_name).collect();
        let names = repositories.values().map(|served| served.repository.config.name.clone());
        let raw = repositories.values().filter(|served| served.ecosystem.raw_paths());
        let raw = raw.map(|served| served.repository.config.name.clone());
        let router = Router::new(names).with_raw_paths(raw);
        serving.state.store(Arc::new(State { read_at, epoch, router, repositories }));
        Ok(())
    }

    /// A repository as it is served now; `None` for one of an ecosystem that this program does not know.
    async fn served(&self, repository: Repository) -> Result<Option<Served>> {
        let catalog = &self.inner.catalog;
        let ecosystem = match self.ecosystem(&repository.config.ecosystem) {
            Ok(ecosystem) => ecosystem,
            // Another program over the same catalog may know it; the other repositories are served.
            Err(error) => {
                tracing::warn!(%error, repository = %repository.config.name, "not served");
                return Ok(None);
            }
        };
        let refs = catalog.refs(repository.id).await?.into_iter();
        let refs: HashMap<String, u64> = refs.map(|(name, number)| (name.to_string(), number)).collect();
        let main = match refs.get("main") {
            Some(&number) => Some(Arc::new(catalog.snapshot(repository.id, number).await?)),
            None => None,
        };
        let denials = Arc::new(self.denials_to_tell(repository.id).await?);
        let cache = cache_options(&repository.config);
        Ok(Some(Served { ecosystem, denials, refs, main, cache, repository: Arc::new(repository) }))
    }

    /// Why bytes of a repository may not leave, by what this process knows, which is under a second old.
    pub(super) async fn denied_now(
        &self,
        repository: &RepositoryName,
        sha256: &Sha256Digest,
    ) -> Result<Option<String>> {
        let state = self.fresh_state().await?;
        let served = state.repositories.get(repository.as_str());
        let served = served.ok_or_else(|| Error::not_found("repository", repository))?;
        Ok(served.denials.digests.get(sha256).cloned())
    }

    /// What must not be served of a repository now.
    pub(super) async fn denials(&self, repository: RepositoryId) -> Result<Denials> {
        let catalog = &self.inner.catalog;
        let (digests, paths) = (catalog.denials(repository).await?, catalog.denied_paths(repository).await?);
        Ok(Denials { digests, paths, metadata: BTreeMap::new() })
    }

    /// The same, with what is told of revisions that are not served.
    async fn denials_to_tell(&self, repository: RepositoryId) -> Result<Denials> {
        let denials = self.denials(repository).await?;
        let metadata = self.inner.catalog.metadata(repository, None, &Status::REFUSED).await?.into_iter();
        let metadata = metadata.map(|known| (known.entry.path.to_string(), known.entry)).collect();
        Ok(Denials { metadata, ..denials })
    }

    /// Whether requests are answered, for load balancers.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.inner.serving.state.load();
        let age = state.read_at.map(|at| at.elapsed());
        Health {
            serving: age.is_some_and(|age| age <= self.inner.limits.serve_stale),
            stale_seconds: (*self.failing_since()).map(|since| since.elapsed().as_secs()),
        }
    }
}

/// What a client sends may be too much for what takes it: that is no lack of room here.
fn of_the_body(error: Error) -> Error {
    match error {
        Error::LimitExceeded { what, limit } => {
            let detail = format!("{what} is over the limit of {limit}");
            Error::malformed("the body of the request", Error::BODY_SIZE, detail)
        }
        error => error,
    }
}

/// How a cache keeps what it was asked for; `None` where there is no registry to go through to.
fn cache_options(config: &RepositoryConfig) -> Option<CacheOptions> {
    if config.mode != Mode::Cache || config.registries.is_empty() {
        return None;
    }
    let options = CacheOptions::of(config);
    options.inspect_err(|error| tracing::warn!(%error, "a cache is served without its registry")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_too_large_is_told_as_such() {
        let over = Error::LimitExceeded { what: "a blob".into(), limit: "5 bytes".into() };
        assert_eq!(over.http_status(), http::StatusCode::INSUFFICIENT_STORAGE);
        let told = of_the_body(over);
        assert_eq!(told.http_status(), http::StatusCode::PAYLOAD_TOO_LARGE);
        assert!(told.to_string().contains("5 bytes"), "{told}");
        let full = of_the_body(Error::NoSpace { what: "a blob".into() });
        assert_eq!(full.http_status(), http::StatusCode::INSUFFICIENT_STORAGE);
    }
}
