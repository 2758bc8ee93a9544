//! Files: resumed wherever they broke off, and never more or other than promised.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::future::join_all;
use reservoir_core::{
    Error,
    digest::Sha256Digest,
    fetch::{DownloadOptions, Downloaded, FetchOptions, Fetcher},
    testing::upstream::{Reply, Upstream},
};
use tempfile::TempDir;

use super::{fetcher, fetcher_with, options};

const CHUNK: u64 = 256 << 10;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// An upstream with one file, and a place to download it to.
struct Fixture {
    upstream: Upstream,
    body: Vec<u8>,
    directory: TempDir,
}

impl Fixture {
    async fn new(size: usize) -> Self {
        Self { upstream: Upstream::start().await, body: body(size), directory: tempfile::tempdir().unwrap() }
    }

    fn good(&self) -> Reply {
        Reply::ok(self.body.clone())
    }

    fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.body)
    }

    fn dest(&self) -> PathBuf {
        self.directory.path().join("file.partial")
    }

    fn sidecar(&self) -> PathBuf {
        self.directory.path().join("file.partial.meta")
    }

    async fn download_with(&self, options: DownloadOptions<'_>) -> Result<Downloaded, Error> {
        self.run(&fetcher(&self.upstream), options).await
    }

    async fn run(&self, fetcher: &Fetcher, options: DownloadOptions<'_>) -> Result<Downloaded, Error> {
        fetcher.download(&self.upstream.url("/f"), &self.dest(), options).await
    }

    /// Leaves a partial file of `cut` bytes behind, as a call that failed or was dropped would.
    async fn interrupted(&self, reply: Reply, cut: usize) {
        self.upstream.route("/f", reply.cut_after(cut));
        let fetcher = fetcher_with(&self.upstream, FetchOptions { retries: 0, ..options() });
        let result = self.run(&fetcher, DownloadOptions::default()).await;
        assert!(matches!(result, Err(Error::Unreachable { .. })), "{result:?}");
        assert_eq!(length(&self.dest()), cut as u64);
    }

    fn ranges(&self) -> Vec<String> {
        self.upstream.requests().iter().map(|request| request.header("range").to_owned()).collect()
    }

    fn assert_complete(&self, done: &Downloaded) {
        assert_eq!(done.size, self.body.len() as u64);
        assert_eq!(done.sha256, self.digest());
        assert!(std::fs::read(self.dest()).unwrap() == self.body);
        assert!(!self.sidecar().exists());
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Break {
    Reset,
    Stall,
    ServerError,
}

#[tokio::test]
async fn resumes_at_any_offset_after_any_break() {
    const OFFSETS: u64 = 64;
    let fixture = Fixture::new(700_001).await;
    let size = fixture.body.len() as u64;
    let patient = FetchOptions { concurrency: 16, ..options() };
    let fetcher = fetcher_with(&fixture.upstream, patient);
    let cases = (0..OFFSETS).flat_map(|index| {
        // Evenly spread, the edges and the chunk boundary included.
        let offset = match index {
            0 => 0,
            1 => 1,
            2 => CHUNK - 1,
            3 => CHUNK,
            4 => CHUNK + 1,
            5 => size - 1,
            _ => size * index / OFFSETS,
        };
        [Break::Reset, Break::Stall, Break::ServerError].map(|mode| (offset, mode))
    });
    let runs = cases.map(|(offset, mode)| {
        let (fixture, fetcher) = (&fixture, &fetcher);
        async move {
            let path = format!("/{mode:?}/{offset}");
            let good = fixture.good().etag("\"1\"");
            let cut = offset as usize;
            let replies = match mode {
                Break::Reset => vec![good.clone().reset_after(cut), good],
                Break::Stall => vec![good.clone().stall_after(cut), good],
                Break::ServerError => vec![good.clone().cut_after(cut), Reply::status(503), good],
            };
            fixture.upstream.sequence(path.as_str(), replies);
            let dest = fixture.directory.path().join(format!("{mode:?}-{offset}"));
            let reached = AtomicU64::new(0);
            let progress = |now| {
                let before = reached.fetch_max(now, Ordering::SeqCst);
                assert!(now + CHUNK >= before, "{path} went back from {before} to {now}");
            };
            let options = DownloadOptions { progress: &progress, ..DownloadOptions::default() };
            let done = fetcher.download(&fixture.upstream.url(&path), &dest, options).await.unwrap();
            assert_eq!((done.size, done.sha256, done.resumed_from), (size, fixture.digest(), 0), "{path}");
            let last = fixture.upstream.requests_to(&path).pop().unwrap();
            let start = last.header("range").trim_start_matches("bytes=").trim_end_matches('-');
            let start: u64 = if start.is_empty() { 0 } else { start.parse().unwrap() };
            // A reset throws away what was still on its way; what arrived is watched by `progress`.
            assert!(
                start == offset || (mode == Break::Reset && start < offset),
                "{path}: resumed at {start}"
            );
        }
    });
    assert_eq!(join_all(runs).await.len(), 192);
}

#[tokio::test]
async fn another_call_resumes_by_validator() {
    for reply in [
        |reply: Reply| reply.etag("\"1\""),
        |reply: Reply| reply.last_modified(DATE),
        |reply: Reply| reply.etag("W/\"1\"").last_modified(DATE),
    ] {
        let fixture = Fixture::new(100_000).await;
        fixture.interrupted(reply(fixture.good()), 40_000).await;
        assert!(fixture.sidecar().exists());
        fixture.upstream.route("/f", reply(fixture.good()));
        let done = fixture.download_with(DownloadOptions::default()).await.unwrap();
        fixture.assert_complete(&done);
        assert_eq!(done.resumed_from, 40_000);
        assert_eq!(fixture.ranges(), ["", "bytes=40000-"]);
        assert_ne!(fixture.upstream.requests()[1].header("if-range"), "");
    }
}

#[tokio::test]
async fn without_validator_only_a_digest_allows_to_resume() {
    for known in [false, true] {
        let fixture = Fixture::new(100_000).await;
        fixture.interrupted(fixture.good(), 40_000).await;
        fixture.upstream.route("/f", fixture.good());
        let expected = known.then(|| fixture.digest());
        let options = DownloadOptions { expected, ..DownloadOptions::default() };
        let done = fixture.download_with(options).await.unwrap();
        fixture.assert_complete(&done);
        assert_eq!(done.resumed_from, if known { 40_000 } else { 0 });
        assert_eq!(fixture.ranges(), ["", if known { "bytes=40000-" } else { "" }]);
    }
}

#[tokio::test]
async fn a_retry_within_a_call_needs_a_validator_as_well() {
    let fixture = Fixture::new(100_000).await;
    fixture.upstream.sequence("/f", [Reply::ok(vec![b'x'; 100_000]).cut_after(50_000), fixture.good()]);
    let done = fixture.download_with(DownloadOptions::default()).await.unwrap();
    fixture.assert_complete(&done);
    assert_eq!(fixture.ranges(), ["", ""]);
}

#[tokio::test]
async fn another_url_or_a_torn_sidecar_starts_anew() {
    for tamper in ["url", "torn", "huge"] {
        let fixture = Fixture::new(100_000).await;
        fixture.interrupted(fixture.good().etag("\"1\""), 40_000).await;
        fixture.upstream.route("/f", fixture.good().etag("\"1\""));
        fixture.upstream.route("/g", fixture.good().etag("\"1\""));
        match tamper {
            "torn" => std::fs::write(fixture.sidecar(), "{\"version\":\"1\",").unwrap(),
            "huge" => std::fs::write(fixture.sidecar(), vec![b' '; 1 << 20]).unwrap(),
            _ => {}
        }
        let path = if tamper == "url" { "/g" } else { "/f" };
        let url = fixture.upstream.url(path);
        let done = fetcher(&fixture.upstream)
            .download(&url, &fixture.dest(), DownloadOptions::default())
            .await
            .unwrap();
        fixture.assert_complete(&done);
        assert_eq!(fixture.ranges(), ["", ""], "{tamper}");
    }
}

#[tokio::test]
async fn content_that_changed_is_fetched_anew() {
    let fixture = Fixture::new(100_000).await;
    fixture.interrupted(Reply::ok(vec![b'x'; 100_000]).etag("\"1\""), 40_000).await;
    fixture.upstream.route("/f", fixture.good().etag("\"2\""));
    let done = fixture.download_with(DownloadOptions::default()).await.unwrap();
    fixture.assert_complete(&done);
    assert_eq!(done.resumed_from, 0);
}

#[tokio::test]
async fn a_foreign_prefix_is_found_out_by_the_digest() {
    let fixture = Fixture::new(100_000).await;
    std::fs::write(fixture.dest(), vec![b'x'; 60_000]).unwrap();
    fixture.upstream.route("/f", fixture.good());
    let expected = Some(fixture.digest());
    let done =
        fixture.download_with(DownloadOptions { expected, ..DownloadOptions::default() }).await.unwrap();
    fixture.assert_complete(&done);
    assert_eq!(done.resumed_from, 0);
    assert_eq!(fixture.ranges(), ["bytes=60000-", ""]);
}

#[tokio::test]
async fn answers_to_a_range_are_checked() {
    type Answer = fn(&Fixture) -> Reply;
    let replies: [(&str, Answer); 7] = [
        ("another tag", |fixture| {
            Reply::partial(fixture.body[40_000..].to_vec())
                .header("content-range", "bytes 40000-99999/100000")
                .etag("\"2\"")
        }),
        ("no ranges", |fixture| fixture.good().without_ranges()),
        ("wrong start", |fixture| {
            let tail = fixture.body[30_000..].to_vec();
            Reply::partial(tail).header("content-range", "bytes 30000-99999/100000")
        }),
        ("wrong total", |fixture| {
            Reply::partial(fixture.body[40_000..].to_vec())
                .header("content-range", "bytes 40000-99999/100001")
        }),
        ("no content-range", |fixture| Reply::partial(fixture.body[40_000..].to_vec())),
        ("nonsense", |fixture| {
            Reply::partial(fixture.body[40_000..].to_vec()).header("content-range", "bytes x")
        }),
        ("416", |_| Reply::status(416).header("content-range", "bytes */100000")),
    ];
    for (name, reply) in replies {
        let fixture = Fixture::new(100_000).await;
        fixture.interrupted(fixture.good().etag("\"1\""), 40_000).await;
        fixture.upstream.sequence("/f", [reply(&fixture), fixture.good()]);
        let options = DownloadOptions { size: Some(100_000), ..DownloadOptions::default() };
        let done = fixture.download_with(options).await.unwrap();
        fixture.assert_complete(&done);
        assert_eq!(done.resumed_from, 0, "{name}");
    }
}

#[tokio::test]
async fn a_complete_partial_file_needs_no_bytes() {
    for size in [Some(100_000), None] {
        let fixture = Fixture::new(100_000).await;
        std::fs::write(fixture.dest(), &fixture.body).unwrap();
        fixture.upstream.route("/f", fixture.good());
        let expected = Some(fixture.digest());
        let options = DownloadOptions { expected, size, ..DownloadOptions::default() };
        let done = fixture.download_with(options).await.unwrap();
        fixture.assert_complete(&done);
        assert_eq!(done.resumed_from, 100_000);
        assert_eq!(fixture.ranges().len(), usize::from(size.is_none()));
    }
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let fixture = Fixture::new(100_000).await;
    fixture.upstream.route("/f", fixture.good().etag("\"1\""));
    let expected = Some(Sha256Digest::of(b"something else"));
    for prefix in [0, 50_000] {
        std::fs::write(fixture.dest(), &fixture.body[..prefix]).unwrap();
        let options = DownloadOptions { expected, ..DownloadOptions::default() };
        let result = fixture.download_with(options).await;
        assert!(matches!(result, Err(Error::Integrity { .. })), "{result:?}");
        assert!(!fixture.dest().exists() && !fixture.sidecar().exists());
    }
    assert_eq!(fixture.ranges(), ["", "bytes=50000-", ""]);
}

#[tokio::test]
async fn too_many_bytes_are_stopped_at_once() {
    for framing in [Reply::chunked, Reply::until_close, |reply: Reply| reply] {
        let fixture = Fixture::new(8 << 20).await;
        fixture.upstream.route("/f", framing(fixture.good()));
        for (options, kind) in [
            (DownloadOptions { size: Some(1000), ..DownloadOptions::default() }, "Integrity"),
            (DownloadOptions { limit: 1000, ..DownloadOptions::default() }, "Quota"),
        ] {
            let seen = AtomicU64::new(0);
            let progress = |now| seen.store(now, Ordering::SeqCst);
            let options = DownloadOptions { progress: &progress, ..options };
            let error = fixture.download_with(options).await.unwrap_err();
            assert_eq!(format!("{:?}", error.kind()), kind, "{error}");
            assert!(seen.load(Ordering::SeqCst) <= 1000);
            assert!(!fixture.dest().exists());
        }
        assert_eq!(fixture.ranges().len(), 2, "neither is retried");
    }
}

#[tokio::test]
async fn a_lying_length_is_not_believed() {
    let fixture = Fixture::new(1000).await;
    // Announces more than it sends: resumed, and complete in the end.
    fixture.upstream.sequence("/f", [fixture.good().etag("\"1\"").content_length(2000), fixture.good()]);
    let done = fixture.download_with(DownloadOptions::default()).await.unwrap();
    fixture.assert_complete(&done);
    // Announces another size than the index did.
    fixture.upstream.route("/f", fixture.good());
    let options = DownloadOptions { size: Some(1001), ..DownloadOptions::default() };
    let result = fixture.download_with(options).await;
    assert!(matches!(result, Err(Error::Integrity { .. })), "{result:?}");
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_measured_by_the_size() {
    let fixture = Fixture::new(1000).await;
    let good = fixture.good().etag("\"1\"").until_close();
    fixture.upstream.sequence("/f", [good.clone().cut_after(300), good]);
    let options = DownloadOptions { size: Some(1000), ..DownloadOptions::default() };
    let done = fixture.download_with(options).await.unwrap();
    fixture.assert_complete(&done);
    assert_eq!(fixture.ranges(), ["", "bytes=300-"]);
}

#[tokio::test]
async fn dropping_the_future_stops_and_leaves_a_file_to_resume() {
    let fixture = Fixture::new(1_000_000).await;
    fixture.upstream.route("/f", fixture.good().etag("\"1\"").drip(100_000, Duration::from_millis(50)));
    let fetcher = fetcher(&fixture.upstream);
    let dropped = fixture.run(&fetcher, DownloadOptions::default());
    assert!(tokio::time::timeout(Duration::from_millis(280), dropped).await.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let left = length(&fixture.dest());
    assert!((CHUNK..1_000_000).contains(&left), "{left}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(length(&fixture.dest()), left, "still being written");
    let done = fixture.run(&fetcher, DownloadOptions::default()).await.unwrap();
    fixture.assert_complete(&done);
    assert_eq!(done.resumed_from, left);
}

#[tokio::test]
async fn progress_renews_the_retries_and_silence_does_not() {
    let fixture = Fixture::new(6 << 20).await;
    let good = fixture.good().etag("\"1\"");
    fixture.upstream.route("/f", good.clone().cut_after(1_100_000));
    let fetcher = fetcher_with(&fixture.upstream, FetchOptions { retries: 1, ..options() });
    let done = fixture.run(&fetcher, DownloadOptions::default()).await.unwrap();
    fixture.assert_complete(&done);
    fixture.upstream.route("/f", good.cut_after(10));
    let before = fixture.upstream.requests().len();
    std::fs::remove_file(fixture.dest()).unwrap();
    let result = fixture.run(&fetcher, DownloadOptions::default()).await;
    assert!(matches!(result, Err(Error::Unreachable { .. })), "{result:?}");
    assert_eq!(fixture.upstream.requests().len() - before, 2);
}

#[tokio::test]
async fn missing_files_and_full_paths_are_errors_at_once() {
    let fixture = Fixture::new(10).await;
    let result = fixture.download_with(DownloadOptions::default()).await;
    assert!(matches!(result, Err(Error::Upstream { status: 404, .. })), "{result:?}");
    assert_eq!(fixture.upstream.requests().len(), 1);
    let nowhere = fixture.directory.path().join("missing/file");
    let result = fetcher(&fixture.upstream)
        .download(&fixture.upstream.url("/f"), &nowhere, DownloadOptions::default())
        .await;
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}

#[tokio::test]
async fn files_are_kept_as_they_were_sent() {
    let fixture = Fixture::new(10).await;
    let gzip = Reply::ok(fixture.body.clone()).header("content-encoding", "gzip");
    fixture.upstream.route("/f", gzip);
    let done = fixture.download_with(DownloadOptions::default()).await.unwrap();
    fixture.assert_complete(&done);
    assert_eq!(fixture.upstream.requests()[0].header("accept-encoding"), "identity");
}

#[tokio::test]
async fn bandwidth_is_limited() {
    let fixture = Fixture::new(300_000).await;
    fixture.upstream.route("/f", fixture.good());
    let fetcher = fetcher_with(&fixture.upstream, FetchOptions { bandwidth: Some(1_000_000), ..options() });
    let start = std::time::Instant::now();
    fixture.assert_complete(&fixture.run(&fetcher, DownloadOptions::default()).await.unwrap());
    assert!(start.elapsed() >= Duration::from_millis(280), "{:?}", start.elapsed());
}
