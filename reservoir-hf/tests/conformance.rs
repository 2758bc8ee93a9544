//! The suite that every ecosystem runs, on models.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

use std::collections::BTreeMap;

use reservoir_core::{
    ecosystem::RepositoryConfig,
    path::ContentPath,
    testing::ecosystem::{self, Fixture, GoodFile},
};
use reservoir_hf::{Hf, name::ObjectId};
use serde_json::{Value, json};
use url::Url;

use self::support::hub::{Hub, lfs, noise, regular};

struct Models {
    hub: Hub,
    commits: Vec<(&'static str, ObjectId)>,
}

impl Models {
    async fn start() -> Self {
        let mut hub = Hub::start().await;
        let card = "---\nlicense: mit\n---\n# A model\n";
        let shared = regular("*.bin filter=lfs\n");
        let first = hub.commit(
            "org/first",
            "First",
            [
                (".gitattributes", shared.clone()),
                ("README.md", regular(card)),
                ("deep/er/model.bin", lfs(noise(3000, 1))),
            ],
        );
        let second = hub.commit(
            "org/second",
            "First",
            [(".gitattributes", shared), ("config.json", regular("{\"model_type\": \"bert\"}"))],
        );
        Self { hub, commits: vec![("org/first", first), ("org/second", second)] }
    }
}

fn config(options: &Value) -> RepositoryConfig {
    let config =
        json!({ "name": "suite", "ecosystem": "hf", "registries": ["upstream"], "options": options });
    serde_json::from_value(config).unwrap()
}

impl Fixture for Models {
    type Ecosystem = Hf;

    fn ecosystem(&self) -> Hf {
        Hf
    }

    fn repository(&self) -> RepositoryConfig {
        config(&json!({ "models": ["org/first", "org/second@main"] }))
    }

    fn junk(&self) -> Vec<RepositoryConfig> {
        [
            json!({ "models": "org/first" }),
            json!({ "models": ["../first"] }),
            json!({ "models": ["org/first@a..b"] }),
            json!({ "datasets": ["org/first@"] }),
            json!({ "models": ["org/first"], "allow_patterns": ["[a"] }),
            json!({ "packages": ["org/first"] }),
        ]
        .map(|options| config(&options))
        .into()
    }

    fn registry(&self) -> Url {
        self.hub.url()
    }

    fn files(&self) -> Vec<GoodFile> {
        let mut files = Vec::new();
        for (id, commit) in &self.commits {
            for (path, file) in &self.hub.get(id, *commit).files {
                let mut attributes = BTreeMap::from([("oid".to_owned(), json!(file.oid()))]);
                if file.lfs {
                    let pointer_size = file.listed(path)["lfs"]["pointerSize"].clone();
                    attributes.insert(
                        "lfs".to_owned(),
                        json!({ "sha256": file.sha256(), "pointer_size": pointer_size }),
                    );
                }
                files.push(GoodFile {
                    artifact: id.parse().unwrap(),
                    revision: commit.to_string().parse().unwrap(),
                    path: format!("models/{id}/{commit}/{path}").parse().unwrap(),
                    attributes,
                    bytes: file.bytes.clone().into(),
                });
            }
        }
        files
    }

    fn address(&self, path: &ContentPath) -> String {
        let mut parts = path.as_str().splitn(5, '/').skip(1);
        let mut part = || parts.next().unwrap();
        let (org, name, commit, path) = (part(), part(), part(), part());
        format!("{org}/{name}/resolve/{commit}/{path}")
    }

    fn pages(&self) -> Vec<String> {
        let mut pages = vec!["api/models".to_owned()];
        for (id, commit) in &self.commits {
            for rest in ["", "/refs", "/tree/main", &format!("/revision/{commit}"), "/commits/main"] {
                pages.push(format!("api/models/{id}{rest}"));
            }
        }
        pages
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models() {
    ecosystem::suite(&Models::start().await).await;
}
