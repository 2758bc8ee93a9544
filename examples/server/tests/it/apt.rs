//! Debian archives, from the tools that make them to the real apt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::support::{
    apt::{Archive, follow_setup},
    deb::Deb,
    home::{Home, Server},
    root::Root,
    web::get,
};

const HOSTED: &str = "[[repository]]\nname = \"ours\"\necosystem = \"apt\"\nmode = \"hosted\"\n\
                      suites = [\"stable\"]\ncomponents = [\"main\"]\narchitectures = [\"amd64\"]\n";

fn mirror(archive: &Archive, more: &str) -> String {
    format!(
        "{}\n[[repository]]\nname = \"mirror\"\necosystem = \"apt\"\nregistry = \"upstream\"\nsuites = [\"bookworm\"]\n\
         components = [\"main\"]\narchitectures = [\"amd64\"]\n{more}\n",
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

/// A root whose only source is a repository, as `client-setup` says.
pub(super) async fn root(home: &Home, server: &Server, repository: &str) -> Root {
    let (_, setup) = home.json(["client-setup", repository, "--base-url", &server.base]);
    let key = get(&server.url(&format!("/{repository}/keyring.asc")), &[]).await;
    let root = Root::default();
    follow_setup(&root, &setup, &key.body);
    root
}

/// A server notices what another process published within a second.
pub(super) async fn noticed() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

fn upload(home: &Home, debs: &[Deb]) {
    let folder = home.path().join("incoming");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for deb in debs {
        std::fs::write(folder.join(deb.file_name()), deb.build()).unwrap();
    }
    let (code, report) = home.json(["upload", "ours", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_package_is_installed() {
    let home = Home::with(HOSTED);
    upload(&home, &some());
    let server = home.serve();
    let root = root(&home, &server, "ours").await;
    root.update().clean();
    assert_eq!(root.known(), ["common", "hello", "lonely"]);
    root.get(&["install", "hello"]).clean();
    assert!(root.path().join("usr/share/common/version").exists());
    let binary = get(&server.url("/ours/keyring.gpg"), &[]).await;
    root.source(&format!("{}/ours", server.base), "stable main", &binary.body);
    std::fs::remove_dir_all(root.path().join("etc/apt/sources.list.d")).unwrap();
    root.update().clean();
    // A name that is taken keeps its bytes; what is no package is told.
    let other = home.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let mut changed = Deb::new("lonely", "0.1", "amd64");
    changed.files.push(("more".into(), b"more".to_vec()));
    std::fs::write(other.join(changed.file_name()), changed.build()).unwrap();
    std::fs::write(other.join("junk.deb"), "!<arch>\njunk").unwrap();
    std::fs::write(other.join("arm.deb"), Deb::new("arm", "1", "arm64").build()).unwrap();
    let (code, report) = home.json(["upload", "ours", other.to_str().unwrap()]);
    assert_eq!((code, report["alarms"].as_array().unwrap().len()), (3, 3), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_curl_puts_is_installed() {
    let home = Home::with(HOSTED);
    let closed = home.serve();
    let deb = Deb::new("hello", "2.10-3", "amd64");
    let put = async |server: &Server, name: &str, bytes: Vec<u8>| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sent = client.put(server.url(&format!("/ours/{name}"))).body(bytes).send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    };
    assert_eq!(put(&closed, &deb.file_name(), deb.build()).await.0, 403, "nobody said that anybody may");
    closed.end("TERM");
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let (status, text) = put(&server, &deb.file_name(), deb.build()).await;
    assert_eq!((status, text.as_str()), (201, "pool/main/h/hello/hello_2.10-3_amd64.deb\n"));
    assert_eq!(put(&server, &deb.file_name(), deb.build()).await.0, 201, "again, the same bytes");
    let mut other = deb.clone();
    other.files.push(("more".into(), b"more".to_vec()));
    assert_eq!(put(&server, &deb.file_name(), other.build()).await.0, 409);
    assert_eq!(put(&server, "junk.deb", b"junk".to_vec()).await.0, 400);
    let mut cut = Deb::new("cut", "1", "amd64").build();
    cut.truncate(cut.len() - 90);
    let (status, text) = put(&server, "cut.deb", cut).await;
    assert!(status >= 400, "{text}");
    let root = root(&home, &server, "ours").await;
    root.update().clean();
    assert_eq!(root.known(), ["hello"]);
    root.get(&["install", "hello"]).clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_every_tool_are_mirrored_and_installed_from() {
    for tool in ["reprepro", "aptly", "ftparchive"] {
        let archive = Archive::new().await;
        let debs = archive.debs(&some());
        let base = match tool {
            "reprepro" => archive.reprepro("bookworm", &debs),
            "aptly" => archive.aptly("bookworm", &debs),
            _ => archive.ftparchive("bookworm", &debs),
        };
        archive.serve(&base);
        let home = Home::with(&mirror(&archive, ""));
        let report = home.sync("mirror", 0);
        assert!(report["admitted"].as_u64().unwrap() >= 3, "{tool}: {report:#}");
        let server = home.serve();
        let root = root(&home, &server, "mirror").await;
        root.update().clean();
        assert_eq!(root.known(), ["common", "hello", "lonely"], "{tool}");
        root.get(&["install", "hello"]).clean();
        // The same packages in, equivalent stanzas out.
        let theirs = std::fs::read_to_string(base.join("dists/bookworm/main/binary-amd64/Packages"))
            .unwrap_or_else(|_| panic!("{tool} writes the plain index too"));
        let ours = root.cache(&["dumpavail"]).clean();
        assert_eq!(stanzas(&ours), stanzas(&theirs), "{tool}");
    }
}

/// Stanzas without what only one side has a reason to say, as sorted lists of fields.
fn stanzas(text: &str) -> Vec<Vec<String>> {
    let mut stanzas: Vec<Vec<String>> = text
        .split("\n\n")
        .filter(|stanza| !stanza.trim().is_empty())
        .map(|stanza| {
            let mut fields: Vec<String> = stanza
                .trim()
                .replace("\n ", "\u{1} ")
                .lines()
                .filter(|line| !line.starts_with("Status:"))
                .map(|line| line.replace("Filename: ./", "Filename: "))
                .collect();
            fields.sort();
            fields
        })
        .collect();
    stanzas.sort();
    stanzas
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verbatim_mirror_is_believed_by_upstreams_key_alone() {
    let archive = Archive::new().await;
    let debs = archive.debs(&some());
    let base = archive.ftparchive("bookworm", &debs);
    archive.serve(&base);
    let home = Home::with(&mirror(&archive, "view = \"verbatim\""));
    home.sync("mirror", 0);
    let server = home.serve();
    let root = Root::default();
    root.source(&format!("{}/mirror", server.base), "bookworm main", &archive.gpg.keyring());
    root.update().clean();
    root.get(&["install", "hello"]).clean();
    let theirs = std::fs::read(base.join("dists/bookworm/InRelease")).unwrap();
    let ours = get(&server.url("/mirror/dists/bookworm/InRelease"), &[]).await;
    assert_eq!(ours.body, theirs);
    let unknown = get(&server.url("/ours/keyring.gpg"), &[]).await;
    assert_eq!(unknown.status, 404);
    // Who has not that key yet is told where to get it.
    let (_, setup) = home.json(["client-setup", "mirror", "--base-url", &server.base]);
    let command = setup["command"].as_str().unwrap();
    let keyring = command.split(' ').find(|word| word.ends_with("/upstream-keyring.gpg")).unwrap();
    let other = Root::default();
    follow_setup(&other, &setup, &get(keyring, &[]).await.body);
    other.update().clean();
    other.get(&["install", "hello"]).clean();
    let ours = get(&server.url("/mirror/keyring.gpg"), &[]).await;
    root.source(&format!("{}/mirror", server.base), "bookworm main", &ours.body);
    std::fs::remove_dir_all(root.path().join("var/lib/apt/lists")).unwrap();
    root.update().failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_content_published_again_is_taken_by_clients() {
    let home = Home::with(HOSTED);
    upload(&home, &[Deb::new("hello", "1", "amd64")]);
    let server = home.serve();
    upload(&home, &[Deb::new("hello", "2", "amd64")]);
    noticed().await;
    let root = root(&home, &server, "ours").await;
    root.update().clean();
    assert_eq!(root.candidate("hello").as_deref(), Some("2"));
    home.done(["rollback", "ours", "1"]);
    noticed().await;
    let text = root.update().clean();
    assert!(text.contains("Get:1"), "{text}");
    assert_eq!(root.candidate("hello").as_deref(), Some("1"));
    home.done(["publish", "ours", "--again"]);
    noticed().await;
    let text = root.update().clean();
    assert!(text.contains("Get:1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_signs_anew_before_a_suite_goes_stale() {
    let home = Home::with(&format!("{HOSTED}valid_for = \"20s\"\n"));
    upload(&home, &[Deb::new("hello", "1", "amd64")]);
    let server = home.serve();
    let root = root(&home, &server, "ours").await;
    root.update().clean();
    let began = Instant::now();
    let mut seen = 0;
    while began.elapsed() < Duration::from_secs(32) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if root.update().clean().contains("Get:1") {
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} new signatures in 32 s of a suite that is good for 20 s");
}

/// Two packages that are always published together.
fn twins(round: u64) -> [Deb; 2] {
    TWINS.map(|name| Deb::new(name, &format!("1.{round}"), "amd64"))
}

const TWINS: [&str; 2] = ["moving", "nearby"];

/// What a client that fetched an index a moment ago asks for is there, whatever is published meanwhile; and what it has
/// fetched is one generation, never half of two (A13).
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_updates_during_publishing_do_not_fail() {
    const CLIENTS: usize = 4;
    const UPDATES: usize = 75;
    let home = Arc::new(Home::with(HOSTED));
    upload(&home, &[some(), twins(0).into()].concat());
    let server = Arc::new(home.serve());
    let stop = Arc::new(AtomicBool::new(false));
    let requested = Arc::new(AtomicUsize::new(0));
    // One brings new content, one has the same signed again, the others ask for what has become available: they find
    // it published, or wait for the second between two generations.
    let publishers: Vec<_> = (0..12)
        .map(|publisher| {
            let (home, stop, requested) = (Arc::clone(&home), Arc::clone(&stop), Arc::clone(&requested));
            tokio::task::spawn_blocking(move || {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    match publisher {
                        0 => upload(&home, &twins(round)),
                        1 => drop(home.done(["publish", "ours", "--again"])),
                        _ => drop(home.done(["publish", "ours"])),
                    }
                    requested.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (home, server) = (Arc::clone(&home), Arc::clone(&server));
            tokio::spawn(async move {
                let root = root(&home, &server, "ours").await;
                tokio::task::spawn_blocking(move || {
                    let mut changed = 0;
                    for round in 0..UPDATES {
                        if root.update().clean().contains("Get:") {
                            changed += 1;
                        }
                        let policy = root.cache(&["policy", "hello", TWINS[0], TWINS[1]]).clean();
                        let offered: Vec<&str> =
                            policy.lines().filter(|line| line.trim().starts_with("Candidate:")).collect();
                        assert_eq!(offered.len(), 3, "{policy}");
                        assert_eq!(offered[1], offered[2], "half of two generations: {policy}");
                        // What the index says is there, however many generations ago it was read.
                        if round % 5 == 4 {
                            root.get(&["download", "hello", TWINS[0], TWINS[1]]).clean();
                        }
                    }
                    changed
                })
                .await
                .unwrap()
            })
        })
        .collect();
    let mut changed = 0;
    for client in clients {
        changed += client.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let (code, log) = home.json(["log", "ours"]);
    assert_eq!(code, 0);
    let generations = log["snapshots"].as_array().unwrap().len();
    let rate = requested.load(Ordering::Relaxed) as f64 / seconds;
    eprintln!(
        "{} updates in {seconds:.0} s, {changed} of them with news, {rate:.1} requests to publish a second, {generations} generations",
        CLIENTS * UPDATES
    );
    assert!(rate >= 5.0, "only {rate:.1} requests to publish a second");
    assert!(generations as f64 > seconds / 3.0, "{generations} generations in {seconds:.0} s");
    assert!(changed >= generations.min(UPDATES), "the clients saw {changed} changes of {generations}");
}
