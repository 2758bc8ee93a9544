//! Cases of the protocol page that are about what a client is given: keys, compressions, components, architectures, and
//! other tools than apt.

use std::process::Command;

use super::{
    apt_cases::{mirror, root},
    support::{
        apt::Archive,
        deb::Deb,
        home::Home,
        root::{Root, Run},
        web::get,
    },
};

fn some() -> [Deb; 2] {
    [Deb::new("hello", "2.10-3", "amd64"), Deb::new("common", "1:1.0+dfsg~rc1", "all")]
}

fn ran(command: &mut Command) -> String {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_lowercase().ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    let run = Run::of(command);
    assert_eq!(run.code, 0, "{command:?}: {}", run.text);
    run.text
}

/// Our key, in each form that a source may have it.
#[tokio::test(flavor = "multi_thread")]
async fn case_a02_the_key_is_taken_in_every_form() {
    let archive = Archive::new().await;
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&some())));
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let server = home.serve();
    let armored = get(&server.url("/mirror/keyring.asc"), &[]).await;
    let armored = armored.text();
    let binary = get(&server.url("/mirror/keyring.gpg"), &[]).await.body;
    let embedded: String = armored
        .lines()
        .fold(String::new(), |text, line| text + "\n " + if line.trim().is_empty() { "." } else { line });
    for form in ["asc", "gpg", "embedded"] {
        let root = Root::default();
        let signed_by = match form {
            "asc" => root.write("etc/apt/keyrings/ours.asc", armored).display().to_string(),
            "gpg" => root.write("etc/apt/keyrings/ours.gpg", &binary).display().to_string(),
            _ => embedded.clone(),
        };
        let base = server.url("/mirror");
        let source =
            format!("Types: deb\nURIs: {base}\nSuites: bookworm\nComponents: main\nSigned-By: {signed_by}\n");
        root.write("etc/apt/sources.list.d/ours.sources", source);
        root.update().clean();
        root.get(&["install", "hello"]).clean();
    }
}

/// An archive may have each index in one compression only.
#[tokio::test(flavor = "multi_thread")]
async fn case_a09_one_compression_is_enough() {
    for (program, ending) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
        let archive = Archive::new().await;
        let base = archive.ftparchive("bookworm", &archive.debs(&some()));
        let binary = base.join("dists/bookworm/main/binary-amd64");
        let packed = ran(Command::new(program).arg("-kf").arg(binary.join("Packages")));
        assert!(!packed.contains("rror"), "{packed}");
        for other in ["gz", "xz", "zst"].into_iter().filter(|other| *other != ending) {
            let _ = std::fs::remove_file(binary.join(format!("Packages.{other}")));
        }
        archive.release(&base, "bookworm", &[]);
        // It is listed, and not there.
        std::fs::remove_file(binary.join("Packages")).unwrap();
        std::fs::remove_dir_all(binary.join("by-hash")).unwrap();
        archive.serve(&base);
        for more in ["", "view = \"verbatim\"", "mode = \"cache\""] {
            let home = Home::with(&mirror(&archive, more));
            if !more.contains("cache") {
                home.sync("mirror", 0);
            }
            let server = home.serve();
            let root = root(&home, &server).await;
            root.update().clean();
            assert_eq!(root.known(), ["common", "hello"], "{ending} {more}");
        }
    }
}

/// What Debian writes for its security archive is `main` for clients.
#[tokio::test(flavor = "multi_thread")]
async fn case_a18_a_component_may_be_written_with_its_folder() {
    let archive = Archive::new().await;
    let base = archive.ftparchive("bookworm", &archive.debs(&some()));
    archive.release(&base, "bookworm", &[("Components", "updates/main")]);
    archive.serve(&base);
    for view in ["curated", "verbatim"] {
        let home = Home::with(&mirror(&archive, &format!("view = \"{view}\"")));
        home.sync("mirror", 0);
        let server = home.serve();
        let root = root(&home, &server).await;
        root.update().clean();
        root.get(&["install", "hello"]).clean();
    }
}

/// Packages for every architecture that have an index of their own are found once.
#[tokio::test(flavor = "multi_thread")]
async fn case_a19_an_index_of_packages_for_all_is_no_second_package() {
    let archive = Archive::new().await;
    let base = archive.ftparchive("bookworm", &archive.debs(&some()));
    let main = base.join("dists/bookworm/main");
    let all =
        ran(Command::new("apt-ftparchive").args(["-a", "all", "packages", "pool/main"]).current_dir(&base));
    let all: Vec<&str> = all.split("\n\n").filter(|stanza| stanza.contains("Architecture: all")).collect();
    std::fs::create_dir_all(main.join("binary-all")).unwrap();
    std::fs::write(main.join("binary-all/Packages"), all.join("\n\n") + "\n\n").unwrap();
    archive.release(&base, "bookworm", &[("Architectures", "all amd64")]);
    archive.serve(&base);
    for view in ["curated", "verbatim"] {
        let home = Home::with(&mirror(&archive, &format!("view = \"{view}\"")));
        home.sync("mirror", 0);
        let server = home.serve();
        let root = root(&home, &server).await;
        root.update().clean();
        let policy = root.cache(&["policy", "common"]).clean();
        assert_eq!(policy.matches("1:1.0+dfsg~rc1 500").count(), 1, "{view}: {policy}");
        root.get(&["install", "common"]).clean();
    }
}

/// Others make their mirrors of ours.
#[tokio::test(flavor = "multi_thread")]
async fn case_a32_debmirror_mirrors_us() {
    let archive = Archive::new().await;
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&some())));
    for view in ["curated", "verbatim"] {
        let home = Home::with(&mirror(&archive, &format!("view = \"{view}\"")));
        home.sync("mirror", 0);
        let server = home.serve();
        let key = if view == "curated" { "keyring.gpg" } else { "upstream-keyring.gpg" };
        let folder = tempfile::tempdir().unwrap();
        let keyring = folder.path().join("ours.gpg");
        std::fs::write(&keyring, get(&server.url(&format!("/mirror/{key}")), &[]).await.body).unwrap();
        let host = server.base.strip_prefix("http://").unwrap();
        let target = folder.path().join("mirror");
        let configuration = folder.path().join("debmirror.conf");
        std::fs::write(&configuration, "1;\n").unwrap();
        ran(Command::new("debmirror")
            .env("HOME", folder.path())
            .env("GNUPGHOME", archive.gpg.home())
            .args(["--method=http", "--root=mirror", "--dist=bookworm", "--section=main", "--arch=amd64"])
            .args(["--nosource", "--rsync-extra=none", "--i18n"])
            .arg(format!("--config-file={}", configuration.display()))
            .arg(format!("--host={host}"))
            .arg(format!("--keyring={}", keyring.display()))
            .arg(&target));
        for deb in some() {
            let found =
                ran(Command::new("find").arg(&target).args(["-name", &format!("{}_*.deb", deb.name)]));
            assert_eq!(found.lines().count(), 1, "{view}: {found}");
            assert_eq!(std::fs::read(found.trim()).unwrap(), deb.build(), "{view}");
        }
    }
}

/// What we sign is good for both verifiers that apt has had.
#[tokio::test(flavor = "multi_thread")]
async fn case_a33_gpgv_and_sqv_believe_what_we_sign() {
    let archive = Archive::new().await;
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&some())));
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let server = home.serve();
    let folder = tempfile::tempdir().unwrap();
    let file = async |name: &str, path: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, get(&server.url(path), &[]).await.body).unwrap();
        file
    };
    let (binary, armored) =
        (file("k.gpg", "/mirror/keyring.gpg").await, file("k.asc", "/mirror/keyring.asc").await);
    let clear = file("InRelease", "/mirror/dists/bookworm/InRelease").await;
    let release = file("Release", "/mirror/dists/bookworm/Release").await;
    let detached = file("Release.gpg", "/mirror/dists/bookworm/Release.gpg").await;
    let said = ran(Command::new("gpgv").arg("--keyring").arg(&binary).arg(&clear));
    assert!(said.contains("Good signature"), "{said}");
    ran(Command::new("gpgv").arg("--keyring").arg(&binary).arg(&detached).arg(&release));
    ran(Command::new("sqv").arg("--keyring").arg(&armored).arg(&detached).arg(&release));
    // Neither believes it of another text.
    std::fs::write(&release, "Origin: Evil\n").unwrap();
    for (program, keyring) in [("gpgv", &binary), ("sqv", &armored)] {
        let run = Run::of(Command::new(program).arg("--keyring").arg(keyring).arg(&detached).arg(&release));
        assert_ne!(run.code, 0, "{program}: {}", run.text);
    }
}
