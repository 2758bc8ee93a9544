//! The real thing: a handful of packages from the archive that this machine's apt is configured with, under the keys
//! that it trusts, and nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Instant;

use reservoir_apt::name::Suite;
use reservoir_core::lifecycle::{ArtifactLifecycle as _, Status};
use serde_json::json;

use self::support::archive::engine_in;

/// The suite and component that this machine's apt reads first.
fn configured() -> (String, String) {
    let output = std::process::Command::new("apt-get")
        .args(["indextargets", "--format", "$(CODENAME) $(COMPONENT)", "Created-By: Packages"])
        .output()
        .expect("a Debian or Ubuntu machine is needed");
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.lines().next().expect("apt has an archive").split(' ').collect();
    (words[0].to_owned(), words[1].to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_packages_from_the_archive_of_this_machine() {
    let (suite, component) = configured();
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_in(folder.path()).await.build().unwrap();
    let catalog = engine.catalog();
    let actor = "ann".parse().unwrap();
    let registry = json!({ "name": "debian", "ecosystem": "apt", "url": null });
    catalog.put_registry(&serde_json::from_value(registry).unwrap(), &actor).await.unwrap();
    let repository = json!({
        "name": "debian", "ecosystem": "apt", "registries": ["debian"], "publish": "manual",
        "options": { "suites": [suite], "components": [component], "packages": ["hello", "jq (>= 1.5)", "tzdata"] },
    });
    catalog.put_repository(&serde_json::from_value(repository).unwrap(), &actor).await.unwrap();
    let name = "debian".parse().unwrap();
    let sync = async || engine.sync(&name, actor.clone()).await.unwrap().wait().await.unwrap();

    let start = Instant::now();
    let first = sync().await;
    eprintln!("first sync: {:?}, {} files known", start.elapsed(), first.new_files);
    assert!(first.is_complete(), "{first:#?}");
    assert!(first.new_files > 1000, "{first:#?}");
    let repository = catalog.repository(&name).await.unwrap();
    for artifact in ["hello", "jq", "tzdata", Suite::to_artifact(&suite.parse().unwrap()).as_str()] {
        let artifact = artifact.parse().unwrap();
        let candidates = catalog.candidates(repository.id, &artifact).await.unwrap();
        let available: Vec<_> =
            candidates.iter().filter(|candidate| candidate.status == Status::Available).collect();
        assert_eq!(available.len(), 1, "{artifact}: {candidates:#?}");
        catalog.revision(available[0].id).await.unwrap();
    }
    let start = Instant::now();
    let second = sync().await;
    eprintln!("second sync: {:?}", start.elapsed());
    assert_eq!((second.asked, second.unchanged, second.new_files, second.fetched_files), (1, 1, 0, 0));
    assert!(start.elapsed().as_secs() < 5);
}
