//! What the real apt needs beside installing: sources, descriptions, packages that come and go, and the cases of the
//! protocol page that no other file has.

use std::time::Duration;

use reservoir_core::testing::upstream::Reply;

use super::support::{
    apt::{Archive, follow_setup},
    deb::Deb,
    home::{Home, Server},
    root::{Root, Run},
    web::get,
};

pub(super) fn mirror(archive: &Archive, more: &str) -> String {
    format!(
        "{}\n[[repository]]\nname = \"mirror\"\necosystem = \"apt\"\nregistry = \"upstream\"\nsuites = [\"bookworm\"]\n\
         components = [\"main\"]\narchitectures = [\"amd64\"]\n{more}\n",
        archive.registry()
    )
}

pub(super) async fn root(home: &Home, server: &Server) -> Root {
    let (_, setup) = home.json(["client-setup", "mirror", "--base-url", &server.base]);
    let command = setup["command"].as_str().unwrap();
    let keyring = command.split(' ').find(|word| word.starts_with(&server.base)).unwrap();
    let root = Root::default();
    follow_setup(&root, &setup, &get(keyring, &[]).await.body);
    root
}

/// A server notices what another process published within a second.
pub(super) async fn noticed() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_come_with_their_packages_and_are_unpacked() {
    let archive = Archive::new().await;
    let base = archive.path().join("ftparchive");
    archive.source(&base, "hello", "2.10", "3");
    archive.source(&base, "other", "1.0", "1");
    let debs = [
        // Built again from the same source, under another name.
        Deb::new("hello-bin", "2.10-3+b1", "amd64").field("Source", "hello (2.10-3)"),
        Deb::new("other", "1.0-1", "amd64"),
    ];
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&debs)));
    let home = Home::with(&mirror(&archive, "packages = [\"hello-bin\"]\nsources = true"));
    home.sync("mirror", 0);
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    root.get(&["source", "hello-bin"]).clean();
    assert!(root.path().join("hello-2.10/hello.c").exists());
    assert!(root.path().join("hello-2.10/debian/control").exists());
    root.get(&["source", "other"]).failed();
    root.get(&["install", "hello-bin"]).clean();
    let text = home.done(["show", "mirror", "hello-bin"]);
    assert!(text.contains("    Source: hello (2.10-3)\n"), "{text}");
    assert!(text.contains("    Listed-In: bookworm/main\n"), "{text}");
}

/// A26: what is listed is there, and what long descriptions are is not lost by being curated.
#[tokio::test(flavor = "multi_thread")]
async fn long_descriptions_are_shown_by_apt() {
    let archive = Archive::new().await;
    let long = archive.path().join("ftparchive/long");
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("hello"), "It greets whoever asks.\n .\n And that is all.").unwrap();
    let debs = [Deb::new("hello", "2.10-3", "amd64"), Deb::new("lonely", "0.1", "amd64")];
    let base = archive.ftparchive("bookworm", &archive.debs(&debs));
    archive.serve(&base);
    let translation = std::fs::read_to_string(base.join("dists/bookworm/main/i18n/Translation-en")).unwrap();
    assert!(translation.contains("It greets"), "{translation}");
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let server = home.serve();
    let root = root(&home, &server).await;
    root.get(&["-o", "Acquire::Languages=en", "update"]).clean();
    let show =
        root.command("apt-cache").args(["-o", "Acquire::Languages=en", "show", "hello"]).output().unwrap();
    let text = String::from_utf8(show.stdout).unwrap();
    assert!(text.contains("It greets whoever asks."), "{text}");
    // Other languages are not listed, so nobody misses them.
    root.get(&["-o", "Acquire::Languages::=de", "-o", "Acquire::Languages::=en", "update"]).clean();
    // Without them, nothing is listed.
    home.apply(&mirror(&archive, "descriptions = false")).expect(0);
    home.sync("mirror", 0);
    home.done(["publish", "mirror", "--again"]);
    noticed().await;
    let release = get(&server.url("/mirror/dists/bookworm/Release"), &[]).await;
    assert!(!release.text().contains("Translation"), "{}", release.text());
    root.get(&["-o", "Acquire::Languages=en", "update"]).clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_upstream_leaves_the_index_and_stays_for_those_who_know_it() {
    let archive = Archive::new().await;
    let debs = [Deb::new("hello", "2.10-3", "amd64"), Deb::new("doomed", "1", "amd64")];
    let base = archive.ftparchive("bookworm", &archive.debs(&debs));
    archive.serve(&base);
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let server = home.serve();
    let before = root(&home, &server).await;
    before.update().clean();
    assert_eq!(before.known(), ["doomed", "hello"]);
    let doomed = std::fs::read_dir(base.join("pool/main")).unwrap().map(|entry| entry.unwrap().path());
    let doomed = doomed.filter(|path| path.to_string_lossy().contains("doomed")).max().unwrap();
    let bytes = std::fs::read(&doomed).unwrap();
    std::fs::remove_file(&doomed).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    archive.sign(&base, "bookworm", "Test");
    archive.serve(&base);
    home.sync("mirror", 0);
    noticed().await;
    // A client that has read the older index gets what it lists.
    before.get(&["install", "doomed"]).clean();
    before.update().clean();
    assert_eq!(before.known(), ["doomed", "hello"], "it is installed");
    let after = root(&home, &server).await;
    after.update().clean();
    assert_eq!(after.known(), ["hello"]);
    let text = home.done(["show", "mirror", "doomed"]);
    assert!(text.contains("not listed by its registry any more"), "{text}");
    // It comes back.
    std::fs::write(&doomed, bytes).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    archive.sign(&base, "bookworm", "Test");
    archive.serve(&base);
    home.sync("mirror", 0);
    noticed().await;
    after.update().clean();
    assert_eq!(after.known(), ["doomed", "hello"]);
    after.get(&["install", "doomed"]).clean();
}

/// A23, from the registry's side: content networks redirect packages and Releases.
#[tokio::test(flavor = "multi_thread")]
async fn case_a23_redirects_are_followed() {
    let archive = Archive::new().await;
    let deb = Deb::new("hello", "2.10-3", "amd64");
    let base = archive.ftparchive("bookworm", &archive.debs(&[deb]));
    archive.serve(&base);
    let read = |name: &str| std::fs::read(base.join(name)).unwrap();
    let pool = "pool/main/hello_2.10-3_amd64.deb";
    for (status, name) in [(302, pool), (307, "dists/bookworm/InRelease")] {
        let elsewhere = archive.upstream.url("/elsewhere").to_string() + "?X-Amz-Signature=0123";
        archive.upstream.route(format!("/{name}"), Reply::redirect(status, elsewhere));
        archive.upstream.route("/elsewhere?X-Amz-Signature=0123", Reply::ok(read(name)));
        if name != pool {
            archive.upstream.route(format!("/{pool}"), Reply::ok(read(pool)));
        }
        let home = Home::with(&mirror(&archive, ""));
        home.sync("mirror", 0);
        let server = home.serve();
        let root = root(&home, &server).await;
        root.update().clean();
        root.get(&["install", "hello"]).clean();
        archive.upstream.route(format!("/{name}"), Reply::ok(read(name)));
    }
}

/// A24: what was fetched in part is not fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn case_a24_a_partial_download_is_gone_on_with() {
    let archive = Archive::new().await;
    let mut deb = Deb::new("hello", "2.10-3", "amd64");
    let mut noise = 1_u32;
    let next = |_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    deb.files.push(("noise".into(), (0..200_000).map(next).collect()));
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(std::slice::from_ref(&deb))));
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    let bytes = deb.build();
    let url = server.url("/mirror/pool/main/hello_2.10-3_amd64.deb");
    let whole = get(&url, &[]).await;
    let part = [("range", "bytes=100000-"), ("if-range", whole.header("last-modified"))];
    let rest = get(&url, &part).await;
    assert_eq!((rest.status, rest.body.len()), (206, bytes.len() - 100_000));
    let stale = [("range", "bytes=100000-"), ("if-range", "Sat, 01 Jan 2000 00:00:00 GMT")];
    assert_eq!(get(&url, &stale).await.status, 200);
    // apt sets the time of a partial file to what the server said, and asks for the rest of it.
    let partial = root.write("var/cache/apt/archives/partial/hello_2.10-3_amd64.deb", &bytes[..100_000]);
    let modified = whole.header("last-modified");
    let touched = Run::of(std::process::Command::new("touch").args(["-d", modified]).arg(&partial));
    assert_eq!(touched.code, 0, "{}", touched.text);
    let text = root.get(&["-o", "Debug::Acquire::http=true", "install", "--download-only", "hello"]).text;
    assert!(text.contains("206 Partial Content"), "{text}");
    assert!(text.contains("If-Range"), "{text}");
    root.get(&["install", "hello"]).clean();
}

/// A25, from the registry's side: an archive that asks who is there.
#[tokio::test(flavor = "multi_thread")]
async fn case_a25_credentials_go_to_the_archive_that_they_are_for() {
    let archive = Archive::new().await;
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[Deb::new("hello", "1", "amd64")])));
    let url = archive.upstream.url("/").to_string();
    let with = url.replace("http://", "http://bearer:to%2Bken@");
    let home = Home::with(&mirror(&archive, "").replace(&url, &with));
    home.sync("mirror", 0);
    let requests = archive.upstream.requests();
    // `bearer:to+ken`
    assert!(requests.iter().all(|request| request.header("authorization") == "Basic YmVhcmVyOnRvK2tlbg=="));
    assert!(!requests.is_empty());
    let text = home.done(["show", "mirror", "hello"]);
    assert!(!text.contains("ken"), "{text}");
}

/// A27: apt-file asks for one more kind of index.
#[tokio::test(flavor = "multi_thread")]
async fn case_a27_contents_are_fetched_where_they_are_listed() {
    let archive = Archive::new().await;
    let base = archive.path().join("ftparchive");
    let main = base.join("dists/bookworm/main");
    std::fs::create_dir_all(&main).unwrap();
    std::fs::write(main.join("Contents-amd64"), "usr/share/hello/version misc/hello\n").unwrap();
    let gzip = Run::of(std::process::Command::new("gzip").arg("-k").arg(main.join("Contents-amd64")));
    assert_eq!(gzip.code, 0, "{}", gzip.text);
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[Deb::new("hello", "1", "amd64")])));
    let contents = "Acquire::IndexTargets::deb::Contents-deb {\n MetaKey \"$(COMPONENT)/Contents-$(ARCHITECTURE)\";\n \
                    ShortDescription \"Contents-$(ARCHITECTURE)\";\n Description \"Contents\";\n \
                    PDiffs \"true\";\n KeepCompressed \"true\";\n DefaultEnabled \"true\";\n};\n";
    for (view, there) in [("verbatim", true), ("curated", false)] {
        let home = Home::with(&mirror(&archive, &format!("view = \"{view}\"")));
        home.sync("mirror", 0);
        let server = home.serve();
        let root = root(&home, &server).await;
        let configuration = std::fs::read_to_string(root.path().join("apt.conf")).unwrap() + contents;
        root.write("apt.conf", configuration);
        root.update().clean();
        let lists = std::fs::read_dir(root.path().join("var/lib/apt/lists")).unwrap();
        let found = lists
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("Contents-amd64"));
        assert_eq!(found.count() > 0, there, "{view}");
    }
}

/// A29: what upstream gives to a part of the machines first stays so, unless the operator decides otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn case_a29_phased_updates_are_kept_back_unless_stripped() {
    let archive = Archive::new().await;
    let base = archive.ftparchive("bookworm", &archive.debs(&[Deb::new("hello", "1", "amd64")]));
    archive.serve(&base);
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    root.get(&["install", "hello"]).clean();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let newer = Deb::new("hello", "2", "amd64").field("Phased-Update-Percentage", "0");
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&[newer])));
    home.sync("mirror", 0);
    noticed().await;
    // Which part of the machines this one is in does not matter: none is.
    let machine = "APT::Machine-ID=0123456789abcdef0123456789abcdef";
    let upgrade = ["-s", "-o", machine, "-o", "APT::Get::Never-Include-Phased-Updates=false", "upgrade"];
    root.update().clean();
    let text = root.get(&upgrade).clean();
    assert!(!text.contains("Inst hello"), "{text}");
    home.apply(&mirror(&archive, "strip_phasing = true")).expect(0);
    home.sync("mirror", 0);
    home.done(["publish", "mirror", "--again"]);
    noticed().await;
    root.update().clean();
    let text = root.get(&upgrade).clean();
    assert!(text.contains("Inst hello [1] (2 "), "{text}");
}

/// A20, A32: others make their mirrors of ours, and who has one more architecture misses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn case_a32_others_mirror_us() {
    let archive = Archive::new().await;
    let debs = [Deb::new("hello", "2.10-3", "amd64"), Deb::new("common", "1:1.0+dfsg~rc1", "all")];
    archive.serve(&archive.ftparchive("bookworm", &archive.debs(&debs)));
    let home = Home::with(&mirror(&archive, ""));
    home.sync("mirror", 0);
    let server = home.serve();
    let foreign = Root::new("amd64", &["i386"]);
    let base = server.url("/mirror");
    let key = get(&server.url("/mirror/keyring.gpg"), &[]).await.body;
    foreign.source(&base, "bookworm main", &key);
    let update = foreign.update();
    assert_eq!(update.code, 0, "{}", update.text);
    assert_eq!(foreign.known(), ["common", "hello"]);

    let folder = tempfile::tempdir().unwrap();
    let keyring = folder.path().join("ours.gpg");
    std::fs::write(&keyring, &key).unwrap();
    let configuration = folder.path().join("aptly.conf");
    let settings = serde_json::json!({ "rootDir": folder.path().join("aptly") });
    std::fs::write(&configuration, settings.to_string()).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_lowercase().ends_with("_proxy") {
                command.env_remove(&name);
            }
        }
        let run = Run::of(command.env("GNUPGHOME", archive.gpg.home()).args(arguments));
        assert_eq!(run.code, 0, "{program} {arguments:?}: {}", run.text);
        run.text
    };
    let (configuration, trusted) =
        (format!("-config={}", configuration.display()), format!("-keyring={}", keyring.display()));
    run("aptly", &[&configuration, "mirror", "create", &trusted, "ours", &base, "bookworm", "main"]);
    run("aptly", &[&configuration, "mirror", "update", &trusted, "ours"]);
    let shown = run("aptly", &[&configuration, "mirror", "show", "-with-packages", "ours"]);
    for name in ["hello_2.10-3_amd64", "common_1:1.0+dfsg~rc1_all"] {
        assert!(shown.contains(name), "{shown}");
    }

    archive.gpg.run(&["--import", keyring.to_str().unwrap()]);
    let keys = archive.gpg.run(&["--show-keys", "--with-colons", keyring.to_str().unwrap()]);
    let keys = String::from_utf8(keys).unwrap();
    let fingerprint = keys.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':');
    let tree = folder.path().join("reprepro");
    std::fs::create_dir_all(tree.join("conf")).unwrap();
    let distributions = "Codename: bookworm\nArchitectures: amd64\nComponents: main\nUpdate: ours\n";
    std::fs::write(tree.join("conf/distributions"), distributions).unwrap();
    let updates = format!(
        "Name: ours\nMethod: {base}\nSuite: bookworm\nComponents: main\nArchitectures: amd64\nVerifyRelease: {}\n",
        &fingerprint[fingerprint.len() - 16..]
    );
    std::fs::write(tree.join("conf/updates"), updates).unwrap();
    let tree = tree.to_str().unwrap();
    run("reprepro", &["-b", tree, "update"]);
    let listed = run("reprepro", &["-b", tree, "list", "bookworm"]);
    assert!(listed.contains("hello 2.10-3") && listed.contains("common 1:1.0+dfsg~rc1"), "{listed}");
}
