//! Recording what registries offer.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use serde_json::Value;

use super::fixture::{Fixture, config, digest, found, offered};
use crate::{
    catalog::{DiscoveryOutcome, RevisionFilter},
    error::Error,
    lifecycle::{ArtifactLifecycle as _, Status},
};

/// The first discovery makes everything known; the same again changes nothing; a gone file stays.
pub async fn discovery_is_incremental(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let six = "six".parse().unwrap();
    assert_eq!(catalog.cursor(repository, &six).await.unwrap(), None);
    let both = found("six", &["1.0", "1.1"]);
    assert_eq!(
        fixture.discover(&both).await,
        DiscoveryOutcome { new_files: 2, ..DiscoveryOutcome::default() }
    );
    assert_eq!(catalog.cursor(repository, &six).await.unwrap(), Some(both.cursor.clone()));
    assert_eq!(fixture.discover(&both).await, DiscoveryOutcome::default());

    let file = fixture.file("six", "1.0").await;
    assert_eq!((file.size, file.sha256), (Some(10), Some(digest("six-1.0.whl"))));
    assert_eq!(file.registry.as_str(), "index");
    assert!(!file.gone && !file.admitted && file.blob.is_none());
    let history = catalog.history(file.revision).await.unwrap();
    assert_eq!((history.len(), history[0].to), (1, Status::Scanned));

    let outcome = fixture.discover(&found("six", &["1.1"])).await;
    assert_eq!(outcome.removed, [file.path]);
    assert!(fixture.file("six", "1.0").await.gone);
    assert!(fixture.discover(&found("six", &["1.1"])).await.removed.is_empty());
    let candidates = catalog.candidates(repository, &six).await.unwrap();
    assert!(candidates[0].files.is_empty(), "neither here nor there");
    assert_eq!(candidates[1].files.len(), 1);
    assert_eq!(fixture.discover(&both).await, DiscoveryOutcome::default());
    assert!(!fixture.file("six", "1.0").await.gone);

    catalog.missing(repository, &six).await.unwrap();
    assert_eq!(catalog.cursor(repository, &six).await.unwrap(), None);
    assert_eq!(catalog.artifact(repository, &six).await.unwrap().unwrap().revisions, 2);
}

/// Other bytes under a known name are an alarm, never an overwrite.
pub async fn a_changed_digest_is_an_alarm(url: &str) {
    let fixture = Fixture::open(url).await;
    fixture.discover(&found("six", &["1.0", "1.1"])).await;
    let before = fixture.file("six", "1.0").await;
    let mut forged = found("six", &["1.0", "1.1"]);
    forged.files[0].sha256 = Some(digest("forged"));
    forged.files[0].url = "https://evil.example.com/six.whl".parse().unwrap();
    forged.files[1].revision = "9.9".parse().unwrap();
    for _ in 0..2 {
        let outcome = fixture.discover(&forged).await;
        let rules: Vec<_> = outcome.alarms.iter().map(|alarm| alarm.rule.as_str()).collect();
        assert_eq!(rules, ["changed-digest", "changed-revision"]);
        assert_eq!(outcome.new_files, 0);
    }
    let after = fixture.file("six", "1.0").await;
    assert_eq!((after.sha256, after.url), (before.sha256, before.url));
    let kept = fixture.catalog.alarms(fixture.repository.id).await.unwrap();
    assert_eq!(kept.len(), 2, "the same alarm twice is one alarm");

    // A digest that was not claimed before is taken over.
    let mut unclaimed = found("seven", &["1.0"]);
    unclaimed.files[0].sha256 = None;
    fixture.discover(&unclaimed).await;
    assert!(fixture.discover(&found("seven", &["1.0"])).await.alarms.is_empty());
    assert_eq!(fixture.file("seven", "1.0").await.sha256, Some(digest("seven-1.0.whl")));
}

/// Two paths that one disk would confuse are not both let in, within an artifact and across artifacts.
pub async fn colliding_paths_are_alarms(url: &str) {
    let fixture = Fixture::open(url).await;
    let mut page = found("six", &["1.0"]);
    let mut twin = offered("six", "1.0");
    twin.path = "six/SIX-1.0.whl".parse().unwrap();
    page.files.push(twin.clone());
    page.files.push(page.files[0].clone());
    let outcome = fixture.discover(&page).await;
    assert_eq!(outcome.new_files, 1, "the same entry twice is one file");
    assert_eq!(outcome.alarms.len(), 1);
    assert_eq!(
        (outcome.alarms[0].rule.as_str(), &outcome.alarms[0].path),
        ("path-collision", &Some(twin.path.clone()))
    );

    let mut other = found("other", &["1.0"]);
    other.files.push(twin);
    let outcome = fixture.discover(&other).await;
    assert_eq!((outcome.new_files, outcome.alarms.len()), (1, 1));
    assert_eq!(outcome.alarms[0].rule, "path-collision");
    assert_eq!(fixture.file("six", "1.0").await.path.as_str(), "six/six-1.0.whl");
}

/// A yank changes the next snapshot if the revision is served, and only then.
pub async fn changed_facts_mark_what_is_served(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let mut page = found("six", &["1.0", "1.1"]);
    fixture.discover(&page).await;
    fixture.serve("six", "1.0").await;
    let mark = catalog.dirty_until(repository).await.unwrap().unwrap();
    page.files[1].attributes.insert("yanked".into(), Value::from("broken"));
    assert_eq!(fixture.discover(&page).await.changed, 1);
    assert_eq!(catalog.dirty_until(repository).await.unwrap(), Some(mark), "1.1 is not served");
    page.files[0].attributes.insert("yanked".into(), Value::from("broken"));
    assert_eq!(fixture.discover(&page).await.changed, 1);
    let yanked = catalog.dirty_until(repository).await.unwrap().unwrap();
    assert!(yanked > mark);
    assert_eq!(fixture.file("six", "1.0").await.attributes["yanked"], Value::from("broken"));
    page.attributes.insert("status".into(), Value::from("archived"));
    fixture.discover(&page).await;
    assert!(catalog.dirty_until(repository).await.unwrap().unwrap() > yanked);
}

/// What the registry withdraws stops being served in the same transaction, and does not come back by itself.
pub async fn quarantine_blocks(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let mut page = found("six", &["1.0", "1.1"]);
    fixture.discover(&page).await;
    fixture.serve("six", "1.0").await;
    let epoch = catalog.epoch().await.unwrap();
    page.quarantined = Some("malware".into());
    fixture.discover(&page).await;
    let blocked = fixture.revision("six", "1.0").await;
    assert_eq!(blocked.status, Status::Blocked);
    assert_eq!(fixture.revision("six", "1.1").await.status, Status::Scanned);
    let denials = catalog.denials(repository).await.unwrap();
    assert_eq!(denials.keys().collect::<Vec<_>>(), [&digest("six-1.0.whl")]);
    assert!(catalog.epoch().await.unwrap() > epoch);
    let row = catalog.artifact(repository, &page.artifact).await.unwrap().unwrap();
    assert_eq!(row.quarantined.as_deref(), Some("malware"));

    let lift = crate::lifecycle::Transition {
        revision: blocked.id,
        from: Status::Blocked,
        attempt: blocked.attempt,
        to: Status::Available,
        actor: fixture.actor.clone(),
        reason: "looks fine to me".into(),
    };
    let refused = catalog.transition(std::slice::from_ref(&lift), None).await.unwrap_err();
    assert!(matches!(refused, Error::Denied { .. }), "{refused:?}");
    page.quarantined = None;
    fixture.discover(&page).await;
    assert_eq!(fixture.revision("six", "1.0").await.status, Status::Blocked, "a person decides");
    catalog.transition(&[lift], None).await.unwrap();
    assert!(catalog.denials(repository).await.unwrap().is_empty());
}

/// Listing by name and by id goes on where it stopped.
pub async fn lists_are_paged(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    for artifact in ["b", "Z", "a-1", "a", "é"] {
        fixture.discover(&found(artifact, &["1", "2"])).await;
    }
    let mut names = Vec::new();
    loop {
        let rows = catalog.artifacts(repository, names.last(), 2).await.unwrap();
        if rows.is_empty() {
            break;
        }
        assert!(rows.iter().all(|row| row.revisions == 2));
        names.extend(rows.into_iter().map(|row| row.name));
    }
    assert_eq!(
        names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["Z", "a", "a-1", "b", "é"],
        "by bytes"
    );
    let mut ids = Vec::new();
    loop {
        let rows =
            catalog.revisions(repository, &RevisionFilter::default(), ids.last().copied(), 3).await.unwrap();
        if rows.is_empty() {
            break;
        }
        ids.extend(rows.into_iter().map(|row| row.id));
    }
    assert_eq!(ids.len(), 10);
    assert!(ids.is_sorted());
    fixture.serve("b", "2").await;
    let filter = RevisionFilter { status: Some(Status::Available), artifact: Some("b".parse().unwrap()) };
    let served = catalog.revisions(repository, &filter, None, 10).await.unwrap();
    assert_eq!(served.iter().map(|revision| revision.revision.as_str()).collect::<Vec<_>>(), ["2"]);
    let counts = catalog.count_by_status(repository).await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(Status::Scanned, 9), (Status::Available, 1)]);
}

/// The same names in another repository are other things.
pub async fn repositories_do_not_mix(url: &str) {
    let fixture = Fixture::open(url).await;
    let catalog = &fixture.catalog;
    catalog.put_repository(&config("other"), &fixture.actor).await.unwrap();
    let other = catalog.repository(&"other".parse().unwrap()).await.unwrap().id;
    let (page, index) = (found("six", &["1.0"]), "index".parse().unwrap());
    fixture.discover(&page).await;
    let outcome = catalog.record_discovery(other, &index, &page, &fixture.actor).await.unwrap();
    assert_eq!((outcome.new_files, outcome.alarms.len()), (1, 0));
    let served = fixture.serve("six", "1.0").await;
    fixture.go(&served, &[Status::Blocked]).await;
    assert_eq!(catalog.denials(fixture.repository.id).await.unwrap().len(), 1);
    assert!(catalog.denials(other).await.unwrap().is_empty());
    assert_eq!(catalog.dirty_until(other).await.unwrap(), None);
}
