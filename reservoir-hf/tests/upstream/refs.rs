//! Branches that move, commits that wait or are refused, and what is listed of them.

use http::{HeaderMap, Method};
use reservoir_core::{name::Actor, testing::upstream::Reply};
use serde_json::{Value, json};

use super::{
    MODEL, Site, head, hub, models,
    support::hub::{Hub, lfs, noise, regular},
};

/// Case 44: a branch that is forced elsewhere between two requests. What is fetched is fetched by commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_moves_mixes_nothing() {
    let mut hub = hub().await;
    let old = head(&hub);
    let new = hub.commit(
        MODEL,
        "Forced",
        [("config.json", regular("{\"new\": 1}")), ("model.bin", lfs(noise(5000, 2)))],
    );
    // The list of refs is old, the revision is old once, then everything is new.
    let old_refs = json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": old }] });
    let new_refs = json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": new }] });
    let json = |value: Value| Reply::ok(value.to_string());
    hub.upstream.sequence(hub.api(MODEL, &["refs"]), [json(new_refs.clone()), json(new_refs)]);
    let revisions = [json(json!({ "sha": old })), json(json!({ "sha": new }))];
    hub.upstream.sequence(hub.api(MODEL, &["revision", "main"]), revisions);
    let site = Site::new(&hub, &models()).await;
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], old.to_string());
    assert_eq!(site.get(&format!("{MODEL}/resolve/main/config.json")).await.2, b"{}");
    let asked = hub.upstream.requests();
    assert!(
        asked.iter().all(
            |request| !request.target.contains("/resolve/main") && !request.target.contains("/tree/main")
        )
    );
    assert!(!old_refs.is_null());

    // The next sync sees where it stands now; the old commit stays reachable by its id.
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], new.to_string());
    assert_eq!(site.get(&format!("{MODEL}/resolve/main/config.json")).await.2, b"{\"new\": 1}");
    assert_eq!(site.get(&format!("{MODEL}/resolve/{old}/config.json")).await.2, b"{}");
    let commits = site.json(&format!("api/models/{MODEL}/commits/main")).await;
    assert_eq!(commits.as_array().unwrap().len(), 2, "{commits}");

    // Forced back: the commit is known, and main is where the Hub says.
    hub.set_ref(MODEL, "refs/heads/main", old);
    site.sync().await;
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], old.to_string());
    let report = site.sync().await;
    assert_eq!((report.unchanged, report.published), (1, None), "{report:?}");
}

/// A newer commit that waits for a person does not take the branch away from the one that is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_stays_where_it_was_until_its_commit_is_let_in() {
    let mut hub = hub().await;
    let old = head(&hub);
    let site = Site::new(&hub, &models()).await;
    site.sync().await;
    let new = hub.commit(MODEL, "Spoilt", [("config.json", regular("{\"new\": 1}"))]);
    hub.upstream.route(hub.file(MODEL, new, "config.json"), Reply::ok("{\"bad\": 1}"));
    let report = site.sync().await;
    assert_eq!(report.failed.len(), 1, "{report:?}");
    assert_eq!(site.json(&format!("api/models/{MODEL}")).await["sha"], old.to_string());
}

/// What a person rejects is gone under every address; what other commits share with it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_commit_takes_no_shared_file_with_it() {
    let mut hub = Hub::start().await;
    let licence = || ("LICENSE", regular("the licence of both"));
    let bad = hub.commit("org/bad", "First", [licence(), ("model.bin", lfs(noise(3000, 1)))]);
    let good = hub.commit("org/good", "First", [licence()]);
    let site = Site::new(&hub, &json!({ "models": ["org/bad", "org/good"] })).await;
    assert!(site.sync().await.is_complete());
    let (artifact, revision) = ("org/bad".parse().unwrap(), bad.to_string().parse().unwrap());
    let name = "hub".parse().unwrap();
    site.engine.reject(&name, &artifact, &revision, Actor::policy(), "unsafe".into()).await.unwrap();
    for path in ["LICENSE", "model.bin"] {
        for base in ["", "@1"] {
            let uri = format!("/hub{base}/org/bad/resolve/{bad}/{path}").parse().unwrap();
            let answer = site.engine.respond(&Method::GET, &uri, &HeaderMap::new()).await;
            assert_eq!(answer.status, 403, "{base} {path}");
            assert_eq!(answer.headers["x-error-code"], "GatedRepo");
            assert!(answer.headers["x-error-message"].to_str().unwrap().contains("unsafe"));
        }
    }
    assert_eq!(site.get(&format!("org/good/resolve/{good}/LICENSE")).await.0, 200);
    let list = site.json("api/models").await;
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    // What it was is told.
    let tree = site.json(&format!("api/models/org/bad/tree/{bad}?expand=true")).await;
    let status = |item: &Value| item["securityFileStatus"]["status"] == "unsafe";
    assert_eq!(tree.as_array().unwrap().iter().filter(|item| status(item)).count(), 2, "{tree}");
    // A rollback to before does not bring it back.
    site.engine.rollback(&name, "1", Actor::policy()).await.unwrap();
    assert_eq!(site.get(&format!("org/bad/resolve/{bad}/LICENSE")).await.0, 403);
}

/// A ref is listed once its commit is here: each that is listed can be read.
#[tokio::test(flavor = "multi_thread")]
async fn refs_are_listed_with_their_commits() {
    let mut hub = Hub::start().await;
    let old = hub.commit(MODEL, "First", [("config.json", regular("{\"old\": 1}"))]);
    hub.set_ref(MODEL, "refs/tags/v1", old);
    hub.set_ref(MODEL, "refs/pr/1", old);
    let new = hub.commit(MODEL, "Second", [("config.json", regular("{}"))]);
    hub.set_ref(MODEL, "refs/tags/v2", new);
    let all = ["org/tiny", "org/tiny@v1", "org/tiny@refs/pr/1"];
    for (labels, tags, requests) in [(&all[..1], &["v2"][..], 0), (&all, &["v1", "v2"], 1)] {
        let site = Site::new(&hub, &json!({ "models": labels })).await;
        assert!(site.sync().await.is_complete());
        let refs = site.json(&format!("api/models/{MODEL}/refs?include_prs=1")).await;
        let names = |key: &str| -> Vec<&str> {
            refs[key].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
        };
        assert_eq!((names("branches"), names("tags")), (vec!["main"], tags.to_vec()), "{refs:#}");
        assert_eq!(names("pullRequests").len(), requests, "{refs:#}");
        for tag in ["v1", "v2"] {
            let (status, code, _) = site.get(&format!("{MODEL}/resolve/{tag}/config.json")).await;
            let expected = if tags.contains(&tag) { (200, "") } else { (404, "RevisionNotFound") };
            assert_eq!((status, code.as_str()), expected, "{tag}");
        }
    }
}
