//! The suite that every ecosystem runs, on Python packages.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod support;

use std::collections::BTreeMap;

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use reservoir_core::{
    digest::Sha256Digest,
    ecosystem::RepositoryConfig,
    path::ContentPath,
    testing::{
        ecosystem::{self, Fixture, GoodFile},
        upstream::{Reply, Upstream},
    },
};
use reservoir_pypi::Pypi;
use serde_json::{Value, json};
use url::Url;

use self::support::dist::Wheel;

struct Index {
    upstream: Upstream,
    files: Vec<GoodFile>,
}

/// Three wheels of one project: a project that lost its last file stays listed, with an empty page, while the
/// suite wants an index to forget what it never heard of.
fn files() -> Vec<GoodFile> {
    [("alpha", "1.0"), ("alpha", "1.1"), ("alpha", "2.0")]
        .map(|(name, version)| GoodFile {
            artifact: name.parse().unwrap(),
            revision: version.parse().unwrap(),
            path: format!("{name}/{name}-{version}-py3-none-any.whl").parse().unwrap(),
            attributes: BTreeMap::new(),
            bytes: Wheel::new(name, version).build().into(),
        })
        .into()
}

impl Index {
    async fn start() -> Self {
        let upstream = Upstream::start().await;
        let files = files();
        let mut links = Vec::new();
        for file in &files {
            let (file_name, sha256) = (file.path.file_name(), Sha256Digest::of(&file.bytes));
            links.push(format!("<a href=\"/files/{file_name}#sha256={sha256}\">{file_name}</a>"));
            upstream.route(format!("/files/{file_name}"), Reply::ok(file.bytes.clone()));
        }
        let links = links.join("\n");
        let page = Reply::ok(format!("<!DOCTYPE html><html><body>{links}</body></html>"));
        upstream.route("/simple/alpha/", page.content_type("text/html"));
        Self { upstream, files }
    }
}

fn config(options: &Value) -> RepositoryConfig {
    let config =
        json!({ "name": "suite", "ecosystem": "pypi", "registries": ["upstream"], "options": options });
    serde_json::from_value(config).unwrap()
}

impl Fixture for Index {
    type Ecosystem = Pypi;

    fn ecosystem(&self) -> Pypi {
        Pypi
    }

    fn repository(&self) -> RepositoryConfig {
        config(&json!({ "packages": ["alpha"], "whole": true }))
    }

    fn junk(&self) -> Vec<RepositoryConfig> {
        [
            json!({ "packages": "alpha" }),
            json!({ "packages": ["alpha == "] }),
            json!({ "packages": ["../alpha"] }),
            json!({ "packages": ["alpha"], "targets": [{ "python": "three", "platform": "any" }] }),
            json!({ "packages": ["alpha"], "newest": 0 }),
        ]
        .map(|options| config(&options))
        .into()
    }

    fn registry(&self) -> Url {
        self.upstream.url("/simple/")
    }

    fn files(&self) -> Vec<GoodFile> {
        self.files.clone()
    }

    /// The layout of the Python index: by the BLAKE2b-256 digest of the bytes.
    fn address(&self, path: &ContentPath) -> String {
        let wheel = path.as_str().strip_suffix(".metadata").unwrap_or(path.as_str());
        let file = self.files.iter().find(|file| file.path.as_str() == wheel).unwrap();
        // The same 32 bytes, written the same way as any other digest.
        let hex = Sha256Digest::from_bytes(Blake2b::<U32>::digest(&file.bytes).into()).to_string();
        format!("packages/{}/{}/{}/{}", &hex[..2], &hex[2..4], &hex[4..], path.file_name())
    }

    fn pages(&self) -> Vec<String> {
        ["simple/", "simple/alpha/"].map(str::to_owned).into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_packages() {
    ecosystem::suite(&Index::start().await).await;
}
