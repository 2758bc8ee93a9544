//! What repositories can be configured to be, and the real apt with each.

use reservoir_core::testing::upstream::Reply;

use super::{
    apt_cases::{mirror, noticed, root},
    support::{
        apt::{Archive, follow_setup},
        deb::Deb,
        home::{Home, Server},
        root::Root,
        web::get,
    },
};

fn deb(name: &str, version: &str) -> Deb {
    Deb::new(name, version, "amd64")
}

/// A verbatim suite is all or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_verbatim_mirror_cannot_do_is_refused_with_the_reason() {
    let archive = Archive::new().await;
    for (more, word) in [
        ("packages = [\"hello\"]", "`packages` leaves something out"),
        ("sections = [\"net\"]", "`sections` leaves something out"),
        ("priorities = [\"important\"]", "`priorities` leaves something out"),
        ("newest = 1", "`newest` leaves something out"),
        ("approval = \"manual\"", "waits for approval"),
    ] {
        let run = Home::new().apply(&mirror(&archive, &format!("view = \"verbatim\"\n{more}")));
        assert_ne!(run.code, 0, "{more}");
        assert!(run.stderr.contains(word), "{more}: {}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_versions_are_kept_and_no_more() {
    let archive = Archive::new().await;
    let debs = ["1.0-1", "1.0-9", "1.0-10", "1.0~rc1"].map(|version| deb("hello", version));
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&debs)));
    let home = Home::with(&mirror(&archive, "newest = 2"));
    home.sync("mirror", 0);
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    let shown = root.cache(&["madison", "hello"]).clean();
    let versions: Vec<&str> =
        shown.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(versions, ["1.0-10", "1.0-9"]);
    root.get(&["install", "hello=1.0-9"]).clean();
    // An upload of something newer upstream takes the oldest one's place.
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[deb("hello", "1.1-1")])));
    home.sync("mirror", 0);
    noticed().await;
    root.update().clean();
    assert_eq!(root.candidate("hello").as_deref(), Some("1.1-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn recommended_packages_come_where_they_are_wanted() {
    let archive = Archive::new().await;
    let debs = [
        deb("app", "1").field("Depends", "lib").field("Recommends", "extra | other"),
        deb("lib", "1"),
        deb("extra", "1").field("Recommends", "more"),
        deb("more", "1"),
        deb("other", "1"),
        deb("lonely", "1"),
    ];
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&debs)));
    for (more, expected) in
        [("", &["app", "lib"][..]), ("recommends = true", &["app", "extra", "lib", "more"][..])]
    {
        let home =
            Home::with(&mirror(&archive, &format!("packages = [\"app\"]\ndependencies = true\n{more}")));
        home.sync("mirror", 0);
        let server = home.serve();
        let root = root(&home, &server).await;
        root.update().clean();
        assert_eq!(root.known(), expected);
        let install = root.get(&["-o", "APT::Install-Recommends=true", "install", "app"]);
        assert_eq!(install.code, 0, "{}", install.text);
        assert_eq!(root.path().join("usr/share/more/version").exists(), !more.is_empty());
    }
}

/// `reservoir check`: 0 where everything can be installed, 3 and the reason in words where not.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_installed_is_told_by_check() {
    let archive = Archive::new().await;
    let debs = [
        deb("app", "1").field("Depends", "lib (>= 2)"),
        deb("lib", "1"),
        deb("one", "1").field("Depends", "two, lib"),
        deb("two", "1").field("Breaks", "lib (<< 3)"),
        deb("fine", "1").field("Depends", "lib"),
    ];
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&debs)));
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let (code, checked) = home.json(["check", "mirror"]);
    assert_eq!(code, 3, "{checked:#}");
    let broken = checked["targets"][0]["broken"].as_array().unwrap();
    let names: Vec<&str> = broken.iter().map(|one| one["artifact"].as_str().unwrap()).collect();
    assert_eq!(names, ["app", "one"], "{checked:#}");
    let run = home.run(["check", "mirror"]).expect(3);
    for words in ["needs `lib (>= 2)`", "excludes `lib 1 (amd64)` (`Breaks: lib (<< 3)`)"] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    // apt says the same.
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    for name in ["app", "one"] {
        root.get(&["-s", "install", name]).failed();
    }
    root.get(&["install", "fine"]).clean();
    let more = [deb("lib", "3")];
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&more)));
    home.sync("mirror", 0);
    home.run(["check", "mirror"]).expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_a_verbatim_mirror_and_of_a_cache_are_unpacked() {
    let archive = Archive::new().await;
    let base = archive.path().join("ftparchive");
    archive.source(&base, "hello", "2.10", "3");
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[deb("hello", "2.10-3")])));
    for more in ["view = \"verbatim\"", "mode = \"cache\""] {
        let home = Home::with(&mirror(&archive, &format!("{more}\nsources = true")));
        if more.contains("verbatim") {
            home.sync("mirror", 0);
        }
        let server = home.serve();
        let root = root(&home, &server).await;
        root.update().clean();
        root.get(&["source", "hello"]).clean();
        assert!(root.path().join("hello-2.10/debian/control").exists(), "{more}");
        root.get(&["install", "hello"]).clean();
    }
}

/// Who names no component has all of them, and clients are told which those are.
#[tokio::test(flavor = "multi_thread")]
async fn client_setup_names_the_components_that_there_are() {
    let archive = Archive::new().await;
    let base = archive.ftparchive("bookworm", &archive.debs(&[deb("docker", "1")]));
    let dists = base.join("dists/bookworm");
    std::fs::rename(dists.join("main"), dists.join("stable")).unwrap();
    archive.release(&base, "bookworm", &[("Components", "stable edge")]);
    archive.serve(&base);
    for more in ["", "view = \"verbatim\"", "mode = \"cache\""] {
        let toml = mirror(&archive, more).replace("components = [\"main\"]\n", "");
        let home = Home::with(&toml);
        let is_cache = more.contains("cache");
        if !is_cache {
            home.sync("mirror", 0);
        }
        let server = home.serve();
        if is_cache {
            // Nothing is known of it before somebody asked.
            get(&server.url("/mirror/dists/bookworm/InRelease"), &[]).await;
        }
        let (_, setup) = home.json(["client-setup", "mirror", "--base-url", &server.base]);
        let text = setup["files"][0]["text"].as_str().unwrap();
        assert!(text.contains("Components: stable edge\n"), "{more}: {text}");
        let root = root(&home, &server).await;
        let update = root.update();
        assert_eq!(update.code, 0, "{}", update.text);
        assert_eq!(root.known(), ["docker"], "{more}");
        root.get(&["install", "docker"]).clean();
    }
}

async fn hosted(more: &str, debs: &[Deb]) -> (Home, Server, Root) {
    let home = Home::with(&format!(
        "[[repository]]\nname = \"mirror\"\necosystem = \"apt\"\nmode = \"hosted\"\narchitectures = [\"amd64\"]\n{more}\n"
    ));
    let folder = home.path().join("incoming");
    std::fs::create_dir_all(&folder).unwrap();
    for deb in debs {
        std::fs::write(folder.join(deb.file_name()), deb.build()).unwrap();
    }
    let (code, report) = home.json(["upload", "mirror", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
    let server = home.serve();
    let root = root(&home, &server).await;
    (home, server, root)
}

/// Flat, named, and both: a flat suite has no components, and apt reads no stanza that mixes them.
#[tokio::test(flavor = "multi_thread")]
async fn hosted_suites_of_every_kind_are_installed_from() {
    for more in [
        "suites = [\"/\"]",
        "suites = [\"stable\", \"testing\"]\ncomponents = [\"main\", \"extra\"]",
        "suites = [\"stable\", \"extra/\"]\ncomponents = [\"main\"]",
        "",
    ] {
        let (_home, _server, root) =
            hosted(more, &[deb("hello", "1").field("Depends", "lib"), deb("lib", "1")]).await;
        root.update().clean();
        assert_eq!(root.known(), ["hello", "lib"], "{more}");
        root.get(&["install", "hello"]).clean();
    }
}

/// apt believes the strongest digest that a stanza has; what a file says of itself is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_lies_of_its_own_digest_is_installed() {
    let deb = deb("hello", "1").field("SHA512", &"0".repeat(128)).field("Size", "1");
    let (_home, _server, root) = hosted("suites = [\"stable\"]", &[deb]).await;
    root.update().clean();
    root.get(&["install", "hello"]).clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn flat_archives_are_mirrored_and_cached_as_they_are() {
    let archive = Archive::new().await;
    let odd = Deb::new("odd", "1:2.0+x~y", "amd64");
    archive.flat(&archive.debs(&[deb("cuda", "13.0-1").field("Depends", "odd"), odd]));
    // As it is asked for.
    let bytes = Deb::new("odd", "1:2.0+x~y", "amd64").build();
    archive.upstream.route("/odd_2.0%2Bx%7Ey_amd64.deb", Reply::ok(bytes));
    for more in ["", "view = \"verbatim\"", "mode = \"cache\""] {
        let toml = mirror(&archive, more)
            .replace("components = [\"main\"]\n", "")
            .replace("suites = [\"bookworm\"]", "suites = [\"/\"]");
        let home = Home::with(&toml);
        if !more.contains("cache") {
            home.sync("mirror", 0);
        }
        let server = home.serve();
        let root = root(&home, &server).await;
        root.update().clean();
        assert_eq!(root.known(), ["cuda", "odd"], "{more}");
        root.get(&["install", "cuda"]).clean();
    }
}

/// `stable/updates` lies within `stable`, as old security archives have it.
#[tokio::test(flavor = "multi_thread")]
async fn a_suite_within_another_is_cached() {
    let archive = Archive::new().await;
    let base = archive.ftparchive("stable", &archive.debs(&[deb("hello", "1")]));
    archive.serve(&archive.ftparchive("stable/updates", &archive.debs(&[deb("hello", "2")])));
    assert!(base.join("dists/stable/updates/InRelease").exists());
    let toml =
        mirror(&archive, "mode = \"cache\"").replace("[\"bookworm\"]", "[\"stable\", \"stable/updates\"]");
    let home = Home::with(&toml);
    let server = home.serve();
    let (_, setup) = home.json(["client-setup", "mirror", "--base-url", &server.base]);
    let root = Root::default();
    follow_setup(&root, &setup, &get(&server.url("/mirror/upstream-keyring.gpg"), &[]).await.body);
    root.update().clean();
    assert_eq!(root.candidate("hello").as_deref(), Some("2"));
    root.get(&["install", "hello"]).clean();
}
