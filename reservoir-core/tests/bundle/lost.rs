//! What the inside has lost, or taken back, since the last bundle: the next one brings it again, or says what would.

use reservoir_core::{
    Base, ErrorKind, ExportOptions, Rebuilt, Retention, catalog::Accept, name::RepositoryName,
};

use super::{
    gap::{Gap, content, engine, options, tree},
    refs::{point, refs},
    world::{ann, config, get, split, store, tools},
};

fn second() -> RepositoryName {
    "second".parse().unwrap()
}

impl Gap {
    /// With a second repository outside.
    async fn pair() -> Self {
        let gap = Self::new().await;
        gap.outside.engine.catalog().put_repository(&config("second"), &ann()).await.unwrap();
        gap.outside.engine.sync(&second(), ann()).await.unwrap().wait().await.unwrap();
        gap
    }

    /// An empty catalog in the place of the inside's, filled from the store.
    async fn rebuild_inside(&mut self) -> Rebuilt {
        let folder = self.inside.folder.path();
        self.inside.engine.catalog().close().await;
        for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            // The last two are there only after an unclean end.
            let _ = std::fs::remove_file(folder.join(file));
        }
        self.inside.engine = engine(folder, store(folder).await).await;
        self.inside.engine.rebuild(&ann()).await.unwrap()
    }

    /// An inventory of the inside, whose key the outside trusts.
    async fn have(&self) -> ExportOptions {
        self.outside.engine.catalog().trust_key(&self.inside_key(), &ann()).await.unwrap();
        let (document, signature) = self.inside.engine.inventory().await.unwrap();
        ExportOptions { base: Base::Inventory(document, signature), ..options() }
    }
}

/// A delta for what is not here any more would bring its last piece only.
#[tokio::test(flavor = "multi_thread")]
async fn a_delta_for_a_repository_that_was_removed_is_refused_and_an_inventory_heals_it() {
    for is_made_anew in [false, true] {
        let mut gap = Gap::pair().await;
        gap.ledger("1").await;
        gap.load("1").await.unwrap();
        let inside = &gap.inside.engine;
        inside.remove_repository(&tools(), &ann()).await.unwrap();
        if is_made_anew {
            let mut config = config("tools");
            config.registries.clear();
            inside.catalog().put_repository(&config, &ann()).await.unwrap();
        }
        gap.release("3.0").await;
        gap.ledger("lost").await;
        let before = gap.inside.state().await;
        let error = gap.load("lost").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let said = error.to_string();
        assert!(said.contains("`tools`") && said.contains("`--full`") && said.contains("`--have`"), "{said}");
        assert!(gap.inside.state().await == before);
        let healing = gap.have().await;
        let healing = gap.export("2", healing).await;
        assert!(!healing.full, "{healing:#?}");
        let loaded = gap.load("2").await.unwrap();
        assert!(loaded.applied && loaded.repositories.iter().any(|one| one.created), "{loaded:#?}");
        assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
        assert_eq!(get(&gap.inside.engine, "/tools/files/hammer/hammer-1.0+a.toy").await.0, 200);
        assert!(gap.inside.engine.verify(true).await.unwrap().damaged.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bundle_brings_a_removed_repository_again() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.inside.engine.remove_repository(&tools(), &ann()).await.unwrap();
    gap.release("3.0").await;
    gap.export("2", ExportOptions { base: Base::Nothing, ..options() }).await;
    assert!(gap.load("2").await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
}

/// The stream goes on after the catalog was lost, as soon as its key is trusted again.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_inside_takes_the_next_delta() {
    let mut gap = Gap::pair().await;
    point(&gap.outside.engine, "first", 1).await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("3.0").await;
    gap.ledger("2").await;
    gap.load("2").await.unwrap();
    let (artifact, revision) = split("hammer@1.0");
    gap.inside.engine.reject(&tools(), &artifact, &revision, ann(), "not here".into()).await.unwrap();
    let before = gap.inside.engine.catalog().arriving_streams().await.unwrap();
    // The evidence is no garbage.
    let nothing = || Retention { grace: std::time::Duration::ZERO, ..Retention::default() };
    for _ in 0..2 {
        gap.inside.engine.collect_garbage(nothing()).await.unwrap();
    }
    for again in 0..2 {
        let rebuilt = gap.rebuild_inside().await;
        assert_eq!(rebuilt.streams.len(), 1, "{rebuilt:#?}");
        assert_eq!(rebuilt.streams[0].sequence, Some(2));
        assert_eq!(rebuilt.streams[0].key, Some(gap.stream_key().public()));
        let after = gap.inside.engine.catalog().arriving_streams().await.unwrap();
        assert_eq!((after[0].sequence, after[0].header), (before[0].sequence, before[0].header), "{again}");
        let roots = |streams: &[reservoir_core::catalog::ArrivingStream]| {
            let mut roots: Vec<_> = streams[0].refs.iter().map(|one| one.carried.clone()).collect();
            roots.sort_by_key(|one| (one.repository.clone(), one.reference.clone()));
            roots
        };
        assert_eq!(roots(&after), roots(&before), "{again}");
    }
    gap.release("4.0").await;
    gap.ledger("3").await;
    let error = gap.load("3").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "whom to believe is a person's to say again: {error}");
    gap.inside.trust(&gap.stream_key(), Accept::Evidence).await;
    let loaded = gap.load("3").await.unwrap();
    assert!(loaded.applied && loaded.undone.is_empty(), "{loaded:#?}");
    for (file, status) in [("1.0", 403), ("3.0", 200), ("4.0", 200)] {
        let file = format!("/tools/files/hammer/hammer-{file}+a.toy");
        assert_eq!(get(&gap.inside.engine, &file).await.0, status, "{file}");
    }
    let names: Vec<_> = refs(&gap.inside.engine).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["first", "main"]);
    assert!(gap.inside.engine.verify(true).await.unwrap().damaged.is_empty());
}

/// Where even the header of the last bundle is lost, a full one by the same stream is taken, and no other's.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_bundle_heals_a_rebuilt_inside_without_evidence() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let header = gap.inside.engine.catalog().arriving_streams().await.unwrap()[0].header.to_string();
    let stored = gap.inside.folder.path().join("store");
    let lost = tree(&stored).into_keys().find(|path| path.to_string_lossy().contains(&header)).unwrap();
    std::fs::remove_file(stored.join(lost)).unwrap();
    let rebuilt = gap.rebuild_inside().await;
    assert_eq!(rebuilt.streams[0].sequence, None, "{rebuilt:#?}");
    gap.inside.trust(&gap.stream_key(), Accept::Evidence).await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    let error = gap.load("2").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("full"), "{error}");
    let foreign = ExportOptions { site: "south".into(), base: Base::Nothing, ..options() };
    gap.export("foreign", foreign).await;
    assert_eq!(gap.load("foreign").await.unwrap_err().kind(), ErrorKind::Conflict);
    gap.export("3", ExportOptions { base: Base::Nothing, ..options() }).await;
    assert!(gap.load("3").await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
    gap.release("4.0").await;
    gap.ledger("4").await;
    assert!(gap.load("4").await.unwrap().applied);
}

/// A rollback inside is undone by the next bundle, which says so; what was rejected inside is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_a_bundle_undoes_is_told() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let (artifact, revision) = split("hammer@1.0");
    gap.inside.engine.reject(&tools(), &artifact, &revision, ann(), "not here".into()).await.unwrap();
    gap.release("3.0").await;
    gap.ledger("2").await;
    assert_eq!(gap.load("2").await.unwrap().undone, Vec::<String>::new());
    gap.inside.engine.rollback(&tools(), "1", ann()).await.unwrap();
    gap.release("4.0").await;
    gap.ledger("3").await;
    let loaded = gap.load("3").await.unwrap();
    assert!(loaded.applied && loaded.is_complete(), "{loaded:#?}");
    let [told] = &loaded.undone[..] else { panic!("{:?}", loaded.undone) };
    assert!(told.starts_with("tools: snapshot ") && told.contains("rollback to 1"), "{told}");
    assert!(told.contains("bundle 2"), "{told}");
    for (version, status) in [("1.0", 403), ("3.0", 200), ("4.0", 200)] {
        let file = format!("/tools/files/hammer/hammer-{version}+a.toy");
        assert_eq!(get(&gap.inside.engine, &file).await.0, status, "{version}");
    }
}

/// What was staged of a bundle that its stream has left behind goes with the next load; what may go on stays.
#[tokio::test(flavor = "multi_thread")]
async fn stages_that_nothing_goes_on_with_are_swept() {
    let mut gap = Gap::large().await;
    gap.ledger("1").await;
    let volume = gap.path("1").join("volume-0002.rsv");
    std::fs::rename(&volume, gap.path("away")).unwrap();
    assert_eq!(gap.load("1").await.unwrap().missing.len(), 1);
    let staged = gap.inside.folder.path().join("scratch/load");
    let count = || std::fs::read_dir(&staged).unwrap().count();
    assert_eq!(count(), 1);
    let retention = Retention { grace: std::time::Duration::ZERO, ..Retention::default() };
    gap.inside.engine.collect_garbage(retention).await.unwrap();
    assert_eq!(count(), 1, "its last medium may come yet");
    gap.release("4.0").await;
    gap.export("2", ExportOptions { base: Base::Nothing, ..options() }).await;
    assert!(gap.load("2").await.unwrap().applied);
    gap.inside.engine.collect_garbage(retention).await.unwrap();
    assert_eq!(count(), 0);
}
