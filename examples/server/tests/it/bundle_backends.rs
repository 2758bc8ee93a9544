//! Bundles where both sides share a catalog and a store with other machines: PostgreSQL and S3.

use reservoir_core::testing::postgres::TestDatabase;

use super::{
    backends::bucket,
    bundle::{Gap, installs},
    support::home::Home,
};

async fn shared(server: &str) -> (Home, TestDatabase) {
    let database = TestDatabase::create().await;
    let home = Home::empty();
    home.done(["init", "--catalog", &database.url(), "--store", &bucket(&home, server)]);
    (home, database)
}

/// Two bundles from one shared home into another, on stores of different makers.
#[tokio::test(flavor = "multi_thread")]
async fn bundles_cross_between_shared_homes() {
    let (outside, first) = shared("S3S").await;
    let (inside, second) = shared("GARAGE").await;
    let gap = Gap::of(outside, inside).await;
    gap.export("one", &["--volume-size", "100kB"]);
    assert_eq!(gap.load("one")["applied"], true);
    gap.release("2.0");
    let delta = gap.export("two", &[]);
    assert_eq!(delta["kind"], "delta");
    assert!(delta["bytes"].as_u64() < Some(50_000), "{delta:#}");
    assert_eq!(gap.load("two")["repositories"][0]["snapshot"], 2);
    assert!(gap.inside.done(["verify", "--deep"]).contains(" 0 damaged"));
    let server = gap.inside.serve();
    installs(&server, &["alpha==2.0", "beta==1.5"]);
    drop(server);
    drop(gap);
    first.remove().await;
    second.remove().await;
}
