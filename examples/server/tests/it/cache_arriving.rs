//! Files on their way through a cache: who asks meanwhile, who leaves, who is killed, and registries that lie.

use std::{fs, time::Duration};

use futures::StreamExt as _;
use http::Method;
use reservoir_core::{digest::Sha256Digest, testing::upstream::Reply};

use super::{
    cache::{is_stored, serving, until},
    support::{
        client,
        home::Home,
        index::{Index, Style, big, wheel},
        web::{ask, file_url, files, get, page},
    },
};

/// Pages do not wait for large files, however few transfers a registry is to have.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_waits_for_no_large_file() {
    let file = big("alpha", "1.0", 2 << 20);
    let index = Index::of(Style::Json, [file.clone(), wheel("beta", "1.0", &[])]).await;
    let drip = Reply::ok(file.bytes.clone()).drip(16 << 10, Duration::from_millis(500));
    index.upstream.route(file.path(), drip);
    let home = Home::with(&index.cache("").replacen("\n\n", "\nconcurrency = 1\n\n", 1));
    let server = home.serve();
    let simple = server.simple("python");
    let url = file_url(&simple, "alpha", &file.name).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // It takes a minute.
    let large = client.get(&url).send().await.unwrap();
    assert_eq!(large.status(), 200);
    assert_eq!(files(&simple, "beta").await, ["beta-1.0-py3-none-any.whl"]);
    assert_eq!(index.count("/simple/beta/"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_46_fifty_clients_cause_one_fetch() {
    let file = big("alpha", "1.0", 3 << 20);
    let index = Index::of(Style::Json, [file.clone()]).await;
    index
        .upstream
        .route(file.path(), Reply::ok(file.bytes.clone()).drip(64 << 10, Duration::from_millis(40)));
    let (_home, server) = serving(&index, "");
    let simple = server.simple("python");
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let simple = simple.clone();
            tokio::task::spawn_blocking(move || {
                let uv = client::uv();
                let run = uv.install(&simple, &["--no-deps", "alpha"]);
                (run, fs::read(uv.path().join("installed/alpha/noise.bin")).ok())
            })
        })
        .collect();
    for client in clients {
        let (run, noise) = client.await.unwrap();
        run.expect(0);
        assert_eq!(noise.unwrap().len(), 3 << 20);
    }
    assert_eq!(index.count(&file.path()), 1);
    assert_eq!(index.count("/simple/alpha/"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_nobody() {
    let file = big("alpha", "1.0", 1 << 20);
    let index = Index::of(Style::Json, [file.clone()]).await;
    index
        .upstream
        .route(file.path(), Reply::ok(file.bytes.clone()).drip(64 << 10, Duration::from_millis(100)));
    let (home, server) = serving(&index, "");
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    // It reads a little, which is there long before the end, and leaves.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut first = client.get(&url).send().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.content_length(), Some(file.bytes.len() as u64));
    let piece = first.chunk().await.unwrap().unwrap();
    assert!(file.bytes.starts_with(&piece), "bytes arrive while they are fetched");
    assert!(!is_stored(&home, &file.bytes), "before all of them are here");
    let stays = tokio::spawn({
        let url = url.clone();
        async move { get(&url, &[]).await }
    });
    drop(first);
    assert!(stays.await.unwrap().body == file.bytes);
    assert_eq!(index.count(&file.path()), 1);
    // Even when everybody leaves, it comes to its end.
    let other = big("beta", "1.0", 1 << 20);
    index.add("beta", other.clone());
    index
        .upstream
        .route(other.path(), Reply::ok(other.bytes.clone()).drip(64 << 10, Duration::from_millis(50)));
    let url = file_url(&server.simple("python"), "beta", &other.name).await;
    drop(client.get(&url).send().await.unwrap());
    until("the file is here", async || is_stored(&home, &other.bytes)).await;
    assert_eq!(index.count(&other.path()), 1);
}

/// Killed in the middle: nothing of the file is served, and the next process goes on where it stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on_where_it_stopped() {
    let file = big("alpha", "1.0", 2 << 20);
    let index = Index::of(Style::Json, [file.clone()]).await;
    let whole = Reply::ok(file.bytes.clone()).etag("\"1\"");
    index
        .upstream
        .sequence(file.path(), [whole.clone().drip(64 << 10, Duration::from_millis(100)), whole.clone()]);
    let (home, server) = serving(&index, "");
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    let mut response = reqwest::Client::builder().no_proxy().build().unwrap().get(&url).send().await.unwrap();
    let mut taken = 0;
    while taken < 600_000 {
        taken += response.chunk().await.unwrap().unwrap().len();
    }
    server.end("KILL");
    while let Ok(Some(piece)) = response.chunk().await {
        taken += piece.len();
    }
    assert!(taken < file.bytes.len());
    assert!(!is_stored(&home, &file.bytes));
    let server = home.serve();
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    assert!(get(&url, &[]).await.body == file.bytes);
    let requests = index.upstream.requests_to(&file.path());
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let range = requests[1].header("range");
    let from: usize = range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
    assert!(from >= 256 << 10, "{range}");
}

/// Wrong, short, stalled: no client ever has a whole answer that is not right.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_registry_that_lies_is_never_passed_on() {
    let file = big("alpha", "1.0", 1 << 20);
    let index = Index::of(Style::Json, [file.clone()]).await;
    let mut wrong = file.bytes.clone();
    *wrong.last_mut().unwrap() ^= 1;
    index.upstream.route(file.path(), Reply::ok(wrong.clone()).drip(128 << 10, Duration::from_millis(100)));
    let (home, server) = serving(&index, "");
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    // The beginning was right, and so it left; the end never does.
    assert!(ask(Method::GET, &url, &[]).await.is_err(), "broken off");
    let answer = get(&url, &[]).await;
    assert_eq!(answer.status, 502, "told plainly, once it is known: {}", answer.text());
    assert!(!is_stored(&home, &wrong) && !is_stored(&home, &file.bytes));
    assert!(home.done(["history", "python", "alpha@1.0"]).contains("FAILED"));
    // Cut once: the client does not notice.
    let right = Reply::ok(file.bytes.clone()).etag("\"2\"");
    index.upstream.sequence(file.path(), [right.clone().cut_after(300_000), right]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(get(&url, &[]).await.body == file.bytes);
    assert!(home.done(["history", "python", "alpha@1.0"]).contains("AVAILABLE"));
}

/// It stops in the middle without a word: after half a minute it is asked for the rest, and the client, who has been
/// following, gets all of it.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_registry_that_stalls_is_asked_again() {
    let file = big("alpha", "1.0", 1 << 20);
    let index = Index::of(Style::Json, [file.clone()]).await;
    let whole = Reply::ok(file.bytes.clone()).etag("\"1\"");
    index.upstream.sequence(file.path(), [whole.clone().stall_after(700_000), whole]);
    let (_home, server) = serving(&index, "");
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    let answer = get(&url, &[]).await;
    assert!(answer.status == 200 && answer.body == file.bytes);
    let requests = index.upstream.requests_to(&file.path());
    assert_eq!((requests.len(), requests[1].header("range").is_empty()), (2, false), "{requests:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_35_a_file_that_changed_is_an_alarm_and_not_served() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (home, server) = serving(&index, "fresh_for = \"1s\"");
    let simple = server.simple("python");
    let url = file_url(&simple, "alpha", "alpha-1.0-py3-none-any.whl").await;
    let before = get(&url, &[]).await;
    assert_eq!(before.status, 200);
    index.change("alpha", |project| project.files[0] = wheel("alpha", "1.0", &["evil"]));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let after = page(&simple, "alpha").await;
    assert_eq!(after["files"][0]["hashes"]["sha256"], Sha256Digest::of(&before.body).to_string());
    assert_eq!(get(&url, &[]).await.body, before.body);
    let (_, shown) = home.json(["show", "python", "alpha"]);
    assert!(shown["alarms"][0].as_str().unwrap().contains("changed-digest"), "{shown:#}");
}

/// Ranges and conditions on what is not here, is arriving, and is here.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_the_same_before_and_after_it_arrived() {
    let file = big("alpha", "1.0", 400_000);
    let index = Index::of(Style::Html, [file.clone()]).await;
    let (_home, server) = serving(&index, "");
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    let etag = format!("\"{}\"", Sha256Digest::of(&file.bytes));
    let known = get(&url, &[("if-none-match", &etag)]).await;
    assert_eq!(known.status, 304);
    assert_eq!(index.count(&file.path()), 0, "a client that has it causes nothing");
    let head = ask(Method::HEAD, &url, &[]).await.unwrap();
    assert_eq!((head.status, head.header("etag")), (200, etag.as_str()));
    assert_eq!(head.header("content-length"), file.bytes.len().to_string());
    let whole = get(&url, &[]).await;
    assert_eq!((whole.status, whole.header("etag")), (200, etag.as_str()));
    assert!(whole.body == file.bytes);
    let part = get(&url, &[("range", "bytes=-200")]).await;
    assert_eq!(part.status, 206);
    assert!(part.body == file.bytes[file.bytes.len() - 200..]);
    assert_eq!(index.count(&file.path()), 1);
}

/// What nobody announced by its digest waits for its end; what is not listed is not fetched.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_no_page_gave_cause_nothing() {
    let file = wheel("alpha", "1.0", &[]);
    let index = Index::of(Style::Json, [file.clone()]).await;
    let (_home, server) = serving(&index, "");
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    let digits = Sha256Digest::of(&file.bytes).to_string();
    let (first, second, rest) = (&digits[..2], &digits[2..4], &digits[4..]);
    assert!(url.contains(&format!("/packages/{first}/{second}/{rest}/")), "{url}");
    for wrong in [
        url.replace(rest, &"0".repeat(60)),
        url.replace("alpha-1.0", "alpha-9.9"),
        url.replace("alpha-1.0", "alpha-..%2f1.0"),
        format!("{url}.metadata"),
        format!("{url}.asc"),
    ] {
        let answer = get(&wrong, &[]).await;
        assert!((400..=404).contains(&answer.status), "{wrong}: {}", answer.status);
    }
    assert_eq!(index.count("/files/"), 0);
}

/// Ten at a time: a file arrives for each of them, from the first byte to the last.
#[tokio::test(flavor = "multi_thread")]
async fn followers_have_all_of_it() {
    let file = big("alpha", "1.0", 2 << 20);
    let index = Index::of(Style::Json, [file.clone()]).await;
    index.upstream.route(file.path(), Reply::ok(file.bytes.clone()).drip(100_000, Duration::from_millis(60)));
    let (_home, server) = serving(&index, "");
    let url = file_url(&server.simple("python"), "alpha", &file.name).await;
    let followers = futures::stream::iter(0..10_u64).map(|at| {
        let url = url.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(at * 90)).await;
            get(&url, &[]).await
        }
    });
    let mut followers = followers.buffer_unordered(10);
    while let Some(answer) = followers.next().await {
        assert!(answer.status == 200 && answer.body == file.bytes);
    }
    assert_eq!(index.count(&file.path()), 1);
}
