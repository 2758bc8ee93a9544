//! Requests that no honest client sends, from the path of the URL to the last byte of the answer.

use http::StatusCode;

use super::*;
use crate::serve::{FileOptions, Router, file, problem};

const PATH: &str = "six/six-1.0.tar.gz";

async fn answer(method: &str, path: &str, lines: &[(&str, &str)]) -> (StatusCode, Response) {
    let store = MemoryStore::new();
    let entry = put(&store, PATH, noise(5000)).await;
    let router = Router::new(["python".parse().unwrap(), "ns/prod".parse().unwrap()]);
    let asked = request(Method::from_bytes(method.as_bytes()).unwrap(), lines);
    let response = match router.route(path) {
        Err(error) => problem(&error),
        Ok(route) => {
            let asked = route.request(asked.method, None, asked.headers);
            if asked.path == PATH {
                let options = FileOptions::immutable();
                match file::respond(&store, &asked, &entry, options, MODIFIED).await {
                    Ok(response) => response,
                    Err(error) => problem(&error),
                }
            } else {
                Response::not_found()
            }
        }
    };
    (response.status, response)
}

#[tokio::test]
async fn hostile_paths_are_refused() {
    let long = format!("/python/{}", "a/".repeat(20_000));
    let dots = format!("/python/{}etc/passwd", "../".repeat(1000));
    let table = [
        ("", 400),
        ("*", 400),
        ("python/six", 400),
        ("http://python/", 400),
        ("/python/%", 400),
        ("/python/%2", 400),
        ("/python/%zz", 400),
        ("/python/%+1", 400),
        ("/python/%%32%65", 400),
        ("/python/six%00.gz", 400),
        ("/python/six\0.gz", 400),
        ("/python/six%0d%0aX: y", 400),
        ("/python/six%7f", 400),
        ("/python/six%c2%85", 400),
        ("/python/%ff%fe", 400),
        ("/python/%c0%ae%c0%ae/", 400),
        ("/python/%ed%a0%80", 400),
        ("/python/six%2fsix-1.0.tar.gz", 400),
        ("/python/six%2Fsix-1.0.tar.gz", 400),
        ("/python/..%5c..%5cetc", 400),
        ("/python/..\\etc", 400),
        ("/python%2fsix/", 400),
        (&long, 400),
        ("/", 404),
        ("//", 404),
        ("//python/six", 404),
        ("/python//six", 404),
        ("/python/../python/six", 404),
        ("/python/%2e%2e/etc/passwd", 404),
        ("/python/%2E./x", 404),
        ("/python/./six", 404),
        ("/python/..", 404),
        ("/..", 404),
        (&dots, 404),
        ("/python/%252e%252e/etc", 404),
        ("/pythonx/six", 404),
        ("/Python/six", 404),
        ("/api/six", 404),
        ("/api/prod/six", 404),
        ("/healthz", 404),
        ("/metrics", 404),
        ("/ns/six", 404),
        ("/ns@1/prod/six", 404),
        ("/python@/six", 404),
        ("/python@0/six", 404),
        ("/python@007/six", 404),
        ("/python@99999999999999999999999/six", 404),
        ("/python@..%2f/six", 400),
        ("/python@../six", 404),
        ("/python@a@b/six", 404),
        ("/python@MAIN/six", 404),
        ("/python/six/six-1.0.tar.gz/", 404),
        ("/python/six/six-1.0.tar.gz%20", 404),
        ("/python/six/six-1.0.tar.gz;x=1", 404),
    ];
    for (path, status) in table {
        let shown: String = path.chars().take(60).collect();
        let (got, response) = answer("GET", path, &[]).await;
        assert_eq!(got.as_u16(), status, "{shown:?}");
        assert_eq!(header(&response, "content-type"), Some("application/problem+json"), "{shown:?}");
        assert!(read(response).await.unwrap().len() < 1024, "{shown:?}");
    }
}

#[tokio::test]
async fn odd_methods_read_nothing() {
    for method in
        ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND", "GETT", "PRI"]
    {
        let (status, response) =
            answer(method, "/python/six/six-1.0.tar.gz", &[("range", "bytes=0-1")]).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(header(&response, "allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn hostile_headers_get_the_whole_or_a_refusal() {
    let many_ranges = format!("bytes={}", (0..5000).map(|n| format!("{n}-")).collect::<Vec<_>>().join(","));
    let same_ranges = format!("bytes={}", "0-,".repeat(100_000));
    let digits = format!("bytes=0-{}", "9".repeat(1 << 20));
    let zeros = format!("bytes={}1-2", "0".repeat(1 << 20));
    let tags = "\"x\",".repeat(300_000);
    let open = format!("\"{}", "x".repeat(1 << 20));
    let commas = ",".repeat(1 << 20);
    let weak = "W/".repeat(1 << 19);
    let date = "Sun, 06 Nov 1994 ".repeat(10_000);
    let table: Vec<(Vec<(&str, &str)>, u16)> = vec![
        (vec![("range", &many_ranges)], 200),
        (vec![("range", &same_ranges)], 200),
        (vec![("range", &digits)], 206),
        (vec![("range", &zeros)], 206),
        (vec![("range", &commas)], 200),
        (vec![("range", "bytes=0-0,-1")], 200),
        (vec![("range", "bytes=-1,-2,-3,-4,-5,-6,-7,-8")], 200),
        (vec![("range", "bytes=0-18446744073709551616")], 206),
        (vec![("range", "bytes=18446744073709551615-18446744073709551615")], 416),
        (vec![("range", "bytes=-9223372036854775808")], 206),
        (vec![("range", "bytes=0--1")], 200),
        (vec![("range", "\u{e9}")], 200),
        (vec![("range", "bytes=0-1"), ("range", "bytes=2-3")], 200),
        (vec![("range", "bytes=0-1"), ("if-range", "")], 200),
        (vec![("range", "bytes=0-1"), ("if-range", &open)], 200),
        (vec![("range", "bytes=0-1"), ("if-range", &date)], 200),
        (vec![("if-none-match", &tags)], 200),
        (vec![("if-none-match", &open)], 200),
        (vec![("if-none-match", &commas)], 200),
        (vec![("if-none-match", &weak)], 200),
        (vec![("if-match", &tags)], 412),
        (vec![("if-match", &commas)], 412),
        (vec![("if-modified-since", &date)], 200),
        (vec![("if-modified-since", "Thu, 01 Jan 99999999999 00:00:00 GMT")], 200),
        (vec![("if-modified-since", "-1")], 200),
        (vec![("if-unmodified-since", "0")], 200),
        (vec![("accept-encoding", &commas)], 200),
        (vec![("content-length", "99999999999"), ("transfer-encoding", "chunked")], 200),
        (vec![("expect", "100-continue"), ("upgrade", "h2c"), ("connection", "upgrade")], 200),
        (vec![("host", "evil.example.com"), ("x-forwarded-host", "evil.example.com")], 200),
        (vec![("x-http-method-override", "DELETE"), ("x-original-url", "/api/")], 200),
    ];
    let started = std::time::Instant::now();
    for (lines, status) in table {
        let shown: Vec<_> = lines.iter().map(|(n, v)| (n, v.chars().take(40).collect::<String>())).collect();
        let (got, response) = answer("GET", "/python/six/six-1.0.tar.gz", &lines).await;
        assert_eq!(got.as_u16(), status, "{shown:?}");
        for value in response.headers.values() {
            assert!(!value.to_str().unwrap().contains("evil"), "{shown:?}");
        }
        let length: usize = header(&response, "content-length").unwrap().parse().unwrap();
        assert_eq!(read(response).await.unwrap().len(), length, "{shown:?}");
    }
    // Each is read once from left to right; the bound is for a loaded machine and a debug build.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
