//! The store over real S3 servers: `scripts/test` starts them on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

use std::{env, fs, path::Path, sync::Arc};

use reservoir_core::{
    Error,
    store::{ObjectBlobs, ObjectStoreOptions, Store as _, StoreExt as _, open},
    testing::store::suite,
};

/// The address of a fresh prefix on a server, with credentials from a file in `directory`.
fn address(server: &str, directory: &Path, secret: Option<&str>) -> String {
    let variable = |suffix: &str| {
        let name = format!("RESERVOIR_TEST_{server}{suffix}");
        env::var(&name)
            .unwrap_or_else(|_| panic!("`{name}` is not set: run scripts/test, which starts the server"))
    };
    let (key, real) = (variable("_KEY"), variable("_SECRET"));
    let secret = secret.unwrap_or(&real);
    let file = directory.join("credentials");
    fs::write(&file, format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"))
        .unwrap();
    let mut url = reqwest::Url::parse(&variable("")).unwrap();
    url.set_path(&format!("tests/{}", uuid::Uuid::new_v4()));
    url.query_pairs_mut().append_pair("credentials", file.to_str().unwrap());
    url.into()
}

async fn store(server: &str, directory: &Path) -> Arc<ObjectBlobs> {
    let options = ObjectStoreOptions { scratch: directory.to_owned(), ..ObjectStoreOptions::default() };
    Arc::new(open(&address(server, directory, None), options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn s3s_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let store = store("S3S", directory.path()).await;
    suite(Arc::clone(&store) as _, Some(&*store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garage_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let store = store("GARAGE", directory.path()).await;
    suite(Arc::clone(&store) as _, Some(&*store)).await;
}

/// Found by trying: Garage 2.5 ignores `If-None-Match` (its own choice, see its S3 compatibility page).
#[tokio::test]
async fn the_probe_sees_through_look_alikes() {
    let directory = tempfile::tempdir().unwrap();
    let capability = store("GARAGE", directory.path()).await.capability();
    assert!(capability.presign && !capability.local && !capability.conditional_put, "{capability:?}");
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let store = store("S3S", directory.path()).await;
    let blob = store.put_bytes("x".into()).await.unwrap();
    let secret = env::var("RESERVOIR_TEST_S3S_SECRET").unwrap();
    assert!(!format!("{store:?}").contains(&secret));
    store.delete(&blob.sha256).await.unwrap();

    let wrong = "not-the-right-secret";
    let error = open(&address("S3S", directory.path(), Some(wrong)), ObjectStoreOptions::default()).await;
    let error = error.expect_err("a wrong secret is refused");
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains(wrong), "{error:?}");
}
