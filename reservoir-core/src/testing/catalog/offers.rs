//! Recording what indexes offer.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use super::fixture::{Fixture, digest, found};
use crate::{
    catalog::{DiscoveryOutcome, Part, Seen},
    ecosystem::{Cursor, DiscoveredArtifact, DiscoveredFile},
};

fn part(registry: &str, name: &str) -> Part {
    Part { registry: registry.parse().unwrap(), name: name.to_owned() }
}

fn listed(artifact: &str, revisions: &[&str], by: &str) -> DiscoveredArtifact {
    let mut unit = found(artifact, revisions);
    unit.cursor = Cursor::default();
    unit.attributes.clear();
    for file in &mut unit.files {
        file.attributes.insert("lists".into(), json!({ by: "x" }));
    }
    unit
}

/// Records a part in full.
async fn record(fixture: &Fixture, part: &Part, units: &[DiscoveredArtifact]) -> (DiscoveryOutcome, u64) {
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let mut seen = Seen::default();
    let outcome = catalog
        .record_offers(repository, part, units, &HashMap::new(), &mut seen, &fixture.actor)
        .await
        .unwrap();
    let gone = catalog.end_part(repository, part, &seen, &fixture.actor).await.unwrap();
    (outcome, gone)
}

/// What several indexes and registries say of one file adds up; it stays while one of them offers it.
pub async fn offers_add_up_by_part(url: &str) {
    let fixture = Fixture::open(url).await;
    let (one, two) = (part("index", "one"), part("index", "two"));
    let other = part("other", "one");
    let nothing = (DiscoveryOutcome::default(), 0);
    let first = [listed("six", &["1.0", "1.1"], "a"), listed("seven", &["1.0"], "a")];
    assert_eq!(record(&fixture, &one, &first).await.0.new_files, 3);
    assert_eq!(record(&fixture, &one, &first).await, nothing);

    // Units may be as small as one likes, and come in any order.
    let split = [listed("six", &["1.1"], "a"), listed("seven", &["1.0"], "a"), listed("six", &["1.0"], "a")];
    assert_eq!(record(&fixture, &one, &split).await, nothing);

    let lists = async |revision: &str| fixture.file("six", revision).await.attributes["lists"].clone();
    assert_eq!(record(&fixture, &two, &[listed("six", &["1.0"], "b")]).await.0.changed, 1);
    assert_eq!(record(&fixture, &other, &[listed("six", &["1.0"], "c")]).await.0.changed, 1);
    assert_eq!(lists("1.0").await, json!({ "a": "x", "b": "x", "c": "x" }));
    for (part, by) in [(&two, "b"), (&other, "c")] {
        assert_eq!(record(&fixture, part, &[listed("six", &["1.0"], by)]).await, nothing, "nothing flaps");
    }
    assert_eq!(record(&fixture, &one, &first).await, nothing);

    // Nobody else offers 1.1.
    assert_eq!(record(&fixture, &one, &[]).await.1, 3);
    assert_eq!(lists("1.0").await, json!({ "b": "x", "c": "x" }));
    assert!(!fixture.file("six", "1.0").await.gone && fixture.file("six", "1.1").await.gone);
    let kept = BTreeSet::from(["one".to_owned()]);
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    assert_eq!(catalog.keep_parts(repository, &two.registry, &kept, &fixture.actor).await.unwrap(), 1);
    let last = fixture.file("six", "1.0").await;
    assert_eq!((last.registry.as_str(), last.gone), ("other", false));
    assert_eq!(record(&fixture, &other, &[]).await.1, 1);
    // What nobody offers says so, and nothing else: no index is made of it.
    let last = fixture.file("six", "1.0").await;
    assert!(last.gone);
    assert_eq!(last.attributes.keys().collect::<Vec<_>>(), [DiscoveredFile::GONE]);
    assert_eq!(last.attributes[DiscoveredFile::GONE]["lists"], json!({ "c": "x" }));
    assert_eq!(record(&fixture, &one, &first).await.0.alarms, []);
    assert!(!fixture.file("six", "1.1").await.gone);
    assert_eq!(lists("1.0").await, json!({ "a": "x" }));
    assert!(!fixture.file("six", "1.0").await.attributes.contains_key(DiscoveredFile::GONE));

    // Other bytes are an alarm, unless who offered the file takes back what nobody has relied on yet.
    let mut forged = listed("six", &["1.0"], "b");
    forged.files[0].sha256 = Some(digest("forged"));
    let outcome = record(&fixture, &other, std::slice::from_ref(&forged)).await.0;
    assert_eq!(outcome.alarms[0].rule, "changed-digest");
    assert_eq!(fixture.file("six", "1.0").await.sha256, Some(digest("six-1.0.whl")));
    assert_eq!(record(&fixture, &two, &[forged]).await.0.alarms, []);
    assert_eq!(fixture.file("six", "1.0").await.sha256, Some(digest("forged")));
    fixture.catalog.verify_audit().await.unwrap();
}

/// Each registry remembers of a suite what it said itself.
pub async fn cursors_of_registries_do_not_mix(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, repository) = (&fixture.catalog, fixture.repository.id);
    let suite = "dists/stable".parse().unwrap();
    for (registry, value) in [("index", "1"), ("other", "2"), ("index", "3")] {
        let mut unit = listed("dists/stable", &[], "a");
        unit.cursor.0.insert("etag".into(), value.into());
        record(&fixture, &part(registry, "stable"), &[unit]).await;
    }
    for (registry, value) in [("index", Some("3")), ("other", Some("2")), ("third", None)] {
        let cursor = catalog.cursor_of(repository, &registry.parse().unwrap(), &suite).await.unwrap();
        assert_eq!(cursor.as_ref().map(|cursor| cursor.0["etag"].as_str()), value, "{registry}");
    }
}
