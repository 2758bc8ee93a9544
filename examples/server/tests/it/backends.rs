//! The same program on PostgreSQL and on S3: what several machines would share.

use std::{ffi::OsStr, fs};

use reservoir_core::testing::postgres::TestDatabase;

use super::support::{
    client,
    home::Home,
    index::{Index, Style, wheel},
};

/// The address of a fresh prefix on an S3 server, its credentials in a file of the home.
pub(super) fn bucket(home: &Home, server: &str) -> String {
    let variable = |suffix: &str| {
        let name = format!("RESERVOIR_TEST_{server}{suffix}");
        std::env::var(&name)
            .unwrap_or_else(|_| panic!("{name} is not set; run scripts/test, which starts the server"))
    };
    let (key, secret) = (variable("_KEY"), variable("_SECRET"));
    let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    let file = home.write("credentials", &text);
    let mut url: url::Url = variable("").parse().unwrap();
    let unique = home.path().file_name().and_then(OsStr::to_str).unwrap().trim_start_matches('.');
    url.set_path(&format!("cli/{unique}-{}", std::process::id()));
    url.query_pairs_mut().append_pair("credentials", file.to_str().unwrap());
    url.into()
}

async fn story(server: &str) {
    let index = Index::of(Style::Html, [wheel("alpha", "1.0", &["beta"]), wheel("beta", "1.0", &[])]).await;
    let database = TestDatabase::create().await;
    let home = Home::empty();
    home.done(["init", "--catalog", &database.url(), "--store", &bucket(&home, server)]);
    home.apply(&index.mirror(&["alpha"], "dependencies = true")).expect(0);
    assert_eq!(home.sync("python", 0)["published"], 1);
    let serving = home.serve();
    for client in client::all() {
        client.install(&serving.simple("python"), &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0"]);
    }
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
    home.done(["gc", "--grace", "0"]);
    assert_eq!(home.sync("python", 0)["fetched_files"], 0);
    // A second host on another machine: its own folder, the same keys, catalog and store.
    let second = Home::empty();
    fs::create_dir(second.path().join("keys")).unwrap();
    for name in ["reservoir.toml", "keys/instance.key", "keys/signing.asc"] {
        fs::copy(home.path().join(name), second.path().join(name)).unwrap();
    }
    assert!(second.done(["list"]).contains("python"));
    drop(serving);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_s3s() {
    story("S3S").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_garage() {
    story("GARAGE").await;
}
