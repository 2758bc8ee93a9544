//! From one state of an archive to the next: what clients see meanwhile, and when the next cannot be had.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reservoir_core::testing::upstream::Reply;

use super::{
    apt_cases::{mirror, noticed, root},
    support::{
        apt::{Archive, Gpg},
        deb::Deb,
        home::Home,
        web::get,
    },
};

fn hello(version: &str) -> Deb {
    Deb::new("hello", version, "amd64")
}

/// Writes `Contents-amd64.gz`; its bytes.
fn contents(base: &Path, text: &str) -> Vec<u8> {
    let main = base.join("dists/bookworm/main");
    std::fs::create_dir_all(&main).unwrap();
    std::fs::write(main.join("Contents-amd64"), text).unwrap();
    let packed = std::process::Command::new("gzip").args(["-nc"]).arg(main.join("Contents-amd64")).output();
    let packed = packed.unwrap().stdout;
    std::fs::write(main.join("Contents-amd64.gz"), &packed).unwrap();
    packed
}

/// Other bytes of the same length: what a mirror in the middle of a change has.
fn other(mut bytes: Vec<u8>) -> Reply {
    *bytes.last_mut().unwrap() ^= 1;
    Reply::ok(bytes)
}

/// An index that cannot be had, or a package that is listed: clients go on with the state before.
#[tokio::test(flavor = "multi_thread")]
async fn a_verbatim_suite_stays_while_its_next_state_cannot_be_had() {
    let archive = Archive::new().await;
    let base = archive.path().join("ftparchive");
    contents(&base, "usr/share/hello/version misc/hello\n");
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[hello("2.10-3")])));
    let home = Home::with(&mirror(&archive, "view = \"verbatim\""));
    home.sync("mirror", 0);
    let server = home.serve();
    let client = root(&home, &server).await;
    client.update().clean();
    let before = std::fs::read(base.join("dists/bookworm/InRelease")).unwrap();

    let packed = contents(&base, "usr/share/hello/version misc/hello\nusr/share/hello/news misc/hello\n");
    let next = hello("2.11-1");
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(std::slice::from_ref(&next))));
    let still = async || {
        noticed().await;
        let shown = get(&server.url("/mirror/dists/bookworm/InRelease"), &[]).await;
        assert_eq!((shown.status, &shown.body[..]), (200, &before[..]));
        client.update().clean();
        assert_eq!(client.candidate("hello").as_deref(), Some("2.10-3"));
        let fresh = root(&home, &server).await;
        fresh.update().clean();
        fresh.get(&["install", "hello"]).clean();
    };
    let deb = "/pool/main/hello_2.11-1_amd64.deb";
    archive.upstream.route(deb, other(next.build()));
    home.sync("mirror", 3);
    still().await;
    archive.upstream.route(deb, Reply::ok(next.build()));
    let index = "/dists/bookworm/main/Contents-amd64.gz";
    archive.upstream.route(index, other(packed.clone()));
    home.sync("mirror", 3);
    still().await;
    // Nor does it take anything away that the new state is known and not here.
    home.done(["scan", "mirror"]);
    home.done(["publish", "mirror", "--again"]);
    still().await;

    archive.upstream.route(index, Reply::ok(packed));
    home.sync("mirror", 0);
    noticed().await;
    client.update().clean();
    assert_eq!(client.candidate("hello").as_deref(), Some("2.11-1"));
    client.get(&["install", "hello"]).clean();
}

/// What is published before upstream was ever read claims nothing that clients would hold against it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_keyring_is_mended_and_clients_never_notice() {
    let archive = Archive::new().await;
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[hello("1")])));
    let stranger = Gpg::default();
    let right = archive.keyring();
    let wrong = archive.path().join("wrong.gpg");
    std::fs::write(&wrong, stranger.keyring()).unwrap();
    let toml = mirror(&archive, "");
    let home = Home::with(&toml.replace(right.to_str().unwrap(), wrong.to_str().unwrap()));
    let report = home.sync("mirror", 3);
    assert!(report["alarms"].to_string().contains("release-untrusted"), "{report:#}");
    let server = home.serve();
    assert_eq!(get(&server.url("/mirror/dists/bookworm/InRelease"), &[]).await.status, 404);
    home.apply(&toml).expect(0);
    home.sync("mirror", 0);
    noticed().await;
    let client = root(&home, &server).await;
    client.update().clean();
    client.get(&["install", "hello"]).clean();
    let release = get(&server.url("/mirror/dists/bookworm/Release"), &[]).await;
    assert!(release.text().contains("Origin: Test\n"), "{}", release.text());
}

/// Where a person approves, the packages wait, not the suite: what is approved is published, whatever upstream says next.
#[tokio::test(flavor = "multi_thread")]
async fn approved_packages_are_published_although_the_archive_moves_on() {
    let archive = Archive::new().await;
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[hello("1")])));
    let home = Home::with(&mirror(&archive, "approval = \"manual\""));
    home.sync("mirror", 3);
    let server = home.serve();
    let client = root(&home, &server).await;
    client.update().clean();
    assert_eq!(client.known(), [""; 0]);
    home.done(["approve", "mirror", "hello@1:amd64", "--reason", "read it"]);
    noticed().await;
    client.update().clean();
    assert_eq!(client.candidate("hello").as_deref(), Some("1"));
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[hello("2")])));
    home.sync("mirror", 3);
    noticed().await;
    client.update().clean();
    assert_eq!(client.candidate("hello").as_deref(), Some("1"));
    home.done(["approve", "mirror", "hello@2:amd64", "--reason", "a fix"]);
    noticed().await;
    client.update().clean();
    assert_eq!(client.candidate("hello").as_deref(), Some("2"));
    client.get(&["install", "hello"]).clean();
}

const TWINS: [&str; 2] = ["moving", "nearby"];

/// The archive moves on, the mirror follows it, and clients update, install and download all the while.
async fn republished(view: &str) -> String {
    const CLIENTS: usize = 2;
    const ROUNDS: u64 = 8;
    let archive = Arc::new(Archive::new().await);
    let next = {
        let archive = Arc::clone(&archive);
        move |round: u64| {
            // What was listed the last time is not there any more.
            let _ = std::fs::remove_dir_all(archive.path().join("incoming"));
            let _ = std::fs::remove_dir_all(archive.path().join("ftparchive/pool"));
            let mut debs = TWINS.map(|name| Deb::new(name, &format!("1.{round}"), "amd64")).to_vec();
            debs.push(hello("2.10-3"));
            archive.serve(&archive.ftparchive("bookworm", &archive.debs(&debs)));
        }
    };
    next(0);
    let home = Arc::new(Home::with(&mirror(&archive, &format!("view = \"{view}\""))));
    home.sync("mirror", 0);
    let server = Arc::new(home.serve());
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (home, stop) = (Arc::clone(&home), Arc::clone(&stop));
        tokio::task::spawn_blocking(move || {
            for round in 1..=ROUNDS {
                next(round);
                home.sync("mirror", 0);
            }
            stop.store(true, Ordering::Relaxed);
        })
    };
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let root = root(&home, &server).await;
        let stop = Arc::clone(&stop);
        clients.push(tokio::task::spawn_blocking(move || {
            let (mut updates, mut changed) = (0, 0);
            while updates < 3 || (!stop.load(Ordering::Relaxed) && updates < 1000) {
                changed += usize::from(root.update().clean().contains("Get:"));
                let policy = root.cache(&["policy", TWINS[0], TWINS[1]]).clean();
                let offered: Vec<&str> =
                    policy.lines().filter(|line| line.trim().starts_with("Candidate:")).collect();
                assert_eq!(offered.len(), 2, "{policy}");
                assert_eq!(offered[0], offered[1], "half of two states: {policy}");
                root.get(&["install", "hello", TWINS[0]]).clean();
                root.get(&["download", TWINS[1]]).clean();
                updates += 1;
            }
            (root, updates, changed)
        }));
    }
    let (mut total, mut news) = (0, 0);
    let mut roots = Vec::new();
    for client in clients {
        let (root, updates, changed) = client.await.unwrap();
        (total, news) = (total + updates, news + changed);
        roots.push(root);
    }
    publisher.await.unwrap();
    noticed().await;
    for root in roots {
        root.update().clean();
        assert_eq!(root.candidate(TWINS[0]), Some(format!("1.{ROUNDS}")));
        root.get(&["install", TWINS[0], TWINS[1]]).clean();
    }
    assert!(news >= CLIENTS, "nobody saw anything new");
    format!("{view}: {total} updates and installs during {ROUNDS} states, {news} with news")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verbatim_mirror_is_used_while_it_is_republished() {
    eprintln!("{}", republished("verbatim").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_curated_mirror_is_used_while_it_is_republished() {
    eprintln!("{}", republished("curated").await);
}
