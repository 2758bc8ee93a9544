//! How patient, how fast and through which proxy a fetcher reads.

use std::{fmt, path::PathBuf, time::Duration};

use url::Url;

use super::DisplayUrl;

/// Which proxy to use.
#[derive(Clone, Default)]
pub enum ProxyChoice {
    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in either case.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one (`http` or `https`, with credentials if need be), except for `NO_PROXY`.
    Url(Url),
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Direct => f.write_str("Direct"),
            Self::Url(url) => write!(f, "Url({})", DisplayUrl(url)),
        }
    }
}

/// Settings of a [`Fetcher`](super::Fetcher); take the defaults and change what differs.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// The `User-Agent`.
    pub user_agent: String,
    /// How long connecting may take, name resolution and TLS included.
    pub connect_timeout: Duration,
    /// How long an answer, or the next bytes of a body, may take.
    pub idle_timeout: Duration,
    /// Bytes a second below which a transfer counts as stalled; zero switches the check off.
    pub minimum_throughput: u64,
    /// Over how long the throughput is measured.
    pub throughput_window: Duration,
    /// Redirects followed before giving up.
    pub max_redirects: usize,
    /// Attempts after the first one, for failures that may pass. A download that makes progress starts
    /// counting anew.
    pub retries: usize,
    /// The first pause between attempts; doubled each time, with jitter, up to 30 s.
    pub backoff: Duration,
    /// The longest `Retry-After` that is waited for; a longer one is reported at once.
    pub max_retry_after: Duration,
    /// Requests at a time to one registry.
    pub concurrency: usize,
    /// Bytes a second from one registry, all its transfers together; `None` is unlimited.
    pub bandwidth: Option<u64>,
    /// A CA bundle (PEM) to trust instead of the system's. Without it `SSL_CERT_FILE` is respected.
    pub ca_bundle: Option<PathBuf>,
    /// Which proxy to use.
    pub proxy: ProxyChoice,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("reservoir/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            minimum_throughput: 1024,
            throughput_window: Duration::from_secs(30),
            max_redirects: 5,
            retries: 5,
            backoff: Duration::from_millis(500),
            max_retry_after: Duration::from_mins(2),
            concurrency: 8,
            bandwidth: None,
            ca_bundle: None,
            proxy: ProxyChoice::Environment,
        }
    }
}
