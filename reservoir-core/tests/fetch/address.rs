//! What pages and redirects may not lead to. A refusal counts only if no connection was made.

use reservoir_core::{
    Error,
    ecosystem::SystemRegistry,
    fetch::{FetchOptions, Fetcher, PageOptions, PageOutcome, ProxyChoice},
    testing::upstream::{Reply, Upstream},
};

use super::{fetcher, fetcher_with, options, registry};

/// `PORT` stands for the port of a server that listens on the loopback and must not be reached.
const FORBIDDEN: &[&str] = &[
    "http://127.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://2130706433:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://017700000001:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://127.255.255.254:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://１２７.０.０.１:PORT/",
    "http://127。0。0。1:PORT/",
    "http://[::1]:PORT/",
    "http://[::]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[fe80::1]:PORT/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://localhost:PORT/",
    "http://LOCALHOST.:PORT/",
    "http://public.example@127.0.0.1:PORT/",
    "http://public.example:443@127.0.0.1:PORT/",
    "http://public.example%2F@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\@public.example/",
    "http:/\\127.0.0.1:PORT/",
    "http:127.0.0.1:PORT/",
    "\thttp://127.0.0.1:PORT/\n",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_GET",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "ws://127.0.0.1:PORT/",
    "unix:/run/docker.sock",
];

#[expect(clippy::needless_pass_by_value, reason = "each result is judged here and nowhere else")]
fn is_forbidden<T: std::fmt::Debug>(result: Result<T, Error>, what: &str) {
    assert!(matches!(result, Err(Error::ForbiddenAddress { .. })), "{what}: {result:?}");
}

#[tokio::test]
async fn forbidden_urls_are_refused_without_a_connection() {
    let registry_upstream = Upstream::start().await;
    let victim = Upstream::start().await;
    let port = victim.address().port().to_string();
    for (name, fetcher) in
        [("scoped", fetcher(&registry_upstream)), ("unscoped", Fetcher::new(options()).unwrap())]
    {
        for template in FORBIDDEN {
            let text = template.replace("PORT", &port);
            let url = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            is_forbidden(fetcher.get_page(&url, PageOptions::default()).await, &format!("{name} {text}"));
        }
    }
    assert_eq!(victim.connections(), 0);
    assert_eq!(registry_upstream.connections(), 0);
}

#[tokio::test]
async fn redirects_to_forbidden_urls_are_refused() {
    let upstream = Upstream::start().await;
    let victim = Upstream::start().await;
    let port = victim.address().port().to_string();
    let fetcher = fetcher(&upstream);
    let mut followed = 0;
    for (index, template) in FORBIDDEN.iter().enumerate() {
        let location = template.replace("PORT", &port);
        // What is no header value, or no URL of its own, cannot be redirected to.
        if !location.is_ascii() || location.contains(['\t', '\n']) || location.starts_with("http:127") {
            continue;
        }
        let path = format!("/{index}");
        let status = [301, 302, 303, 307, 308][index % 5];
        upstream.route(path.as_str(), Reply::redirect(status, location.as_str()));
        is_forbidden(fetcher.head(&upstream.url(&path)).await, &location);
        followed += 1;
    }
    assert!(followed > 40, "{followed}");
    assert_eq!(victim.connections(), 0);
}

#[tokio::test]
async fn a_registry_reaches_its_own_port_and_its_allowed_hosts_only() {
    let upstream = Upstream::start().await;
    let files = Upstream::start().await;
    let stranger = Upstream::start().await;
    for server in [&upstream, &files, &stranger] {
        server.route("/x", Reply::ok("x"));
    }
    let allowed = files.address().to_string();
    let registry = registry(upstream.url("/").as_str(), &[&allowed]);
    let fetcher = Fetcher::new(options()).unwrap().scoped(&registry, None).unwrap();
    for server in [&upstream, &files] {
        let outcome = fetcher.get_page(&server.url("/x"), PageOptions::default()).await.unwrap();
        assert!(matches!(outcome, PageOutcome::Page(page) if &page.body[..] == b"x"));
    }
    is_forbidden(fetcher.get_page(&stranger.url("/x"), PageOptions::default()).await, "stranger");
    is_forbidden(
        fetcher.get_page(&"https://files.example.com/x".parse().unwrap(), PageOptions::default()).await,
        "allowed_hosts binds",
    );
    assert_eq!(stranger.connections(), 0);
}

#[tokio::test]
async fn a_registry_named_localhost_is_reached_by_name() {
    let upstream = Upstream::start().await;
    upstream.route("/x", Reply::ok("x"));
    let url = format!("http://localhost:{}/", upstream.address().port());
    let fetcher = Fetcher::new(options()).unwrap().scoped(&registry(&url, &[]), None).unwrap();
    let head = fetcher.head(&format!("{url}x").parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(head.size, Some(1));
}

#[tokio::test]
async fn an_https_registry_never_leads_to_http() {
    let upstream = Upstream::start().await;
    let allowed = upstream.address().to_string();
    let fetcher = Fetcher::new(options())
        .unwrap()
        .scoped(&registry("https://index.example.com/", &[&allowed]), None)
        .unwrap();
    is_forbidden(fetcher.head(&upstream.url("/x")).await, "https to http");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn five_redirects_are_followed_and_the_sixth_is_not() {
    let upstream = Upstream::start().await;
    for hop in 0..6 {
        upstream.route(format!("/{hop}"), Reply::redirect(302, format!("/{}", hop + 1)));
    }
    upstream.route("/6", Reply::ok("end"));
    upstream.route("/loop", Reply::redirect(301, "/loop"));
    let fetcher = fetcher(&upstream);
    let head = fetcher.head(&upstream.url("/1")).await.unwrap().unwrap();
    assert_eq!(head.final_url, upstream.url("/6"));
    for path in ["/0", "/loop"] {
        let result = fetcher.head(&upstream.url(path)).await;
        assert!(matches!(result, Err(Error::Malformed { rule: "redirect-limit", .. })), "{result:?}");
    }
    assert_eq!(upstream.requests_to("/loop").len(), 6);
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_malformed() {
    let upstream = Upstream::start().await;
    upstream.route("/none", Reply::status(302));
    upstream.route("/bad", Reply::redirect(302, "http://[::"));
    for path in ["/none", "/bad"] {
        let result = fetcher(&upstream).head(&upstream.url(path)).await;
        assert!(matches!(result, Err(Error::Malformed { rule: "redirect-location", .. })), "{result:?}");
    }
}

#[tokio::test]
async fn credentials_go_to_their_origin_only() {
    let upstream = Upstream::start().await;
    let files = Upstream::start().await;
    upstream.route("/own", Reply::ok("x"));
    upstream.route("/away", Reply::redirect(302, files.url("/x").as_str()));
    files.route("/x", Reply::ok("x"));
    let configured = upstream.url("/").as_str().replace("http://", "http://user:hunter2@");
    let registry = registry(&configured, &[&files.address().to_string()]);
    let fetcher = Fetcher::new(options()).unwrap().scoped(&registry, None).unwrap();
    for path in ["/own", "/away"] {
        // As a format crate would: joined to the configured URL, user and password included.
        let url = registry.url.as_ref().unwrap().join(path).unwrap();
        let head = fetcher.head(&url).await.unwrap().unwrap();
        assert_eq!(head.final_url.username(), "");
    }
    assert_eq!(upstream.requests()[0].header("authorization"), "Basic dXNlcjpodW50ZXIy");
    assert_eq!(upstream.requests()[1].header("authorization"), "Basic dXNlcjpodW50ZXIy");
    assert_eq!(files.requests()[0].header("authorization"), "");
}

#[tokio::test]
async fn behind_a_proxy_the_hosts_are_judged_instead() {
    let proxy = Upstream::start().await;
    proxy.route("http://files.example.com/x", Reply::ok("through"));
    let mut address = proxy.url("/");
    address.set_username("who").unwrap();
    address.set_password(Some("hunter2")).unwrap();
    let system = SystemRegistry {
        url: "http://index.example.com/".parse().unwrap(),
        ca_bundle: None,
        proxy: Some(address),
    };
    let open = registry("http://index.example.com/", &[]);
    let fetcher = Fetcher::new(options()).unwrap().scoped(&open, Some(&system)).unwrap();
    let head = fetcher.head(&"http://files.example.com/x".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(head.size, Some(7));
    assert_eq!(proxy.requests()[0].header("proxy-authorization"), "Basic d2hvOmh1bnRlcjI=");
    for url in ["http://127.0.0.1/x", "http://169.254.169.254/", "http://localhost/x", "http://db.internal/x"]
    {
        is_forbidden(fetcher.head(&url.parse().unwrap()).await, url);
    }
    let bound = registry("http://index.example.com/", &["files.example.com"]);
    let fetcher = Fetcher::new(options()).unwrap().scoped(&bound, Some(&system)).unwrap();
    assert!(fetcher.head(&"http://files.example.com/x".parse().unwrap()).await.unwrap().is_some());
    is_forbidden(fetcher.head(&"http://other.example.com/x".parse().unwrap()).await, "other");
    assert_eq!(proxy.requests().len(), 2);
}

#[tokio::test]
async fn unusable_settings_are_refused_when_they_are_given() {
    let socks = FetchOptions { proxy: ProxyChoice::Url("socks5://u:p@h".parse().unwrap()), ..options() };
    let error = Fetcher::new(socks).unwrap_err().to_string();
    assert!(error.contains("socks5://h") && !error.contains("u:p"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("ca.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for (path, kind) in [
        (empty, reservoir_core::ErrorKind::Invalid),
        (directory.path().join("missing.pem"), reservoir_core::ErrorKind::Backend),
    ] {
        let error = Fetcher::new(FetchOptions { ca_bundle: Some(path), ..options() }).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let upstream = Upstream::start().await;
    let mut nowhere = registry(upstream.url("/").as_str(), &[]);
    nowhere.url = None;
    assert!(fetcher_with(&upstream, options()).scoped(&nowhere, None).is_err());
}

/// The environment is the process's, so the test runs itself again in one of its own.
#[test]
fn the_environment_is_respected() {
    const CHILD: &str = "RESERVOIR_TEST_ENVIRONMENT_CHILD";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = FetchOptions { proxy: ProxyChoice::Environment, retries: 0, ..options() };
    if let Ok(direct) = std::env::var(CHILD) {
        runtime.block_on(async {
            let fetcher = Fetcher::new(options).unwrap().scoped(&registry(&direct, &[]), None).unwrap();
            assert!(fetcher.head(&direct.parse().unwrap()).await.unwrap().is_some());
            let scoped = registry("http://index.example.com/", &[]);
            let fetcher = fetcher.scoped(&scoped, None).unwrap();
            assert!(fetcher.head(&"http://files.example.com/x".parse().unwrap()).await.unwrap().is_some());
        });
        return;
    }
    runtime.block_on(async {
        let (proxy, direct) = (Upstream::start().await, Upstream::start().await);
        proxy.route("http://files.example.com/x", Reply::ok("through"));
        direct.route("/x", Reply::ok("direct"));
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "address::the_environment_is_respected"])
            .env(CHILD, direct.url("/x").as_str())
            .env("http_proxy", proxy.url("/").as_str())
            .env("no_proxy", "127.0.0.1")
            .env_remove("REQUEST_METHOD")
            // A machine without CA certificates, as in an air gap, must still read http.
            .env("SSL_CERT_FILE", "/dev/null")
            .env("SSL_CERT_DIR", "/dev/null")
            .output();
        let output = child.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!((proxy.requests().len(), direct.requests().len()), (1, 1));
    });
}
