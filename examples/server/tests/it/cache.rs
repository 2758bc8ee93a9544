//! A cache: nothing is here until somebody asks for it, and then it is here for everybody.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reservoir_core::{digest::Sha256Digest, testing::upstream::Reply};
use serde_json::json;

use super::support::{
    client,
    home::{Home, Server},
    index::{Index, Style, big, page_path, wheel},
    web::{JSON, file_url, files, get, page},
};

pub(super) fn serving(index: &Index, more: &str) -> (Home, Server) {
    let home = Home::with(&index.cache(more));
    let server = home.serve();
    (home, server)
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) fn is_stored(home: &Home, bytes: &[u8]) -> bool {
    home.blob(&Sha256Digest::of(bytes).to_string()).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_install_what_was_never_synced() {
    for style in [Style::Json, Style::Html] {
        let index = Index::of(
            style,
            [wheel("alpha", "1.0", &["beta>=1"]), wheel("beta", "1.0", &[]), wheel("beta", "0.9", &[])],
        )
        .await;
        let (home, server) = serving(&index, "fold_every = \"1s\"");
        for client in client::all() {
            client.install(&server.simple("python"), &["alpha"]).expect(0);
            assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0"]);
        }
        assert_eq!(index.count("/files/"), 2, "each file once, and none that nobody asked for");
        assert_eq!(index.count("/simple/"), 2, "each page once while it is fresh");
        // What arrived is in a snapshot soon, and is what any mirror's snapshot is.
        until("a snapshot with both wheels", async || {
            let page = get(&format!("{}/python@main/simple/beta/", server.base), &[("accept", JSON)]).await;
            page.status == 200 && page.json()["files"].as_array().unwrap().len() == 1
        })
        .await;
        home.done(["verify", "--deep"]);
        let shown = home.done(["history", "python", "beta@1.0"]);
        for status in ["SCANNED", "PULLING", "PULLED", "VERIFYING", "AVAILABLE"] {
            assert!(shown.contains(status), "{shown}");
        }
        assert!(!home.done(["history", "python", "beta@0.9"]).contains("PULLING"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_is_explained_and_then_served() {
    let file = wheel("alpha", "1.0", &[]);
    let index = Index::of(Style::Json, [file.clone()]).await;
    let (home, server) = serving(&index, "approval = \"manual\"");
    let simple = server.simple("python");
    assert_eq!(files(&simple, "alpha").await, [file.name.as_str()], "listed, as on offer");
    let url = file_url(&simple, "alpha", &file.name).await;
    let mut refused = get(&url, &[]).await;
    while refused.status == 503 {
        assert!(!refused.header("retry-after").is_empty());
        refused = get(&url, &[]).await;
    }
    assert_eq!((refused.status, refused.header("content-type")), (403, "application/problem+json"));
    assert!(refused.text().contains("approv"), "{}", refused.text());
    assert!(!refused.body.windows(4).any(|piece| piece == b"PK\x03\x04"));
    home.done(["approve", "python", "alpha@1.0", "--reason", "read it"]);
    until("it is served", async || get(&url, &[]).await.status == 200).await;
    home.done(["reject", "python", "alpha@1.0", "--reason", "it phones home"]);
    until("it is refused", async || get(&url, &[]).await.status == 403).await;
    until("it is not listed", async || files(&simple, "alpha").await.is_empty()).await;
}

/// Attestations are listed with what is on offer, brought when they are asked for, and shown for no other file.
#[tokio::test(flavor = "multi_thread")]
async fn attestations_come_when_they_are_asked_for() {
    let index = Index::json().await;
    let (right, wrong) = (wheel("alpha", "1.0", &[]), wheel("alpha", "2.0", &[]));
    let document = |sha256: &str| {
        let statement = json!({ "subject": [{ "name": "x", "digest": { "sha256": sha256 } }] }).to_string();
        let envelope = json!({ "statement": BASE64_STANDARD.encode(statement), "signature": "MEU" });
        let attestation = json!({ "version": 1, "verification_material": {}, "envelope": envelope });
        let bundle = json!({ "publisher": { "kind": "x" }, "attestations": [attestation] });
        json!({ "version": 1, "attestation_bundles": [bundle] }).to_string()
    };
    // The second one speaks of the first one's file.
    for file in [&right, &wrong] {
        index.add("alpha", file.clone());
        index.upstream.route(format!("/provenance/{}", file.name), Reply::ok(document(&right.sha256)));
    }
    let rows: Vec<_> = [&right, &wrong]
        .map(|file| {
            json!({ "filename": file.name, "url": format!("{}{}", index.base(), file.path()),
                    "hashes": { "sha256": file.sha256 }, "size": file.bytes.len(),
                    "provenance": format!("{}/provenance/{}", index.base(), file.name) })
        })
        .into();
    let listed = json!({ "meta": { "api-version": "1.4" }, "name": "alpha", "files": rows, "versions": [] });
    let reply = Reply::ok(listed.to_string()).content_type(JSON);
    index.upstream.route(page_path("alpha"), reply);
    let (_home, server) = serving(&index, "");
    let simple = server.simple("python");
    let base: url::Url = format!("{simple}alpha/").parse().unwrap();
    let shown = page(&simple, "alpha").await;
    let url = |at: usize| base.join(shown["files"][at]["provenance"].as_str().unwrap()).unwrap().to_string();
    assert_eq!(index.count("/provenance/"), 0);
    for _ in 0..2 {
        let answer = get(&url(0), &[]).await;
        assert_eq!((answer.status, answer.text()), (200, document(&right.sha256).as_str()));
        assert_eq!(answer.header("content-type"), "application/vnd.pypi.integrity.v1+json");
        assert_eq!(get(&url(1), &[]).await.status, 404);
    }
    assert_eq!((index.count("/provenance/"), index.count("/files/")), (2, 0), "each once, and no wheel");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_comes_before_its_wheel_and_agrees_with_it() {
    let metadata = "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n\nA description.\n";
    let good = wheel("alpha", "1.0", &[]);
    let inside = {
        // As the fixture makes it.
        super::support::dist::metadata("alpha", "1.0", "")
    };
    let index = Index::json().await;
    index.add("alpha", good.clone().announcing(inside.clone()));
    let lying = wheel("beta", "1.0", &[]);
    index.add("beta", lying.clone().announcing(metadata.replace("alpha", "beta") + "Requires-Dist: evil\n"));
    let wrong = wheel("gamma", "1.0", &[]).announcing("announced");
    index.add("gamma", wrong.clone());
    index.upstream.route(format!("{}.metadata", wrong.path()), Reply::ok("another"));
    let (home, server) = serving(&index, "");
    let simple = server.simple("python");

    let url = file_url(&simple, "alpha", &good.name).await;
    let sidecar = get(&format!("{url}.metadata"), &[]).await;
    assert_eq!((sidecar.status, sidecar.text()), (200, inside.as_str()));
    assert_eq!(index.upstream.requests_to(&good.path()).len(), 0, "the wheel is not needed for it");
    get(&format!("{url}.metadata"), &[]).await;
    assert_eq!(index.count(&format!("{}.metadata", good.path())), 1);
    assert_eq!(get(&url, &[]).await.status, 200);
    assert_eq!(get(&format!("{url}.metadata"), &[]).await.text(), inside);

    let url = file_url(&simple, "beta", &lying.name).await;
    assert!(get(&format!("{url}.metadata"), &[]).await.text().contains("evil"), "as announced");
    assert_eq!(get(&url, &[]).await.status, 200);
    let own = get(&format!("{url}.metadata"), &[]).await;
    assert!(!own.text().contains("evil"), "withdrawn: {}", own.text());
    let listed = page(&simple, "beta").await;
    let digest = Sha256Digest::of(&own.body).to_string();
    assert_eq!(listed["files"][0]["core-metadata"]["sha256"], digest.as_str());
    let (_, shown) = home.json(["show", "python", "beta"]);
    assert!(shown.to_string().contains("companion-differs"), "{shown:#}");

    let url = file_url(&simple, "gamma", &wrong.name).await;
    assert_eq!(get(&format!("{url}.metadata"), &[]).await.status, 502);
}

/// `/pypi/NAME/json` of a cache has what its pages have: all that is on offer, and more of what is here.
#[tokio::test(flavor = "multi_thread")]
async fn projects_are_described_with_all_that_is_on_offer() {
    for style in [Style::Json, Style::Html] {
        let index = Index::of(
            style,
            [
                wheel("alpha", "1.0", &["beta"]).uploaded("2024-01-02T03:04:05Z"),
                wheel("alpha", "2.0", &[]).yanked("broken"),
                wheel("beta", "1.0", &[]),
            ],
        )
        .await;
        let (_home, server) = serving(&index, "fresh_for = \"1s\"");
        let describe = async |path: &str| get(&format!("{}/python/pypi/{path}/json", server.base), &[]).await;
        let before = describe("Alpha").await;
        assert_eq!((before.status, before.header("content-type")), (200, "application/json"));
        assert!(!before.header("x-pypi-last-serial").is_empty());
        let before = before.json();
        assert_eq!(index.count("/files/"), 0, "nothing is brought for it");
        let versions: Vec<_> = before["releases"].as_object().unwrap().keys().collect();
        assert_eq!(versions, ["1.0", "2.0"]);
        assert_eq!(before["releases"]["2.0"][0]["yanked_reason"], "broken");
        let one = describe("alpha/1.0").await.json();
        assert_eq!((&one["info"]["version"], &one["releases"]), (&json!("1.0"), &json!(null)));
        assert_eq!(one["urls"][0]["upload_time_iso_8601"], "2024-01-02T03:04:05Z");
        assert_eq!(one["urls"][0]["size"].is_u64(), style == Style::Json, "{one:#}");
        // The address is one that brings the file, and then more is known of it.
        let file = get(one["urls"][0]["url"].as_str().unwrap(), &[]).await;
        assert_eq!(file.status, 200);
        assert_eq!(one["urls"][0]["digests"]["sha256"], Sha256Digest::of(&file.body).to_string());
        let one = describe("alpha/1.0").await.json();
        assert_eq!(one["info"]["requires_dist"], json!(["beta"]));
        assert_eq!(one["urls"][0]["size"], file.body.len());
        for unknown in ["nobody", "alpha/9.9", "-"] {
            assert_eq!(describe(unknown).await.status, 404, "{unknown}");
        }
        // While the registry is away it is as it was, and says so.
        drop(index);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let stale = describe("alpha").await;
        assert_eq!((stale.status, stale.json()["releases"].as_object().unwrap().len()), (200, 2));
        assert!(!stale.header("x-reservoir-stale-page").is_empty());
    }
}

/// Over its limit, a cache lets go of what was used longest ago, and brings it again when it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_lets_go_of_what_was_used_longest_ago() {
    let (one, two, three) =
        (big("one", "1.0", 90_000), big("two", "1.0", 90_000), big("three", "1.0", 90_000));
    let index = Index::of(Style::Json, [one.clone(), two.clone(), three.clone()]).await;
    let (home, server) = serving(&index, "cache_size = \"200kB\"\nfold_every = \"1s\"");
    let simple = server.simple("python");
    let mut urls = Vec::new();
    for (name, file) in [("one", &one), ("two", &two)] {
        let url = file_url(&simple, name, &file.name).await;
        assert_eq!(get(&url, &[]).await.status, 200);
        urls.push(url);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The first is used again, so that the second is the one to go.
    assert_eq!(get(&urls[0], &[]).await.status, 200);
    let url = file_url(&simple, "three", &three.name).await;
    assert_eq!(get(&url, &[]).await.status, 200);
    until("something was let go of", async || {
        home.done(["history", "python", "two@1.0"]).contains("full cache")
    })
    .await;
    assert!(!home.done(["history", "python", "one@1.0"]).contains("full cache"));
    until("a snapshot without it", async || {
        let page = get(&format!("{}/python@main/simple/two/", server.base), &[("accept", JSON)]).await;
        // It may have gone before it was in any.
        page.status == 404 || page.json()["files"].as_array().unwrap().is_empty()
    })
    .await;
    let again = get(&urls[1], &[]).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert!(again.body == two.bytes);
}

/// What arrived is in snapshots, which are read, kept beside an eviction, rolled back and carried like those of a mirror.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_has_snapshots_like_a_mirror() {
    let index = Index::of(Style::Json, [big("alpha", "1.0", 90_000), big("beta", "1.0", 90_000)]).await;
    let cached = index.cache("fold_every = \"1s\"");
    let home = Home::with(&cached);
    let server = home.serve();
    let (simple, uv) = (server.simple("python"), client::uv());
    let listed = async |at: &str, name: &str| {
        let page = get(&server.url(&format!("/python@{at}/simple/{name}/")), &[("accept", JSON)]).await;
        if page.status == 200 { page.json()["files"].as_array().unwrap().len() } else { 0 }
    };
    uv.install(&simple, &["alpha"]).expect(0);
    until("a snapshot with the first", async || listed("main", "alpha").await == 1).await;
    let (_, log) = home.json(["log", "python"]);
    let first = log["snapshots"][0]["number"].to_string();
    uv.install(&simple, &["beta"]).expect(0);
    until("a snapshot with both", async || listed("main", "beta").await == 1).await;
    assert_eq!((listed(&first, "alpha").await, listed(&first, "beta").await), (1, 0));

    // Carried to where nobody ever heard of the index.
    let (inside, media) = (Home::new(), tempfile::tempdir().unwrap());
    let path = |name: &str| media.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("key"), home.done(["key", "show"])).unwrap();
    inside.done(["key", "trust", &path("key"), "--accept", "evidence"]);
    home.done(["export", &path("bundle")]);
    inside.done(["load", &path("bundle")]);
    let away = inside.serve();
    let pip = client::pip();
    pip.install(&away.simple("python"), &["alpha", "beta"]).expect(0);
    assert_eq!(pip.installed(), ["alpha==1.0", "beta==1.0"]);

    // The cache goes on showing what its registry offers; its snapshots are as they were decided.
    home.done(["rollback", "python", &first]);
    until("the snapshot before", async || listed("main", "beta").await == 0).await;
    assert_eq!((listed("main", "alpha").await, files(&simple, "beta").await.len()), (1, 1));

    // Both are let go of, and the number has what it had.
    let fetched = index.count("/files/");
    home.apply(&cached.replace("fold_every", "cache_size = \"1kB\"\nfold_every")).expect(0);
    let server = {
        drop(server);
        home.serve()
    };
    until("both were let go of", async || {
        ["alpha@1.0", "beta@1.0"]
            .iter()
            .all(|spec| home.done(["history", "python", spec]).contains("full cache"))
    })
    .await;
    let client = client::uv();
    client.install(&server.url(&format!("/python@{first}/simple/")), &["alpha"]).expect(0);
    assert_eq!((client.installed(), index.count("/files/")), (vec!["alpha==1.0".to_owned()], fetched));
}

/// What is too new, too large or for other machines is neither listed nor brought.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cache_excludes_is_not_to_be_had() {
    let index = Index::json().await;
    let (old, new) = (wheel("alpha", "1.0", &[]), wheel("alpha", "2.0", &[]));
    index.add("alpha", old.clone().uploaded("2024-01-01T00:00:00Z"));
    index.add("alpha", new.clone().uploaded("2024-06-01T00:00:00Z"));
    let home = Home::with(&index.cache(""));
    let server = home.serve();
    let simple = server.simple("python");
    let url = file_url(&simple, "alpha", &new.name).await;
    drop(server);
    home.apply(&index.cache("exclude_newer = \"2024-03-01\"\n")).expect(0);
    let server = home.serve();
    let (simple, url) = (server.simple("python"), url.replace(&simple, &server.simple("python")));
    let url = format!("{}{}", server.base, &url[url.find("/python/").unwrap()..]);
    assert_eq!(files(&simple, "alpha").await, [old.name.as_str()]);
    let refused = get(&url, &[]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("2024-06-01"), "{}", refused.text());
    assert_eq!(index.count(&new.path()), 0);
    let uv = client::uv();
    uv.install(&simple, &["alpha"]).expect(0);
    assert_eq!(uv.installed(), ["alpha==1.0"]);
}

#[test]
fn mistakes_in_a_cache_are_told() {
    let registry = "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"http://127.0.0.1:9/\"\n";
    let cache =
        "\n[[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\nmode = \"cache\"\n";
    let home = Home::new();
    for (registry_key, cache_key, word) in [
        ("", "fresh_for = \"soon\"\n", "fresh_for"),
        ("", "cache_size = \"50 gigs\"\n", "cache_size"),
        ("", "fold_every = \"0s\"\n", "fold_every"),
        ("", "exclude_newer = \"soon\"\n", "exclude_newer"),
        ("", "max_size = 0\n", "max_size"),
        ("concurrency = 0\n", "", "concurrency"),
        ("bandwidth = \"fast\"\n", "", "bandwidth"),
    ] {
        let run = home.apply(&format!("{registry}{registry_key}{cache}{cache_key}")).expect(2);
        assert!(run.stderr.contains(word) && run.stderr.contains("mirror.toml:"), "{}", run.stderr);
    }
    let mirror = cache.replace("mode = \"cache\"\n", "packages = [\"alpha\"]\n");
    for key in ["fresh_for = \"1h\"", "fold_every = \"1h\"", "cache_size = \"50GiB\""] {
        let run = home.apply(&format!("{registry}{mirror}{key}\n")).expect(2);
        let name = key.split(' ').next().unwrap();
        let told = format!("key `{name}`: is for `mode = \"cache\"`");
        assert!(run.stderr.contains(&told) && run.stderr.contains("mirror.toml:"), "{}", run.stderr);
    }
    let good = format!(
        "{registry}concurrency = 2\nbandwidth = \"1MiB\"\n{cache}fresh_for = \"1h\"\ncache_size = \"50GiB\"\n"
    );
    home.apply(&good).expect(0);
    assert!(Path::new(&home.path().join("reservoir.toml")).exists());
}
