//! Opening the catalog, and reading from it.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use sqlx::{
    AnyPool,
    any::{AnyConnectOptions, AnyPoolOptions, AnyRow},
};
use tokio::sync::{Mutex, broadcast};

use super::{
    failure::{failed, is_busy},
    migrate,
    rows::{Statement, sql},
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    lifecycle::LifecycleEvent,
};

/// Which engine is behind a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// One file in the home directory.
    Sqlite,
    /// A server that several processes and machines share.
    Postgres,
}

/// How a catalog is opened.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// Where leases, pins and records read the time.
    pub clock: Clock,
    /// Whether a commit waits for the disk. `false` is for tests that want to see what is lost.
    pub durable: bool,
    /// Whether fences are checked. `false` is for tests that want to see what goes wrong.
    #[cfg(any(test, feature = "testing"))]
    pub fencing: bool,
    /// Whether pins pin. `false` is for tests that want to see what goes wrong.
    #[cfg(any(test, feature = "testing"))]
    pub pinning: bool,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            clock: Clock::System,
            durable: true,
            #[cfg(any(test, feature = "testing"))]
            fencing: true,
            #[cfg(any(test, feature = "testing"))]
            pinning: true,
        }
    }
}

/// The catalog. Cheap to clone; clones share one pool of connections.
#[derive(Clone)]
pub struct Catalog {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) pool: AnyPool,
    /// Of an SQLite catalog: a connection whose commits do not wait for the disk. See [`Wait`].
    relaxed: Option<AnyPool>,
    backend: Backend,
    options: CatalogOptions,
    /// Writers of this process queue here in order, instead of polling for the database's lock and holding
    /// a connection meanwhile.
    pub(super) writer: Arc<Mutex<()>>,
    pub(super) events: broadcast::Sender<LifecycleEvent>,
    #[cfg(any(test, feature = "testing"))]
    hook: std::sync::Mutex<Option<Hook>>,
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// It survives power loss once it returned.
    Durable,
    /// It survives the end of this process, and of the machine once anything later is durable. For what nobody needs
    /// who was not here before the power went: leases, pins, progress. On PostgreSQL, which may end without its
    /// clients, these wait as well.
    Relaxed,
}

#[cfg(any(test, feature = "testing"))]
type Hook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Events kept for a slow watcher.
const EVENTS: usize = 1024;
/// How long one attempt waits for the lock of another process.
const BUSY: Duration = Duration::from_secs(30);
/// Attempts to get it.
const ATTEMPTS: u32 = 3;

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("backend", &self.inner.backend).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Opens (`sqlite:PATH`, created when absent; `postgres://…`) and brings the schema up to date.
    /// Processes that open at the same time wait for each other.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is neither, [`Error::Unsupported`] for an engine that was not
    /// compiled in, [`Error::TooNew`] for a schema of a newer program.
    pub async fn open(url: &str, options: CatalogOptions) -> Result<Self> {
        let (backend, url) = address(url)?;
        sqlx::any::install_default_drivers();
        let connect: AnyConnectOptions = url.parse().map_err(failed("understand its address"))?;
        let settings_of = |wait| settings(backend, options.durable, wait);
        let connections = match backend {
            Backend::Sqlite => 8,
            Backend::Postgres => 16,
        };
        let is_remote = backend == Backend::Postgres;
        let pool = pool(connections, is_remote, settings_of(Wait::Durable));
        let pool = pool.connect_with(connect.clone()).await;
        let pool = pool.map_err(failed("open"))?;
        let relaxed = (backend == Backend::Sqlite)
            .then(|| self::pool(1, false, settings_of(Wait::Relaxed)).connect_lazy_with(connect));
        let catalog = Self {
            inner: Arc::new(Inner {
                pool,
                relaxed,
                backend,
                options,
                writer: Arc::default(),
                events: broadcast::Sender::new(EVENTS),
                #[cfg(any(test, feature = "testing"))]
                hook: std::sync::Mutex::default(),
            }),
        };
        migrate::run(&catalog).await?;
        Ok(catalog)
    }

    /// Waits for running statements and closes every connection. Later calls fail.
    pub async fn close(&self) {
        if let Some(relaxed) = &self.inner.relaxed {
            relaxed.close().await;
        }
        self.inner.pool.close().await;
    }

    /// Which engine is behind it.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    /// The clock it was opened with.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.options.clock
    }

    /// Writes a consistent copy to `path` (which must not exist) while others go on working.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on PostgreSQL, which has tools of its own.
    pub async fn backup_to(&self, path: &Path) -> Result<()> {
        if self.backend() == Backend::Postgres {
            return Err(Error::Unsupported {
                what: "a backup of a PostgreSQL catalog".into(),
                detail: "use `pg_dump`, which is consistent while others write".into(),
            });
        }
        let operation = format!("copy itself to `{}`", path.display());
        let Some(text) = path.to_str() else {
            return Err(Error::invalid(operation, "the path is not UTF-8"));
        };
        let query = sql("VACUUM INTO $1").bind(text);
        query.execute(&self.inner.pool).await.map_err(failed(operation.clone()))?;
        let file = tokio::fs::File::open(path).await.map_err(Error::io(operation.clone()))?;
        file.sync_all().await.map_err(Error::io(operation))
    }

    /// Calls `hook` with the operation's name right before and right after every commit, so that a crash
    /// test can end the process there.
    #[cfg(any(test, feature = "testing"))]
    pub fn on_write(&self, hook: Arc<dyn Fn(&'static str) + Send + Sync>) {
        *self.inner.hook.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(hook);
    }

    pub(super) fn call_hook(&self, operation: &'static str) {
        #[cfg(any(test, feature = "testing"))]
        {
            let hook = self.inner.hook.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            if let Some(hook) = hook {
                hook(operation);
            }
        }
        #[cfg(not(any(test, feature = "testing")))]
        let _ = (self, operation);
    }

    pub(super) fn fencing(&self) -> bool {
        #[cfg(any(test, feature = "testing"))]
        return self.inner.options.fencing;
        #[cfg(not(any(test, feature = "testing")))]
        {
            let _ = self;
            true
        }
    }

    pub(super) fn pinning(&self) -> bool {
        #[cfg(any(test, feature = "testing"))]
        return self.inner.options.pinning;
        #[cfg(not(any(test, feature = "testing")))]
        true
    }

    /// Takes the database's write lock; tries again, for a bounded time, while another process holds it.
    pub(super) async fn lock(
        &self,
        operation: &'static str,
        wait: Wait,
    ) -> Result<sqlx::Transaction<'static, sqlx::Any>> {
        let mut attempt = 1;
        let pool = match &self.inner.relaxed {
            Some(relaxed) if wait == Wait::Relaxed => relaxed,
            _ => &self.inner.pool,
        };
        loop {
            let begun = match self.inner.backend {
                Backend::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await,
                Backend::Postgres => self.lock_postgres().await,
            };
            match begun {
                Err(error) if is_busy(&error) && attempt < ATTEMPTS => {
                    tracing::warn!(operation, attempt, "another process holds the catalog's lock");
                    attempt += 1;
                }
                begun => return begun.map_err(failed(operation)),
            }
        }
    }

    async fn lock_postgres(&self) -> Result<sqlx::Transaction<'static, sqlx::Any>, sqlx::Error> {
        let mut transaction = self.inner.pool.begin().await?;
        // "reservoir" in ASCII, cut to eight bytes.
        sql("SELECT pg_advisory_xact_lock(8243108986188656495)").execute(&mut *transaction).await?;
        Ok(transaction)
    }

    pub(super) async fn all(&self, operation: &'static str, query: Statement) -> Result<Vec<AnyRow>> {
        query.fetch_all(&self.inner.pool).await.map_err(failed(operation))
    }

    pub(super) async fn optional(&self, operation: &'static str, query: Statement) -> Result<Option<AnyRow>> {
        query.fetch_optional(&self.inner.pool).await.map_err(failed(operation))
    }

    pub(super) async fn one(&self, operation: &'static str, query: Statement) -> Result<AnyRow> {
        query.fetch_one(&self.inner.pool).await.map_err(failed(operation))
    }
}

/// A pool whose connections are told `settings`.
fn pool(connections: u32, is_remote: bool, settings: Vec<&'static str>) -> AnyPoolOptions {
    // A connection to a file is not lost; asking it before each statement doubles the hops between threads.
    let options = AnyPoolOptions::new().max_connections(connections).test_before_acquire(is_remote);
    // With either, sqlx 0.9 looks after idle connections in a task of its own, which counts to the number of these. When one
    // is taken while another is given back, that number is -1 for a moment, and who reads it then counts for ever and
    // never yields.
    let options = options.idle_timeout(None).max_lifetime(None);
    options.acquire_timeout(BUSY * 2).after_connect(move |connection, _| {
        let settings = settings.clone();
        Box::pin(async move {
            for statement in settings {
                let mut attempt = 0;
                // Switching a new file to WAL does not wait for locks by itself.
                while let Err(error) = sqlx::query(statement).execute(&mut *connection).await {
                    attempt += 1;
                    if !is_busy(&error) || attempt > 100 {
                        return Err(error);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Ok(())
        })
    })
}

/// What each new connection is told.
fn settings(backend: Backend, durable: bool, wait: Wait) -> Vec<&'static str> {
    match backend {
        Backend::Sqlite => vec![
            "PRAGMA busy_timeout = 30000",
            "PRAGMA journal_mode = WAL",
            match wait {
                _ if !durable => "PRAGMA synchronous = OFF",
                Wait::Durable => "PRAGMA synchronous = FULL",
                Wait::Relaxed => "PRAGMA synchronous = NORMAL",
            },
            "PRAGMA foreign_keys = ON",
            // A batch of some hundred revisions writes about a thousand pages; the log is folded in after a few.
            "PRAGMA wal_autocheckpoint = 4000",
            "PRAGMA cache_size = -8000",
        ],
        Backend::Postgres => vec![
            "SET lock_timeout = '30s'",
            // A writer whose machine went away must not keep the write lock for ever.
            "SET idle_in_transaction_session_timeout = '60s'",
            if durable { "SET synchronous_commit = on" } else { "SET synchronous_commit = off" },
        ],
    }
}

fn address(url: &str) -> Result<(Backend, String)> {
    let unsupported = |feature: &str| Error::Unsupported {
        what: format!("a catalog in {feature}"),
        detail: format!("this program was built without the feature `{feature}`"),
    };
    if let Some(path) = url.strip_prefix("sqlite:") {
        if !cfg!(feature = "sqlite") {
            return Err(unsupported("sqlite"));
        }
        if path.contains(":memory:") || path.contains("mode=memory") {
            return Err(Error::invalid(
                "catalog",
                "a catalog in memory is not shared between connections; name a file",
            ));
        }
        let url = if path.contains('?') { url.to_owned() } else { format!("{url}?mode=rwc") };
        return Ok((Backend::Sqlite, url));
    }
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        if !cfg!(feature = "postgres") {
            return Err(unsupported("postgres"));
        }
        return Ok((Backend::Postgres, url.to_owned()));
    }
    Err(Error::invalid("catalog", "its address begins neither with `sqlite:` nor with `postgres:`"))
}
