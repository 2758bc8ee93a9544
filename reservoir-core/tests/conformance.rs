//! The suites for formats and scanners, run on what core itself has: the toy format and `integrity`.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::collections::BTreeMap;

use reservoir_core::{
    ecosystem::RepositoryConfig,
    gate::integrity::Integrity,
    testing::{
        ecosystem::{self, Fixture, GoodFile},
        scanner::{self, CleanFile},
        toy::{Toy, ToyRegistry},
    },
};
use serde_json::json;
use url::Url;

use self::world::{config, stock};

struct ToyFixture(ToyRegistry);

impl Fixture for ToyFixture {
    type Ecosystem = Toy;

    fn ecosystem(&self) -> Toy {
        Toy
    }

    fn repository(&self) -> RepositoryConfig {
        config("suite")
    }

    fn junk(&self) -> Vec<RepositoryConfig> {
        [json!("hammer"), json!(["ham mer"]), json!(["hammer=new"]), json!([7])]
            .map(|packages| {
                let mut junk = config("suite");
                junk.options.insert("packages".into(), packages);
                junk
            })
            .into()
    }

    fn registry(&self) -> Url {
        self.0.url()
    }

    fn files(&self) -> Vec<GoodFile> {
        stock()
            .into_iter()
            .map(|file| GoodFile {
                artifact: file.name.parse().unwrap(),
                revision: file.version.parse().unwrap(),
                path: file.path().parse().unwrap(),
                attributes: BTreeMap::new(),
                bytes: file.bytes.into(),
            })
            .collect()
    }

    fn pages(&self) -> Vec<String> {
        ["hammer", "nail", "iron"].map(|name| format!("list/{name}")).into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn toy() {
    let mut registry = ToyRegistry::start().await;
    for file in stock() {
        registry.offer(file);
    }
    ecosystem::suite(&ToyFixture(registry)).await;
}

#[tokio::test]
async fn integrity() {
    let file = stock().remove(0);
    let file = CleanFile {
        ecosystem: "toy".parse().unwrap(),
        artifact: file.name.parse().unwrap(),
        revision: file.version.parse().unwrap(),
        path: file.path().parse().unwrap(),
        bytes: file.bytes.into(),
    };
    scanner::suite(&Integrity, &file).await;
}
