//! Reading registries over HTTP: one client with retries, resume, caps, address rules and credentials.
//!
//! A [`Fetcher`] is cheap to clone. [`Fetcher::scoped`] gives one that knows a registry: its hosts, its
//! credentials, its share of connections. What a registry's pages point to is not trusted: every address is
//! judged by [`policy`] before a connection is made, on each redirect again.
//!
//! Every future here may be dropped at any await: the transfer stops, and a partial file stays resumable.

mod body;
mod download;
mod limits;
mod options;
mod page;
mod partial;
mod piece;
pub mod policy;
mod request;
mod resolver;
mod retry;
mod scope;
mod secret;
mod transport;
mod url;
mod validators;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) use self::url::without_userinfo;
pub use self::{
    download::{Arriving, DownloadOptions, Downloaded},
    options::{FetchOptions, ProxyChoice},
    page::{Head, Page, PageOptions, PageOutcome},
    piece::{Piece, Span},
    url::DisplayUrl,
    validators::Validators,
};
use self::{limits::Limits, scope::Scope, transport::Transport};
use crate::{
    ecosystem::{Registry, RegistryLimits, SystemRegistry},
    error::Result,
    name::RegistryName,
};

/// Reads registries over HTTP. Cheap to clone; clones share connections and limits.
#[derive(Clone)]
pub struct Fetcher {
    options: Arc<FetchOptions>,
    transport: Arc<Transport>,
    scope: Arc<Scope>,
    limits: Arc<Limits>,
    /// Whether a client waits for what is fetched.
    in_haste: bool,
    /// One set of limits for each registry, however many scoped fetchers there are.
    registries: Arc<Mutex<HashMap<RegistryName, Limited>>>,
}

/// The limits of one registry, and what they were made from.
type Limited = (RegistryLimits, Arc<Limits>);

impl Fetcher {
    /// A fetcher without a registry: any public host, no credentials.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a proxy or CA bundle that cannot be used,
    /// [`Error::Io`](crate::Error::Io) when the CA bundle cannot be read.
    pub fn new(options: FetchOptions) -> Result<Self> {
        let transport = Transport::new(&options)?;
        let limits = Limits::new(&options);
        Ok(Self {
            options: Arc::new(options),
            transport: Arc::new(transport),
            scope: Arc::default(),
            limits: Arc::new(limits),
            in_haste: false,
            registries: Arc::default(),
        })
    }

    /// The same fetcher for one registry: its own host may be private, its `allowed_hosts` bind, and the
    /// user and password in its URL are sent to its own origin only. `system` is what the machine's client
    /// is configured with; its CA bundle and proxy apply, and its URL where the registry has none.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when there is no URL, or a host, proxy or CA bundle is unusable.
    pub fn scoped(&self, registry: &Registry, system: Option<&SystemRegistry>) -> Result<Self> {
        let scope = Scope::new(registry, system)?;
        let mut fetcher = self.clone();
        if let Some(system) = system
            && (system.ca_bundle.is_some() || system.proxy.is_some())
        {
            let mut options = FetchOptions::clone(&self.options);
            if let Some(bundle) = &system.ca_bundle {
                options.ca_bundle = Some(bundle.clone());
            }
            if let Some(proxy) = &system.proxy {
                options.proxy = ProxyChoice::Url(proxy.clone());
            }
            fetcher.transport = Arc::new(Transport::new(&options)?);
        }
        let own = registry.limits()?;
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || (own, Arc::new(Limits::of(&self.options, own)));
        let known = registries.entry(registry.name.clone()).or_insert_with(made);
        if known.0 != own {
            // Configured anew: what is under way keeps the places it has.
            *known = made();
        }
        fetcher.limits = Arc::clone(&known.1);
        fetcher.scope = Arc::new(scope);
        Ok(fetcher)
    }

    /// The same fetcher for a client that is waiting for something small: it tries twice and no more, and waits for no
    /// large file.
    pub(crate) fn hasty(&self) -> Self {
        let mut options = FetchOptions::clone(&self.options);
        options.retries = options.retries.min(1);
        Self { options: Arc::new(options), in_haste: true, ..self.clone() }
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("scope", &self.scope).finish_non_exhaustive()
    }
}
