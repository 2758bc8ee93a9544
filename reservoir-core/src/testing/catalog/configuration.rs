//! Registries and repositories.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use super::fixture::{Fixture, config, found, registry};
use crate::error::{Error, ErrorKind};

/// Applying the same again changes nothing; what is used cannot be removed; an ecosystem cannot change.
pub async fn configuration_is_idempotent_and_guarded(url: &str) {
    let fixture = Fixture::open(url).await;
    let (catalog, actor) = (&fixture.catalog, &fixture.actor);
    let epoch = catalog.epoch().await.unwrap();
    assert!(!catalog.put_registry(&registry("index"), actor).await.unwrap());
    assert!(!catalog.put_repository(&config("python"), actor).await.unwrap());
    assert_eq!(catalog.epoch().await.unwrap(), epoch);

    let mut changed = config("python");
    changed.dependencies = true;
    assert!(catalog.put_repository(&changed, actor).await.unwrap());
    assert!(catalog.epoch().await.unwrap() > epoch);
    let now = catalog.repository(&changed.name).await.unwrap();
    assert_eq!(now.config, changed);
    assert_eq!((now.id, now.uuid), (fixture.repository.id, fixture.repository.uuid));
    assert_eq!(catalog.repository_by_id(now.id).await.unwrap(), now);

    changed.ecosystem = "apt".parse().unwrap();
    assert_eq!(catalog.put_repository(&changed, actor).await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut unknown = config("other");
    unknown.registries = vec!["nowhere".parse().unwrap()];
    assert_eq!(catalog.put_repository(&unknown, actor).await.unwrap_err().kind(), ErrorKind::NotFound);

    let index = "index".parse().unwrap();
    let used = catalog.remove_registry(&index, actor).await.unwrap_err();
    assert!(matches!(used, Error::Conflict { .. }), "{used:?}");
    fixture.discover(&found("six", &["1.0"])).await;
    catalog.remove_repository(&now.config.name, actor).await.unwrap();
    catalog.remove_registry(&index, actor).await.unwrap();
    assert!(catalog.registries().await.unwrap().is_empty());
    assert!(catalog.repositories().await.unwrap().is_empty());
    let again = catalog.remove_repository(&now.config.name, actor).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
}

/// A rebuilt repository keeps its permanent id, and takes nobody's place.
pub async fn repositories_are_restored_by_their_id(url: &str) {
    let fixture = Fixture::open(url).await;
    let uuid = uuid::Uuid::new_v4();
    let restored =
        fixture.catalog.restore_repository(uuid, &config("restored"), &fixture.actor).await.unwrap();
    assert_eq!(restored.uuid, uuid);
    assert_eq!(fixture.catalog.repository(&"restored".parse().unwrap()).await.unwrap(), restored);
    for (uuid, name) in [(uuid, "another"), (uuid::Uuid::new_v4(), "restored")] {
        let taken =
            fixture.catalog.restore_repository(uuid, &config(name), &fixture.actor).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::Conflict);
    }
}
