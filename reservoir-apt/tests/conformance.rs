//! The suite that every ecosystem runs, on a curated suite of packages.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

use std::collections::BTreeMap;

use reservoir_apt::Apt;
use reservoir_core::{
    clock::Timestamp,
    ecosystem::RepositoryConfig,
    openpgp::{Signer, SigningKey},
    testing::{
        ecosystem::{self, Fixture, GoodFile},
        upstream::{Reply, Upstream},
    },
};
use serde_json::{Value, json};
use url::Url;

use self::support::{
    archive::{SuiteFiles, path},
    deb::Deb,
};

struct Archive {
    upstream: Upstream,
    files: Vec<GoodFile>,
    /// Keys: what the archive signs with, for those who check it, and our own.
    keys: tempfile::TempDir,
}

impl Archive {
    async fn start() -> Self {
        let upstream = Upstream::start().await;
        let keys = tempfile::tempdir().unwrap();
        let theirs = Signer::from(SigningKey::generate("Archive <archive@example.com>").unwrap());
        std::fs::write(keys.path().join("theirs.asc"), theirs.armored_public().unwrap()).unwrap();
        SigningKey::generate("Mirror <mirror@example.com>")
            .unwrap()
            .save(keys.path().join("ours.asc"))
            .unwrap();

        let debs = [
            Deb::new("hello", "2.10-3", "amd64"),
            Deb::new("jq", "1.6-2.1", "amd64").field("Depends", "common"),
            Deb::new("common", "1:1.0", "all"),
        ];
        let (mut files, mut stanzas) = (Vec::new(), Vec::new());
        for deb in debs {
            let bytes = deb.build();
            let stanza = deb.stanza(&deb.pool(), &bytes);
            upstream.route(format!("/debian/{}", deb.pool()), Reply::ok(bytes.clone()));
            files.push(GoodFile {
                artifact: deb.name.parse().unwrap(),
                revision: format!("{}:{}", deb.version, deb.architecture).parse().unwrap(),
                path: deb.pool().parse().unwrap(),
                attributes: BTreeMap::from([("stanzas".to_owned(), json!({ "stable/main": stanza }))]),
                bytes: bytes.into(),
            });
            stanzas.push(stanza);
        }
        let suite = SuiteFiles::new("stable", -1).packages(&stanzas);
        let signed = theirs.clearsign(&suite.release(), Timestamp::now()).unwrap();
        upstream.route(path("", &suite, "InRelease"), Reply::ok(signed));
        for (file, bytes) in &suite.files {
            upstream.route(path("", &suite, file), Reply::ok(bytes.clone()));
        }
        Self { upstream, files, keys }
    }
}

fn config(options: &Value) -> RepositoryConfig {
    let config =
        json!({ "name": "suite", "ecosystem": "apt", "registries": ["upstream"], "options": options });
    serde_json::from_value(config).unwrap()
}

impl Fixture for Archive {
    type Ecosystem = Apt;

    fn ecosystem(&self) -> Apt {
        Apt
    }

    fn repository(&self) -> RepositoryConfig {
        config(&json!({ "suites": ["stable"], "components": ["main"], "architectures": ["amd64"] }))
    }

    fn junk(&self) -> Vec<RepositoryConfig> {
        [
            json!({}),
            json!({ "suites": "stable" }),
            json!({ "suites": ["../stable"] }),
            json!({ "suites": ["stable"], "architectures": ["am d64"] }),
            json!({ "suites": ["stable"], "newest": 0 }),
            json!({ "suites": ["stable"], "packages": ["jq ("] }),
            json!({ "suites": ["stable"], "valid_for": "1s" }),
            json!({ "suits": ["stable"] }),
        ]
        .map(|options| config(&options))
        .into()
    }

    fn registry(&self) -> Url {
        self.upstream.url("/debian/")
    }

    fn registry_options(&self) -> BTreeMap<String, Value> {
        let keyring = self.keys.path().join("theirs.asc").display().to_string();
        BTreeMap::from([("keyring".to_owned(), keyring.into())])
    }

    fn signer(&self) -> Option<Signer> {
        Some(Signer::from(SigningKey::load(self.keys.path().join("ours.asc")).unwrap()))
    }

    fn files(&self) -> Vec<GoodFile> {
        self.files.clone()
    }

    fn pages(&self) -> Vec<String> {
        ["InRelease", "Release", "Release.gpg", "main/binary-amd64/Packages.gz"]
            .map(|page| format!("dists/stable/{page}"))
            .into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packages() {
    ecosystem::suite(&Archive::start().await).await;
}
