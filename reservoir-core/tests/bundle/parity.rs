//! Media that were damaged or lost on the way, and parity volumes that make them good; or cannot.

use std::{fs, path::Path};

use reservoir_core::{ErrorKind, ExportOptions, testing::toy::ToyFile};

use super::{
    gap::{Gap, Inside, content, export, options, tree},
    world::ann,
};

/// Bytes of a volume with its head.
const VOLUME: usize = 65_536;

fn with(percent: u32) -> ExportOptions {
    ExportOptions { parity: Some(percent), ..options() }
}

/// A bundle of about eight volumes, with so much parity.
async fn several(percent: u32) -> Gap {
    let mut gap = Gap::new().await;
    for variant in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        gap.outside.registry.offer(ToyFile::new("hammer", "9.0", Some(variant), &[], 60_000));
    }
    gap.outside.sync().await;
    let made = gap.export("1", with(percent)).await;
    assert!((8..=9).contains(&made.volumes.len()) && made.parity == percent, "{made:#?}");
    gap
}

fn volume(folder: &Path, index: u32) -> std::path::PathBuf {
    folder.join(format!("volume-{index:04}.rsv"))
}

fn spoil(path: &Path, places: impl IntoIterator<Item = usize>) {
    let mut bytes = fs::read(path).unwrap();
    for place in places {
        bytes[place] ^= 0x55;
    }
    fs::write(path, bytes).unwrap();
}

type Case = (&'static str, &'static [u32], fn(&Path));

const DAMAGE: &[Case] = &[
    ("a flipped bit", &[2], |f| spoil(&volume(f, 2), [5000])),
    ("sectors that read as nothing", &[3], |f| {
        let mut bytes = fs::read(volume(f, 3)).unwrap();
        bytes[8192..24_576].fill(0);
        fs::write(volume(f, 3), bytes).unwrap();
    }),
    ("flipped bits in several volumes", &[1, 4, 6], |f| {
        for index in [1, 4, 6] {
            spoil(&volume(f, index), [600, 30_000, VOLUME - 1]);
        }
    }),
    ("a volume cut short", &[2], |f| {
        let bytes = fs::read(volume(f, 2)).unwrap();
        fs::write(volume(f, 2), &bytes[..9000]).unwrap();
    }),
    ("a volume lost", &[5], |f| fs::remove_file(volume(f, 5)).unwrap()),
    ("a damaged head", &[7], |f| spoil(&volume(f, 7), [3, 40])),
    ("parity volumes damaged as well", &[2], |f| {
        spoil(&volume(f, 2), [5000]);
        spoil(&f.join("parity-0001.rsv"), [7, 3000]);
        spoil(&f.join("parity-0002.rsv"), [4000]);
        fs::remove_file(f.join("parity-0003.rsv")).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_or_lost_is_made_again() {
    let gap = several(20).await;
    let expected = content(&gap.outside.engine).await;
    for (number, (name, volumes, damage)) in DAMAGE.iter().enumerate() {
        let folder = gap.path(&format!("damaged-{number}"));
        fs::create_dir(&folder).unwrap();
        for file in tree(&gap.path("1")).keys() {
            fs::copy(gap.path("1").join(file), folder.join(file)).unwrap();
        }
        damage(&folder);
        let before = tree(&folder);
        let inside = Inside::new().await;
        inside.trust(&gap.stream_key(), reservoir_core::catalog::Accept::Evidence).await;
        let verified = inside.engine.verify_bundle(vec![folder.clone()]).await.unwrap();
        let told: Vec<u32> = verified.repairable.iter().map(|(index, _)| *index).collect();
        assert!(told == *volumes && verified.damage.is_some(), "{name}: {verified:#?}");
        let loaded = inside
            .load(std::slice::from_ref(&folder))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let repaired: Vec<u32> = loaded[0].repaired.iter().map(|(index, _)| *index).collect();
        assert!(loaded[0].applied && repaired == *volumes, "{name}: {loaded:#?}");
        assert_eq!(content(&inside.engine).await, expected, "{name}");
        assert!(inside.engine.verify(true).await.unwrap().damaged.is_empty(), "{name}");
        assert_eq!(tree(&folder), before, "{name}: media are only read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_beyond_repair_is_refused_and_leaves_the_store_as_it_was() {
    let gap = several(10).await;
    let folder = gap.path("1");
    // A fifth of all pieces, for which a tenth was added.
    for index in 1..=8 {
        let step = VOLUME / 100;
        spoil(&volume(&folder, index), (0..100).step_by(5).map(|at| 520 + at * step));
    }
    let before = gap.inside.state().await;
    let error = gap.load("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    assert!(error.to_string().contains("for which parity is here"), "{error}");
    assert!(gap.inside.engine.verify_bundle(vec![folder]).await.is_err());
    assert!(gap.inside.state().await == before);
}

/// Volumes that only come later are not taken for lost ones, and are what is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_come_later_are_asked_for() {
    let gap = several(20).await;
    let (folder, later) = (gap.path("1"), gap.path("later"));
    fs::create_dir(&later).unwrap();
    for index in [2, 3, 4] {
        fs::rename(volume(&folder, index), volume(&later, index)).unwrap();
    }
    let loaded = gap.load("1").await.unwrap();
    let missing: Vec<u32> = loaded.missing.iter().map(|(index, _)| *index).collect();
    assert!(!loaded.applied && missing == [2, 3, 4] && loaded.repaired.is_empty(), "{loaded:#?}");
    let both = gap.inside.load(&[folder, later]).await.unwrap();
    assert!(both[0].applied && both[0].repaired.is_empty(), "{both:#?}");
}

/// An attacker who writes parity gets nothing in: what it makes is held against what was signed.
#[tokio::test(flavor = "multi_thread")]
async fn forged_parity_makes_nothing_that_is_believed() {
    let gap = several(20).await;
    let folder = gap.path("1");
    spoil(&volume(&folder, 2), [5000]);
    let list = 100 * 16;
    for index in 1..=20 {
        let path = folder.join(format!("parity-{index:04}.rsv"));
        let mut bytes = fs::read(&path).unwrap();
        // Every piece is said to have the digest of another, and the record is made to agree with itself.
        let record = 512..bytes.len();
        bytes[544..544 + list].rotate_left(16);
        let own = blake3::hash(&bytes[544..]);
        bytes[record.start..record.start + 32].copy_from_slice(own.as_bytes());
        fs::write(&path, bytes).unwrap();
    }
    let before = gap.inside.state().await;
    let error = gap.load("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    assert!(gap.inside.state().await == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn parity_that_cannot_be_made_is_refused() {
    let gap = Gap::new().await;
    for percent in [0, 101] {
        let error = export(&gap.outside.engine, &gap.path("none"), with(percent)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let stream = reservoir_core::bundle::Target::Stream(Box::new(std::io::sink()));
    let error = gap.outside.engine.export(with(10), stream, ann()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(tree(&gap.path("none")).is_empty());
}
