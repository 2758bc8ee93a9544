use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::{
    error::Error,
    serve::{Body, FileOptions, file},
    store::Store as _,
};

const SIZE: usize = 5000;

/// Headers, status, `Content-Range`, the part of the file.
type Case<'a> = (Vec<(&'a str, &'a str)>, u16, Option<&'a str>, std::ops::Range<usize>);

async fn answer(store: &MemoryStore, entry: &Entry, request: &Request) -> Result<Response> {
    file::respond(store, request, entry, FileOptions::immutable(), MODIFIED).await
}

async fn stored() -> (MemoryStore, Entry, Bytes) {
    let (store, bytes) = (MemoryStore::new(), noise(SIZE));
    let entry = put(&store, "six/six-1.0.tar.gz", bytes.clone()).await;
    (store, entry, bytes)
}

#[tokio::test]
async fn a_file_is_exactly_its_bytes() {
    let (store, entry, bytes) = stored().await;
    let response =
        answer(&store, &entry, &request(Method::GET, &[("accept-encoding", "gzip")])).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    let etag = format!("\"{}\"", entry.blob.sha256);
    let mut headers: Vec<_> =
        response.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    headers.sort_unstable();
    let expected = [
        ("accept-ranges", "bytes"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("content-length", "5000"),
        ("content-type", "application/octet-stream"),
        ("etag", etag.as_str()),
        ("last-modified", MODIFIED_TEXT),
    ];
    assert_eq!(headers, expected);
    assert_eq!(read(response).await.unwrap(), bytes);
}

#[tokio::test]
async fn every_case_has_its_status_and_head_has_the_same_headers() {
    let (store, entry, bytes) = stored().await;
    let tag = format!("\"{}\"", entry.blob.sha256);
    let weak = format!("W/{tag}");
    let cases: Vec<Case<'_>> = vec![
        (vec![], 200, None, 0..SIZE),
        (vec![("range", "bytes=0-99")], 206, Some("bytes 0-99/5000"), 0..100),
        (vec![("range", "bytes=-200")], 206, Some("bytes 4800-4999/5000"), 4800..SIZE),
        (vec![("range", "bytes=1000-")], 206, Some("bytes 1000-4999/5000"), 1000..SIZE),
        (vec![("range", "bytes=1023-1024")], 206, Some("bytes 1023-1024/5000"), 1023..1025),
        (vec![("range", "bytes=0-")], 206, Some("bytes 0-4999/5000"), 0..SIZE),
        (vec![("range", "bytes=5-2")], 200, None, 0..SIZE),
        (vec![("range", "bytes=0-1,5-6")], 200, None, 0..SIZE),
        (vec![("range", "garbage")], 200, None, 0..SIZE),
        (vec![("range", "bytes=5000-")], 416, Some("bytes */5000"), 0..0),
        (vec![("range", "bytes=0-9"), ("if-range", &tag)], 206, Some("bytes 0-9/5000"), 0..10),
        (vec![("range", "bytes=0-9"), ("if-range", MODIFIED_TEXT)], 206, Some("bytes 0-9/5000"), 0..10),
        (vec![("range", "bytes=0-9"), ("if-range", &weak)], 200, None, 0..SIZE),
        (vec![("range", "bytes=0-9"), ("if-range", "\"x\"")], 200, None, 0..SIZE),
        (vec![("range", "bytes=9999-"), ("if-range", "\"x\"")], 200, None, 0..SIZE),
        (vec![("if-none-match", &tag)], 304, None, 0..0),
        (vec![("if-none-match", &weak)], 304, None, 0..0),
        (vec![("if-none-match", &tag), ("range", "bytes=0-9")], 304, None, 0..0),
        (vec![("if-none-match", "\"x\"")], 200, None, 0..SIZE),
        (vec![("if-modified-since", MODIFIED_TEXT)], 304, None, 0..0),
        (vec![("if-match", "\"x\"")], 412, None, 0..0),
        (vec![("if-match", "\"x\""), ("range", "bytes=9999-")], 412, None, 0..0),
    ];
    for (lines, status, content_range, part) in cases {
        let response = answer(&store, &entry, &request(Method::GET, &lines)).await.unwrap();
        assert_eq!(response.status.as_u16(), status, "{lines:?}");
        assert_eq!(header(&response, "content-range"), content_range, "{lines:?}");
        if status < 400 {
            assert_eq!(header(&response, "etag"), Some(tag.as_str()), "{lines:?}");
            assert!(header(&response, "cache-control").unwrap().contains("immutable"));
        } else {
            assert_eq!(header(&response, "cache-control"), Some("no-store"), "{lines:?}");
        }
        if status == 304 {
            assert_eq!(header(&response, "content-length"), None);
            assert_eq!(header(&response, "content-type"), None);
        }
        // RFC 9110 §14.2: HEAD knows no ranges, so its twin is a GET without.
        let twin: Vec<_> = lines.iter().filter(|(name, _)| *name != "range").copied().collect();
        let get = answer(&store, &entry, &request(Method::GET, &twin)).await.unwrap();
        let reads = store.reads();
        let head = answer(&store, &entry, &request(Method::HEAD, &lines)).await.unwrap();
        assert_eq!(store.reads(), reads, "HEAD reads nothing");
        assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{lines:?}");
        assert!(head.for_method(&Method::HEAD).body.is_empty());
        if status < 300 {
            assert_eq!(header(&response, "content-length"), Some(part.len().to_string().as_str()));
            assert_eq!(read(response).await.unwrap(), bytes[part], "{lines:?}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_never_ends_well() {
    for offset in (0..SIZE).step_by(331) {
        let (store, entry, bytes) = stored().await;
        store.damage(&entry.blob.sha256, offset);
        match answer(&store, &entry, &request(Method::GET, &[])).await {
            // In the first piece: there is no response at all.
            Err(error) => {
                assert!(offset < 1024, "{offset}");
                assert!(matches!(error, Error::Integrity { .. }));
                assert_eq!(crate::serve::problem(&error).status, StatusCode::INTERNAL_SERVER_ERROR);
            }
            Ok(response) => {
                assert!(offset >= 1024, "{offset}");
                let mut body = response.body.into_stream();
                let mut got = Vec::new();
                let error = loop {
                    match body.try_next().await {
                        Ok(Some(chunk)) => got.extend_from_slice(&chunk),
                        Ok(None) => panic!("the body ended as if it were whole"),
                        Err(error) => break error,
                    }
                };
                assert!(matches!(error, Error::Integrity { .. }));
                assert!(got.len() <= offset && got == bytes[..got.len()]);
            }
        }
        // A range beside the damage is served.
        let far = if offset < 2500 { "bytes=4096-4100" } else { "bytes=0-4" };
        let response = answer(&store, &entry, &request(Method::GET, &[("range", far)])).await.unwrap();
        assert_eq!(read(response).await.unwrap().len(), 5);
    }
}

#[tokio::test]
async fn a_store_that_has_more_or_less_than_the_snapshot_says_is_found_out() {
    let (store, mut entry, _) = stored().await;
    store.delete(&entry.blob.sha256).await.unwrap();
    let error = answer(&store, &entry, &request(Method::GET, &[])).await.unwrap_err();
    assert!(matches!(error, Error::Integrity { .. }), "a missing blob must not look like a missing file");

    // The entry promises fewer bytes than the blob has: exactly those are sent.
    let (store, _, bytes) = stored().await;
    entry.blob.size = 1500;
    let response = answer(&store, &entry, &request(Method::GET, &[])).await.unwrap();
    assert_eq!(header(&response, "content-length"), Some("1500"));
    assert_eq!(read(response).await.unwrap(), bytes[..1500]);
}

#[tokio::test]
async fn a_body_has_exactly_its_length_or_breaks() {
    for (expected, holds) in [(0, false), (5, false), (6, true), (7, false)] {
        let chunks = ["abc", "", "def"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let body = file::exactly(Box::pin(futures::stream::iter(chunks)), expected, "a".into());
        let read: Result<Vec<Bytes>> = body.try_collect().await;
        assert_eq!(read.is_ok(), holds, "{expected}");
        assert!(holds || matches!(read, Err(Error::Integrity { .. })));
    }
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let store = MemoryStore::new();
    let entry = put(&store, "empty", Bytes::new()).await;
    for (range, status) in
        [(None, 200), (Some("bytes=0-"), 416), (Some("bytes=-5"), 200), (Some("bytes=-0"), 416)]
    {
        let lines: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
        let response = answer(&store, &entry, &request(Method::GET, &lines)).await.unwrap();
        assert_eq!(response.status.as_u16(), status, "{range:?}");
        if status == 416 {
            assert_eq!(header(&response, "content-range"), Some("bytes */0"));
        } else {
            assert_eq!(header(&response, "content-length"), Some("0"));
            assert!(matches!(response.body, Body::Empty));
        }
    }
}

#[tokio::test]
async fn options_decide_the_headers_but_not_the_framing() {
    let (store, entry, _) = stored().await;
    let mut options = FileOptions {
        content_type: Some(HeaderValue::from_static("text/plain")),
        etag: Some("chosen".into()),
        ..FileOptions::default()
    };
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("x-pypi-last-serial", "7"),
        ("vary", "Accept"),
    ] {
        options.headers.insert(name, HeaderValue::from_static(value));
    }
    let request = request(Method::GET, &[("range", "bytes=0-1")]);
    let response = file::respond(&store, &request, &entry, options.clone(), MODIFIED).await.unwrap();
    assert_eq!(response.status, StatusCode::OK, "ranges are not honoured unless asked");
    assert_eq!(header(&response, "accept-ranges"), None);
    assert_eq!(header(&response, "content-encoding"), None);
    assert_eq!(header(&response, "transfer-encoding"), None);
    assert_eq!(header(&response, "content-length"), Some("5000"));
    assert_eq!(header(&response, "content-type"), Some("text/plain"));
    assert_eq!(header(&response, "etag"), Some("\"chosen\""));
    assert_eq!(header(&response, "x-pypi-last-serial"), Some("7"));
    options.etag = Some("a\"b".into());
    assert!(file::respond(&store, &request, &entry, options, MODIFIED).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_range_is_those_bytes(first in 0usize..6000, length in 1usize..3000) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, entry, bytes) = stored().await;
            let line = format!("bytes={first}-{}", first + length - 1);
            let response = answer(&store, &entry, &request(Method::GET, &[("range", &line)])).await.unwrap();
            if first < SIZE {
                assert_eq!(response.status, StatusCode::PARTIAL_CONTENT);
                assert_eq!(read(response).await.unwrap(), bytes[first..SIZE.min(first + length)]);
            } else {
                assert_eq!(response.status, StatusCode::RANGE_NOT_SATISFIABLE);
            }
        });
    }
}
