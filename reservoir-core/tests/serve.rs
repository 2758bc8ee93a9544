//! A view over real manifests, asked the way a host asks it: route, respond, problem.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::{
    collections::{BTreeMap, HashMap},
    io::Write as _,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reservoir_core::{
    Error, Result,
    clock::Timestamp,
    digest::Sha256Digest,
    name::Actor,
    serve::{FileOptions, Found, PageCache, Response, Router, View, problem},
    snapshot::{Edit, Entry, Manifest, Pages, Snapshot},
    store::{BlobSink as _, Store},
    testing::memory::MemoryStore,
};

const PAGE: &str = "<a href=\"six-1.0.tar.gz\">six-1.0.tar.gz</a>";

/// A repository with files, a denied file, a page in both codings, one in zstd only, and a denied page.
struct World {
    store: MemoryStore,
    view: View,
    router: Router,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

async fn manifest(store: &MemoryStore, pages: &Pages, files: &[(&str, Vec<u8>)]) -> Manifest {
    let mut edits = BTreeMap::new();
    for (path, bytes) in files {
        let path: reservoir_core::path::ContentPath = path.parse().unwrap();
        let blob = store.put_bytes(Bytes::from(bytes.clone())).await.unwrap();
        let (artifact, revision, attributes) = (None, None, BTreeMap::new());
        let entry = Entry { path: path.clone(), blob, artifact, revision, attributes };
        edits.insert(path, Ok(Edit::Put(Box::new(entry))));
    }
    let edits = stream::iter(edits.into_values()).boxed();
    let written = pages.write(None, edits, store).await.unwrap();
    pages.open(written.root).await.unwrap()
}

impl World {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let pages = Pages::new(Arc::clone(&shared), 16 << 20);
        let content = manifest(
            &store,
            &pages,
            &[
                ("both", b"from the content".to_vec()),
                ("empty", Vec::new()),
                ("six/six-1.0.tar.gz", vec![b'6'; 5000]),
                ("six/six-2.0.tar.gz", b"malware".to_vec()),
            ],
        )
        .await;
        let publication = manifest(
            &store,
            &pages,
            &[
                ("both", b"from the publication".to_vec()),
                ("only-zstd.zst", zstd(PAGE.as_bytes())),
                ("simple/bad.gz", gzip(b"bad")),
                ("simple/bad.zst", zstd(b"bad")),
                ("simple/six.gz", gzip(PAGE.as_bytes())),
                ("simple/six.zst", zstd(PAGE.as_bytes())),
            ],
        )
        .await;
        let denied = |bytes: &[u8], reason: &str| (Sha256Digest::of(bytes), reason.to_owned());
        let denials = HashMap::from([
            denied(b"malware", "MAL-0000-0001"),
            denied(&gzip(b"bad"), "withdrawn"),
            denied(&zstd(b"bad"), "withdrawn"),
        ]);
        let snapshot = Snapshot {
            number: 7,
            content: content.root(),
            publication: publication.root(),
            parent: None,
            author: Actor::policy(),
            created_at: Timestamp::from_micros(784_111_777_000_000),
            message: "test".into(),
        };
        let view = View::new(
            Arc::new(snapshot),
            content,
            publication,
            shared,
            Arc::new(denials.into()),
            PageCache::default(),
        );
        Self { store, view, router: Router::new(["python".parse().unwrap()]) }
    }

    /// As a host does it, with the default of `Ecosystem::respond`.
    async fn ask(&self, method: &str, path: &str, lines: &[(&str, &str)]) -> Response {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = async {
            let request = self.router.route(path)?.request(method.clone(), None, headers(lines));
            self.view.respond_with_path(&request).await
        };
        answer.await.unwrap_or_else(|error| problem(&error)).for_method(&method)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.ask("GET", path, &[]).await;
        (response.status.as_u16(), text(response).await.unwrap())
    }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(line).collect()
}

async fn text(response: Response) -> Result<String> {
    let chunks: Vec<Bytes> = response.body.into_stream().try_collect().await?;
    Ok(String::from_utf8(chunks.concat()).unwrap())
}

#[tokio::test]
async fn paths_are_publication_then_content_then_page() {
    let world = World::new().await;
    assert_eq!(world.get("/python/both").await, (200, "from the publication".into()));
    assert_eq!(world.get("/python/empty").await, (200, String::new()));
    assert_eq!(world.get("/python/six/six-1.0.tar.gz").await, (200, "6".repeat(5000)));
    assert_eq!(world.get("/python/simple/six").await, (200, PAGE.into()));
    assert_eq!(world.get("/python/only-zstd").await, (200, PAGE.into()));
    for missing in
        ["", "/", "/six", "/six/", "/simple/six/", "/both/", "/%252e%252e/both", "/e%CC%81", "/zzz"]
    {
        assert_eq!(world.get(&format!("/python{missing}")).await.0, 404, "{missing:?}");
    }
}

#[tokio::test]
async fn what_is_denied_is_nowhere() {
    let world = World::new().await;
    for (path, reason) in
        [("/python/six/six-2.0.tar.gz", "MAL-0000-0001"), ("/python/simple/bad", "withdrawn")]
    {
        for coding in ["identity", "gzip", "zstd"] {
            for range in ["", "bytes=0-0"] {
                let lines = [("accept-encoding", coding), ("range", range), ("if-none-match", "*")];
                let response = world.ask("GET", path, &lines).await;
                assert_eq!(response.status, StatusCode::FORBIDDEN, "{path} {coding}");
                assert_eq!(response.headers["content-type"], "application/problem+json");
                assert!(text(response).await.unwrap().contains(reason));
            }
        }
    }
    let request = world.router.route("/python").unwrap().request(Method::GET, None, HeaderMap::new());
    let response = world.view.page(&request, "simple/bad", FileOptions::default()).await.unwrap();
    assert_eq!(response.status, StatusCode::FORBIDDEN);
    assert!(matches!(world.view.publication("simple/bad.gz").await.unwrap(), Found::Denied(_)));
    assert!(matches!(world.view.content("six/six-2.0.tar.gz").await.unwrap(), Found::Denied(_)));
    let listed: Vec<Entry> = world.view.scan("six/").try_collect().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(listed, ["six/six-1.0.tar.gz"]);
}

#[tokio::test]
async fn a_page_comes_in_the_coding_that_was_asked_for() {
    let world = World::new().await;
    // Path, Accept-Encoding, status, Content-Encoding.
    let table = [
        ("simple/six", "gzip", 200, Some("gzip")),
        ("simple/six", "gzip, zstd", 200, Some("zstd")),
        ("simple/six", "br", 200, None),
        ("simple/six", "*;q=0", 406, None),
        ("only-zstd", "gzip", 200, None),
        ("only-zstd", "gzip, zstd;q=0.1", 200, Some("zstd")),
        ("only-zstd", "gzip, identity;q=0", 406, None),
        ("nothing", "identity;q=0", 404, None),
        ("nothing", "gzip", 404, None),
    ];
    let mut tags = std::collections::HashSet::new();
    for (path, coding, status, content_encoding) in table {
        let response = world.ask("GET", &format!("/python/{path}"), &[("accept-encoding", coding)]).await;
        assert_eq!(response.status.as_u16(), status, "{path} {coding}");
        let got = response.headers.get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(got, content_encoding, "{path} {coding}");
        if status != 404 {
            assert_eq!(response.headers["vary"], "Accept, Accept-Encoding", "{path} {coding}");
        }
        if path == "simple/six" && status == 200 {
            assert!(tags.insert(response.headers["etag"].clone()), "each coding has its own tag");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_bytes() {
    let world = World::new().await;
    let paths = [
        "both",
        "empty",
        "six/six-1.0.tar.gz",
        "six/six-2.0.tar.gz",
        "simple/six",
        "only-zstd",
        "zzz",
        "../x",
        "%",
    ];
    let lines: [&[(&str, &str)]; 5] = [
        &[],
        &[("accept-encoding", "gzip")],
        &[("if-none-match", "*")],
        &[("if-match", "\"x\"")],
        &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
    ];
    for path in paths {
        for lines in lines {
            let get = world.ask("GET", &format!("/python/{path}"), lines).await;
            let head = world.ask("HEAD", &format!("/python/{path}"), lines).await;
            assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{path} {lines:?}");
            assert!(head.body.is_empty());
            let length = get.headers.get("content-length").map(|value| value.to_str().unwrap().to_owned());
            let chunks: Vec<Bytes> = get.body.into_stream().try_collect().await.unwrap();
            if let Some(length) = length {
                assert_eq!(chunks.concat().len().to_string(), length, "{path} {lines:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_numbers_are_immutable_and_only_reading_is_answered() {
    let world = World::new().await;
    for (base, cached) in [("python", "no-cache"), ("python@main", "no-cache"), ("python@7", "immutable")] {
        for path in ["both", "simple/six"] {
            let response = world.ask("GET", &format!("/{base}/{path}"), &[]).await;
            assert!(response.headers["cache-control"].to_str().unwrap().contains(cached), "{base}/{path}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for path in ["both", "simple/six", "zzz"] {
            let response = world.ask(method, &format!("/python/{path}"), &[]).await;
            assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers["allow"], "GET, HEAD");
        }
    }
}

#[tokio::test]
async fn damage_is_never_a_404_and_never_a_whole_answer() {
    // Beyond the first kilobyte: the response has begun and breaks off.
    let world = World::new().await;
    world.store.damage(&Sha256Digest::of(&[b'6'; 5000]), 4000);
    let response = world.ask("GET", "/python/six/six-1.0.tar.gz", &[]).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(matches!(text(response).await, Err(Error::Integrity { .. })));
    // Within it, gone altogether, or in a page: there is no response.
    world.store.damage(&Sha256Digest::of(&[b'6'; 5000]), 40);
    world.store.damage(&Sha256Digest::of(&zstd(PAGE.as_bytes())), 5);
    world.store.delete(&Sha256Digest::of(b"from the publication")).await.unwrap();
    for path in ["six/six-1.0.tar.gz", "simple/six", "only-zstd", "both"] {
        let (status, body) = world.get(&format!("/python/{path}")).await;
        assert_eq!(status, 500, "{path}");
        assert!(!body.contains("blob") && !body.contains("digest"), "{body}");
    }
    // Its manifest is gone: that is no 404 either.
    let world = World::new().await;
    for stored in world.store.list().try_collect::<Vec<_>>().await.unwrap() {
        world.store.delete(&stored.sha256).await.unwrap();
    }
    assert_eq!(world.get("/python/six/six-1.0.tar.gz").await.0, 500);
}

/// The figure for a release build is 20,000 a second; this bound is for a debug build on a busy machine, and
/// would break if a request read from the store.
#[tokio::test]
async fn a_warm_page_is_answered_from_memory() {
    const REQUESTS: u32 = 2000;
    let world = World::new().await;
    let accept = [("accept-encoding", "gzip, zstd")];
    world.ask("GET", "/python/simple/six", &accept).await;
    let reads = world.store.reads();
    let started = std::time::Instant::now();
    for _ in 0..REQUESTS {
        let response = world.ask("GET", "/python/simple/six", &accept).await;
        assert_eq!(response.status, StatusCode::OK);
    }
    let each = started.elapsed() / REQUESTS;
    println!("{each:?} a request");
    assert_eq!(world.store.reads(), reads);
    assert!(each.as_micros() < 5000, "{each:?} a request");
}
