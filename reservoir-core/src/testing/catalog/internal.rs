//! Names that belong to a repository because of an upload.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::fixture::{Fixture, blob, found};
use crate::{
    catalog::{ReceivedFile, ReceivedFiles},
    ecosystem::RepositoryConfig,
    lifecycle::Status,
    name::ArtifactName,
    path::ContentPath,
    snapshot::Edit,
};

/// The first upload of a name takes what registries offered under it out; a later one of the same path with other
/// bytes is refused.
pub async fn an_upload_makes_its_name_internal(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    fixture.discover(&found("six", &["1.0", "1.1"])).await;
    fixture.discover(&found("other", &["1.0"])).await;
    let (served, _) = (fixture.serve("six", "1.0").await, fixture.serve("other", "1.0").await);
    let names: [ArtifactName; 3] = ["six", "other", "unknown"].map(|name| name.parse().unwrap());
    assert!(catalog.internal(repository, &names).await.unwrap().is_empty());
    let mark = catalog.dirty_until(repository).await.unwrap().unwrap();

    let fence = fixture.fence("upload").await;
    let put = async |path: &str, text: &str| {
        let file = ReceivedFile {
            path: path.parse().unwrap(),
            blob: blob(text),
            attributes: BTreeMap::new(),
            is_metadata: false,
        };
        let (artifact, revision) = (names[0].clone(), "1.1".parse().unwrap());
        let group = ReceivedFiles { artifact, revision, files: vec![file] };
        let recorded = catalog.record_received(repository, &[group], &fixture.actor, Some(&fence)).await;
        recorded.unwrap().remove(0)
    };
    // Under the very path that a registry offered, too.
    put("six/six-1.1.whl", "ours").await.unwrap();
    assert_eq!(catalog.internal(repository, &names).await.unwrap(), [names[0].clone()].into());
    assert!(put("six/six-1.1.whl", "others").await.is_err());
    put("six/six-1.1.whl", "ours").await.unwrap();

    let candidates = catalog.candidates(repository, &names[0]).await.unwrap();
    let known: Vec<_> = candidates.iter().flat_map(|candidate| &candidate.files).collect();
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!(known[0].sha256, Some(blob("ours").sha256));
    assert_eq!(fixture.revision("six", "1.0").await.status, Status::Scanned);
    assert!(catalog.denials(repository).await.unwrap().is_empty(), "nobody decided anything");
    let now = catalog.dirty_until(repository).await.unwrap().unwrap();
    assert!(now > mark && served.status == Status::Available);
    let edits = catalog.dirty_edits(repository, now).try_collect::<Vec<_>>().await.unwrap();
    let gone: ContentPath = "six/six-1.0.whl".parse().unwrap();
    assert!(edits.iter().any(|edit| matches!(edit, Edit::Remove(path) if *path == gone)), "{edits:?}");
    assert_eq!(fixture.revision("other", "1.0").await.status, Status::Available);

    // What a registry says as long as the repository takes uploads, and what was on its way from one, changes nothing.
    let shadowed: ContentPath = "six/six-1.0.whl".parse().unwrap();
    let switch = async |hosted| {
        let config = RepositoryConfig { hosted, ..fixture.repository.config.clone() };
        assert!(catalog.put_repository(&config, &fixture.actor).await.unwrap());
    };
    switch(true).await;
    let late = fixture.discover(&found("six", &["1.0", "2.0"])).await;
    assert_eq!(late.new_files, 0);
    assert_eq!(catalog.candidates(repository, &names[0]).await.unwrap(), candidates);
    assert!(catalog.file_at(repository, &shadowed).await.unwrap().is_none());
    assert!(catalog.files_at(repository, std::slice::from_ref(&shadowed)).await.unwrap().is_empty());
    let revision = fixture.revision("six", "1.0").await;
    let files = catalog.files(revision.id).await.unwrap();
    let refused = catalog.store_file(files[0].id, &blob("theirs"), None).await;
    assert!(matches!(refused, Err(crate::Error::Denied { .. })), "{refused:?}");
    // And afterwards the names are given back.
    switch(false).await;
    assert_eq!(fixture.discover(&found("six", &["1.0", "2.0"])).await.new_files, 1);
    assert!(catalog.file_at(repository, &shadowed).await.unwrap().is_some());
}

/// What came with the metadata of a revision is told by where the revision stands, and outlives a cleanup.
pub async fn metadata_is_told_by_status(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let fence = fixture.fence("upload").await;
    let [six, other]: [ArtifactName; 2] = ["six", "other"].map(|name| name.parse().unwrap());
    for artifact in [&six, &other] {
        let file = |path: String, is_metadata| ReceivedFile {
            blob: blob(&path),
            path: path.parse().unwrap(),
            attributes: BTreeMap::from([("a".to_owned(), 1.into())]),
            is_metadata,
        };
        let files = vec![file(format!("{artifact}/record"), true), file(format!("{artifact}/file"), false)];
        let group = ReceivedFiles { artifact: artifact.clone(), revision: "1.0".parse().unwrap(), files };
        let recorded = catalog.record_received(repository, &[group], &fixture.actor, Some(&fence)).await;
        recorded.unwrap().remove(0).unwrap();
    }
    let standing = async |artifact: Option<&ArtifactName>, statuses: &[Status]| {
        let entries = catalog.metadata(repository, artifact, statuses).await.unwrap();
        entries.into_iter().map(|known| known.entry.path.to_string()).collect::<Vec<_>>()
    };
    let steps = [Status::Pulling, Status::Pulled, Status::Verifying, Status::NeedsApproval];
    let revision = fixture.revision("six", "1.0").await;
    let all = standing(None, &Status::ALL).await;
    assert_eq!(all, ["other/record", "six/record"]);
    let waits = fixture.go(&revision, &steps).await;
    assert_eq!(standing(Some(&six), &steps).await, ["six/record"]);
    fixture.go(&waits, &[Status::Rejected]).await;
    assert!(standing(Some(&six), &steps).await.is_empty());
    assert_eq!(standing(None, &Status::REFUSED).await, ["six/record"]);
    let refused = fixture.revision("six", "1.0").await;
    fixture.go(&refused, &[Status::Scanned]).await;
    catalog.clear_files(revision.id, &fixture.actor).await.unwrap();
    let known = catalog.metadata(repository, Some(&six), &Status::ALL).await.unwrap().remove(0);
    assert_eq!((known.status, known.is_unpublished), (Status::Scanned, true));
    assert_eq!((known.entry.blob, known.entry.artifact), (blob("six/record"), Some(six)));
    assert_eq!(known.entry.attributes["a"], 1);
    let mark = catalog.dirty_until(repository).await.unwrap().unwrap();
    catalog.settle(repository, mark, &fence).await.unwrap();
    assert!(!catalog.metadata(repository, None, &[Status::Scanned]).await.unwrap()[1].is_unpublished);
}
