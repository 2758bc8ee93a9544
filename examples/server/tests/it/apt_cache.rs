//! A cache of a Debian archive, and the real apt.

use std::time::Duration;

use reservoir_core::testing::upstream::Reply;

use super::support::{
    apt::{Archive, Gpg},
    deb::Deb,
    home::{Home, Server},
    root::Root,
    web::get,
};

/// An archive by apt-ftparchive, and a cache of it.
async fn caching(debs: &[Deb]) -> (Archive, Home, Server) {
    let archive = Archive::new().await;
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(debs)));
    let home = Home::with(&configuration(&archive, ""));
    let server = home.serve();
    (archive, home, server)
}

fn configuration(archive: &Archive, more: &str) -> String {
    format!(
        "{}\n[[repository]]\nname = \"cache\"\necosystem = \"apt\"\nmode = \"cache\"\nregistry = \"upstream\"\n\
         suites = [\"bookworm\"]\nfresh_for = \"1s\"\n{more}\n",
        archive.registry()
    )
}

fn some() -> Vec<Deb> {
    vec![
        Deb::new("hello", "2.10-3", "amd64").field("Depends", "common (>= 1.0)"),
        Deb::new("common", "1:1.0+dfsg~rc1", "all"),
        Deb::new("lonely", "0.1", "amd64"),
    ]
}

/// A root that believes upstream's key alone.
fn root(archive: &Archive, server: &Server) -> Root {
    let root = Root::default();
    root.source(&format!("{}/cache", server.base), "bookworm main", &archive.gpg.keyring());
    root
}

async fn grown_old() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

fn asked(archive: &Archive, ending: &str) -> usize {
    archive.upstream.requests().iter().filter(|request| request.target.ends_with(ending)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_installs_what_was_never_synced_and_sees_what_changes() {
    let (archive, home, server) = caching(&some()).await;
    let root = root(&archive, &server);
    root.update().clean();
    assert_eq!(root.known(), ["common", "hello", "lonely"]);
    root.get(&["install", "hello"]).clean();
    assert!(root.path().join("usr/share/common/version").exists());
    assert_eq!(asked(&archive, "hello_2.10-3_amd64.deb"), 1);
    assert_eq!(asked(&archive, "lonely_0.1_amd64.deb"), 0, "nobody wanted it");
    let theirs = std::fs::read(archive.path().join("ftparchive/dists/bookworm/InRelease")).unwrap();
    let ours = get(&server.url("/cache/dists/bookworm/InRelease"), &[]).await;
    assert_eq!(ours.body, theirs);
    // Nothing new: apt is told so.
    grown_old().await;
    assert!(root.update().clean().contains("Hit:1"), "it did not change");
    // Something new.
    let debs = archive.debs(&[Deb::new("hello", "2.11-1", "amd64"), Deb::new("new", "1", "amd64")]);
    archive.serve(&archive.ftparchive("bookworm", &debs));
    grown_old().await;
    assert!(root.update().clean().contains("Get:1"), "it changed");
    assert_eq!(root.candidate("hello").as_deref(), Some("2.11-1"));
    root.get(&["install", "new", "hello"]).clean();
    // What arrived becomes a snapshot, which says the same.
    home.done(["publish", "cache"]);
    let (_, log) = home.json(["log", "cache"]);
    assert!(!log["snapshots"].as_array().unwrap().is_empty(), "{log:#}");
    root.update().clean();
    root.get(&["install", "--reinstall", "hello"]).clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_archive_a_cache_serves_what_it_has() {
    let (archive, home, server) = caching(&some()).await;
    let first = root(&archive, &server);
    first.update().clean();
    first.get(&["install", "hello"]).clean();
    let Archive { gpg, upstream, folder } = archive;
    drop(upstream);
    grown_old().await;
    let check = async |server: &Server| {
        let stale = get(&server.url("/cache/dists/bookworm/InRelease"), &[]).await;
        assert_eq!(stale.status, 200);
        assert!(!stale.header("x-reservoir-stale-page").is_empty());
        let fresh = Root::default();
        fresh.source(&format!("{}/cache", server.base), "bookworm main", &gpg.keyring());
        fresh.update().clean();
        fresh.get(&["install", "hello"]).clean();
        let text = fresh.get(&["install", "lonely"]).failed();
        assert!(text.contains("50"), "never here, and not to be had now: {text}");
    };
    check(&server).await;
    // Nor does a new process know less.
    server.end("TERM");
    check(&home.serve()).await;
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_cause_one_fetch_of_each_file() {
    let (archive, _home, server) = caching(&some()).await;
    let roots: Vec<Root> = (0..12).map(|_| root(&archive, &server)).collect();
    let clients: Vec<_> = roots
        .into_iter()
        .map(|root| {
            tokio::task::spawn_blocking(move || {
                root.update().clean();
                root.get(&["install", "hello"]).clean();
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    for deb in ["hello_2.10-3_amd64.deb", "common_1.0+dfsg~rc1_all.deb", "common_1.0%2Bdfsg%7Erc1_all.deb"] {
        assert!(asked(&archive, deb) <= 1, "{deb}: {}", asked(&archive, deb));
    }
    let requests = archive.upstream.requests();
    let indexes = requests.iter().filter(|one| one.method == "GET" && one.target.contains("by-hash")).count();
    assert!(indexes <= 2, "one for clients, one to know what is listed: {indexes}");
}

/// A client reads a Release and then what it lists: it never meets a Release whose indexes cannot be had.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_shown_when_what_it_lists_is_here() {
    let (archive, home, server) = caching(&some()).await;
    let client = root(&archive, &server);
    client.update().clean();
    // The archive announces a new state, with a later date, and has not its indexes.
    grown_old().await;
    let base = archive.ftparchive("bookworm", &archive.debs(&[Deb::new("hello", "2.11-1", "amd64")]));
    let binary = "dists/bookworm/main/binary-amd64";
    archive.serve(&base);
    for name in ["Packages", "Packages.gz", "Packages.xz"] {
        let bytes = std::fs::read(base.join(binary).join(name)).unwrap();
        let digest = reservoir_core::digest::Sha256Digest::of(&bytes);
        archive.upstream.route(format!("/{binary}/{name}"), Reply::status(404));
        archive.upstream.route(format!("/{binary}/by-hash/SHA256/{digest}"), Reply::status(404));
    }
    grown_old().await;
    for _ in 0..3 {
        client.update().clean();
        assert_eq!(client.candidate("hello").as_deref(), Some("2.10-3"));
        client.get(&["install", "--reinstall", "hello"]).clean();
        grown_old().await;
    }
    // The lists are asked for in the background.
    let mut shown = serde_json::Value::Null;
    for _ in 0..30 {
        shown = home.json(["show", "cache", "lists/bookworm"]).1;
        if shown["alarms"].to_string().contains("index-refused") {
            break;
        }
        client.update().clean();
        grown_old().await;
    }
    assert!(shown["alarms"].to_string().contains("index-refused"), "{shown:#}");
    // Then it has them.
    archive.serve(&base);
    let mut candidate = None;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.update().clean();
        candidate = client.candidate("hello");
        if candidate.as_deref() == Some("2.11-1") {
            break;
        }
    }
    assert_eq!(candidate.as_deref(), Some("2.11-1"));
    client.get(&["install", "hello"]).clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_lies_changes_nothing() {
    let (archive, _home, server) = caching(&some()).await;
    let client = root(&archive, &server);
    client.update().clean();
    let base = archive.ftparchive("bookworm", &archive.debs(&[Deb::new("evil", "1", "amd64")]));
    // Signed by somebody else.
    let text = std::fs::read(base.join("dists/bookworm/InRelease")).unwrap();
    let start = text.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
    let end = text.windows(10).position(|part| part == b"-----BEGIN").map(|_| ()).and_then(|()| {
        let text = String::from_utf8_lossy(&text);
        text.find("-----BEGIN PGP SIGNATURE")
    });
    let other = Gpg::default();
    let file = archive.path().join("forged");
    std::fs::write(&file, &text[start..end.unwrap()]).unwrap();
    let forged = archive.path().join("forged.asc");
    other.run(&["--clearsign", "-o", forged.to_str().unwrap(), file.to_str().unwrap()]);
    archive.serve(&base);
    archive.upstream.route("/dists/bookworm/InRelease", Reply::ok(std::fs::read(&forged).unwrap()));
    grown_old().await;
    client.update().clean();
    assert_eq!(client.known(), ["common", "hello", "lonely"]);
    // A package of other bytes than its index says.
    let hello = std::fs::read_dir(base.join("pool/main")).unwrap().map(|entry| entry.unwrap().path());
    let hello = hello.filter(|path| path.to_string_lossy().contains("hello")).max().unwrap();
    let mut bytes = std::fs::read(&hello).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let name = hello.file_name().unwrap().to_str().unwrap();
    archive.upstream.route(format!("/pool/main/{name}"), Reply::ok(bytes));
    client.get(&["install", "hello"]).failed();
    assert!(!client.path().join("usr/share/hello/version").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cache_cannot_do_is_refused_with_the_reason() {
    let archive = Archive::new().await;
    for (more, word) in [
        ("packages = [\"hello\"]", "nothing can be left out"),
        ("approval = \"manual\"", "waits for approval"),
        ("view = \"curated\"", "begins with nothing"),
        ("dependencies = true", "what its clients ask for"),
    ] {
        let run = Home::new().apply(&configuration(&archive, more));
        assert_ne!(run.code, 0, "{more}");
        assert!(run.stderr.contains(word), "{more}: {}", run.stderr);
    }
}
