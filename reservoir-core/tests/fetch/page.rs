//! Pages: validators, caps, codings, retries.

use std::time::{Duration, Instant};

use reservoir_core::{
    Error,
    digest::Sha256Digest,
    fetch::{FetchOptions, Page, PageOptions, PageOutcome, Validators},
    testing::upstream::{Reply, Upstream},
};

use super::{fetcher, fetcher_with, options};

fn page(outcome: PageOutcome) -> Page {
    match outcome {
        PageOutcome::Page(page) => page,
        other => panic!("not a page: {other:?}"),
    }
}

#[tokio::test]
async fn reads_a_page_with_its_digest_and_validators() {
    let upstream = Upstream::start().await;
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    upstream.route(
        "/simple/demo/",
        Reply::ok("hello").content_type("Text/HTML; charset=utf-8").etag("W/\"1\"").last_modified(date),
    );
    let url = upstream.url("/simple/demo/");
    let options = PageOptions { accept: "text/html", ..PageOptions::default() };
    let found = page(fetcher(&upstream).get_page(&url, options.clone()).await.unwrap());
    assert_eq!(found.sha256, Sha256Digest::of(b"hello"));
    assert_eq!(found.content_type().as_deref(), Some("text/html"));
    assert_eq!(found.final_url, url);
    let validators = Validators { etag: Some("W/\"1\"".into()), last_modified: Some(date.into()) };
    assert_eq!(found.validators, validators);
    assert_eq!(upstream.requests()[0].header("accept"), "text/html");
    assert!(upstream.requests()[0].header("user-agent").starts_with("reservoir/"));

    let options = PageOptions { conditional: Some(&validators), ..options };
    let again = fetcher(&upstream).get_page(&url, options).await.unwrap();
    assert!(matches!(again, PageOutcome::NotModified));
    assert_eq!(upstream.requests()[1].header("if-none-match"), "W/\"1\"");
    assert_eq!(upstream.requests()[1].header("if-modified-since"), date);
}

#[tokio::test]
async fn missing_is_an_outcome_and_refusals_are_errors() {
    let upstream = Upstream::start().await;
    for status in [404, 410] {
        upstream.route("/x", Reply::status(status));
        let outcome = fetcher(&upstream).get_page(&upstream.url("/x"), PageOptions::default()).await.unwrap();
        assert!(matches!(outcome, PageOutcome::Missing));
        assert!(fetcher(&upstream).head(&upstream.url("/x")).await.unwrap().is_none());
    }
    for status in [201, 204, 206, 304, 400, 401, 403] {
        let path = format!("/{status}");
        upstream.route(path.as_str(), Reply::status(status));
        let result = fetcher(&upstream).get_page(&upstream.url(&path), PageOptions::default()).await;
        assert!(
            matches!(result, Err(Error::Upstream { status: found, .. }) if found == status),
            "{result:?}"
        );
        assert_eq!(upstream.requests_to(&path).len(), 1, "{status} is not retried");
    }
}

#[tokio::test]
async fn decodes_gzip_and_refuses_other_codings() {
    let upstream = Upstream::start().await;
    upstream.route("/gzip", Reply::ok("hello").gzip());
    upstream.route("/chunked", Reply::ok("hello").gzip().chunked());
    upstream.route("/br", Reply::ok("hello").header("content-encoding", "br"));
    upstream.route("/broken", Reply::ok("hello").header("content-encoding", "gzip"));
    let fetcher = fetcher(&upstream);
    for path in ["/gzip", "/chunked"] {
        let found = page(fetcher.get_page(&upstream.url(path), PageOptions::default()).await.unwrap());
        assert_eq!(&found.body[..], b"hello");
    }
    assert_eq!(upstream.requests()[0].header("accept-encoding"), "gzip");
    for path in ["/br", "/broken"] {
        let result = fetcher.get_page(&upstream.url(path), PageOptions::default()).await;
        assert!(matches!(result, Err(Error::Malformed { rule: "content-encoding", .. })), "{result:?}");
    }
}

#[tokio::test]
async fn caps_hold_for_plain_chunked_and_compressed_bodies() {
    let upstream = Upstream::start().await;
    upstream.route("/plain", Reply::ok(vec![b'x'; 1001]));
    upstream.route("/chunked", Reply::ok(vec![b'x'; 1001]).chunked());
    upstream.route("/gzip", Reply::gzip_bomb(1001));
    upstream.route("/fits", Reply::ok(vec![b'x'; 1000]));
    let fetcher = fetcher(&upstream);
    let options = PageOptions { limit: 1000, ..PageOptions::default() };
    for path in ["/plain", "/chunked", "/gzip"] {
        let result = fetcher.get_page(&upstream.url(path), options.clone()).await;
        assert!(matches!(result, Err(Error::LimitExceeded { .. })), "{path}: {result:?}");
        assert_eq!(upstream.requests_to(path).len(), 1);
    }
    assert_eq!(page(fetcher.get_page(&upstream.url("/fits"), options).await.unwrap()).body.len(), 1000);
}

#[tokio::test]
async fn a_bomb_is_stopped_by_its_ratio() {
    let upstream = Upstream::start().await;
    upstream.route("/bomb", Reply::gzip_bomb(32 << 20));
    let fetcher = fetcher(&upstream);
    let url = upstream.url("/bomb");
    let result = fetcher.get_page(&url, PageOptions::default()).await;
    let Err(Error::LimitExceeded { limit, .. }) = result else { panic!("{result:?}") };
    assert_eq!(limit, "200 times");
    let generous = PageOptions { max_ratio: 10_000, ..PageOptions::default() };
    assert_eq!(page(fetcher.get_page(&url, generous).await.unwrap()).body.len(), 32 << 20);
}

#[tokio::test]
async fn a_page_is_read_within_the_cap() {
    let upstream = Upstream::start().await;
    let body: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    upstream.route("/all", Reply::ok(body.clone()).gzip());
    let fetcher = fetcher(&upstream);
    let read = async |limit| -> Result<Vec<u8>, Error> {
        let options = PageOptions { limit, max_ratio: 10_000, ..PageOptions::default() };
        let PageOutcome::Page(page) = fetcher.get_page(&upstream.url("/all"), options).await? else {
            panic!("not a page");
        };
        Ok(page.body.to_vec())
    };
    assert!(read(2_000_000).await.unwrap() == body);
    assert!(matches!(read(500_000).await, Err(Error::LimitExceeded { .. })));
}

#[tokio::test]
async fn passing_failures_are_retried() {
    let upstream = Upstream::start().await;
    let good = Reply::ok("hello");
    upstream.sequence(
        "/x",
        [
            Reply::status(503),
            Reply::status(500),
            good.clone().cut_after(2),
            good.clone().reset_after(3),
            good.clone().stall_after(1),
            good,
        ],
    );
    let found = page(fetcher(&upstream).get_page(&upstream.url("/x"), PageOptions::default()).await.unwrap());
    assert_eq!(&found.body[..], b"hello");
    assert_eq!(upstream.requests().len(), 6);
}

#[tokio::test]
async fn gives_up_after_the_retries() {
    let upstream = Upstream::start().await;
    upstream.route("/busy", Reply::status(503));
    upstream.route("/cut", Reply::ok("hello").cut_after(2));
    let fetcher = fetcher_with(&upstream, FetchOptions { retries: 2, ..options() });
    let busy = fetcher.get_page(&upstream.url("/busy"), PageOptions::default()).await;
    assert!(matches!(busy, Err(Error::Upstream { status: 503, .. })), "{busy:?}");
    let cut = fetcher.get_page(&upstream.url("/cut"), PageOptions::default()).await;
    assert!(matches!(cut, Err(Error::Unreachable { .. })), "{cut:?}");
    assert_eq!(upstream.requests_to("/busy").len(), 3);
    assert_eq!(upstream.requests_to("/cut").len(), 3);
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_its_cap() {
    let upstream = Upstream::start().await;
    upstream.sequence("/soon", [Reply::status(429).retry_after(1), Reply::ok("x")]);
    upstream.route("/later", Reply::status(429).retry_after(3600));
    let fetcher = fetcher(&upstream);
    let start = Instant::now();
    page(fetcher.get_page(&upstream.url("/soon"), PageOptions::default()).await.unwrap());
    assert!(start.elapsed() >= Duration::from_secs(1));
    let result = fetcher.get_page(&upstream.url("/later"), PageOptions::default()).await;
    let Err(Error::Upstream { status: 429, retry_after: Some(wait), .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(wait, Duration::from_hours(1));
    assert_eq!(upstream.requests_to("/later").len(), 1);
}

#[tokio::test]
async fn a_trickle_is_a_stall() {
    let upstream = Upstream::start().await;
    upstream.route("/drip", Reply::ok(vec![b'x'; 1000]).drip(1, Duration::from_millis(20)));
    let fetcher = fetcher_with(
        &upstream,
        FetchOptions { retries: 0, throughput_window: Duration::from_millis(200), ..options() },
    );
    let result = fetcher.get_page(&upstream.url("/drip"), PageOptions::default()).await;
    let Err(Error::Unreachable { detail, .. }) = result else { panic!("{result:?}") };
    assert!(detail.contains("1024 bytes a second"), "{detail}");
}

#[tokio::test]
async fn a_registry_sees_no_more_requests_at_a_time_than_allowed() {
    let upstream = Upstream::start().await;
    upstream.route("/x", Reply::ok("x").delay(Duration::from_millis(100)));
    let fetcher = fetcher_with(&upstream, FetchOptions { concurrency: 2, ..options() });
    // Another scoped fetcher for the same registry shares its places.
    let other = fetcher.scoped(&super::registry(upstream.url("/").as_str(), &[]), None).unwrap();
    let url = upstream.url("/x");
    let start = Instant::now();
    let ask = |fetcher: &reservoir_core::fetch::Fetcher| {
        let (fetcher, url) = (fetcher.clone(), url.clone());
        async move { fetcher.get_page(&url, PageOptions::default()).await.unwrap() }
    };
    tokio::join!(ask(&fetcher), ask(&other), ask(&fetcher), ask(&other), ask(&fetcher), ask(&other));
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(upstream.connections() <= 2);
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let upstream = Upstream::start().await;
    let url = upstream.url("/x");
    let fetcher = fetcher_with(&upstream, FetchOptions { retries: 1, ..options() });
    drop(upstream);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = fetcher.get_page(&url, PageOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_retryable(), "{error}");
}
