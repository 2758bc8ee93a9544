//! The real apt reads what is written here: signatures on, a root of its own, the loopback.

#![allow(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

mod support;

use reservoir_core::openpgp::{Signer, SigningKey};
use serde_json::json;
use support::{
    deb::Deb,
    root::Root,
    serve::Served,
    site::{Site, config, plain},
};

async fn served(mut site: Site, debs: &[Deb]) -> Served {
    let edits = debs.iter().map(|deb| site.package(deb)).collect();
    site.publish(edits).await;
    Served::start(site).await
}

async fn keyring(served: &Served) -> Vec<u8> {
    served.site.read().await.signer.binary_public().unwrap()
}

/// Runs what blocks beside the server.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_updates_installs_and_revalidates() {
    let debs = [
        Deb::new("hello", "2.10-3", "amd64").field("Depends", "common (>= 1.0)"),
        Deb::new("common", "1:1.0+dfsg~rc1", "all").field("Multi-Arch", "foreign"),
    ];
    let served = served(Site::now(plain()), &debs).await;
    let (base, keyring) = (served.base.clone(), keyring(&served).await);
    let root = blocking(move || {
        let root = Root::default();
        root.source(&base, "bookworm main", &keyring);
        let text = root.update().clean();
        assert!(text.contains("Get:1 ") && text.contains("InRelease"), "{text}");
        root
    })
    .await;
    let requests = served.requests();
    assert_eq!(requests.len(), 2, "InRelease and the index by its digest: {requests:?}");
    assert!(requests[1].starts_with("200 /bookworm/dists/bookworm/main/binary-amd64/by-hash/SHA256/"));
    let root = blocking(move || {
        assert_eq!(root.candidate("hello").as_deref(), Some("2.10-3"));
        let text = root.update().clean();
        assert!(text.contains("Hit:1 ") && !text.contains("Get:"), "{text}");
        root.get(&["install", "hello"]).clean();
        let installed = std::fs::read_to_string(root.path().join("usr/share/common/version")).unwrap();
        assert_eq!(installed, "1:1.0+dfsg~rc1");
        root
    })
    .await;
    let requests = served.requests();
    assert_eq!(requests[0], "304 /bookworm/dists/bookworm/InRelease");
    // Two snapshots a second apart are two for apt, which compares whole seconds.
    let mut root = root;
    for version in ["2.10-4", "2.10-5"] {
        let mut site = served.site.write().await;
        let edits = vec![site.package(&Deb::new("hello", version, "amd64"))];
        site.publish(edits).await;
        drop(site);
        root = blocking(move || {
            root.update().clean();
            assert_eq!(root.candidate("hello").as_deref(), Some(version));
            root
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_many_members_are_read_to_the_end() {
    let mut site = Site::now(plain());
    let debs: Vec<Deb> = (0..5000_u32)
        .map(|index| {
            let name = format!("p{:08x}", index.wrapping_mul(2_654_435_761));
            Deb { files: Vec::new(), ..Deb::new(&name, "1", "amd64") }
        })
        .collect();
    let edits = debs.iter().map(|deb| site.package(deb)).collect();
    site.publish(edits).await;
    let members = site.published("dists/bookworm/main/binary-amd64/Packages.gz").await;
    assert!(members.windows(4).filter(|bytes| *bytes == [0x1f, 0x8b, 8, 0]).count() > 3);
    let served = Served::start(site).await;
    let (base, keyring) = (served.base.clone(), keyring(&served).await);
    blocking(move || {
        let root = Root::default();
        root.source(&base, "bookworm main", &keyring);
        root.update().clean();
        assert_eq!(root.known().len(), 5000);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_our_key_is_believed_and_one_of_two_suffices() {
    let mut site = Site::now(plain());
    let key = || SigningKey::generate("Test <test@example.com>").unwrap();
    let other = Signer::from(key());
    let edits = vec![site.package(&Deb::new("hello", "1", "amd64"))];
    site.publish(edits).await;
    let served = Served::start(site).await;
    let (base, ours, theirs) = (served.base.clone(), keyring(&served).await, other.binary_public().unwrap());
    blocking(move || {
        let root = Root::default();
        root.source(&base, "bookworm main", &theirs);
        let text = root.update().failed();
        assert!(text.contains("NO_PUBKEY") || text.contains("is not signed"), "{text}");
        root.source(&base, "bookworm main", &ours);
        root.update().clean();
    })
    .await;

    // Two keys sign; the client knows one of them. By InRelease and by Release with Release.gpg.
    let folder = tempfile::tempdir().unwrap();
    let old = key();
    old.save(folder.path().join("old")).unwrap();
    let known = Signer::from(SigningKey::load(folder.path().join("old")).unwrap());
    let mut site = Site::now(plain());
    site.signer = Signer::new(vec![key(), old]).unwrap().into();
    let edits = vec![site.package(&Deb::new("hello", "1", "amd64"))];
    site.publish(edits).await;
    let served = Served::start(site).await;
    let (base, keyring) = (served.base.clone(), known.binary_public().unwrap());
    blocking(move || {
        let root = Root::default();
        root.source(&base, "bookworm main", &keyring);
        root.update().clean();
        assert_eq!(root.candidate("hello").as_deref(), Some("1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_past_its_date_is_refused() {
    let options = json!({ "suites": ["bookworm"], "components": ["main"], "valid_for": "30m" });
    // The site is an hour old.
    let stale = served(Site::now(config(options.clone())), &[Deb::new("hello", "1", "amd64")]).await;
    let (base, keys) = (stale.base.clone(), keyring(&stale).await);
    let root = blocking(move || {
        let root = Root::default();
        root.source(&base, "bookworm main", &keys);
        let text = root.update().failed();
        assert!(text.contains("is expired"), "{text}");
        root
    })
    .await;
    // Signed anew, it is good.
    let mut site = stale.site.write().await;
    site.begin = reservoir_core::clock::Timestamp::now();
    let before = site.begin.as_seconds() - site.line.number as i64 - 5;
    site.begin = reservoir_core::clock::Timestamp::from_micros(before * 1_000_000);
    site.publish(Vec::new()).await;
    drop(site);
    blocking(move || {
        root.update().clean();
        assert_eq!(root.candidate("hello").as_deref(), Some("1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flat_archives_and_odd_file_names_are_fetched() {
    let mut site = Site::now(config(json!({ "suites": ["/"] })));
    let odd = Deb::new("odd", "1:2.0+x~y", "amd64");
    let edits = vec![
        site.package_at(&Deb::new("cuda", "13.0-1", "amd64"), "cuda.deb", "./cuda.deb", &["/"]),
        site.package_at(&odd, "sub/odd_1:2.0+x~y.deb", "./sub/odd_1%3a2.0+x~y.deb", &["/"]),
        site.package_at(&Deb::new("blank", "1", "all"), "a b/blank 1.deb", "a b/blank 1.deb", &["/"]),
    ];
    site.publish(edits).await;
    let served = Served::start(site).await;
    let (base, keyring) = (served.base.clone(), keyring(&served).await);
    blocking(move || {
        let root = Root::default();
        root.source(&base, "/", &keyring);
        root.update().clean();
        for package in ["cuda", "odd", "blank"] {
            root.get(&["download", package]).clean();
        }
        root.get(&["install", "cuda", "odd", "blank"]).clean();
    })
    .await;
    let requests = served.requests();
    let asked = |what: &str| requests.iter().any(|request| request.contains(what));
    assert!(asked("/./cuda.deb") && asked("%253a") && asked("%20"), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_architectures_and_priorities_are_upstreams() {
    let options = json!({
        "suites": ["bookworm-backports"], "components": ["main"], "architectures": ["amd64", "i386"],
    });
    let mut site = Site::now(config(options));
    let key = ["bookworm-backports/main"];
    let put = |deb: &Deb| site.package_at(deb, &deb.pool(), &deb.pool(), &key);
    let edits = vec![
        put(&Deb::new("native", "1", "amd64")),
        put(&Deb::new("foreign", "1", "i386")),
        put(&Deb::new("everywhere", "1", "all")),
        site.upstream(
            "bookworm-backports",
            "20261121T100000Z",
            json!({ "origin": "Debian Backports", "suite": "stable-backports", "codename": "bookworm-backports",
                    "notautomatic": "yes", "butautomaticupgrades": "yes" }),
        ),
    ];
    site.publish(edits).await;
    let served = Served::start(site).await;
    let (base, keyring) = (served.base.clone(), keyring(&served).await);
    blocking(move || {
        let root = Root::new("amd64", &["i386"]);
        root.source(&base, "bookworm-backports main", &keyring);
        root.update().clean();
        let policy = root.cache(&["policy"]).clean();
        assert!(policy.contains(" 100 ") && policy.contains("o=Debian Backports"), "{policy}");
        assert_eq!(root.candidate("foreign:i386").as_deref(), Some("1"));
        let everywhere = root.cache(&["policy", "everywhere"]).clean();
        assert_eq!(
            everywhere.matches("binary-").count() + everywhere.matches("Packages").count(),
            2,
            "{everywhere}"
        );
    })
    .await;
}
