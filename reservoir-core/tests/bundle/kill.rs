//! An export whose process dies at any call of the catalog is ended by the next.

use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use reservoir_core::{
    ExportOptions,
    bundle::StreamKey,
    catalog::{Catalog, CatalogOptions},
};

use super::{
    gap::{Gap, Inside, content, export, options, tree},
    world::{builder, sqlite},
};

const OUTSIDE: &str = "RESERVOIR_KILL_OUTSIDE";
const FOLDER: &str = "RESERVOIR_KILL_FOLDER";
const AT: &str = "RESERVOIR_KILL_AT";

/// To a site of its own each, in one go or in volumes.
fn asked(at: u64, is_small: bool) -> ExportOptions {
    let site = format!("site-{at}-{is_small}");
    let large = ExportOptions { site, parity: Some(10), ..options() };
    if is_small { ExportOptions { volume_size: None, parity: None, ..large } } else { large }
}

/// Run by the other test: ends at one call of the catalog's hook, two a commit.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the other test"]
async fn child() {
    let of = |name| env::var(name).expect("started by the other test");
    let (outside, at): (PathBuf, u64) = (of(OUTSIDE).into(), of(AT).parse().unwrap());
    let catalog = Catalog::open(&sqlite(&outside), CatalogOptions::default()).await.unwrap();
    let calls = AtomicU64::new(0);
    catalog.on_write(Arc::new(move |_| {
        if calls.fetch_add(1, Ordering::SeqCst) + 1 == at {
            std::process::abort();
        }
    }));
    let key = StreamKey::load(outside.join("bundle.key")).unwrap();
    let engine = builder(&outside, catalog).await.bundle_key(key).build().unwrap();
    for is_small in [true, false] {
        let folder = PathBuf::from(of(FOLDER)).join(is_small.to_string());
        export(&engine, &folder, asked(at, is_small)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_wherever_its_process_died() {
    let gap = Gap::large().await;
    let (mut died, mut whole) = (0, [0, 0]);
    for at in 1.. {
        let folder = gap.path(&at.to_string());
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "kill::child", "--nocapture"]);
        child.env(OUTSIDE, gap.outside.folder.path()).env(FOLDER, &folder).env(AT, at.to_string());
        let ended = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
        for is_small in [true, false] {
            let folder = folder.join(is_small.to_string());
            let is_whole = folder.join("volumes.json").exists();
            let exported = export(&gap.outside.engine, &folder, asked(at, is_small)).await.unwrap();
            if is_whole && exported.sequence.is_some() {
                // All of it was written, and nobody told: not one byte is written again.
                assert!(exported.bytes > 0 && exported.resumed_at == exported.bytes, "{at}: {exported:#?}");
                whole[usize::from(is_small)] += 1;
            }
            let verified = gap.inside.engine.verify_bundle(vec![folder.clone()]).await.unwrap();
            assert!(verified.finished && verified.damage.is_none() && verified.missing.is_empty(), "{at}");
            assert_eq!(verified.header.sequence, 1, "{at}");
            let left = tree(&folder).into_keys();
            let left: Vec<_> = left.filter(|path| path.extension() == Some("new".as_ref())).collect();
            assert!(left.is_empty(), "{at}: {left:?}");
            if at % 8 == 1 {
                let inside = Inside::new().await;
                inside.trust(&gap.stream_key(), reservoir_core::catalog::Accept::Evidence).await;
                assert!(inside.load(&[folder]).await.unwrap()[0].applied, "{at}");
                assert_eq!(content(&inside.engine).await, content(&gap.outside.engine).await);
            }
        }
        if ended.status.success() {
            break;
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(6), "{ended:?}");
        died += 1;
    }
    assert!(died > 20 && !whole.contains(&0), "{died} {whole:?}");
    gap.outside.engine.catalog().verify_audit().await.unwrap();
}
