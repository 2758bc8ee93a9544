//! The HTTP clients beneath: one for public addresses, one for trusted hosts, one for each proxy.

use std::{
    collections::HashMap,
    error::Error as _,
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::{Certificate, Client, ClientBuilder, Proxy, redirect};
use url::Url;

use super::{
    DisplayUrl, FetchOptions, ProxyChoice,
    resolver::Filtered,
    scope::{Route, Scope},
};
use crate::error::{Error, Result};

/// Connections and how they are made. Which client a URL gets is decided by [`Transport::client`] alone.
pub(super) struct Transport {
    /// Those for public addresses and for trusted hosts; made with the first request, as they read all certificates of
    /// the machine, and most commands ask for nothing.
    direct: Mutex<Option<Arc<Direct>>>,
    matcher: Option<Matcher>,
    proxied: Mutex<HashMap<String, Client>>,
    settings: Settings,
}

/// Clients without a proxy, and what makes others.
struct Direct {
    public: Client,
    trusted: Client,
    settings: Settings,
}

/// What every client has in common.
#[derive(Clone)]
struct Settings {
    user_agent: String,
    connect_timeout: std::time::Duration,
    roots: Option<Vec<Certificate>>,
}

impl Transport {
    pub(super) fn new(options: &FetchOptions) -> Result<Self> {
        let roots = match &options.ca_bundle {
            None => None,
            Some(path) => {
                let shown = path.display();
                let pem = fs::read(path).map_err(Error::io(format!("read the CA bundle `{shown}`")))?;
                let roots = Certificate::from_pem_bundle(&pem).ok().filter(|roots| !roots.is_empty());
                Some(roots.ok_or_else(|| {
                    Error::invalid(format!("CA bundle `{shown}`"), "holds no certificate in PEM form")
                })?)
            }
        };
        let is_own = roots.is_some();
        let settings = Settings {
            user_agent: options.user_agent.clone(),
            connect_timeout: options.connect_timeout,
            roots,
        };
        let transport = Self {
            direct: Mutex::default(),
            matcher: matcher(&options.proxy)?,
            proxied: Mutex::default(),
            settings,
        };
        if is_own {
            // What somebody has set is tried at once.
            transport.direct()?;
        }
        Ok(transport)
    }

    fn direct(&self) -> Result<Arc<Direct>> {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(direct) = &*direct {
            return Ok(Arc::clone(direct));
        }
        let mut settings = self.settings.clone();
        let public = |settings: &Settings| build(settings.builder().dns_resolver(Filtered(Route::Public)));
        let client = match public(&settings) {
            // A machine in an air gap may have no CA certificates. It can still use http; with no roots at
            // all, https fails when it is tried.
            Err(error) if settings.roots.is_none() => {
                tracing::warn!(%error, "https is not available; install CA certificates or set `ca_bundle`");
                settings.roots = Some(Vec::new());
                public(&settings)?
            }
            client => client?,
        };
        let trusted = build(settings.builder().dns_resolver(Filtered(Route::Trusted)))?;
        Ok(Arc::clone(direct.insert(Arc::new(Direct { public: client, trusted, settings }))))
    }

    /// The client for `url`, if the scope lets it pass.
    pub(super) fn client(&self, url: &Url, scope: &Scope) -> Result<Client> {
        let intercept = self.matcher.as_ref().and_then(|matcher| {
            let uri = url.as_str().parse::<http::Uri>().ok()?;
            matcher.intercept(&uri)
        });
        let route = scope.route(url, intercept.is_some())?;
        match (intercept, route) {
            (Some(intercept), _) => self.through(&intercept),
            (None, Route::Trusted) => Ok(self.direct()?.trusted.clone()),
            (None, Route::Public) => Ok(self.direct()?.public.clone()),
        }
    }

    fn through(&self, intercept: &Intercept) -> Result<Client> {
        let address = intercept.uri().to_string();
        let mut proxied = self.proxied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = proxied.get(&address) {
            return Ok(client.clone());
        }
        let mut proxy =
            Proxy::all(&address).map_err(|error| Error::invalid("proxy", error.without_url().to_string()))?;
        if let Some(authorization) = intercept.basic_auth() {
            proxy = proxy.custom_http_auth(authorization.clone());
        }
        // The name is resolved by the proxy; here only the proxy's own name is, which may be private.
        let client = build(self.direct()?.settings.builder().proxy(proxy))?;
        proxied.insert(address, client.clone());
        Ok(client)
    }
}

impl Settings {
    fn builder(&self) -> ClientBuilder {
        let builder = Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(self.connect_timeout)
            // Redirects and retries are followed by hand, where the rules are.
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http2_adaptive_window(true);
        match &self.roots {
            Some(roots) => builder.tls_certs_only(roots.iter().cloned()),
            None => builder,
        }
    }
}

fn build(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| {
        let error = error.without_url();
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Error::invalid("HTTP client", format!("{error}{cause}"))
    })
}

fn matcher(choice: &ProxyChoice) -> Result<Option<Matcher>> {
    match choice {
        ProxyChoice::Direct => Ok(None),
        ProxyChoice::Environment => Ok(Some(Matcher::from_env())),
        ProxyChoice::Url(url) if matches!(url.scheme(), "http" | "https") => {
            let except = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok());
            Ok(Some(Matcher::builder().all(url.as_str()).no(except.unwrap_or_default()).build()))
        }
        ProxyChoice::Url(url) => Err(Error::invalid(
            "proxy",
            format!("`{}` is not an http or https URL; other kinds are not supported", DisplayUrl(url)),
        )),
    }
}
