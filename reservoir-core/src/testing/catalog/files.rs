//! Bytes, inspections, denials, verdicts and approvals.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use super::fixture::{Fixture, blob, digest, found};
use crate::{
    catalog::Approval,
    ecosystem::Inspection,
    error::{Error, ErrorKind},
    gate::Verdict,
    lifecycle::Status,
    store::Blob,
};

/// Bytes are taken only under the digest the registry claimed; new bytes lose what was found in old ones.
pub async fn files_are_stored_inspected_and_admitted(url: &str) {
    let fixture = Fixture::open(url).await;
    let catalog = &fixture.catalog;
    let mut page = found("six", &["1.0"]);
    page.files[0].sha256 = None;
    fixture.discover(&page).await;
    let file = fixture.file("six", "1.0").await;
    let inspection = Inspection { labels: vec!["needs-build".into()], ..Inspection::default() };
    let early = catalog.inspected_file(file.id, &inspection, &[], None).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Invalid);

    let metadata = ("six/six-1.0.whl.metadata".parse().unwrap(), blob("metadata"));
    catalog.store_file(file.id, &blob("first"), None).await.unwrap();
    let judged = [blob("first").sha256];
    assert_eq!(catalog.admit_files(file.revision, &judged, None).await.unwrap(), 0, "not inspected yet");
    catalog.inspected_file(file.id, &inspection, std::slice::from_ref(&metadata), None).await.unwrap();
    catalog.want_files(&[file.id]).await.unwrap();
    let other = [blob("second").sha256];
    assert_eq!(catalog.admit_files(file.revision, &other, None).await.unwrap(), 0, "other bytes were judged");
    assert_eq!(catalog.admit_files(file.revision, &judged, None).await.unwrap(), 1);
    assert_eq!(catalog.admit_files(file.revision, &judged, None).await.unwrap(), 0);
    let stored = fixture.file("six", "1.0").await;
    assert_eq!((stored.blob, stored.inspection), (Some(blob("first")), Some(inspection.clone())));
    assert_eq!(stored.derived, [metadata]);
    assert!(stored.admitted && stored.wanted);

    catalog.store_file(file.id, &blob("first"), None).await.unwrap();
    assert!(fixture.file("six", "1.0").await.admitted, "the same bytes again");
    catalog.store_file(file.id, &blob("second"), None).await.unwrap();
    let replaced = fixture.file("six", "1.0").await;
    assert!(!replaced.admitted && replaced.inspection.is_none() && replaced.derived.is_empty());

    fixture.discover(&found("seven", &["1.0"])).await;
    let claimed = fixture.file("seven", "1.0").await;
    let wrong = catalog.store_file(claimed.id, &blob("other"), None).await.unwrap_err();
    assert!(matches!(wrong, Error::Integrity { .. }), "{wrong:?}");
    assert_eq!(fixture.file("seven", "1.0").await.blob, None);
}

/// Leaving AVAILABLE denies the file and what was taken out of it; entering it lifts that; cleanup needs both
/// out of the way. What is referenced is listed in order.
pub async fn denials_follow_the_status(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    fixture.discover(&found("six", &["1.0", "1.1"])).await;
    let served = fixture.serve("six", "1.0").await;
    let file = fixture.file("six", "1.0").await;
    let metadata = ("six/six-1.0.whl.metadata".parse().unwrap(), blob("metadata"));
    catalog.inspected_file(file.id, &Inspection::default(), &[metadata], None).await.unwrap();
    assert!(catalog.denials(repository).await.unwrap().is_empty());
    let cleared = catalog.clear_files(served.id, &fixture.actor).await.unwrap_err();
    assert!(matches!(cleared, Error::InvalidState { .. }), "{cleared:?}");

    let blocked = fixture.go(&served, &[Status::Blocked]).await;
    let denials = catalog.denials(repository).await.unwrap();
    assert_eq!(denials.len(), 2);
    assert_eq!(denials[&digest("metadata")], "test wants BLOCKED");
    fixture.go(&blocked, &[Status::Available]).await;
    assert!(catalog.denials(repository).await.unwrap().is_empty());

    fixture.serve("six", "1.1").await;
    let mut expected = vec![digest("six-1.0.whl"), digest("six-1.1.whl"), digest("metadata")];
    expected.sort_unstable();
    assert_eq!(catalog.referenced_blobs(None, 10).await.unwrap(), expected);
    assert_eq!(catalog.referenced_blobs(None, 2).await.unwrap(), expected[..2]);
    assert_eq!(catalog.referenced_blobs(Some(expected[1]), 2).await.unwrap(), expected[2..]);

    let gone = fixture.go(&fixture.revision("six", "1.0").await, &[Status::Scanned]).await;
    assert_eq!(catalog.denials(repository).await.unwrap().len(), 2);
    catalog.clear_files(gone.id, &fixture.actor).await.unwrap();
    let file = fixture.file("six", "1.0").await;
    assert!(file.blob.is_none() && !file.admitted && file.sha256.is_some());
    assert_eq!(catalog.referenced_blobs(None, 10).await.unwrap(), [digest("six-1.1.whl")]);
    assert_eq!(catalog.denials(repository).await.unwrap().len(), 2, "old snapshots still have it");
}

/// Verdicts are kept by blob, scanner and rules.
pub async fn verdicts_are_kept_by_rules(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, bytes) = (&fixture.catalog, digest("bytes"));
    catalog.put_verdict(&bytes, "clamav", "1", &Verdict::Clean).await.unwrap();
    let finding = Verdict::Finding { rule: "eicar".into(), detail: "in `a`\0".into() };
    catalog.put_verdict(&bytes, "clamav", "2", &finding).await.unwrap();
    assert_eq!(catalog.verdict(&bytes, "clamav", "1").await.unwrap(), Some(Verdict::Clean));
    assert_eq!(catalog.verdict(&bytes, "clamav", "2").await.unwrap(), Some(finding));
    assert_eq!(catalog.verdict(&bytes, "clamav", "3").await.unwrap(), None);
    assert_eq!(catalog.verdict(&digest("others"), "clamav", "1").await.unwrap(), None);
    assert_eq!(catalog.verdicts(&bytes).await.unwrap().len(), 2);
}

/// Decisions of persons are kept in order, with the bytes they were about, and in the audit log.
pub async fn approvals_are_kept(url: &str) {
    let fixture = Fixture::open(url).await;
    let catalog = &fixture.catalog;
    fixture.discover(&found("six", &["1.0"])).await;
    let revision = fixture.revision("six", "1.0").await.id;
    let mut approval = Approval {
        revision,
        decision: false,
        actor: "alice".parse().unwrap(),
        reason: "not yet\0".into(),
        digests: vec![digest("six-1.0.whl")],
        at: fixture.clock.now(),
    };
    catalog.put_approval(&approval).await.unwrap();
    approval.decision = true;
    catalog.put_approval(&approval).await.unwrap();
    let kept = catalog.approvals(revision).await.unwrap();
    assert_eq!(kept.iter().map(|approval| approval.decision).collect::<Vec<_>>(), [false, true]);
    assert_eq!(kept[1].digests, approval.digests);
    let audit = catalog.audit(0, 100).await.unwrap();
    let last = audit.last().unwrap();
    assert_eq!(
        (last.actor.as_str(), last.action.as_str(), last.subject.as_str()),
        ("alice", "revision.approval", "six@1.0")
    );
    assert_eq!(Blob { size: 10, ..blob("x") }, blob("x"));
}
