//! What clients are answered: the rows of the protocol that need no real client.

mod support;

use http::Method;
use reservoir_core::snapshot::Edit;
use serde_json::json;
use support::site::{Site, blake2b};

const V1_JSON: &str = "application/vnd.pypi.simple.v1+json";
const V1_HTML: &str = "application/vnd.pypi.simple.v1+html";
const WHEEL: &str = "zope.interface-5.0+local-py3-none-any.whl";
const SDIST: &str = "zope-interface-5.0.tar.gz";

fn package(seed: u8, file: &str) -> String {
    let digest = blake2b(seed);
    format!("packages/{}/{}/{}/{file}", &digest[..2], &digest[2..4], &digest[4..])
}

async fn site() -> Site {
    let mut site = Site::default();
    let path = |file: &str| format!("zope-interface/{file}");
    let entries = [
        site.entry(&path(SDIST), "5.0", "the sdist", json!({ "blake2b_256": blake2b(1) })),
        site.entry(&path(WHEEL), "5.0", "the wheel's bytes", json!({ "blake2b_256": blake2b(2) })),
        site.entry(&path(&format!("{WHEEL}.metadata")), "5.0", "Name: zope.interface\n", json!({})),
    ];
    site.publish(entries.into_iter().map(|entry| Edit::Put(Box::new(entry))).collect()).await;
    site
}

#[tokio::test]
async fn pages_come_in_the_language_asked_for() {
    let site = site().await;
    for (accept, status, content_type) in [
        ("*/*", 200, "text/html; charset=utf-8"),
        ("text/html", 200, "text/html; charset=utf-8"),
        (V1_JSON, 200, V1_JSON),
        (V1_HTML, 200, V1_HTML),
        (&format!("{V1_JSON};q=0.5, {V1_HTML}"), 200, V1_HTML),
        ("application/vnd.pypi.simple.latest+json", 200, V1_JSON),
        ("application/vnd.pypi.simple.latest+html", 200, V1_HTML),
        ("application/xml", 406, "application/problem+json"),
    ] {
        for page in ["simple/", "simple/zope-interface/"] {
            let answer = site.ask(Method::GET, page, &[("accept", accept)]).await;
            assert_eq!((answer.status, answer.header("content-type")), (status, content_type), "{accept}");
            assert_eq!(answer.header("vary"), "Accept, Accept-Encoding");
        }
    }
    let answer = site.get(&format!("simple/zope-interface/?format={V1_JSON}")).await;
    assert_eq!(answer.header("content-type"), V1_JSON);
    assert_eq!(answer.json()["name"], "zope-interface");
}

#[tokio::test]
async fn pages_carry_what_caches_and_mirrors_need() {
    let mut site = site().await;
    let page = "simple/zope-interface/";
    let mut tags = std::collections::BTreeSet::new();
    for (accept, coding) in
        [(V1_JSON, "gzip"), (V1_JSON, "zstd"), (V1_JSON, "identity"), ("text/html", "gzip")]
    {
        let headers = [("accept", accept), ("accept-encoding", coding)];
        let answer = site.ask(Method::GET, page, &headers).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), "max-age=600");
        assert_eq!(answer.header("x-pypi-last-serial"), "1");
        let tag = answer.header("etag").to_owned();
        assert!(tag.starts_with('"'), "strong: {tag}");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());

        let head = site.ask(Method::HEAD, page, &headers).await;
        assert_eq!((head.status, &head.headers), (200, &answer.headers));
        assert!(head.body.is_empty());

        let again = [headers[0], headers[1], ("if-none-match", tag.as_str())];
        let answer = site.ask(Method::GET, page, &again).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0));
        tags.insert(tag);
    }
    assert_eq!(tags.len(), 4, "each language and coding has its own: {tags:?}");

    // Case 11: a yank changes the tag, and the serial says in which snapshot.
    let path = format!("zope-interface/{SDIST}");
    let yanked = json!({ "blake2b_256": blake2b(1), "yanked": "broken" });
    let entry = site.entry(&path, "5.0", "the sdist", yanked);
    site.publish(vec![Edit::Put(Box::new(entry))]).await;
    let answer = site.ask(Method::GET, page, &[("accept", V1_JSON), ("accept-encoding", "gzip")]).await;
    assert_eq!(answer.header("x-pypi-last-serial"), "2");
    assert!(!tags.contains(answer.header("etag")));
    assert_eq!(site.get("simple/").await.header("x-pypi-last-serial"), "1", "the list did not change");
}

#[tokio::test]
async fn other_spellings_lead_to_the_page() {
    let site = site().await;
    for (target, status, location) in [
        ("simple", 308, "simple/"),
        ("simple?a=b", 308, "simple/?a=b"),
        ("simple/zope-interface", 308, "zope-interface/"),
        ("simple/zope-interface?a=%20", 308, "zope-interface/?a=%20"),
        ("simple/Zope.Interface/", 301, "../zope-interface/"),
        ("simple/zope_interface/?x", 301, "../zope-interface/?x"),
        ("simple/ZOPE-_.interface", 301, "zope-interface/"),
    ] {
        let answer = site.get(target).await;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{target}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let site = site().await;
    let wrong = package(3, WHEEL);
    let spaced = package(2, "zope.interface -5.0-py3-none-any.whl");
    let dashes = package(2, &"a-".repeat(100));
    let shouted = package(0xab, WHEEL).to_uppercase();
    let orphan = package(1, &format!("{SDIST}.metadata"));
    for target in [
        "",
        "other",
        "simple/unknown-name/",
        "simple/-/",
        "simple/../",
        "simple//",
        "simple/zope-interface/x",
        "simple/zope-interface/index.json.gz",
        "zope-interface/zope-interface-5.0.tar.gz",
        "packages/",
        "packages/01/01/x/zope-interface-5.0.tar.gz",
        &wrong,
        &spaced,
        &dashes,
        &shouted,
        &orphan,
    ] {
        let answer = site.get(target).await;
        assert_eq!(answer.status, 404, "{target}");
    }
}

#[tokio::test]
async fn only_reading_is_answered() {
    let site = site().await;
    for target in ["legacy/", "simple/", "packages/", "pypi/six/json"] {
        let answer = site.ask(Method::POST, target, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{target}");
    }
}

#[tokio::test]
async fn files_and_sidecars_come_as_they_are() {
    let site = site().await;
    for (target, bytes) in [
        (package(1, SDIST), "the sdist"),
        (package(2, WHEEL), "the wheel's bytes"),
        (package(2, &format!("{WHEEL}.metadata")), "Name: zope.interface\n"),
    ] {
        let answer = site.ask(Method::GET, &target, &[("accept-encoding", "gzip, zstd")]).await;
        assert_eq!((answer.status, answer.text()), (200, bytes), "{target}");
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-encoding"), "");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("content-length"), bytes.len().to_string());
        let head = site.ask(Method::HEAD, &target, &[]).await;
        assert_eq!(head.headers, answer.headers);
    }
    let part = site.ask(Method::GET, &package(2, WHEEL), &[("range", "bytes=4-8")]).await;
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "wheel", "bytes 4-8/17"));
}

/// The way a client goes: from the page, by the relative address on it, to the bytes it promises.
#[tokio::test]
async fn addresses_on_the_page_lead_to_the_files() {
    let site = site().await;
    let page = site.ask(Method::GET, "simple/zope-interface/", &[("accept", V1_JSON)]).await.json();
    let base: url::Url = "http://example.com/simple/zope-interface/".parse().unwrap();
    let files = page["files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        let url = base.join(file["url"].as_str().unwrap()).unwrap();
        let last = url.path_segments().unwrap().next_back().unwrap();
        let decoded = last.replace("%2B", "+");
        assert_eq!(decoded, file["filename"].as_str().unwrap(), "pip takes the name from the address");
        let answer = site.get(&url.path()[1..].replace("%2B", "+")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("etag").trim_matches('"'), file["hashes"]["sha256"].as_str().unwrap());
        if let Some(metadata) = file.get("core-metadata") {
            let sidecar = site.get(&format!("{}.metadata", &url.path()[1..].replace("%2B", "+"))).await;
            assert_eq!(sidecar.header("etag").trim_matches('"'), metadata["sha256"].as_str().unwrap());
        }
    }
}

/// Case 19, and promise 4: by no route.
#[tokio::test]
async fn what_is_denied_is_refused_with_the_reason() {
    let mut site = site().await;
    let (content, _) = site.line.tip.clone().unwrap();
    let wheel = content.get(&format!("zope-interface/{WHEEL}")).await.unwrap().unwrap();
    site.denials.insert(wheel.blob.sha256, "condemned by scanner data".to_owned());
    for target in [package(2, WHEEL), package(2, &format!("{WHEEL}.metadata"))] {
        let answer = site.get(&target).await;
        assert_eq!((answer.status, answer.header("content-type")), (403, "application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["status"], 403);
        assert!(problem["detail"].as_str().unwrap().contains("condemned by scanner data"), "{problem}");
    }
    assert_eq!(site.get(&package(1, SDIST)).await.status, 200);
}

/// Case 16: a wrong byte is never answered with 200.
#[tokio::test]
async fn what_rotted_in_the_store_is_not_served() {
    let site = site().await;
    let (content, publication) = site.line.tip.clone().unwrap();
    for path in [SDIST.to_owned(), WHEEL.to_owned(), format!("{WHEEL}.metadata")] {
        let entry = content.get(&format!("zope-interface/{path}")).await.unwrap().unwrap();
        site.line.memory.damage(&entry.blob.sha256, 3);
    }
    let page = publication.get("simple/zope-interface/index.json.gz").await.unwrap().unwrap();
    site.line.memory.damage(&page.blob.sha256, 30);
    for target in [package(1, SDIST), package(2, WHEEL), package(2, &format!("{WHEEL}.metadata"))] {
        assert_eq!(site.get(&target).await.status, 500, "{target}");
    }
    let headers = [("accept", V1_JSON), ("accept-encoding", "gzip")];
    assert_eq!(site.ask(Method::GET, "simple/zope-interface/", &headers).await.status, 500);
}

/// PEP 740, under the address on the page.
#[tokio::test]
async fn attestations_come_byte_exact_or_not_at_all() {
    let mut site = site().await;
    let path = |file: &str| format!("zope-interface/{file}.provenance");
    let document = "{ \"version\" :1}\n";
    let of_another = json!({ "subject_sha256": "ab".repeat(32) });
    let edits = [
        site.entry(&path(SDIST), "5.0", document, json!({})),
        site.entry(&path(WHEEL), "5.0", "{}", of_another),
    ];
    site.publish(edits.into_iter().map(|entry| Edit::Put(Box::new(entry))).collect()).await;
    let address = |version: &str, file: &str| format!("integrity/zope-interface/{version}/{file}/provenance");
    let answer = site.get(&address("5.0", SDIST)).await;
    assert_eq!((answer.status, answer.text()), (200, document));
    assert_eq!(answer.header("content-type"), "application/vnd.pypi.integrity.v1+json");
    for target in [
        address("5.0", WHEEL),
        address("5.1", SDIST),
        address("x", SDIST),
        address("5.0", "zope-interface-6.0.tar.gz"),
        address("5.0", &format!("{SDIST}.provenance")),
        format!("integrity/other/5.0/{SDIST}/provenance"),
        format!("integrity/zope-interface/5.0/{SDIST}"),
        package(1, &format!("{SDIST}.provenance")),
    ] {
        assert_eq!(site.get(&target).await.status, 404, "{target}");
    }
    let (content, _) = site.line.tip.clone().unwrap();
    let owner = content.get(&format!("zope-interface/{SDIST}")).await.unwrap().unwrap();
    site.denials.insert(owner.blob.sha256, "condemned".to_owned());
    assert_eq!(site.get(&address("5.0", SDIST)).await.status, 403);
}
