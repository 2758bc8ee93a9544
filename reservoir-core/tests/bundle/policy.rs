//! What is asked of what comes, and what each side keeps its own way.

use reservoir_core::{
    Base, ExportOptions, Retention,
    bundle::StreamKey,
    catalog::{Accept, CatalogOptions, TrustedKey},
    clock::Timestamp,
    gate::{Scanner, Subject, Verdict},
    lifecycle::{ArtifactLifecycle as _, Status},
    testing::toy::ToyFile,
};

use super::{
    gap::{Gap, Inside, content, export, options, tree},
    world::{ann, get, split, store, tools},
};

async fn status(inside: &Inside, spec: &str) -> Status {
    let (artifact, revision) = split(spec);
    let repository = inside.engine.catalog().repository(&tools()).await.unwrap();
    inside.engine.catalog().find_revision(repository.id, &artifact, &revision).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_travels_is_what_was_known() {
    let gap = Gap::new().await;
    let (artifact, revision) = split("hammer@1.0");
    let out = gap.outside.engine.catalog();
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    assert_eq!(content(&gap.outside.engine).await, content(&gap.inside.engine).await);
    let inn = gap.inside.engine.catalog();
    let theirs = out.repository(&tools()).await.unwrap().id;
    let ours = inn.repository(&tools()).await.unwrap().id;
    let (a, b) = (
        out.find_revision(theirs, &artifact, &revision).await.unwrap(),
        inn.find_revision(ours, &artifact, &revision).await.unwrap(),
    );
    let history = inn.history(b.id).await.unwrap();
    for line in out.history(a.id).await.unwrap() {
        assert!(history.contains(&line), "{line:?}");
    }
    let (files, copies) = (out.files(a.id).await.unwrap(), inn.files(b.id).await.unwrap());
    assert_eq!(files.len(), copies.len());
    for (file, copy) in files.iter().zip(&copies) {
        assert_eq!((&file.path, file.blob, &file.inspection), (&copy.path, copy.blob, &copy.inspection));
        assert_eq!(
            (&file.attributes, &file.derived, file.admitted),
            (&copy.attributes, &copy.derived, copy.admitted)
        );
        let sha256 = file.blob.unwrap().sha256;
        assert_eq!(out.verdicts(&sha256).await.unwrap(), inn.verdicts(&sha256).await.unwrap());
    }
    inn.verify_audit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_inside_has_the_last_word() {
    let gap = Gap::new().await;
    let inside = Inside::new().await;
    inside.trust(&gap.stream_key(), Accept::Person).await;
    gap.ledger("1").await;
    let loaded = inside.load(&[gap.path("1")]).await.unwrap();
    assert!(loaded[0].applied && !loaded[0].is_complete() && loaded[0].waiting.len() >= 4, "{loaded:#?}");
    assert_eq!(status(&inside, "hammer@1.0").await, Status::NeedsApproval);
    let file = "/tools/files/hammer/hammer-1.0+a.toy";
    let served = get(&gap.outside.engine, file).await;
    assert_eq!(served.0, 200, "{served:?}");
    assert_ne!(get(&inside.engine, file).await.0, 200);
    let (artifact, revision) = split("hammer@1.0");
    inside.engine.approve(&tools(), &artifact, &revision, ann(), "read it".into()).await.unwrap();
    assert_eq!(get(&inside.engine, file).await.1, served.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn scanners_inside_look_for_themselves() {
    let gap = Gap::new().await;
    let inside = Inside::new().await;
    inside.trust(&gap.stream_key(), Accept::Scanners).await;
    gap.ledger("1").await;
    let loaded = inside.load(&[gap.path("1")]).await.unwrap();
    assert!(loaded[0].is_complete(), "{loaded:#?}");
    assert_eq!(status(&inside, "hammer@1.0").await, Status::Available);
    assert_eq!(content(&inside.engine).await, content(&gap.outside.engine).await);
    let repository = inside.engine.catalog().repository(&tools()).await.unwrap();
    let (artifact, revision) = split("hammer@1.0");
    let found = inside.engine.catalog().find_revision(repository.id, &artifact, &revision).await.unwrap();
    let reasons: Vec<String> = inside
        .engine
        .catalog()
        .history(found.id)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.reason)
        .collect();
    assert!(
        reasons.iter().filter(|reason| reason.contains("clean by integrity")).count() >= 2,
        "{reasons:?}"
    );
}

/// Finds something in the file of one variant.
#[derive(Debug)]
struct Suspicious(&'static str);

#[async_trait::async_trait]
impl Scanner for Suspicious {
    fn id(&self) -> &'static str {
        "suspicious"
    }

    async fn rules(&self) -> reservoir_core::Result<String> {
        Ok("1".into())
    }

    async fn scan(&self, subject: &Subject<'_>) -> reservoir_core::Result<Verdict> {
        let finding = || Verdict::Finding { rule: "looks-bad".into(), detail: subject.path.to_string() };
        Ok(if subject.path.as_str().contains(self.0) { finding() } else { Verdict::Clean })
    }
}

/// A revision of more files than are taken in together is let in as a whole or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn scanners_inside_look_at_all_of_a_large_revision_first() {
    let mut gap = Gap::new().await;
    for variant in 0..230 {
        let variant = format!("v{variant:03}");
        gap.outside.registry.offer(ToyFile::new("hammer", "3.0", Some(&variant), &["nail>=1"], 10));
    }
    gap.outside.sync().await;
    gap.ledger("1").await;
    for found in ["+v229", "+v000"] {
        let mut inside = Inside::new().await;
        let engine = super::gap::built(inside.folder.path(), store(inside.folder.path()).await).await;
        inside.engine = engine.scanner(Suspicious(found)).build().unwrap();
        inside.trust(&gap.stream_key(), Accept::Scanners).await;
        let loaded = inside.load(&[gap.path("1")]).await.unwrap().remove(0);
        assert!(loaded.waiting.iter().any(|line| line.contains("hammer@3.0: suspicious found looks-bad")));
        assert_eq!(status(&inside, "hammer@3.0").await, Status::NeedsApproval);
        assert_eq!(status(&inside, "hammer@2.0").await, Status::Available);
    }
}

/// Files that join a revision which is served here wait, and are told of.
#[tokio::test(flavor = "multi_thread")]
async fn suspicious_files_of_a_served_revision_are_told() {
    let mut gap = Gap::new().await;
    let mut inside = Inside::new().await;
    let engine = super::gap::built(inside.folder.path(), store(inside.folder.path()).await).await;
    inside.engine = engine.scanner(Suspicious("+late")).build().unwrap();
    inside.trust(&gap.stream_key(), Accept::Scanners).await;
    gap.ledger("1").await;
    assert!(inside.load(&[gap.path("1")]).await.unwrap()[0].is_complete());
    gap.outside.registry.offer(ToyFile::new("hammer", "2.0", Some("late"), &["nail=2.0"], 10));
    gap.outside.sync().await;
    gap.ledger("2").await;
    let loaded = inside.load(&[gap.path("2")]).await.unwrap().remove(0);
    assert!(loaded.waiting.iter().any(|line| line.contains("hammer@2.0")), "{loaded:#?}");
    assert_eq!(status(&inside, "hammer@2.0").await, Status::Available);
    assert_ne!(get(&inside.engine, "/tools/files/hammer/hammer-2.0+late.toy").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_inside_outlives_every_bundle() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let (artifact, revision) = split("hammer@1.0");
    gap.inside.engine.reject(&tools(), &artifact, &revision, ann(), "not here".into()).await.unwrap();
    gap.release("3.0").await;
    gap.ledger("2").await;
    assert!(gap.load("2").await.unwrap().applied);
    gap.export("3", ExportOptions { base: Base::Nothing, ..options() }).await;
    assert!(gap.load("3").await.unwrap().applied);
    assert_eq!(status(&gap.inside, "hammer@1.0").await, Status::Rejected);
    assert_eq!(status(&gap.inside, "hammer@3.0").await, Status::Available);
    let file = |version: &str| format!("/tools/files/hammer/hammer-{version}+a.toy");
    assert_eq!(get(&gap.inside.engine, &file("1.0")).await.0, 403);
    assert_eq!(get(&gap.inside.engine, &file("3.0")).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_outside_stops_inside() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let (artifact, revision) = split("hammer@2.0");
    gap.outside
        .engine
        .reject(&tools(), &artifact, &revision, ann(), "the head comes off".into())
        .await
        .unwrap();
    gap.ledger("2").await;
    gap.load("2").await.unwrap();
    assert_eq!(status(&gap.inside, "hammer@2.0").await, Status::Rejected);
    let (code, said) = get(&gap.inside.engine, "/tools/files/hammer/hammer-2.0+a.toy").await;
    assert!(code == 403 && said.contains("the head comes off"), "{code} {said}");
    assert_eq!(content(&gap.outside.engine).await, content(&gap.inside.engine).await);
}

/// Bundles 2 and 3 were lost: a delta from what is known to have arrived.
#[tokio::test(flavor = "multi_thread")]
async fn a_delta_since_an_older_bundle() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("3.0").await;
    gap.ledger("2").await;
    gap.release("4.0").await;
    gap.ledger("3").await;
    let since = gap.export("4", ExportOptions { base: Base::Since(1), ..options() }).await;
    assert!(!since.full && since.sequence == Some(4), "{since:#?}");
    assert!(gap.load("4").await.unwrap().applied);
    assert_eq!(content(&gap.outside.engine).await, content(&gap.inside.engine).await);
}

/// The inside says what it has; the outside sends the rest, whatever was lost on the way.
#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_heals_what_was_lost() {
    let mut gap = Gap::new().await;
    let first = gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("3.0").await;
    gap.ledger("lost").await;
    gap.release("4.0").await;
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let have = || ExportOptions { base: Base::Inventory(document.clone(), signature.clone()), ..options() };
    let error = export(&gap.outside.engine, &gap.path("2"), have()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        reservoir_core::ErrorKind::Untrusted,
        "an inventory is believed by its key: {error}"
    );
    let inside_key = gap.inside_key();
    gap.outside.engine.catalog().trust_key(&inside_key, &ann()).await.unwrap();
    let second = gap.export("2", have()).await;
    assert!(second.bytes < first.bytes && second.sequence == Some(3), "{second:#?}");
    assert!(gap.load("2").await.unwrap().applied);
    assert_eq!(content(&gap.outside.engine).await, content(&gap.inside.engine).await);
    // A full bundle for a place that has all the bytes brings none.
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let nothing =
        ExportOptions { site: "other".into(), base: Base::Inventory(document, signature), ..options() };
    let nothing = gap.export("3", nothing).await;
    assert!(nothing.full && nothing.blobs == 0 && nothing.volumes.is_empty(), "{nothing:#?}");
}

/// A new key that the old one has signed goes on with its streams; one that nobody signed does not.
#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("3.0").await;
    gap.ledger("2").await;
    let new = StreamKey::generate().unwrap();
    let saved = gap.path("new.key");
    new.save(&saved).unwrap();
    let forge =
        super::forge::Forge::copy(&gap.path("2"), gap.path("rotated"), StreamKey::load(&saved).unwrap());
    forge.header(|_| {});
    gap.inside.trust(&new, Accept::Evidence).await;
    assert!(gap.load("rotated").await.is_err());
    let successor = TrustedKey {
        public: new.public(),
        comment: String::new(),
        accept: Accept::Evidence,
        predecessor: Some(gap.stream_key().public()),
        added_at: Timestamp::now(),
    };
    gap.inside.engine.catalog().trust_key(&successor, &ann()).await.unwrap();
    assert!(gap.load("rotated").await.unwrap().applied);
}

/// Media of before and after a rotation come together: the trailer of each bundle is signed by its own key.
#[tokio::test(flavor = "multi_thread")]
async fn bundles_of_two_keys_come_in_one_load() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    let old = gap.stream_key().public();
    gap.key = gap.path("new.key");
    let new = StreamKey::generate().unwrap();
    new.save(&gap.key).unwrap();
    gap.reopen(CatalogOptions::default()).await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    let successor = TrustedKey {
        public: new.public(),
        comment: String::new(),
        accept: Accept::Evidence,
        predecessor: Some(old),
        added_at: Timestamp::now(),
    };
    gap.inside.engine.catalog().trust_key(&successor, &ann()).await.unwrap();
    // A medium with the trailer of another bundle, looked at first.
    let first = gap.path("0");
    std::fs::create_dir(&first).unwrap();
    for name in ["volumes.json", "volumes.json.minisig"] {
        std::fs::copy(gap.path("1").join(name), first.join(name)).unwrap();
    }
    let verified = gap.inside.engine.verify_bundle(vec![first, gap.path("2")]).await.unwrap();
    assert!(verified.finished && verified.damage.is_none(), "{verified:#?}");
    let both = [gap.path("1"), gap.path("2")];
    let planned = super::gap::load(&gap.inside.engine, &both, true).await.unwrap();
    assert_eq!(planned.iter().map(|one| one.sequence).collect::<Vec<_>>(), [1, 2]);
    let loaded = gap.inside.load(&both).await.unwrap();
    assert!(loaded.len() == 2 && loaded.iter().all(|one| one.applied), "{loaded:#?}");
}

/// Collection on either side takes nothing that the next delta builds on.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_collection_keeps_the_base() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let retention = || Retention { grace: std::time::Duration::ZERO, ..Retention::default() };
    for _ in 0..2 {
        gap.outside.engine.collect_garbage(retention()).await.unwrap();
        gap.inside.engine.collect_garbage(retention()).await.unwrap();
    }
    gap.release("3.0").await;
    gap.ledger("2").await;
    for _ in 0..2 {
        gap.inside.engine.collect_garbage(retention()).await.unwrap();
    }
    assert!(gap.load("2").await.unwrap().applied);
    let verified = gap.inside.engine.verify(true).await.unwrap();
    assert!(verified.damaged.is_empty(), "{verified:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing() {
    let gap = Gap::new().await;
    let planned = gap.outside.engine.plan_export(options()).await.unwrap();
    let written = gap.ledger("1").await;
    assert_eq!(
        (planned.blobs, planned.bytes, planned.volumes.len()),
        (written.blobs, written.bytes, written.volumes.len())
    );
    let before = gap.inside.state().await;
    let loaded = super::gap::load(&gap.inside.engine, &[gap.path("1")], true).await.unwrap();
    assert!(!loaded[0].applied && loaded[0].new_bytes == written.bytes, "{loaded:#?}");
    assert!(gap.inside.state().await == before);
    assert!(tree(&gap.inside.folder.path().join("scratch/load")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_looks_at_bundles_that_build_on_each_other() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    let before = gap.inside.state().await;
    let both = [gap.path("1"), gap.path("2")];
    let planned = super::gap::load(&gap.inside.engine, &both, true).await.unwrap();
    assert_eq!(planned.iter().map(|one| one.sequence).collect::<Vec<_>>(), [1, 2]);
    assert!(gap.inside.state().await == before);
    // Alone it has nothing to build on.
    let alone = super::gap::load(&gap.inside.engine, &both[1..], true).await.unwrap_err();
    assert_eq!(alone.kind(), reservoir_core::ErrorKind::Conflict);
    assert!(gap.inside.load(&both).await.unwrap().iter().all(|one| one.applied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_what_is_staged() {
    let gap = Gap::large().await;
    gap.ledger("1").await;
    let last = gap.path("last");
    std::fs::create_dir(&last).unwrap();
    let name = "volume-0002.rsv";
    std::fs::rename(gap.path("1").join(name), last.join(name)).unwrap();
    let missing = gap.load("1").await.unwrap().missing;
    assert_eq!(missing.len(), 1);
    super::gap::load(&gap.inside.engine, &[gap.path("1")], true).await.unwrap();
    assert!(gap.inside.load(&[last]).await.unwrap()[0].applied, "the other volumes are there still");
}
