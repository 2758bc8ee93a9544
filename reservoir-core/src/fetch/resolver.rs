//! Name resolution that leaves out addresses the rules forbid, at the moment of connecting: a name that
//! changes its mind between two look-ups gains nothing.

use std::{fmt, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{policy::Reach, scope::Route};

/// Resolves by the system, then filters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filtered(pub(super) Route);

/// Why a name was refused; found again in the chain of the client's error.
#[derive(Debug)]
pub(super) struct Refused(pub(super) &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name leads to a forbidden address ({})", self.0)
    }
}

impl std::error::Error for Refused {}

impl Filtered {
    fn refusal(self, address: &SocketAddr) -> Option<&'static str> {
        match (self.0, Reach::of(address.ip())) {
            (_, Reach::Public) | (Route::Trusted, Reach::Private(_)) => None,
            (_, Reach::Private(class) | Reach::Never(class)) => Some(class),
        }
    }

    fn filter(self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let mut kept = Vec::new();
        let mut refused = None;
        for address in found {
            match self.refusal(&address) {
                Some(class) => refused = Some(Refused(class)),
                None => kept.push(address),
            }
        }
        match refused {
            Some(refused) if kept.is_empty() => Err(refused),
            _ => Ok(kept),
        }
    }
}

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept = filter.filter(found)?;
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> impl Iterator<Item = SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn keeps_only_what_the_route_allows() {
        let public = Filtered(Route::Public);
        let trusted = Filtered(Route::Trusted);
        let mixed = ["10.0.0.1", "1.1.1.1", "169.254.169.254"];
        assert_eq!(public.filter(addresses(&mixed)).unwrap().len(), 1);
        assert_eq!(trusted.filter(addresses(&mixed)).unwrap().len(), 2);
        assert!(public.filter(addresses(&["127.0.0.1", "::1"])).is_err());
        assert!(trusted.filter(addresses(&["169.254.169.254"])).is_err());
    }

    #[tokio::test]
    async fn a_refusal_comes_through_the_client_as_such() {
        let upstream = crate::testing::upstream::Upstream::start().await;
        let url: url::Url = format!("http://localhost:{}/", upstream.address().port()).parse().unwrap();
        for (route, connects) in [(Route::Public, false), (Route::Trusted, true)] {
            let client = reqwest::Client::builder().no_proxy().dns_resolver(Filtered(route)).build().unwrap();
            match client.get(url.clone()).send().await {
                Ok(_) => assert!(connects),
                Err(error) => {
                    let error = crate::fetch::request::unreachable(&url, error);
                    assert!(matches!(error, crate::Error::ForbiddenAddress { .. }) && !connects, "{error}");
                }
            }
        }
        assert_eq!(upstream.connections(), 1);
    }
}
