//! Debian archives across the gap: the real apt installs inside, with signatures checked.

use super::{
    apt::{noticed, root},
    bundle::noise,
    bundle_hub::Crossing,
    support::{apt::Archive, deb::Deb, home::Home, root::Root, web::get},
};

/// One archive twice: as it is, and chosen from under a signature of our own.
fn mirrors(archive: &Archive) -> String {
    let table = |name: &str, more: &str| {
        format!(
            "[[repository]]\nname = \"{name}\"\necosystem = \"apt\"\nregistry = \"upstream\"\n\
             suites = [\"bookworm\"]\ncomponents = [\"main\"]\narchitectures = [\"amd64\"]\n{more}\n"
        )
    };
    let (verbatim, curated) = (table("verbatim", "view = \"verbatim\""), table("curated", ""));
    format!("{}\n{verbatim}\n{curated}", archive.registry())
}

fn some() -> Vec<Deb> {
    let mut large = Deb::new("large", "1", "all");
    large.files.push(("noise".into(), noise(400_000)));
    vec![
        Deb::new("hello", "2.10-3", "amd64").field("Depends", "common (>= 1.0)"),
        Deb::new("common", "1:1.0+dfsg~rc1", "all"),
        large,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_installs_inside_what_was_mirrored_outside() {
    let archive = Archive::new().await;
    let base = archive.ftparchive("bookworm", &archive.debs(&some()));
    archive.serve(&base);
    let crossing = Crossing::from(Home::with(&mirrors(&archive)));
    for repository in ["verbatim", "curated"] {
        crossing.outside.sync(repository, 0);
    }
    let (first, loaded) = crossing.carry("one");
    assert_eq!(loaded["applied"], true, "{loaded:#}");
    let server = crossing.inside.serve();
    // What upstream signed is believed by upstream's key alone, to the byte.
    let verbatim = Root::default();
    verbatim.source(&format!("{}/verbatim", server.base), "bookworm main", &archive.gpg.keyring());
    let release = std::fs::read(base.join("dists/bookworm/InRelease")).unwrap();
    assert_eq!(get(&server.url("/verbatim/dists/bookworm/InRelease"), &[]).await.body, release);
    // What is chosen is signed here: the inside renders its own publication, with its own key.
    let curated = root(&crossing.inside, &server, "curated").await;
    let outside = crossing.outside.serve();
    let keys = [&server, &outside].map(|server| server.url("/curated/keyring.gpg"));
    let (ours, theirs) = (get(&keys[0], &[]).await.body, get(&keys[1], &[]).await.body);
    assert_ne!(ours, theirs, "each side signs with its own key");
    for root in [&verbatim, &curated] {
        root.update().clean();
        assert_eq!(root.known(), ["common", "hello", "large"]);
        root.get(&["install", "hello", "large"]).clean();
        assert!(root.path().join("usr/share/common/version").exists());
    }
    let stranger = Root::default();
    stranger.source(&format!("{}/curated", server.base), "bookworm main", &theirs);
    stranger.update().failed();

    // A new version brings itself and the indexes, and nothing that was there.
    let news = archive.debs(&[Deb::new("hello", "2.11-1", "amd64").field("Depends", "common")]);
    std::fs::copy(&news[0], base.join("pool/main").join(news[0].file_name().unwrap())).unwrap();
    archive.sign(&base, "bookworm", "Test");
    archive.serve(&base);
    for repository in ["verbatim", "curated"] {
        crossing.outside.sync(repository, 0);
    }
    let (second, loaded) = crossing.carry("two");
    assert_eq!((&second["kind"], &loaded["applied"]), (&"delta".into(), &true.into()), "{second:#}");
    assert!(first["bytes"].as_u64() > Some(300_000), "{first:#}");
    assert!(second["bytes"].as_u64() < Some(60_000), "{second:#}");
    noticed().await;
    for root in [&verbatim, &curated] {
        root.update().clean();
        assert_eq!(root.candidate("hello").as_deref(), Some("2.11-1"));
        root.get(&["install", "hello"]).clean();
    }
    assert!(crossing.inside.done(["verify", "--deep"]).contains(" 0 damaged"));
}

/// What was uploaded outside is served inside as hosted there, by a mode that travels.
#[tokio::test(flavor = "multi_thread")]
async fn uploaded_packages_are_installed_inside() {
    let crossing = Crossing::from(Home::with(
        "[[repository]]\nname = \"ours\"\necosystem = \"apt\"\nmode = \"hosted\"\nsuites = [\"stable\"]\n\
         components = [\"main\"]\narchitectures = [\"amd64\"]\n",
    ));
    let folder = crossing.outside.path().join("incoming");
    std::fs::create_dir(&folder).unwrap();
    for deb in some() {
        std::fs::write(folder.join(deb.file_name()), deb.build()).unwrap();
    }
    crossing.outside.done(["upload", "ours", folder.to_str().unwrap()]);
    crossing.carry("one");
    let server = crossing.inside.serve();
    let root = root(&crossing.inside, &server, "ours").await;
    root.update().clean();
    root.get(&["install", "hello"]).clean();
}
