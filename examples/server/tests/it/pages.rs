//! What the server answers to any client: cases of the protocol page that need no particular one.

use http::Method;
use reservoir_core::digest::Sha256Digest;
use serde_json::Value;

use super::support::{
    home::{Home, Server},
    index::{Index, Style, sdist, wheel},
    web::{Answer, JSON, ask, file_url, files, get, page},
};

const HTML: &str = "application/vnd.pypi.simple.v1+html";

fn mirrored(index: &Index, packages: &[&str]) -> (Home, Server) {
    let home = Home::with(&index.mirror(packages, "dependencies = true\nyanked = true\nwhole = true"));
    home.sync("python", 0);
    let server = home.serve();
    (home, server)
}

async fn asked(server: &Server, accept: &str) -> Answer {
    get(&format!("{}alpha/", server.simple("python")), &[("accept", accept)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_and_06_the_language_asked_for_with_its_exact_type() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = mirrored(&index, &["alpha"]);
    let html = format!("{JSON};q=0.5, {HTML}");
    for (accept, content_type) in [
        (html.as_str(), HTML),
        (JSON, JSON),
        ("*/*", "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("application/vnd.pypi.simple.latest+json", JSON),
    ] {
        let answer = asked(&server, accept).await;
        assert_eq!(answer.status, 200, "{accept}");
        assert!(answer.header("content-type").starts_with(content_type), "{accept}: {answer:?}");
        assert!(answer.header("vary").to_lowercase().contains("accept"), "{accept}");
    }
    assert_eq!(asked(&server, JSON).await.header("content-type"), JSON);
    assert_eq!(asked(&server, "text/html").await.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(asked(&server, "application/xml").await.status, 406);
}

/// No key is null, whatever the registry left out.
#[tokio::test(flavor = "multi_thread")]
async fn case_07_pages_keep_to_the_schema() {
    let index = Index::of(
        Style::Html,
        [
            wheel("alpha", "1.0", &[]),
            wheel("alpha", "2.0", &[]).yanked(""),
            wheel("alpha", "3.0", &[])
                .yanked("bad")
                .requires_python(">=3.6")
                .uploaded("2023-05-01T12:00:00Z"),
            sdist("alpha", "4.0"),
        ],
    )
    .await;
    let (_home, server) = mirrored(&index, &["alpha"]);
    let page = page(&server.simple("python"), "alpha").await;
    no_null(&page, "$");
    assert_eq!(page["meta"]["api-version"], "1.4");
    let files = page["files"].as_array().unwrap();
    assert_eq!(files.len(), 4);
    for file in files {
        assert!(file["size"].is_u64(), "{file}");
        let sha256 = file["hashes"]["sha256"].as_str().unwrap();
        assert!(sha256.parse::<Sha256Digest>().is_ok(), "{file}");
        assert_eq!(file["hashes"].as_object().unwrap().len(), 1, "{file}");
    }
    let by_name =
        |part: &str| files.iter().find(|file| file["filename"].as_str().unwrap().contains(part)).unwrap();
    assert_eq!(by_name("-1.0")["yanked"], false);
    assert_eq!(by_name("-2.0")["yanked"], true);
    assert_eq!(by_name("-3.0")["yanked"], "bad");
    assert_eq!(by_name("-3.0")["requires-python"], ">=3.6");
    assert!(by_name("-1.0").get("upload-time").is_none());
    assert!(by_name("-3.0")["upload-time"].as_str().unwrap().starts_with("2023-05-01T12:00:00"));
}

fn no_null(value: &Value, at: &str) {
    match value {
        Value::Null => panic!("{at} is null"),
        Value::Array(items) => items.iter().for_each(|item| no_null(item, at)),
        Value::Object(fields) => {
            fields.iter().for_each(|(key, field)| no_null(field, &format!("{at}.{key}")));
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_09_other_spellings_lead_to_the_normal_name() {
    let index = Index::json().await;
    index.add("zope-interface", wheel("zope_interface", "5.0", &[]));
    let (_home, server) = mirrored(&index, &["Zope.Interface"]);
    for spelling in ["Zope.Interface/", "zope_interface/", "zope-interface"] {
        let url: url::Url = format!("{}{spelling}?a=b", server.simple("python")).parse().unwrap();
        let answer = get(url.as_str(), &[]).await;
        assert!([301, 308].contains(&answer.status), "{spelling}: {}", answer.status);
        let location = url.join(answer.header("location")).unwrap();
        assert_eq!(location.as_str(), format!("{}zope-interface/?a=b", server.simple("python")));
    }
    let answer = get(&format!("{}zope-interface/", server.simple("python")), &[]).await;
    assert_eq!(answer.status, 200);
}

/// Unknown is 404; a registry that fails changes nothing of what is served.
#[tokio::test(flavor = "multi_thread")]
async fn case_10_unknown_names_and_a_registry_that_fails() {
    use reservoir_core::testing::upstream::Reply;
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (home, server) = mirrored(&index, &["alpha"]);
    let simple = server.simple("python");
    assert_eq!(get(&format!("{simple}unknown-name/"), &[]).await.status, 404);
    assert_eq!(get(&server.url("/nothing/simple/alpha/"), &[]).await.status, 404);
    index.upstream.route("/simple/alpha/", Reply::status(503).retry_after(0));
    let report = home.sync("python", 3);
    assert!(report["alarms"][0].as_str().unwrap().contains("503"), "{report}");
    assert_eq!(files(&simple, "alpha").await, ["alpha-1.0-py3-none-any.whl"]);
    assert_eq!(get(&format!("{simple}unknown-name/"), &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_11_validators_differ_by_state_language_and_coding() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (home, server) = mirrored(&index, &["alpha"]);
    let url = format!("{}alpha/", server.simple("python"));
    let mut tags = Vec::new();
    for (accept, coding) in [(JSON, "identity"), (JSON, "gzip"), (JSON, "zstd"), ("text/html", "identity")] {
        let headers = [("accept", accept), ("accept-encoding", coding)];
        let answer = get(&url, &headers).await;
        let tag = answer.header("etag").to_owned();
        assert!(tag.starts_with('"'), "a strong one: {tag}");
        let conditional = [headers[0], headers[1], ("if-none-match", tag.as_str())];
        let again = get(&url, &conditional).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{accept} {coding}");
        assert_eq!(again.header("etag"), tag);
        tags.push(tag);
    }
    let before = tags[0].clone();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "{tags:?}");
    index.change("alpha", |project| project.files[0].yanked = Some("broken"));
    home.sync("python", 0);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let answer =
        get(&url, &[("accept", JSON), ("accept-encoding", "identity"), ("if-none-match", &before)]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["files"][0]["yanked"], "broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_head_is_get_without_the_body() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = mirrored(&index, &["alpha"]);
    let simple = server.simple("python");
    let wheel = file_url(&simple, "alpha", "alpha-1.0-py3-none-any.whl").await;
    for url in [format!("{simple}alpha/"), wheel.clone(), format!("{wheel}.metadata")] {
        let whole = get(&url, &[]).await;
        let head = ask(Method::HEAD, &url, &[]).await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0));
        let stable = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers
        };
        assert_eq!(stable(&head), stable(&whole), "{url}");
        assert_eq!(head.header("content-length"), whole.body.len().to_string(), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_13_and_30_ranges_and_going_on() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = mirrored(&index, &["alpha"]);
    let url = file_url(&server.simple("python"), "alpha", "alpha-1.0-py3-none-any.whl").await;
    let whole = get(&url, &[]).await;
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let size = whole.body.len();
    for (range, status, content_range, bytes) in [
        ("bytes=0-99", 206, format!("bytes 0-99/{size}"), &whole.body[..100]),
        ("bytes=-200", 206, format!("bytes {}-{}/{size}", size - 200, size - 1), &whole.body[size - 200..]),
        ("bytes=300-", 206, format!("bytes 300-{}/{size}", size - 1), &whole.body[300..]),
        ("bytes=0-1,5-6", 200, String::new(), &whole.body[..]),
        ("lines=0-1", 200, String::new(), &whole.body[..]),
    ] {
        let part = get(&url, &[("range", range)]).await;
        assert_eq!((part.status, part.header("content-range")), (status, content_range.as_str()), "{range}");
        assert_eq!(part.body, bytes, "{range}");
    }
    let past = get(&url, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!((past.status, past.header("content-range")), (416, format!("bytes */{size}").as_str()));
    let nonsense = get(&url, &[("range", "bytes=5-2")]).await;
    assert!([200, 416].contains(&nonsense.status));
    // Going on after half of it, if it is still the same file.
    let half = format!("bytes={}-", size / 2);
    let rest = get(&url, &[("range", &half), ("if-range", whole.header("etag"))]).await;
    assert_eq!(rest.status, 206);
    assert_eq!([&whole.body[..size / 2], &rest.body].concat(), whole.body);
    let other = get(&url, &[("range", &half), ("if-range", "\"another\"")]).await;
    assert_eq!((other.status, other.body.len()), (200, size));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_the_sidecar_is_the_metadata_of_the_wheel() {
    let files =
        ["1.0", "2.0", "3.0"].map(|version| wheel("alpha", version, &["beta>=1; python_version > '3'"]));
    let index = Index::of(Style::Html, files.into_iter().chain([wheel("beta", "1.0", &[])])).await;
    let (_home, server) = mirrored(&index, &["alpha"]);
    let simple = server.simple("python");
    let page = page(&simple, "alpha").await;
    let listed = page["files"].as_array().unwrap();
    assert_eq!(listed.len(), 3);
    for file in listed {
        let url = file_url(&simple, "alpha", file["filename"].as_str().unwrap()).await;
        let sidecar = get(&format!("{url}.metadata"), &[]).await;
        assert_eq!(sidecar.status, 200);
        assert_eq!(Sha256Digest::of(&sidecar.body).to_string(), file["core-metadata"]["sha256"]);
        let bytes = get(&url, &[]).await.body;
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
        let name = "alpha-".to_owned() + &version(file) + ".dist-info/METADATA";
        let mut inside = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name(&name).unwrap(), &mut inside).unwrap();
        assert_eq!(inside, sidecar.body);
    }
}

fn version(file: &Value) -> String {
    file["filename"].as_str().unwrap().split('-').nth(1).unwrap().to_owned()
}

/// A flipped byte, in a sidecar and in a wheel: found by `verify --deep`, never served as if it were right.
#[tokio::test(flavor = "multi_thread")]
async fn case_16_damaged_bytes_are_found_and_not_served() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (home, server) = mirrored(&index, &["alpha"]);
    let url = file_url(&server.simple("python"), "alpha", "alpha-1.0-py3-none-any.whl").await;
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
    for url in [format!("{url}.metadata"), url] {
        let sound = get(&url, &[]).await;
        let digest = Sha256Digest::of(&sound.body).to_string();
        let blob = home.blob(&digest);
        let mut bytes = std::fs::read(&blob).unwrap();
        bytes[10] ^= 1;
        let mut permissions = std::fs::metadata(&blob).unwrap().permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test")]
        permissions.set_readonly(false);
        std::fs::set_permissions(&blob, permissions).unwrap();
        std::fs::write(&blob, bytes).unwrap();
        // Nobody gets a whole answer: an error status, or a connection that breaks off.
        match ask(Method::GET, &url, &[]).await {
            Ok(answer) => assert!(answer.status >= 500, "{url}: {answer:?}"),
            Err(error) => assert!(error.is_body() || error.is_decode() || error.is_request(), "{error:?}"),
        }
        let (code, found) = home.json(["verify", "--deep"]);
        assert_eq!(code, 3, "{found}");
        let damaged = found["damaged"].as_array().unwrap();
        let row =
            damaged.iter().find(|row| row["sha256"] == digest.as_str()).unwrap_or_else(|| panic!("{found}"));
        assert!(row["used_by"][0].as_str().unwrap().starts_with("python "), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_45_what_a_registry_says_is_escaped() {
    let reason = "<script>alert('1')</script>\"&";
    let index = Index::of(
        Style::Json,
        [wheel("alpha", "1.0", &[]).yanked(reason).requires_python(">=3.6"), wheel("alpha", "2.0", &[])],
    )
    .await;
    index.change("alpha", |project| project.status = Some(("archived", "<img src=x onerror=\"alert(1)\">")));
    let (_home, server) = mirrored(&index, &["alpha"]);
    let answer = asked(&server, "text/html").await;
    let text = answer.text();
    assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
    assert!(text.contains("data-yanked=\"&lt;script&gt;"), "{text}");
    assert!(text.contains("data-requires-python=\"&gt;=3.6\""), "{text}");
    let json = asked(&server, JSON).await.json();
    let yanked: Vec<_> = json["files"].as_array().unwrap().iter().map(|file| &file["yanked"]).collect();
    assert!(yanked.contains(&&Value::from(reason)), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_repository_is_offered() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = mirrored(&index, &["alpha"]);
    let key = get(&server.url("/python/keyring.asc"), &[]).await;
    assert!(key.text().starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"), "{}", key.text());
}
