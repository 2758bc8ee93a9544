//! What cards and file names say, shown and searched.

use reservoir_core::lifecycle::Status;
use serde_json::json;

use super::{
    MODEL, Site, models,
    support::hub::{Hub, lfs, regular},
};

/// The card is kept with the file that has it, and shown.
#[tokio::test(flavor = "multi_thread")]
async fn the_card_is_read_and_shown() {
    let mut hub = Hub::start().await;
    let card = "---\nlicense: mit\ntags: [a]\nmodel-index:\n- name: x\n  results: [{metrics: [{value: 0.25}]}]\n---\n";
    let commit = hub.commit(MODEL, "First", [("README.md", regular(card))]);
    let site = Site::new(&hub, &models()).await;
    site.sync().await;
    let info = site.json(&format!("api/models/{MODEL}")).await;
    assert_eq!(info["cardData"]["model-index"][0]["results"][0]["metrics"][0]["value"], 0.25);
    assert_eq!(info["tags"], json!(["a", "license:mit", "model-index"]));
    let repository = site.engine.catalog().repository(&"hub".parse().unwrap()).await.unwrap();
    let candidates = site.engine.catalog().candidates(repository.id, &MODEL.parse().unwrap()).await.unwrap();
    assert_eq!(candidates[0].status, Status::Available);
    let readme = candidates[0].files.iter().find(|file| file.path.file_name() == "README.md").unwrap();
    assert_eq!(readme.inspection.as_ref().unwrap().attributes["license"], json!(["mit"]));
    assert_eq!(candidates[0].revision.as_str(), commit.to_string());
}

/// What cards say is searched and filtered by, as the Hub writes its tags.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_searched_and_filtered_by_what_cards_say() {
    let mut hub = Hub::start().await;
    let card = "---\nlicense: mit\ntags: [Tiny-Tag]\ndatasets: [org/rows]\nbase_model: org/base\nlanguage: [ko]\n\
                pipeline_tag: fill-mask\nlibrary_name: peft\nmodel-index:\n- name: x\n  results:\n  - task: {type: \
                sentiment}\n    dataset: {type: imdb, name: Movie Reviews}\n    metrics: [{type: accuracy, value: 0.5}]\n\
                ---\n";
    hub.commit("org/b", "First", [("README.md", regular(card))]);
    hub.commit("org/a", "First", [("README.md", regular("---\nlicense: apache-2.0\n---\n"))]);
    let site = Site::new(&hub, &json!({ "models": ["org/a", "org/b"] })).await;
    assert!(site.sync().await.is_complete());
    let ids = async |query: &str| -> Vec<String> {
        let found = site.json(&format!("api/models?{query}")).await;
        found.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    for query in [
        "filter=license:mit",
        "filter=dataset:org/rows&filter=base_model:org/base",
        "filter=license:mit,ko,fill-mask",
        "filter=language:ko",
        "filter=tiny-tag",
        "filter=model-index",
        "pipeline_tag=fill-mask",
        "filter=peft",
        "search=MIT",
        "search=fill-mask",
        "search=sentiment+imdb",
        "search=movie+accuracy+org",
        "search=org/b",
    ] {
        assert_eq!(ids(query).await, ["org/b"], "{query}");
    }
    for query in ["filter=license:gpl", "filter=mit", "search=license:mit+nobody", "filter=language:en"] {
        assert!(ids(query).await.is_empty(), "{query}");
    }
    // Nobody counts downloads here, or likes: all have none, and come by name.
    for sort in ["downloads", "likes", "trendingScore"] {
        assert_eq!(ids(&format!("sort={sort}&direction=-1")).await, ["org/a", "org/b"], "{sort}");
    }
}

/// Case 52: llama.cpp asks which file a tag means.
#[tokio::test(flavor = "multi_thread")]
async fn tags_name_gguf_files() {
    let mut hub = Hub::start().await;
    // No tensors, no keys.
    let gguf = || lfs([&b"GGUF\x03\0\0\0"[..], &[0; 16]].concat());
    let files = [
        "m-BF16-00001-of-00002.gguf",
        "m-BF16-00002-of-00002.gguf",
        "m-Q4_K_M.gguf",
        "m-Q8_0.gguf",
        "left-out-Q2_K.gguf",
        "mmproj-m-F16.gguf",
    ];
    hub.commit(MODEL, "First", files.map(|path| (path, gguf())));
    hub.commit("org/plain", "First", [("config.json", regular("{}"))]);
    let options = json!({ "models": [MODEL, "org/plain"], "ignore_patterns": ["left-out*"] });
    let site = Site::new(&hub, &options).await;
    assert!(site.sync().await.is_complete());
    for (tag, expected) in [
        ("latest", "m-Q4_K_M.gguf"),
        ("Q8_0", "m-Q8_0.gguf"),
        ("q4_k_m", "m-Q4_K_M.gguf"),
        ("BF16", "m-BF16-00001-of-00002.gguf"),
    ] {
        let found = site.json(&format!("v2/{MODEL}/manifests/{tag}")).await;
        assert_eq!(found["ggufFile"]["rfilename"], expected, "{tag}");
        assert_eq!(found["mmprojFile"]["rfilename"], "mmproj-m-F16.gguf");
    }
    for path in [format!("v2/{MODEL}/manifests/Q2_K"), "v2/org/plain/manifests/latest".to_owned()] {
        let (status, code, _) = site.get(&path).await;
        assert_eq!((status, code.as_str()), (404, "EntryNotFound"), "{path}");
    }
}
