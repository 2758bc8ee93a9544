//! Both sides stopped anywhere: what the next run makes is what an undisturbed one makes.

use std::{path::Path, sync::Arc, time::Duration};

use reservoir_core::{
    Base, Error, ExportOptions,
    catalog::RevisionFilter,
    testing::fault_store::{Fault, FaultStore, Plan},
};

use super::{
    gap::{Gap, Inside, content, engine, export, load, options, tree},
    world::{ann, split, store, tools},
};

/// A fault at each write of a load's second half, where blobs and manifests reach the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_goes_on_after_a_fault_at_any_write() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    let undisturbed = Inside::new().await;
    undisturbed.trust(&gap.stream_key(), reservoir_core::catalog::Accept::Evidence).await;
    undisturbed.load(&[gap.path("1")]).await.unwrap();
    let expected = content(&undisturbed.engine).await;
    let mut faults = 0;
    for at in 1.. {
        let mut done = true;
        let kinds = [Fault::Fail, Fault::FailAfter, Fault::NoSpace];
        for fault in [kinds[at as usize % 3], kinds[(at as usize + 1) % 3]] {
            let inside = Inside::new().await;
            inside.trust(&gap.stream_key(), reservoir_core::catalog::Accept::Evidence).await;
            let plan = Plan { at, fault, lasting: false };
            let spoiled = Arc::new(FaultStore::with_plan(store(inside.folder.path()).await, plan));
            let broken = engine(inside.folder.path(), spoiled.clone()).await;
            match load(&broken, &[gap.path("1")], false).await {
                Ok(_) => assert!(spoiled.writes() < at, "{fault:?} at {at} was not noticed"),
                Err(error) => {
                    assert!(matches!(error, Error::Store { .. } | Error::NoSpace { .. }), "{error}");
                    assert_eq!(matches!(error, Error::NoSpace { .. }), fault == Fault::NoSpace);
                    done = false;
                    faults += 1;
                    let loaded = inside.load(&[gap.path("1")]).await.unwrap();
                    assert!(loaded[0].applied, "{fault:?} at {at}");
                }
            }
            assert_eq!(content(&inside.engine).await, expected, "{fault:?} at {at}");
            let verified = inside.engine.verify(true).await.unwrap();
            assert!(verified.damaged.is_empty(), "{fault:?} at {at}: {verified:#?}");
        }
        if done {
            break;
        }
    }
    assert!(faults >= 6, "{faults}");
}

/// From 2 ms to 2 minutes, each a third longer than the one before.
fn delays() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(Duration::from_millis(2)), |last| Some(*last * 4 / 3)).take(38)
}

/// A load that is cancelled again and again, each time a little later.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_goes_on_after_every_interruption() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    let expected = content(&gap.outside.engine).await;
    let mut interrupted = 0;
    for delay in delays() {
        let medium = reservoir_core::Medium::Paths(vec![gap.path("1")]);
        let task = gap.inside.engine.load(medium, false, ann()).await.unwrap();
        let stop = task.canceller();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            stop.cancel();
        });
        match task.wait().await {
            Err(Error::Cancelled) => interrupted += 1,
            loaded => {
                let loaded = loaded.unwrap();
                assert!(loaded[0].applied || loaded[0].already);
                timer.abort();
                break;
            }
        }
    }
    assert!(interrupted > 0);
    assert_eq!(content(&gap.inside.engine).await, expected);
    assert!(gap.inside.engine.verify(true).await.unwrap().damaged.is_empty());
}

/// An export that is stopped again and again writes the bytes of an undisturbed one.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_after_every_interruption() {
    let gap = Gap::new().await;
    let folder = gap.path("1");
    let mut interrupted = 0;
    for delay in delays() {
        let target = reservoir_core::bundle::Target::Folder(folder.clone());
        let options = reservoir_core::ExportOptions { parity: Some(10), ..options() };
        let task = gap.outside.engine.export(options, target, ann()).await.unwrap();
        let stop = task.canceller();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            stop.cancel();
        });
        match task.wait().await {
            Err(Error::Cancelled) => interrupted += 1,
            exported => {
                let exported = exported.unwrap();
                assert_eq!(exported.sequence, Some(1));
                timer.abort();
                break;
            }
        }
    }
    assert!(interrupted > 0);
    let verified = gap.inside.engine.verify_bundle(vec![folder]).await.unwrap();
    assert!(verified.finished && verified.damage.is_none(), "{verified:#?}");
    assert!(gap.load("1").await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
}

/// One disc for each volume, as somebody with one drive has them: the small files lie on the first, the trailer where
/// `trailer` says, counted from the first; nowhere when there is no such disc.
fn discs(gap: &Gap, name: &str, trailer: usize) -> Vec<std::path::PathBuf> {
    let mut discs: Vec<_> = (0..).map(|index| gap.path(&format!("{name}-{index}"))).take(64).collect();
    let mut used = 0;
    for entry in std::fs::read_dir(gap.path("1")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let place = match file.strip_prefix("volume-") {
            Some(number) => number[..4].parse::<usize>().unwrap() - 1,
            None if file.starts_with("volumes.json") => trailer,
            None => 0,
        };
        if let Some(disc) = discs.get(place) {
            used = used.max(place + 1);
            std::fs::create_dir_all(disc).unwrap();
            std::fs::copy(&path, disc.join(file)).unwrap();
        }
    }
    discs.truncate(used);
    discs
}

/// The trailer of one disc is remembered for the others.
#[tokio::test(flavor = "multi_thread")]
async fn discs_are_loaded_one_at_a_time() {
    let gap = Gap::large().await;
    let count = gap.ledger("1").await.volumes.len();
    assert!(count > 2);
    for (place, (trailer, backwards)) in
        [(0, false), (0, true), (1, false), (count - 1, false), (count - 1, true)].into_iter().enumerate()
    {
        let mut order = discs(&gap, &place.to_string(), trailer);
        if backwards {
            order[1..].reverse();
        }
        let inside = Inside::new().await;
        inside.trust(&gap.stream_key(), reservoir_core::catalog::Accept::Evidence).await;
        for (left, disc) in (0..count).rev().zip(order) {
            let loaded = inside.load(&[disc]).await.unwrap();
            assert_eq!((loaded[0].missing.len(), loaded[0].applied), (left, left == 0), "{place}");
        }
        assert_eq!(content(&inside.engine).await, content(&gap.outside.engine).await);
    }
}

/// Volumes that came before the end of the bundle need not come again with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_that_comes_last_is_enough() {
    let gap = Gap::large().await;
    gap.ledger("1").await;
    let order = discs(&gap, "disc", usize::MAX);
    let (last, before) = order.split_last().unwrap();
    for disc in before {
        assert!(!gap.inside.load(std::slice::from_ref(disc)).await.unwrap()[0].missing.is_empty());
    }
    let error = gap.inside.load(std::slice::from_ref(last)).await.unwrap_err();
    assert!(error.to_string().contains("`volumes.json` is missing"), "{error}");
    for name in ["volumes.json", "volumes.json.minisig"] {
        std::fs::copy(gap.path("1").join(name), order[0].join(name)).unwrap();
    }
    std::fs::remove_file(order[0].join("volume-0001.rsv")).unwrap();
    assert!(gap.inside.load(&order[..1]).await.unwrap()[0].applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
}

/// What a bundle lacks is told by the run that ends it as by the one that began it; and it is not made into another.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_goes_on_tells_what_is_missing() {
    let gap = Gap::large().await;
    let (artifact, revision) = split("hammer@2.0");
    let spent = "not needed".into();
    gap.outside.engine.cleanup(&tools(), &artifact, &revision, ann(), spent).await.unwrap();
    let planned = gap.outside.engine.plan_export(options()).await.unwrap();
    assert!(!planned.missing.is_empty() && planned.metadata_only > 0, "{planned:#?}");
    let away = Away::last_blob(&gap).await;
    let folder = gap.path("1");
    export(&gap.outside.engine, &folder, options()).await.unwrap_err();
    away.back();
    assert!(folder.join("bundle.json").exists(), "its first volume was written");
    for other in [
        ExportOptions { volume_size: Some(100_000), ..options() },
        ExportOptions { parity: Some(5), ..options() },
        ExportOptions { base: Base::Since(1), ..options() },
        ExportOptions { expires: Some(Duration::from_hours(1)), ..options() },
    ] {
        let error = export(&gap.outside.engine, &folder, other).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
    }
    let written =
        export(&gap.outside.engine, &folder, ExportOptions { volume_size: None, ..options() }).await;
    let written = written.unwrap();
    assert_eq!((&written.missing, written.metadata_only), (&planned.missing, planned.metadata_only));
    assert!(gap.load("1").await.unwrap().applied);
}

/// A bundle for what an inventory lists lacks that; one that is not for it may lack nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_with_its_own_inventory_alone() {
    let mut gap = Gap::large().await;
    gap.outside.engine.catalog().trust_key(&gap.inside_key(), &ann()).await.unwrap();
    gap.ledger("1").await;
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let have = || ExportOptions { base: Base::Inventory(document.clone(), signature.clone()), ..options() };
    gap.load("1").await.unwrap();
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let newer = || ExportOptions { base: Base::Inventory(document.clone(), signature.clone()), ..options() };
    let full = || ExportOptions { base: Base::Nothing, ..options() };
    for (name, first, others) in [("full", full(), [have(), newer()]), ("have", have(), [newer(), full()])] {
        gap.release(if name == "full" { "4.0" } else { "5.0" }).await;
        let away = Away::last_blob(&gap).await;
        let folder = gap.path(name);
        export(&gap.outside.engine, &folder, first).await.unwrap_err();
        away.back();
        assert!(folder.join("bundle.json").exists(), "its first volume was written");
        for other in others {
            let error = export(&gap.outside.engine, &folder, other).await.unwrap_err();
            assert!(error.to_string().contains("another base"), "{name}: {error}");
        }
        let first = if name == "full" { full() } else { have() };
        assert!(export(&gap.outside.engine, &folder, first).await.unwrap().sequence.is_some());
    }
}

/// A small bundle gets its names with its last byte: what was interrupted is begun anew, as it is asked for now.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_export_that_was_interrupted_is_begun_anew() {
    let gap = Gap::new().await;
    let away = Away::last_blob(&gap).await;
    let folder = gap.path("1");
    let one = || ExportOptions { volume_size: None, ..options() };
    export(&gap.outside.engine, &folder, one()).await.unwrap_err();
    assert!(!folder.join("bundle.json").exists() && folder.join("bundle.json.new").exists());
    away.back();
    let other = ExportOptions { expires: Some(Duration::from_hours(1)), ..one() };
    assert_eq!(export(&gap.outside.engine, &folder, other).await.unwrap().sequence, Some(1));
    let inspected = gap.inside.engine.inspect_bundle(vec![folder.clone()]).await.unwrap();
    assert!(inspected.finished && inspected.header.expires.is_some());
    let left: Vec<_> =
        tree(&folder).into_keys().filter(|path| path.extension() == Some("new".as_ref())).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(gap.load("1").await.unwrap().applied);
    let again = ExportOptions { base: Base::Nothing, ..one() };
    let error = export(&gap.outside.engine, &folder, again).await.unwrap_err();
    assert!(error.to_string().contains("it holds other files"), "{error}");
}

/// A blob that cannot be read for a while.
pub(crate) struct Away(Vec<std::path::PathBuf>);

impl Away {
    /// The one that is written last, as far as revisions are made of it.
    pub(crate) async fn last_blob(gap: &Gap) -> Self {
        let catalog = gap.outside.engine.catalog();
        let id = catalog.repository(&tools()).await.unwrap().id;
        let mut last = None;
        for revision in catalog.revisions(id, &RevisionFilter::default(), None, 1000).await.unwrap() {
            let files = catalog.files(revision.id).await.unwrap();
            last = last.max(files.into_iter().filter_map(|file| Some(file.blob?.sha256.to_string())).max());
        }
        let name = last.unwrap();
        let home = gap.outside.folder.path().join("store");
        let files = tree(&home).into_keys();
        let files = files.filter(|path| path.to_string_lossy().replace('/', "").contains(&name));
        let files: Vec<_> = files.map(|path| home.join(path)).collect();
        assert!(!files.is_empty());
        for path in &files {
            std::fs::rename(path, path.with_extension("away")).unwrap();
        }
        Self(files)
    }

    pub(crate) fn back(self) {
        for path in &self.0 {
            std::fs::rename(path.with_extension("away"), path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_reads_every_byte_and_changes_none() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    let before = tree(&gap.path("1"));
    let verify = async || gap.inside.engine.verify_bundle(vec![gap.path("1")]).await;
    let inspected = verify().await.unwrap();
    assert!(inspected.finished && inspected.missing.is_empty() && inspected.refused.is_none());
    assert_eq!(tree(&gap.path("1")), before);
    let volume = gap.path("1").join("volume-0001.rsv");
    let good = std::fs::read(&volume).unwrap();
    for at in [600, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&volume, bytes).unwrap();
        let error = verify().await.unwrap_err();
        assert!(
            error.to_string().contains("in volume 1 (`north 000001 1/") || at == good.len() - 1,
            "{error}"
        );
    }
}

/// A disk that is full says so, and the bundle is whole once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_before_the_first_volume() {
    let gap = Gap::new().await;
    let small = SmallDisk::new(gap.media.path());
    let error = export(&gap.outside.engine, &small.folder.join("1"), options()).await.unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    gap.ledger("1").await;
    assert!(gap.load("1").await.unwrap().applied);
}

/// A file system of one MiB. Mounting needs root, as which the tests run in CI; elsewhere the test fails.
struct SmallDisk {
    folder: std::path::PathBuf,
}

impl SmallDisk {
    fn new(below: &Path) -> Self {
        let folder = below.join("small");
        std::fs::create_dir(&folder).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&folder).output().unwrap();
        assert!(mounted.status.success(), "cannot mount a tmpfs: {mounted:?}");
        Self { folder }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.folder).output();
    }
}
