//! Bundles of every version of the format, kept in the tree: last year's are read this year.

use std::path::Path;

use reservoir_core::{
    Base, ExportOptions,
    bundle::BundleKey,
    catalog::{Accept, TrustedKey},
    clock::Timestamp,
};

use super::{
    gap::{Gap, Inside, content, options, tree},
    refs::{names, point, refs},
    world::{ann, get},
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundle/golden");

#[tokio::test(flavor = "multi_thread")]
async fn golden_bundles_are_taken() {
    let mut count = 0;
    for version in std::fs::read_dir(GOLDEN).unwrap() {
        let folder = version.unwrap().path();
        let before = tree(&folder);
        let inside = trusting(&folder).await;
        for bundle in ["1", "2"] {
            let loaded = inside.load(&[folder.join(bundle)]).await.unwrap();
            assert!(loaded[0].applied && loaded[0].is_complete(), "{loaded:#?}");
        }
        let expected = std::fs::read_to_string(folder.join("content")).unwrap();
        assert_eq!(content(&inside.engine).await.to_string(), expected.trim());
        assert_eq!(get(&inside.engine, "/tools/files/hammer/hammer-3.0+a.toy").await.0, 200);
        assert_eq!(tree(&folder), before, "media are only read");
        count += 1;
    }
    assert!(count > 0);
}

/// How parity is laid out is a part of the format.
#[tokio::test(flavor = "multi_thread")]
async fn golden_parity_makes_good_what_is_damaged() {
    let folder = Path::new(GOLDEN).join("1.2.0");
    let copy = tempfile::tempdir().unwrap();
    for file in tree(&folder.join("1")).keys() {
        std::fs::copy(folder.join("1").join(file), copy.path().join(file)).unwrap();
    }
    let volume = copy.path().join("volume-0001.rsv");
    let mut bytes = std::fs::read(&volume).unwrap();
    bytes[2000..3000].fill(0);
    std::fs::write(volume, bytes).unwrap();
    let inside = trusting(&folder).await;
    let loaded = inside.load(&[copy.path().to_owned()]).await.unwrap();
    assert!(loaded[0].applied && loaded[0].repaired.len() == 1, "{loaded:#?}");
}

/// What is named travels since 1.3.
#[tokio::test(flavor = "multi_thread")]
async fn golden_refs_arrive() {
    let folder = Path::new(GOLDEN).join("1.3.0");
    let inside = trusting(&folder).await;
    let mut named = Vec::new();
    for bundle in ["1", "2"] {
        inside.load(&[folder.join(bundle)]).await.unwrap();
        named.push(refs(&inside.engine).await);
    }
    assert_eq!(names(&named[0]), ["first", "main"]);
    assert_eq!(names(&named[1]), ["first", "main", "third"]);
    let shown = |place: usize, at: usize| named[place][at].1;
    assert_eq!(shown(1, 0), shown(0, 1), "the first is what `main` was");
    assert_eq!(shown(1, 2), shown(1, 1));
}

/// What an inventory lists need not be sent.
#[tokio::test(flavor = "multi_thread")]
async fn golden_inventories_are_read() {
    let folder = Path::new(GOLDEN).join("1.3.0");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let gap = Gap::new().await;
    let key = TrustedKey { public: BundleKey::from_file(&read("inside.pub")).unwrap(), ..gap.inside_key() };
    gap.outside.engine.catalog().trust_key(&key, &ann()).await.unwrap();
    let all = gap.outside.engine.plan_export(options()).await.unwrap();
    let base = Base::Inventory(read("inventory.json").into_bytes(), read("inventory.json.minisig"));
    let have = ExportOptions { base, ..options() };
    let less = gap.outside.engine.plan_export(have).await.unwrap();
    // The twelve files and what is derived from them are the same; what is signed and dated is not.
    assert!(all.blobs >= less.blobs + 12, "{} and {}", all.blobs, less.blobs);
}

/// Run once: `cargo nextest run --run-ignored all -E 'test(write_golden_inventory)'`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixture of a new version"]
async fn write_golden_inventory() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    let (document, signature) = gap.inside.engine.inventory().await.unwrap();
    let folder = Path::new(GOLDEN).join(reservoir_core::bundle::FORMAT);
    std::fs::write(folder.join("inventory.json"), document).unwrap();
    std::fs::write(folder.join("inventory.json.minisig"), signature).unwrap();
    std::fs::write(folder.join("inside.pub"), gap.inside.key().public().to_file()).unwrap();
}

/// A home that trusts the key beside a golden bundle.
async fn trusting(folder: &Path) -> Inside {
    let inside = Inside::new().await;
    let key = TrustedKey {
        public: BundleKey::from_file(&std::fs::read_to_string(folder.join("key.pub")).unwrap()).unwrap(),
        comment: String::new(),
        accept: Accept::Evidence,
        predecessor: None,
        added_at: Timestamp::now(),
    };
    inside.engine.catalog().trust_key(&key, &ann()).await.unwrap();
    inside
}

/// Run once for each version of the format: `cargo nextest run --run-ignored all -E 'test(write_golden)'`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixture of a new version"]
async fn write_golden() {
    let mut gap = Gap::new().await;
    let folder = Path::new(GOLDEN).join(reservoir_core::bundle::FORMAT);
    std::fs::create_dir_all(&folder).unwrap();
    point(&gap.outside.engine, "first", 1).await;
    gap.export("1", ExportOptions { parity: Some(10), ..options() }).await;
    gap.release("3.0").await;
    point(&gap.outside.engine, "third", 2).await;
    gap.ledger("2").await;
    for bundle in ["1", "2"] {
        std::fs::create_dir_all(folder.join(bundle)).unwrap();
        for file in tree(&gap.path(bundle)).keys() {
            std::fs::copy(gap.path(bundle).join(file), folder.join(bundle).join(file)).unwrap();
        }
    }
    std::fs::write(folder.join("key.pub"), gap.stream_key().public().to_file()).unwrap();
    std::fs::write(folder.join("content"), format!("{}\n", content(&gap.outside.engine).await)).unwrap();
}
