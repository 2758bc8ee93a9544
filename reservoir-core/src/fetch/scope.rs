//! What one registry may lead to, and which credentials belong to it.

use http::HeaderValue;
use url::{Host, Url};

use super::{DisplayUrl, policy::Reach, secret::Authorization};
use crate::{
    ecosystem::{Registry, SystemRegistry},
    error::{Error, Result},
};

/// How a URL that passed may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The registry's own host or one that it was configured with: may be private.
    Trusted,
    /// Anything else: public addresses only.
    Public,
}

/// The rules for one registry; the default is for none: public hosts, no credentials.
#[derive(Debug, Default)]
pub(super) struct Scope {
    origin: Option<Origin>,
    allowed: Vec<Allowed>,
    authorization: Option<Authorization>,
}

/// RFC 6454: where credentials may go.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// One of `allowed_hosts`; without a port, the usual ones of HTTP and HTTPS.
#[derive(Debug)]
struct Allowed {
    host: String,
    port: Option<u16>,
}

impl Scope {
    pub(super) fn new(registry: &Registry, system: Option<&SystemRegistry>) -> Result<Self> {
        let url = registry.url.as_ref().or(system.map(|system| &system.url)).ok_or_else(|| {
            Error::invalid(format!("registry `{}`", registry.name), "has no URL; set one, or `system`")
        })?;
        let origin = Origin::of(url).ok_or_else(|| {
            Error::invalid(
                format!("registry `{}`", registry.name),
                format!("`{}` is not an http or https URL", DisplayUrl(url)),
            )
        })?;
        let allowed =
            registry.allowed_hosts.iter().map(|text| Allowed::parse(text)).collect::<Result<_>>()?;
        Ok(Self { origin: Some(origin), allowed, authorization: Authorization::from_url(url) })
    }

    /// Whether `url` may be asked for, and how. `proxied` says that a proxy resolves the name, so that its
    /// addresses cannot be judged here.
    pub(super) fn route(&self, url: &Url, proxied: bool) -> Result<Route> {
        let forbidden = |reason: &str| {
            Err(Error::ForbiddenAddress { url: DisplayUrl(url).to_string(), reason: reason.to_owned() })
        };
        let Some(target) = Origin::of(url) else {
            return forbidden("only http and https are fetched");
        };
        let own = self.origin.as_ref();
        if own.is_some_and(|own| own.scheme == "https") && target.scheme == "http" {
            return forbidden("the registry is https, and this is not");
        }
        if own.is_some_and(|own| own.covers(&target)) || self.allowed.iter().any(|one| one.covers(&target)) {
            return Ok(Route::Trusted);
        }
        if !self.allowed.is_empty() {
            return forbidden("its host is not among the registry's `allowed_hosts`");
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        match address {
            Some(address) => match Reach::of(address).refusal() {
                Some(class) => forbidden(class),
                None => Ok(Route::Public),
            },
            // Not every resolver knows it with a dot behind or a name in front (RFC 6761 §6.3).
            None if target.host == "localhost" || target.host.ends_with(".localhost") => {
                forbidden("loopback")
            }
            None if proxied && is_local_name(&target.host) => forbidden("a local name, behind a proxy"),
            None => Ok(Route::Public),
        }
    }

    /// The credentials for `url`: only its own origin gets them.
    pub(super) fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        (self.origin.is_some() && self.origin == Origin::of(url))
            .then(|| self.authorization.as_ref().map(Authorization::header))
            .flatten()
    }
}

impl Origin {
    fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = url.host_str().filter(|host| !host.is_empty())?;
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: host.trim_end_matches('.').to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Its own host and port, and the move of a plain site to https.
    fn covers(&self, target: &Self) -> bool {
        self.host == target.host && (self.port == target.port || (self.port == 80 && target.port == 443))
    }
}

impl Allowed {
    fn parse(text: &str) -> Result<Self> {
        let refused = || Error::invalid("allowed_hosts", format!("`{text}` is not HOST or HOST:PORT"));
        if text.contains(['/', '@', '*', '?', '#', '\\']) {
            return Err(refused());
        }
        let url = Url::parse(&format!("http://{text}/")).map_err(|_| refused())?;
        let host = url.host_str().ok_or_else(refused)?.trim_end_matches('.').to_owned();
        Ok(Self { host, port: url.port() })
    }

    fn covers(&self, target: &Origin) -> bool {
        self.host == target.host
            && match self.port {
                Some(port) => port == target.port,
                None => matches!(target.port, 80 | 443),
            }
    }
}

/// Names that mean something inside a site only (RFC 6761, 6762, 8375, and the reserved `internal`).
fn is_local_name(host: &str) -> bool {
    !host.contains('.')
        || [".localhost", ".local", ".internal", ".home.arpa"].iter().any(|suffix| host.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn scope(url: &str, allowed: &[&str]) -> Scope {
        let registry = Registry {
            name: "upstream".parse().unwrap(),
            ecosystem: "pypi".parse().unwrap(),
            url: Some(url.parse().unwrap()),
            allowed_hosts: allowed.iter().map(ToString::to_string).collect(),
            options: BTreeMap::new(),
        };
        Scope::new(&registry, None).unwrap()
    }

    fn allows(scope: &Scope, url: &str) -> Option<Route> {
        scope.route(&url.parse().unwrap(), false).ok()
    }

    #[test]
    fn own_host_and_port_only() {
        let scope = scope("http://10.0.0.5:8080/simple/", &[]);
        assert_eq!(allows(&scope, "http://10.0.0.5:8080/files/x"), Some(Route::Trusted));
        assert_eq!(allows(&scope, "http://10.0.0.5:9090/files/x"), None);
        assert_eq!(allows(&scope, "http://10.0.0.6:8080/files/x"), None);
        assert_eq!(allows(&scope, "https://files.example.com/x"), Some(Route::Public));
    }

    #[test]
    fn allowed_hosts_bind() {
        let scope = scope("https://index.example.com/", &["files.example.com", "10.1.1.1:8443"]);
        assert_eq!(allows(&scope, "https://FILES.example.com./x"), Some(Route::Trusted));
        assert_eq!(allows(&scope, "https://files.example.com:22/x"), None);
        assert_eq!(allows(&scope, "https://10.1.1.1:8443/x"), Some(Route::Trusted));
        assert_eq!(allows(&scope, "https://other.example.com/x"), None);
        assert_eq!(allows(&scope, "http://files.example.com/x"), None);
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let scope = scope("https://user:pass@index.example.com/simple", &[]);
        let sends = |url: &str| scope.authorization(&url.parse().unwrap()).is_some();
        assert!(sends("https://index.example.com/other"));
        for url in [
            "http://index.example.com/",
            "https://index.example.com:8443/",
            "https://example.com/",
            "https://index.example.com.evil.example/",
        ] {
            assert!(!sends(url), "{url}");
        }
        assert!(!format!("{scope:?}").contains("pass"));
    }

    #[test]
    fn behind_a_proxy_local_names_are_refused() {
        let scope = scope("https://index.example.com/", &[]);
        for host in ["localhost", "db", "x.internal", "printer.local", "127.0.0.1"] {
            let url = format!("https://{host}/x").parse().unwrap();
            assert!(scope.route(&url, true).is_err(), "{host}");
        }
        assert!(scope.route(&"https://files.example.com/".parse().unwrap(), true).is_ok());
    }

    #[test]
    fn strange_allowed_hosts_are_refused() {
        for text in ["", "*.example.com", "https://example.com", "a@b", "a:b", "a/b"] {
            assert!(Allowed::parse(text).is_err(), "{text}");
        }
    }
}
