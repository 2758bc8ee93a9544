//! What a repository needs of others, and what of it is taken.

use reservoir_core::testing::upstream::Reply;
use serde_json::json;

use super::{
    MODEL, Site, hub,
    support::hub::{Hub, lfs, noise, regular, safetensors},
};

/// Files that the patterns leave out stay listed, and are told as missing.
#[tokio::test(flavor = "multi_thread")]
async fn patterns_leave_files_out_and_listed() {
    let hub = hub().await;
    let site = Site::new(&hub, &json!({ "models": [MODEL], "allow_patterns": ["*.json"] })).await;
    let report = site.sync().await;
    assert_eq!(report.fetched_files, 1, "{report:?}");
    let info = site.json(&format!("api/models/{MODEL}?blobs=true")).await;
    assert_eq!(info["siblings"].as_array().unwrap().len(), 2);
    let (status, code, _) = site.get(&format!("{MODEL}/resolve/main/model.bin")).await;
    assert_eq!((status, code.as_str()), (404, "EntryNotFound"));
}

/// What a model needs elsewhere is pulled when asked for, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn needed_repositories_are_followed() {
    let mut hub = Hub::start().await;
    let adapter = "{\"base_model_name_or_path\": \"org/base\"}";
    let config = "{\"auto_map\": {\"AutoModel\": \"org/code--modeling.Model\"}}";
    let old = "{\"base_model_name_or_path\": \"gpt2\"}";
    hub.commit("org/adapter", "First", [("adapter_config.json", regular(adapter))]);
    hub.commit("org/old", "First", [("adapter_config.json", regular(old))]);
    hub.commit("gpt2", "First", [("config.json", regular("{}"))]);
    hub.commit("org/base", "First", [("config.json", regular(config))]);
    hub.commit("org/code", "First", [("modeling.py", regular("x = 1\n"))]);
    for (dependencies, count) in [(false, 2), (true, 5)] {
        let options = json!({ "models": ["org/adapter", "org/old"], "dependencies": dependencies });
        let site = Site::new(&hub, &options).await;
        let report = site.sync().await;
        assert!(report.is_complete(), "{report:?}");
        let list = site.json("api/models").await;
        assert_eq!(list.as_array().unwrap().len(), count, "{list}");
    }
}

/// A revision of a repository that is known already, but not at that revision: what needs it is met later in the sync.
#[tokio::test(flavor = "multi_thread")]
async fn another_revision_of_the_same_repository_is_followed() {
    let mut hub = Hub::start().await;
    let old = hub.commit("org/base", "First", [("config.json", regular("{\"old\": 1}"))]);
    hub.set_ref("org/base", "refs/tags/v1", old);
    let new = hub.commit("org/base", "Second", [("config.json", regular("{\"new\": 1}"))]);
    let adapter = "{\"base_model_name_or_path\": \"org/base\", \"revision\": \"v1\"}";
    hub.commit("org/adapter", "First", [("adapter_config.json", regular(adapter))]);
    let options = json!({ "models": ["org/base@main", "org/adapter"], "dependencies": true });
    let site = Site::new(&hub, &options).await;
    let report = site.sync().await;
    assert!(report.is_complete() && report.admitted == 3, "{report:?}");
    for (label, commit) in [("main", new), ("v1", old)] {
        let info = site.json(&format!("api/models/org/base/revision/{label}")).await;
        assert_eq!(info["sha"], commit.to_string(), "{label}");
        assert_eq!(site.get(&format!("org/base/resolve/{label}/config.json")).await.0, 200, "{label}");
    }
    // Nothing moved: nothing is read again, and nothing is published.
    let trees =
        |hub: &Hub| hub.upstream.requests().iter().filter(|one| one.target.contains("/tree/")).count();
    let read = trees(&hub);
    let report = site.sync().await;
    assert!(report.is_complete() && report.published.is_none(), "{report:?}");
    assert_eq!(trees(&hub), read);
    // The tag moves; what is found so late is followed as well, and the branch is not touched.
    hub.set_ref("org/base", "refs/tags/v1", new);
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(trees(&hub), read + 1, "the one to which something else points now");
    let refs = site.json("api/models/org/base/refs").await;
    assert_eq!(
        (&refs["branches"][0]["targetCommit"], &refs["tags"][0]["targetCommit"]),
        (&json!(new), &json!(new))
    );
}

/// A model without a tokenizer brings the one of its base, and of the base nothing else; a named one is found too.
#[tokio::test(flavor = "multi_thread")]
async fn a_tokenizer_is_brought_without_the_model_around_it() {
    let mut hub = Hub::start().await;
    let weights = || lfs(safetensors(&noise(3000, 1)));
    let base = [
        ("README.md", regular("# Base\n")),
        ("config.json", regular("{}")),
        ("model.safetensors", weights()),
        ("tokenizer.json", regular("{}")),
    ];
    hub.commit("org/base", "First", base.clone());
    hub.commit("org/words", "First", base);
    let card = "---\nbase_model: org/base\n---\n";
    hub.commit(
        "org/tuned",
        "First",
        [("README.md", regular(card)), ("config.json", regular("{}")), ("model.safetensors", weights())],
    );
    let config = "{\"model_cfg\": {\"text_cfg\": {\"hf_tokenizer_name\": \"org/words\"}}}";
    hub.commit("org/clip", "First", [("open_clip_config.json", regular(config))]);
    let options = json!({ "models": ["org/tuned", "org/clip"], "dependencies": true });
    let site = Site::new(&hub, &options).await;
    let report = site.sync().await;
    assert!(report.is_complete(), "{report:?}");
    for repo in ["org/base", "org/words"] {
        for (path, status) in [("tokenizer.json", 200), ("config.json", 200), ("model.safetensors", 404)] {
            assert_eq!(site.get(&format!("{repo}/resolve/main/{path}")).await.0, status, "{repo} {path}");
        }
    }
    // Later the whole of it.
    let both = json!({ "models": ["org/tuned", "org/base"], "dependencies": true });
    let site = Site::new(&hub, &both).await;
    assert!(site.sync().await.is_complete());
    assert_eq!(site.get("org/base/resolve/main/model.safetensors").await.0, 200);
}

/// A private, gated or unknown repository is said so; the rest is mirrored.
#[tokio::test(flavor = "multi_thread")]
async fn one_refused_repository_spoils_no_other() {
    let mut hub = hub().await;
    hub.commit("org/gated", "First", [("config.json", regular("{}"))]);
    hub.upstream.route(hub.api("org/gated", &["refs"]), Reply::status(403));
    let site =
        Site::new(&hub, &json!({ "models": ["org/gated", MODEL, "org/unknown", "org/tiny@nowhere"] })).await;
    let report = site.sync().await;
    assert!(report.alarms.iter().any(|alarm| alarm.contains("gated")), "{report:?}");
    assert!(report.missing.iter().any(|missing| missing.contains("org/unknown")), "{report:?}");
    assert!(!format!("{report:?}").contains("the-token"));
}
