//! Project pages of other indexes: what is read, what is skipped, what is refused.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use proptest::prelude::*;
use reservoir_core::{
    Error, Result,
    ecosystem::{Cursor, Discover, Discovered, DiscoverySink, Registry, RepositoryConfig},
    fetch::{FetchOptions, Fetcher},
    name::ArtifactName,
    testing::upstream::{Reply, Upstream},
};
use reservoir_pypi::upstream::{ProjectPage, Yanked, discover};
use serde_json::{Value, json};
use url::Url;

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "text/html; charset=utf-8";
const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(content_type: &str, body: &[u8]) -> Result<ProjectPage> {
    let base: Url = "https://index.example.com/simple/demo/".parse().unwrap();
    ProjectPage::parse(&"demo".parse().unwrap(), content_type, &base, body)
}

fn rule(outcome: &Result<ProjectPage>) -> &'static str {
    match outcome {
        Err(Error::Malformed { rule, .. }) => rule,
        Err(error) => panic!("{error:?}"),
        Ok(page) => panic!("accepted: {page:?}"),
    }
}

fn plain_html() -> String {
    format!(
        r#"<!DOCTYPE html><html><head><title><a href="title.whl"></title><meta name="pypi:repository-version" content="1.1">
<meta name="pypi:project-status" content="archived"><meta name="pypi:project-status-reason" content="moved &amp; gone">
<meta name="pypi:tracks" content="https://other.example.com/simple/demo/"><base href="/files/"></head><body>
<!-- <a href="comment-1.0.whl"> --><h1>Links for demo</h1>
<a href="demo-1.0-py3-none-any.whl#sha256={SHA}" data-requires-python="&gt;=3.8" data-core-metadata="sha256={SHA}">demo-1.0</a><br/>
<A HREF='https://files.example.com/a/demo-1.0.tar.gz#md5=d41d8cd98f00b204e9800998ecf8427e' data-yanked DATA-GPG-SIG=true>x</A>
<a data-yanked="it is &#34;broken&#x22;" href=demo-1.1%2Bcu121-cp311-cp311-linux_x86_64.whl data-size=123 data-upload-time="2024-01-02T03:04:05.678Z">x</a>
<a href="demo-1.2-py3-none-any.whl" data-dist-info-metadata="true" data-upload-time="yesterday" data-provenance="https://index.example.com/p">x</a>
<a href="demo-1.0.win32.exe">old</a><a name="top">no link</a><a href="../">up</a></body></html>"#
    )
}

#[test]
fn html() {
    insta::assert_debug_snapshot!(parse(HTML, plain_html().as_bytes()).unwrap());
}

#[test]
fn json_of_a_generous_index() {
    let page = json!({
        "meta": { "api-version": "1.4", "_last-serial": 42, "tracks": ["https://other.example.com/simple/demo/"] },
        "name": "Demo",
        "versions": ["1.0"],
        "project-status": { "status": "quarantined", "reason": "malware" },
        "alternate-locations": ["https://alt.example.com/simple/demo/"],
        "unknown": { "deep": [[[{}]]] },
        "files": [
            {
                "filename": "demo-1.0-py3-none-any.whl", "url": "../../files/demo-1.0-py3-none-any.whl",
                "hashes": { "sha256": SHA.to_uppercase(), "blake2b_256": SHA }, "size": 5, "requires-python": ">=3.8",
                "upload-time": "2024-01-02T03:04:05Z", "yanked": "bad", "core-metadata": { "sha256": SHA },
                "data-dist-info-metadata": true, "gpg-sig": false,
                "provenance": "https://index.example.com/integrity/demo/1.0/p",
            },
            {
                "filename": "demo-1.0.tar.gz", "url": "https://files.example.com/demo-1.0.tar.gz", "hashes": {},
                "size": null, "requires-python": null, "upload-time": "", "yanked": null, "core-metadata": false,
                "provenance": null, "extra": [1, 2.5, -3],
            },
            { "filename": "demo-2.0-py3-none-any.whl", "url": "demo-2.0-py3-none-any.whl", "yanked": true,
              "size": "5", "hashes": [], "dist-info-metadata": true },
            { "filename": "demo-3.0-py3-none-any.whl" },
            { "filename": "demo-4.0-py3-none-any.whl", "url": "demo-4.0-py3-none-any.whl", "hashes": { "sha256": "ab" } },
        ],
    });
    insta::assert_debug_snapshot!(parse(JSON, page.to_string().as_bytes()).unwrap());
}

#[test]
fn pages_that_are_refused() {
    let page = |page: Value| parse(JSON, page.to_string().as_bytes());
    assert_eq!(rule(&page(json!({ "meta": { "api-version": "2.0" }, "files": [] }))), "page-version");
    assert_eq!(rule(&page(json!({ "name": "other", "files": [] }))), "page-project");
    assert_eq!(rule(&page(json!({ "name": "demo" }))), "page-json");
    assert_eq!(rule(&page(json!({ "files": {} }))), "page-json");
    assert_eq!(rule(&parse(JSON, b"")), "page-json");
    assert_eq!(rule(&parse(JSON, b"<html>")), "page-json");
    assert_eq!(rule(&parse("image/png", b"")), "page-type");
    assert_eq!(rule(&parse("", b"")), "page-type");
    let html = br#"<meta content="2.1" name="pypi:repository-version">"#;
    assert_eq!(rule(&parse(HTML, html)), "page-version");
    let twice = format!(
        "<a href='demo-1.0.tar.gz#sha256={SHA}'></a><a href='x/demo-1.0.tar.gz#sha256={}'></a>",
        "0".repeat(64)
    );
    assert_eq!(rule(&parse(HTML, twice.as_bytes())), "page-repeat");
}

#[test]
fn hostile_entries_are_skipped_one_by_one() {
    let long = format!("demo-{}-py3-none-any.whl", "1".repeat(5000));
    let mut files: Vec<Value> = [
        "../../demo-1-py3-none-any.whl",
        "C:\\demo-1-py3-none-any.whl",
        "demo-1-py3-none-any.whl\0",
        "..",
        "",
        "other-1-py3-none-any.whl",
        &long,
    ]
    .iter()
    .map(|name| json!({ "filename": name, "url": "https://files.example.com/x", "hashes": {} }))
    .collect();
    files.extend(
        [
            "javascript:alert(1)",
            "file:///etc/passwd",
            "gopher://example.com/x",
            "https://user:secret@example.com/demo-1-py3-none-any.whl",
            "https://",
            "http://[::1",
            "data:,x",
        ]
        .iter()
        .map(|url| json!({ "filename": "demo-1-py3-none-any.whl", "url": url, "hashes": {} })),
    );
    let count = files.len();
    files.push(json!({ "filename": "demo-2-py3-none-any.whl", "url": "x", "hashes": {} }));
    let page = parse(JSON, json!({ "files": files }).to_string().as_bytes()).unwrap();
    assert_eq!(page.files.len(), 1, "the good one stays");
    assert_eq!(page.skipped.len(), count);
    assert!(page.skipped.iter().all(|line| line.len() < 1000));

    let html = "<a href='../../../%2e%2e/demo-1.tar.gz%00'></a><a href='javascript:demo-1.tar.gz'></a>\
                <a href='..%2fdemo-1.tar.gz'></a>";
    let page = parse(HTML, html.as_bytes()).unwrap();
    assert!(page.files.is_empty());
    assert_eq!(page.skipped.len(), 3);
}

#[test]
fn pages_of_any_size_cost_one_pass() {
    let started = Instant::now();
    let anchors = "<a href=x>".repeat(5_000_000);
    assert!(matches!(parse(HTML, anchors.as_bytes()), Err(Error::LimitExceeded { .. })));
    let page = parse(HTML, &anchors.as_bytes()[..1_000]).unwrap();
    assert_eq!((page.files.len(), page.skipped.len()), (0, 100));
    let nested = "<div><b>".repeat(100_000);
    assert_eq!(rule(&parse(HTML, nested.as_bytes())), "html-no-index");
    for open in ["<a href='", "<a ", "<a href=", "<!--", "<!", "<script>", "<a b=\"' ", "&#x", "<a =", "</"] {
        assert_eq!(rule(&parse(HTML, open.repeat(100_000).as_bytes())), "html-no-index");
    }
    for open in ["[", "{\"files\":[{\"hashes\":", "{\"meta\":[", "{\"x\":"] {
        assert_eq!(rule(&parse(JSON, open.repeat(100_000).as_bytes())), "page-json");
    }
    // What nobody reads may be deep, what is read may not; neither takes stack.
    let deep = |key: &str| {
        let value = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        parse(JSON, format!("{{\"{key}\":{value},\"files\":[]}}").as_bytes())
    };
    assert!(deep("unknown").unwrap().files.is_empty());
    assert_eq!(rule(&deep("meta")), "page-json");
    assert!(started.elapsed() < Duration::from_mins(2), "took {:?}", started.elapsed());
}

/// A page that breaks off, or that is a notice and no index, is not believed to list nothing.
#[test]
fn a_page_is_whole_and_an_index() {
    let link = "<a href=\"demo-1.0.tar.gz\">demo-1.0.tar.gz</a>";
    let version = "<meta name=\"pypi:repository-version\" content=\"1.1\">";
    for (page, expected) in [
        (format!("<html>{link}"), "html-cut"),
        (format!("<!DOCTYPE html>\n<HTML lang=en><body>{link}</body></htm"), "html-cut"),
        ("<html><body>We will be back soon.</body></html>".to_owned(), "html-no-index"),
        (String::new(), "html-no-index"),
    ] {
        assert_eq!(rule(&parse(HTML, page.as_bytes())), expected, "{page}");
    }
    let count = |page: String| parse(HTML, page.as_bytes()).unwrap().files.len();
    assert_eq!(count(link.to_owned()), 1, "some write nothing around it");
    assert_eq!(count(format!("<html>{link}</HTML >\n<!-- made at night -->")), 1);
    assert_eq!(count(format!("<html><head>{version}</head></html>")), 0, "all files were deleted");
    assert_eq!(count("<html><a href=\"../\">up</a></html>".to_owned()), 0, "the listing of an empty folder");
}

#[test]
fn too_many_files_are_a_limit() {
    let mut html = String::new();
    for number in 0..=250_000 {
        write!(html, "<a href=demo-{number}.tar.gz>").unwrap();
    }
    assert!(matches!(parse(HTML, html.as_bytes()), Err(Error::LimitExceeded { .. })));
}

proptest! {
    #[test]
    fn broken_html_never_panics(at in 0usize..2000, cut in 0usize..40, junk in "\\PC{0,8}|[<>='\"&#;/ -]{0,8}") {
        let mut page = plain_html();
        let start = (0..=at.min(page.len())).rev().find(|at| page.is_char_boundary(*at)).unwrap();
        let end = (start + cut).min(page.len());
        page.replace_range(start..end, &junk);
        let _ = parse(HTML, page.as_bytes());
    }

    #[test]
    fn noise_never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(HTML, &body);
        let _ = parse(JSON, &body);
    }

    #[test]
    fn any_field_of_any_type_is_no_error(
        value in prop_oneof![Just(json!(null)), Just(json!(-1)), Just(json!(1.5)), Just(json!([[]])),
                             Just(json!({ "a": { "b": 1 } })), Just(json!("\u{0}")), Just(json!(true))],
        key in prop_oneof![Just("hashes"), Just("size"), Just("requires-python"), Just("upload-time"), Just("yanked"),
                           Just("core-metadata"), Just("gpg-sig"), Just("provenance"), Just("url"), Just("filename")],
    ) {
        let mut file = json!({ "filename": "demo-1.tar.gz", "url": "x", "hashes": {} });
        file[key] = value;
        let good = json!({ "filename": "demo-2.tar.gz", "url": "x", "hashes": {} });
        let page = parse(JSON, json!({ "files": [file, good] }).to_string().as_bytes()).unwrap();
        prop_assert!(page.files.iter().any(|file| file.filename.as_str() == "demo-2.tar.gz"));
    }
}

/// Remembers what it was told, as the engine does.
#[derive(Default)]
struct Sink {
    cursors: HashMap<ArtifactName, Cursor>,
    units: Vec<Discovered>,
}

#[async_trait]
impl DiscoverySink for Sink {
    async fn cursor(&mut self, artifact: &ArtifactName) -> Result<Option<Cursor>> {
        Ok(self.cursors.get(artifact).cloned())
    }

    async fn found(&mut self, unit: Discovered) -> Result<()> {
        if let Discovered::Artifact(found) = &unit {
            self.cursors.insert(found.artifact.clone(), found.cursor.clone());
        }
        self.units.push(unit);
        Ok(())
    }
}

impl Sink {
    /// One run, and a word for each unit it gave.
    async fn run(&mut self, upstream: &Upstream, artifacts: &[&str]) -> Result<Vec<String>> {
        let registry: Registry = serde_json::from_value(json!({
            "name": "up", "ecosystem": "pypi", "url": upstream.url("/simple"),
        }))
        .unwrap();
        let repository: RepositoryConfig =
            serde_json::from_value(json!({ "name": "python", "ecosystem": "pypi" })).unwrap();
        let fetcher = Fetcher::new(FetchOptions::default()).unwrap().scoped(&registry, None).unwrap();
        let artifacts: Vec<ArtifactName> = artifacts.iter().map(|name| name.parse().unwrap()).collect();
        self.units.clear();
        let request = Discover {
            registry: &registry,
            repository: &repository,
            artifacts: &artifacts,
            wanted: &[],
            fetcher: &fetcher,
        };
        discover(request, self).await?;
        let word = |unit: &Discovered| match unit {
            Discovered::Unchanged { artifact } => format!("{artifact} unchanged"),
            Discovered::Missing { artifact } => format!("{artifact} missing"),
            Discovered::Alarm { artifact, rule, .. } => format!("{artifact} {rule}"),
            Discovered::Artifact(found) => format!("{} {}", found.artifact, found.files.len()),
        };
        Ok(self.units.iter().map(word).collect())
    }
}

fn page(files: &[&str]) -> Reply {
    let mut anchors = String::new();
    for name in files {
        writeln!(anchors, "<a href=\"/files/{name}#sha256={SHA}\">{name}</a>").unwrap();
    }
    Reply::ok(anchors).content_type("text/html")
}

#[tokio::test]
async fn an_index_without_etags_is_read_once_while_it_stays_the_same() {
    let upstream = Upstream::start().await;
    upstream.route("/simple/demo/", page(&["demo-1.0.tar.gz"]));
    let mut sink = Sink::default();
    assert_eq!(sink.run(&upstream, &["demo", "unknown"]).await.unwrap(), ["demo 1", "unknown missing"]);
    assert_eq!(sink.run(&upstream, &["demo"]).await.unwrap(), ["demo unchanged"]);
    upstream.route("/simple/demo/", page(&["demo-1.0.tar.gz", "demo-1.1.tar.gz"]));
    assert_eq!(sink.run(&upstream, &["demo"]).await.unwrap(), ["demo 2"]);
    let asked = upstream.requests_to("/simple/demo/");
    assert!(asked.iter().all(|request| request.header("accept").starts_with(JSON)));
    assert!(asked.iter().all(|request| request.header("if-none-match").is_empty()));
}

#[tokio::test]
async fn an_etag_saves_the_body() {
    let upstream = Upstream::start().await;
    upstream.route("/simple/demo/", page(&["demo-1.0.tar.gz"]).etag("\"1\""));
    let mut sink = Sink::default();
    assert_eq!(sink.run(&upstream, &["demo"]).await.unwrap(), ["demo 1"]);
    assert_eq!(sink.run(&upstream, &["demo"]).await.unwrap(), ["demo unchanged"]);
    assert_eq!(upstream.requests_to("/simple/demo/")[1].header("if-none-match"), "\"1\"");
}

#[tokio::test]
async fn a_serial_that_goes_backwards_changes_nothing() {
    let upstream = Upstream::start().await;
    let serial = |serial: &str, files: &[&str]| page(files).header("x-pypi-last-serial", serial);
    upstream.sequence(
        "/simple/demo/",
        [
            serial("10", &["demo-1.0.tar.gz", "demo-1.1.tar.gz"]),
            serial("9", &["demo-1.0.tar.gz"]),
            serial("11", &["demo-1.0.tar.gz"]),
        ],
    );
    let mut sink = Sink::default();
    assert_eq!(sink.run(&upstream, &["demo"]).await.unwrap(), ["demo 2"]);
    assert_eq!(sink.run(&upstream, &["demo"]).await.unwrap(), ["demo serial-rollback"]);
    assert_eq!(sink.run(&upstream, &["demo"]).await.unwrap(), ["demo 1"]);

    let body = |serial: u64| {
        let page =
            json!({ "meta": { "api-version": "1.1", "_last-serial": serial }, "name": "two", "files": [] });
        Reply::ok(page.to_string()).content_type(JSON)
    };
    upstream.sequence("/simple/two/", [body(5), body(4)]);
    assert_eq!(sink.run(&upstream, &["two"]).await.unwrap(), ["two 0"]);
    assert_eq!(sink.run(&upstream, &["two"]).await.unwrap(), ["two serial-rollback"]);
}

#[tokio::test]
async fn one_bad_page_does_not_stop_the_others() {
    let upstream = Upstream::start().await;
    upstream.route("/simple/bad/", Reply::ok("{").content_type(JSON));
    upstream.route("/simple/closed/", Reply::status(403));
    upstream.route("/simple/huge/", Reply::gzip_bomb(200 << 20).content_type("text/html"));
    let mut names = vec!["bad".to_owned(), "closed".to_owned(), "huge".to_owned()];
    for number in 0..20 {
        let name = format!("p{number}");
        let delay = Duration::from_millis(if number % 2 == 0 { 60 } else { 0 });
        upstream.route(format!("/simple/{name}/"), page(&[&format!("{name}-1.tar.gz")]).delay(delay));
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let words = Sink::default().run(&upstream, &names).await.unwrap();
    assert_eq!(words[..2], ["bad page-json", "closed page-refused"]);
    assert!(words[2].starts_with("huge "), "{}", words[2]);
    assert_ne!(words[2], "huge 0");
    let expected: Vec<String> = (0..20).map(|number| format!("p{number} 1")).collect();
    assert_eq!(words[3..], expected);
}

#[tokio::test]
async fn what_is_known_of_a_file_reaches_the_engine() {
    let upstream = Upstream::start().await;
    upstream.route("/simple/demo/", Reply::ok(plain_html()).content_type("text/html"));
    let mut sink = Sink::default();
    sink.run(&upstream, &["demo"]).await.unwrap();
    let Discovered::Artifact(found) = &sink.units[0] else { panic!("{:?}", sink.units) };
    assert_eq!(found.quarantined, None);
    let files: Vec<Value> = found
        .files
        .iter()
        .map(|file| {
            json!({
                "revision": file.revision, "path": file.path, "size": file.size, "sha256": file.sha256,
                "attributes": file.attributes,
            })
        })
        .collect();
    insta::assert_json_snapshot!(json!({ "attributes": found.attributes, "files": files }));
}

#[tokio::test]
async fn a_quarantined_project_says_so() {
    let upstream = Upstream::start().await;
    let page = json!({ "files": [], "project-status": { "status": "quarantined", "reason": "malware" } });
    upstream.route("/simple/demo/", Reply::ok(page.to_string()).content_type(JSON));
    let mut sink = Sink::default();
    sink.run(&upstream, &["demo"]).await.unwrap();
    let Discovered::Artifact(found) = &sink.units[0] else { panic!("{:?}", sink.units) };
    assert_eq!(found.quarantined.as_deref(), Some("malware"));
}

#[tokio::test]
async fn an_index_that_fails_is_an_error_and_not_an_empty_index() {
    let upstream = Upstream::start().await;
    upstream.route("/simple/demo/", Reply::status(501));
    let error = Sink::default().run(&upstream, &["demo"]).await.unwrap_err();
    assert!(matches!(error, Error::Upstream { status: 501, .. }), "{error:?}");
}

#[test]
fn a_yank_without_a_reason_is_still_a_yank() {
    let page = parse(HTML, b"<a href=demo-1.tar.gz data-yanked></a><a href=demo-2.tar.gz></a>").unwrap();
    assert_eq!(page.files[0].yanked, Yanked::Yes(String::new()));
    assert_eq!(page.files[1].yanked, Yanked::No);
}
