//! Where requests lead, and what goes along with them.

use std::time::Duration;

use reservoir_core::testing::upstream::Reply;
use serde_json::json;

use super::{MODEL, Site, head, hub, models};

/// Case 42, and 38: redirects to places that a registry may not lead to; the token stays at home.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_tokens_stay_where_they_belong() {
    let other = reservoir_core::testing::upstream::Upstream::start().await;
    let private = other.url("/secret").to_string();
    for location in [private.as_str(), "file:///etc/passwd", "http://169.254.169.254/latest"] {
        let hub = hub().await;
        let file = hub.file(MODEL, head(&hub), "config.json");
        hub.upstream.route(file, Reply::redirect(302, location));
        let report = Site::new(&hub, &models()).await.sync().await;
        assert_eq!((report.admitted, report.failed.len()), (0, 1), "{location}: {report:?}");
        assert!(!format!("{report:?}").contains("the-token"));
        let sent = hub.upstream.requests();
        assert!(sent.iter().all(|request| request.header("authorization") == "Bearer the-token"));
    }
    assert!(other.requests().is_empty());
}

/// As public Hubs answer: small files by a relative redirect whose query counts, large ones from another host with a
/// signature in the address. Both come, a broken one goes on there, and the token goes to neither.
#[tokio::test(flavor = "multi_thread")]
async fn files_come_by_redirects_and_the_token_stays() {
    let files = reservoir_core::testing::upstream::Upstream::start().await;
    let hub = hub().await;
    let commit = head(&hub);
    let known = &hub.get(MODEL, commit).files;
    let beside = format!("/hub/api/resolve-cache/models/{MODEL}/{commit}/config.json?etag=%22x%22&n=1");
    hub.upstream.route(hub.file(MODEL, commit, "config.json"), Reply::redirect(307, beside.as_str()));
    hub.upstream.route(beside.clone(), Reply::ok(known["config.json"].bytes.clone()));
    let away = "/blobs/1?X-Signature=a%2Bb&Expires=9";
    let location = files.url(away).to_string();
    hub.upstream.route(hub.file(MODEL, commit, "model.bin"), Reply::redirect(302, location));
    let large = Reply::ok(known["model.bin"].bytes.clone()).etag("\"1\"");
    files.sequence(away, [large.clone().cut_after(2000), large]);
    let options = json!({ "models": [MODEL], "allowed_hosts": [files.address().to_string()] });
    let site = Site::new(&hub, &options).await;
    let report = site.sync().await;
    assert!(report.is_complete() && report.admitted == 1, "{report:?}");
    assert_eq!(hub.upstream.requests_to(&beside).len(), 1);
    let asked = files.requests_to(away);
    assert_eq!((asked.len(), asked[1].header("range")), (2, "bytes=2000-"), "{asked:#?}");
    assert!(asked.iter().all(|request| request.header("authorization").is_empty()), "{asked:#?}");
    // Clients are answered here, without a redirect.
    assert_eq!(site.get(&format!("{MODEL}/resolve/main/model.bin")).await.2, known["model.bin"].bytes);
}

/// Case 51: a Hub that says when it may be asked again is asked again then.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_asks_for_time_gets_it() {
    let hub = hub().await;
    let refs =
        json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": head(&hub) }] });
    let busy = Reply::status(429).header("ratelimit", "\"api\";r=0;t=2");
    hub.upstream.sequence(hub.api(MODEL, &["refs"]), [busy, Reply::ok(refs.to_string())]);
    let begun = std::time::Instant::now();
    let report = Site::new(&hub, &models()).await.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(hub.upstream.requests_to(&hub.api(MODEL, &["refs"])).len(), 2);
}
