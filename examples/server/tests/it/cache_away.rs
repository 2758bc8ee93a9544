//! A cache whose registry is away, stalls or has withdrawn something.

use std::time::Duration;

use reservoir_core::testing::upstream::Reply;

use super::{
    cache::serving,
    support::{
        client,
        home::Server,
        index::{Index, Style, page_path, wheel},
        web::{JSON, file_url, files, get},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn case_10_nobody_is_told_404_because_a_registry_is_away() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = serving(&index, "");
    let simple = server.simple("python");
    assert_eq!(get(&format!("{simple}unknown/"), &[]).await.status, 404);
    let asked = index.count("/simple/unknown/");
    assert_eq!(get(&format!("{simple}unknown/"), &[]).await.status, 404);
    assert_eq!(index.count("/simple/unknown/"), asked, "remembered for a while");
    for status in [500, 503, 403, 429] {
        let name = format!("broken-{status}");
        index.upstream.route(page_path(&name), Reply::status(status));
        let answer = get(&format!("{simple}{name}/"), &[]).await;
        assert!((502..=503).contains(&answer.status), "{status}: {}", answer.text());
        if status != 403 {
            assert!(!answer.header("retry-after").is_empty());
        }
    }
    index.upstream.route(page_path("garbage"), Reply::ok("{").content_type(JSON));
    assert!(get(&format!("{simple}garbage/"), &[]).await.status >= 403);
}

/// A page that is no index page, or half of one, is no news of a project.
#[tokio::test(flavor = "multi_thread")]
async fn case_10_a_notice_is_no_page() {
    let index = Index::of(Style::Html, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = serving(&index, "fresh_for = \"1s\"");
    let simple = server.simple("python");
    assert_eq!(files(&simple, "alpha").await, ["alpha-1.0-py3-none-any.whl"]);
    let html = |text: &str| Reply::ok(text.to_owned()).content_type("text/html").until_close();
    let notice = "<html><body>We will be back soon.</body></html>";
    let half = "<!DOCTYPE html>\n<html><body>\n<a href=\"../../packages/alpha-0.1.tar.gz\">alpha-0.1.tar.gz</a>\n<a hr";
    for page in [notice, half] {
        index.upstream.route(page_path("alpha"), html(page));
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let answer = get(&format!("{simple}alpha/"), &[("accept", JSON)]).await;
        assert_eq!(answer.json()["files"].as_array().unwrap().len(), 1, "{}", answer.text());
    }
    client::uv().install(&simple, &["alpha"]).expect(0);
}

/// A registry that begins to answer and does not go on is as good as away.
#[tokio::test(flavor = "multi_thread")]
async fn case_10_a_page_that_stalls_is_as_it_was() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = serving(&index, "fresh_for = \"1s\"");
    let simple = server.simple("python");
    assert_eq!(files(&simple, "alpha").await.len(), 1);
    index
        .upstream
        .route(page_path("alpha"), Reply::ok("{\"meta\": {}}".repeat(100)).content_type(JSON).stall_after(9));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let answer = get(&format!("{simple}alpha/"), &[("accept", JSON)]).await;
    assert_eq!((answer.status, answer.json()["files"].as_array().unwrap().len()), (200, 1));
    assert!(!answer.header("x-reservoir-stale-page").is_empty());
}

/// The registry is gone for good: pages are as they were and say so, what is here installs.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_registry_a_cache_serves_what_it_has() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &["beta"]), wheel("beta", "1.0", &[])]).await;
    let (home, server) = serving(&index, "fresh_for = \"1s\"");
    client::pip().install(&server.simple("python"), &["alpha"]).expect(0);
    drop(index);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let check = async |server: &Server| {
        let simple = server.simple("python");
        let stale = get(&format!("{simple}alpha/"), &[("accept", JSON)]).await;
        assert_eq!(stale.status, 200, "{}", stale.text());
        assert!(!stale.header("x-reservoir-stale-page").is_empty());
        assert_eq!(stale.json()["files"].as_array().unwrap().len(), 1);
        for client in client::all() {
            client.install(&simple, &["alpha"]).expect(0);
            assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0"]);
        }
        let unknown = get(&format!("{simple}gamma/"), &[]).await;
        assert!((502..=503).contains(&unknown.status), "{}", unknown.text());
    };
    check(&server).await;
    // Nor does a new process know less.
    drop(server);
    check(&home.serve()).await;
}

/// What a registry withdraws stays known, so that no client looks for it at the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_gone_is_not_unknown() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[]), wheel("alpha", "2.0", &[])]).await;
    let (_home, server) = serving(&index, "fresh_for = \"1s\"");
    let simple = server.simple("python");
    let url = file_url(&simple, "alpha", "alpha-1.0-py3-none-any.whl").await;
    assert_eq!(get(&url, &[]).await.status, 200);
    index.upstream.route(page_path("alpha"), Reply::status(404));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(files(&simple, "alpha").await, ["alpha-1.0-py3-none-any.whl"], "what is here");
}
