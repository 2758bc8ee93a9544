//! Several copies, several bundles, several streams: what one of them lacks stops none of the others.

use std::{fs, path::PathBuf};

use reservoir_core::{
    ErrorKind, ExportOptions, Medium, bundle::Target, name::RepositoryName, task::Progress,
};

use super::{
    gap::{Gap, load, options, tree},
    world::{ann, config},
};

fn volume(folder: &std::path::Path, index: u32) -> PathBuf {
    folder.join(format!("volume-{index:04}.rsv"))
}

/// One copy of a volume is damaged, another cut, and a good one of each lies on a medium that is looked at later.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_hides_no_good_one() {
    let gap = Gap::large().await;
    let count = gap.ledger("1").await.volumes.len();
    assert!(count >= 3, "{count}");
    let (first, source) = (gap.path("0"), gap.path("1"));
    fs::create_dir(&first).unwrap();
    let mut damaged = fs::read(volume(&source, 1)).unwrap();
    damaged[5000] ^= 1;
    fs::write(volume(&first, 1), damaged).unwrap();
    let good = fs::read(volume(&source, 2)).unwrap();
    fs::write(volume(&first, 2), &good[..9000]).unwrap();
    let both = [first.clone(), source.clone()];
    // Damage is told where the volume is wanted after all.
    let kept = gap.path("kept");
    fs::rename(volume(&source, 1), &kept).unwrap();
    let error = gap.inside.load(&both).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Integrity && error.to_string().contains("volume 1"), "{error}");
    fs::rename(&kept, volume(&source, 1)).unwrap();
    let loaded = gap.inside.load(&both).await.unwrap().remove(0);
    assert!(loaded.applied && loaded.missing.is_empty(), "{loaded:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_good_copies_are_verified() {
    let gap = Gap::large().await;
    gap.ledger("1").await;
    let (copy, source) = (gap.path("copy"), gap.path("1"));
    fs::create_dir(&copy).unwrap();
    fs::copy(volume(&source, 2), volume(&copy, 2)).unwrap();
    let both = vec![copy.clone(), source.clone()];
    let verified = gap.inside.engine.verify_bundle(both.clone()).await.unwrap();
    assert!(verified.finished && verified.missing.is_empty(), "{verified:#?}");
    let mut damaged = fs::read(volume(&copy, 2)).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(volume(&copy, 2), damaged).unwrap();
    let error = gap.inside.engine.verify_bundle(both).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Integrity && error.to_string().contains("volume 2"), "{error}");
}

/// A stream that waits for a medium, and one of which everything is here.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_volume_stops_its_own_stream_alone() {
    let gap = Gap::large().await;
    let second: RepositoryName = "second".parse().unwrap();
    gap.outside.engine.catalog().put_repository(&config("second"), &ann()).await.unwrap();
    gap.outside.engine.sync(&second, ann()).await.unwrap().wait().await.unwrap();
    for (name, repository) in [("tools", super::world::tools()), ("second", second)] {
        let repositories = vec![repository];
        gap.export(name, ExportOptions { site: name.into(), repositories, ..options() }).await;
    }
    let both = [gap.path("second"), gap.path("tools")];
    let planned = load(&gap.inside.engine, &both, true).await.unwrap();
    assert!(planned.len() == 2 && planned.iter().all(|one| one.missing.is_empty()), "{planned:#?}");
    // What comes first lacks a volume.
    let waits = planned[0].site.clone();
    let lost = volume(&gap.path(&waits), 2);
    fs::rename(&lost, gap.path("lost.rsv")).unwrap();
    let loaded = gap.inside.load(&both).await.unwrap();
    let applied: Vec<(&str, bool)> = loaded.iter().map(|one| (one.site.as_str(), one.applied)).collect();
    assert_eq!(applied, [(waits.as_str(), false), (planned[1].site.as_str(), true)]);
    assert_eq!(loaded[0].missing.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_before_an_error_is_told() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    let spoiled = volume(&gap.path("2"), 1);
    let mut bytes = fs::read(&spoiled).unwrap();
    bytes[5000] ^= 1;
    fs::write(&spoiled, bytes).unwrap();
    let mut events = gap.inside.engine.events();
    let error = gap.inside.load(&[gap.path("1"), gap.path("2")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Progress::Warning { message } = event.progress {
            told.push(message);
        }
    }
    assert_eq!(told, ["bundle 1 for north is applied"]);
    assert!(gap.load("1").await.unwrap().already);
}

/// A dry run says what a load would say of media that are not all here.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_is_missing() {
    let gap = Gap::large().await;
    gap.ledger("1").await;
    let source = gap.path("1");
    let before = gap.inside.state().await;
    let dry = async || load(&gap.inside.engine, std::slice::from_ref(&source), true).await;
    assert!(dry().await.unwrap()[0].missing.is_empty());
    fs::rename(volume(&source, 2), gap.path("2.rsv")).unwrap();
    let planned = dry().await.unwrap().remove(0);
    assert_eq!(planned.missing.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
    assert!(!planned.is_complete());
    fs::rename(gap.path("2.rsv"), volume(&source, 2)).unwrap();
    fs::rename(source.join("volumes.json"), gap.path("volumes.json")).unwrap();
    let error = dry().await.unwrap_err();
    assert!(error.to_string().contains("`volumes.json` is missing"), "{error}");
    assert!(gap.inside.state().await == before);
    assert!(tree(&gap.inside.folder.path().join("scratch/load")).is_empty());
}

/// A dry run of a stream reads it to its end, which is what an export into it waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_stream_sees_its_end() {
    let gap = Gap::large().await;
    let path = gap.path("stream.tar");
    let target = Target::Stream(Box::new(fs::File::create(&path).unwrap()));
    gap.outside.engine.export(options(), target, ann()).await.unwrap().wait().await.unwrap();
    let before = gap.inside.state().await;
    let whole = fs::read(&path).unwrap();
    let dry = async |bytes: Vec<u8>| {
        let medium = Medium::Stream(Box::new(std::io::Cursor::new(bytes)));
        gap.inside.engine.load(medium, true, ann()).await.unwrap().wait().await
    };
    let planned = dry(whole.clone()).await.unwrap().remove(0);
    assert!(!planned.applied && planned.is_complete() && planned.new_bytes > 200_000, "{planned:#?}");
    for cut in [whole.len() / 2, whole.len() - 2048] {
        let error = dry(whole[..cut].to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    }
    assert!(gap.inside.state().await == before);
    assert!(tree(&gap.inside.folder.path().join("scratch/load")).is_empty());
    let medium = Medium::Stream(Box::new(std::io::Cursor::new(whole)));
    assert!(gap.inside.engine.load(medium, false, ann()).await.unwrap().wait().await.unwrap()[0].applied);
}
