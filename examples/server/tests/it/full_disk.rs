//! A disk that is really full: said plainly, the last generation goes on being served, and with room the same
//! command ends what it began.

use std::time::Duration;

use super::support::{
    disk::Disk,
    dist::{Wheel, metadata},
    home::{Home, Run},
    index::{File, Index, Style, wheel},
    web::{file_url, files, get},
};

/// A wheel with so many bytes that no compression makes smaller.
fn large(name: &str, version: &str, bytes: usize) -> File {
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let wheel = Wheel::new(name, version)
        .with_metadata(metadata(name, version, ""))
        .with(&format!("{name}/noise.bin"), noise.take(bytes).collect::<Vec<u8>>());
    File::new(format!("{name}-{version}-py3-none-any.whl"), wheel.build())
}

#[track_caller]
fn assert_no_space(run: &Run) {
    // Above it there may be warnings of what could not be tidied up either.
    let told = run.stderr.lines().any(|line| line.starts_with("error: no space left while writing "));
    assert!(told, "{run:?}");
}

/// Fills `disk`, on which a part of `home` lies, before a sync that needs `left` bytes of it and more.
async fn story(index: &Index, home: &Home, disk: &Disk, left: u64) {
    home.apply(&index.mirror(&["alpha"], "whole = true")).expect(0);
    assert_eq!(home.sync("python", 0)["published"], 1);
    let serving = home.serve();
    let simple = serving.simple("python");
    let first = file_url(&simple, "alpha", "alpha-1.0-py3-none-any.whl").await;

    for version in 0..40 {
        index.add("alpha", large("alpha", &format!("2.{version}"), 100_000));
    }
    disk.fill_but(left);
    assert_no_space(&home.run(["sync", "python"]).expect(1));
    assert_eq!(get(&first, &[]).await.status, 200);
    assert_eq!(files(&simple, "alpha").await, ["alpha-1.0-py3-none-any.whl"]);
    assert_no_space(&home.run(["sync", "python"]).expect(1));

    disk.empty();
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
    let report = home.sync("python", 0);
    assert_eq!(report["published"], 2, "{report:#}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(files(&simple, "alpha").await.len(), 41);
    assert_eq!(get(&first, &[]).await.status, 200);
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_leaves_the_last_generation_and_a_sync_that_goes_on() {
    for left in [0, 1 << 20] {
        let home = Home::empty();
        let disk = Disk::mount(home.path().join("store"), 8 << 10);
        home.done(["init"]);
        let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
        story(&index, &home, &disk, left).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_catalog_leaves_the_last_generation_and_a_sync_that_goes_on() {
    for left in [0, 100 << 10] {
        let home = Home::empty();
        let disk = Disk::mount(home.path().join("catalog"), 16 << 10);
        home.done(["init", "--catalog", "sqlite:catalog/catalog.sqlite"]);
        let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
        story(&index, &home, &disk, left).await;
    }
}
