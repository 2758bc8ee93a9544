//! The fetcher against an upstream that misbehaves: address rules, resume, caps, retries, secrets.

#![expect(clippy::unwrap_used, reason = "helpers of tests may, like tests")]

#[path = "fetch/address.rs"]
mod address;
#[path = "fetch/download.rs"]
mod download;
#[path = "fetch/page.rs"]
mod page;
#[path = "fetch/secrets.rs"]
mod secrets;

use std::{collections::BTreeMap, time::Duration};

use reservoir_core::{
    ecosystem::Registry,
    fetch::{FetchOptions, Fetcher, ProxyChoice},
    testing::upstream::Upstream,
};

/// Impatient, so that tests are quick.
fn options() -> FetchOptions {
    FetchOptions {
        connect_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_millis(300),
        backoff: Duration::from_millis(1),
        proxy: ProxyChoice::Direct,
        ..FetchOptions::default()
    }
}

fn registry(url: &str, allowed_hosts: &[&str]) -> Registry {
    Registry {
        name: "upstream".parse().unwrap(),
        ecosystem: "pypi".parse().unwrap(),
        url: Some(url.parse().unwrap()),
        allowed_hosts: allowed_hosts.iter().map(ToString::to_string).collect(),
        options: BTreeMap::new(),
    }
}

/// A fetcher for which `upstream` is the configured registry.
fn fetcher_with(upstream: &Upstream, options: FetchOptions) -> Fetcher {
    let registry = registry(upstream.url("/").as_str(), &[]);
    Fetcher::new(options).unwrap().scoped(&registry, None).unwrap()
}

fn fetcher(upstream: &Upstream) -> Fetcher {
    fetcher_with(upstream, options())
}
