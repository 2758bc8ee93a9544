//! Twelve secrets are planted; none may be seen in an error, a `Debug` or a trace at the finest level.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use reservoir_core::{
    Error,
    ecosystem::SystemRegistry,
    fetch::{DownloadOptions, FetchOptions, Fetcher, PageOptions, ProxyChoice},
    testing::upstream::{Reply, Upstream},
};
use tracing::{Event, Metadata, Subscriber, field, span};

use super::{options, registry};

const SECRETS: [&str; 12] = [
    "s3cret-user",
    "s3cret-password",
    "s3cret-url-query",
    "s3cret-redirect-query",
    "s3cret-redirect-user",
    "s3cret-fragment",
    "s3cret-cookie",
    "s3cret-proxy-user",
    "s3cret-proxy-password",
    "s3cret-foreign-user",
    "s3cret-presigned",
    "s3cret-data",
];

/// Keeps everything that is traced, by anybody, at any level.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

impl field::Visit for Everything {
    fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0.lock().unwrap(), "{field}={value:?} ");
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Both ways to print it, and its causes.
fn tell(said: &mut String, result: Result<impl std::fmt::Debug, Error>) {
    let _ = writeln!(said, "{result:?}");
    if let Err(error) = result {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            let _ = writeln!(said, "{error} / {error:?}");
            cause = error.source();
        }
    }
}

#[tokio::test]
async fn planted_secrets_are_never_seen() {
    let traced = Everything::default();
    // The test's runtime has one thread, so that nothing escapes this subscriber.
    let guard = tracing::subscriber::set_default(traced.clone());
    tracing::trace!("the subscriber listens");

    let upstream = Upstream::start().await;
    let host = upstream.address();
    let private = "/?q=s3cret-url-query#s3cret-fragment";
    upstream.route("/ok", Reply::ok("x").header("set-cookie", "id=s3cret-cookie"));
    upstream.route("/busy", Reply::status(503).header("set-cookie", "id=s3cret-cookie"));
    upstream.route("/cut", Reply::ok("hello").cut_after(1));
    upstream.route("/401", Reply::status(401).header("www-authenticate", "Basic realm=\"s3cret-cookie\""));
    upstream.route(
        "/away",
        Reply::redirect(302, "http://s3cret-redirect-user:x@10.0.0.1/?s3cret-redirect-query"),
    );
    upstream.route("/bad", Reply::redirect(302, "http://[s3cret-redirect-query"));
    upstream.route("/loop", Reply::redirect(302, "/loop?sig=s3cret-presigned"));
    upstream.route("/gzip", Reply::ok("x").header("content-encoding", "gzip"));
    let configured = format!("http://s3cret-user:s3cret-password@{host}/");
    let settings = FetchOptions { retries: 1, ..options() };
    let root = Fetcher::new(settings.clone()).unwrap();
    let fetcher = root.scoped(&registry(&configured, &[]), None).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let mut said = format!("{fetcher:?} {root:?}");
    for path in ["/ok", "/busy", "/cut", "/401", "/away", "/bad", "/loop", "/gzip", "/missing"] {
        let url = format!("{configured}{}{}", &path[1..], &private[1..]).parse().unwrap();
        let dest = directory.path().join(&path[1..]);
        tell(&mut said, fetcher.get_page(&url, PageOptions::default()).await);
        tell(&mut said, fetcher.head(&url).await);
        tell(&mut said, fetcher.download(&url, &dest, DownloadOptions::default()).await);
        if let Ok(sidecar) = std::fs::read_to_string(dest.with_extension("meta")) {
            said += &sidecar;
        }
    }
    for url in [
        "http://s3cret-foreign-user:x@10.0.0.1/?X-Amz-Signature=s3cret-presigned",
        "ftp://s3cret-foreign-user@example.com/?s3cret-presigned",
        "data:text/plain,s3cret-data",
    ] {
        tell(&mut said, fetcher.head(&url.parse().unwrap()).await);
    }
    let proxy =
        format!("http://s3cret-proxy-user:s3cret-proxy-password@{host}/").parse::<url::Url>().unwrap();
    let system =
        SystemRegistry { url: configured.parse().unwrap(), ca_bundle: None, proxy: Some(proxy.clone()) };
    let proxied = root.scoped(&registry("http://index.example.com/", &[]), Some(&system)).unwrap();
    tell(&mut said, proxied.head(&"http://files.example.com/?s3cret-url-query".parse().unwrap()).await);
    tell(&mut said, proxied.head(&"https://files.example.com/?s3cret-url-query".parse().unwrap()).await);
    let socks = proxy.as_str().replace("http", "socks5").parse().unwrap();
    for choice in [ProxyChoice::Url(proxy), ProxyChoice::Url(socks)] {
        let settings = FetchOptions { proxy: choice, ..settings.clone() };
        let _ = writeln!(said, "{settings:?}");
        tell(&mut said, Fetcher::new(settings));
    }
    drop(guard);

    let traced = traced.0.lock().unwrap().clone();
    assert!(traced.contains("the subscriber listens") && traced.contains("trying again"), "{traced}");
    assert!(said.contains("10.0.0.1") && said.contains("503"), "{said}");
    let credentials = "czNjcmV0LXVzZXI6czNjcmV0LXBhc3N3b3Jk";
    let sent =
        upstream.requests().iter().any(|request| request.header("authorization").contains(credentials));
    assert!(sent, "the credentials were used, so that they could have been seen");
    for secret in SECRETS.iter().chain([&credentials]) {
        assert!(!said.contains(secret), "{secret} in {said}");
        assert!(!traced.contains(secret), "{secret} in the trace");
    }
}
