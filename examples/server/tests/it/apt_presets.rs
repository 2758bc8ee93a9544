//! The layouts that presets name, made here as their vendors make them, mirrored, and read by the real apt. No byte of
//! a vendor is in this: what is tried is where files lie, what a Release lists and what clients ask for.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use reservoir_core::{digest::Sha256Digest, testing::upstream::Reply};

use super::support::{
    apt::{Archive, follow_setup},
    deb::Deb,
    home::{Home, Server},
    root::{Root, Run},
    web::get,
};

/// What a desktop's packages add to the indexes that apt fetches: appstream, command-not-found, apt-file.
const TARGETS: &str = r#"
Acquire::IndexTargets::deb::DEP-11 {
 MetaKey "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml";
 ShortDescription "Components-$(NATIVE_ARCHITECTURE)";
 Description "$(RELEASE)/$(COMPONENT) $(NATIVE_ARCHITECTURE) DEP-11 Metadata";
 KeepCompressed "true";
};
Acquire::IndexTargets::deb::CNF {
 MetaKey "$(COMPONENT)/cnf/Commands-$(NATIVE_ARCHITECTURE)";
 ShortDescription "Commands-$(NATIVE_ARCHITECTURE)";
 Description "$(RELEASE)/$(COMPONENT) $(NATIVE_ARCHITECTURE) c-n-f Metadata";
};
Acquire::IndexTargets::deb::Contents-deb {
 MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)";
 ShortDescription "Contents-$(ARCHITECTURE)";
 Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents (deb)";
 KeepCompressed "true";
};
Acquire::IndexTargets::deb::Contents-deb-legacy {
 MetaKey "Contents-$(ARCHITECTURE)";
 ShortDescription "Contents-$(ARCHITECTURE)";
 Description "$(RELEASE) $(ARCHITECTURE) Contents (deb)";
 KeepCompressed "true";
 Fallback-Of "Contents-deb";
};
"#;

/// A suite being written.
struct Suite<'a> {
    archive: &'a Archive,
    /// What its address shows.
    root: PathBuf,
    name: &'a str,
    codename: &'a str,
    /// As `Release` lists them: digest, size, name. The plain files are listed and not there, as at Launchpad.
    listed: Vec<(Sha256Digest, usize, String)>,
}

impl<'a> Suite<'a> {
    fn new(archive: &'a Archive, root: &Path, codename: &'a str, name: &'a str) -> Self {
        let root = root.to_owned();
        fs::create_dir_all(root.join("pool")).unwrap();
        Self { archive, root, name, codename, listed: Vec::new() }
    }

    fn file(&mut self, name: &str, bytes: &[u8], is_there: bool) {
        let digest = Sha256Digest::of(bytes);
        self.listed.push((digest, bytes.len(), name.to_owned()));
        if !is_there {
            return;
        }
        let path = self.root.join("dists").join(self.name).join(name);
        let by_hash = path.parent().unwrap().join("by-hash/SHA256");
        fs::create_dir_all(&by_hash).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::write(by_hash.join(digest.to_string()), bytes).unwrap();
    }

    /// An index in the compressions that it has there.
    fn index(&mut self, name: &str, text: &str, compressions: &[&str]) {
        self.file(name, text.as_bytes(), false);
        for ending in compressions {
            let plain = self.archive.path().join("plain");
            fs::write(&plain, text).unwrap();
            let program = if *ending == "gz" { "gzip" } else { "xz" };
            let packed = Command::new(program).args(["-c"]).arg(&plain).output().unwrap();
            assert!(packed.status.success());
            self.file(&format!("{name}.{ending}"), &packed.stdout, true);
        }
    }

    fn component(&mut self, component: &str, debs: &[Deb]) {
        let (mut packages, mut descriptions, mut contents) = (String::new(), String::new(), String::new());
        for deb in debs {
            let (bytes, path) = (deb.build(), deb.pool().replace("pool/main", &format!("pool/{component}")));
            let file = self.root.join(&path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &bytes).unwrap();
            let md5 = "0123456789abcdef0123456789abcdef";
            let stanza = deb.stanza(&path, &bytes).replace("\n with two lines", "");
            let _ = write!(packages, "{stanza}\nDescription-md5: {md5}\n\n");
            let _ = write!(
                descriptions,
                "Package: {}\nDescription-md5: {md5}\nDescription-en: a package\n Told at length.\n\n",
                deb.name
            );
            let _ = writeln!(contents, "usr/share/{}/version misc/{}", deb.name, deb.name);
        }
        let both = ["gz", "xz"];
        self.index(&format!("{component}/binary-amd64/Packages"), &packages, &both);
        self.file(&format!("{component}/binary-amd64/Release"), b"Archive: here\n", true);
        self.index(&format!("{component}/i18n/Translation-en"), &descriptions, &both);
        self.index(&format!("{component}/source/Sources"), "", &both);
        self.index(&format!("{component}/dep11/Components-amd64.yml"), "---\nFile: DEP-11\n", &both);
        self.file(&format!("{component}/dep11/icons-48x48.tar.gz"), b"icons", true);
        self.index(&format!("{component}/cnf/Commands-amd64"), "suite: here\n", &["xz"]);
        // Of the whole suite, at its top.
        if component == "main" || component == "common" {
            self.index("Contents-amd64", &contents, &["gz"]);
        }
    }

    fn sign(self, components: &str, now: &str) {
        let title = self.codename[..1].to_uppercase() + &self.codename[1..];
        let mut release = format!(
            "Origin: Vendor\nLabel: Vendor\nSuite: {}\nVersion: 1\nCodename: {}\nDate: {now}\n\
             Architectures: amd64 arm64 i386\nComponents: {components}\nDescription: Vendor {title}\n",
            self.name, self.codename
        );
        release += "SHA256:\n";
        for (digest, size, name) in &self.listed {
            let _ = writeln!(release, " {digest} {size:>16} {name}");
        }
        release += "Acquire-By-Hash: yes\n";
        let folder = self.root.join("dists").join(self.name);
        fs::write(folder.join("Release"), &release).unwrap();
        let (file, out) = (folder.join("Release"), folder.join("InRelease"));
        let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
        self.archive.gpg.run(&["--clearsign", "-o", out, file]);
        let detached = folder.join("Release.gpg");
        self.archive.gpg.run(&["--armor", "--detach-sign", "-o", detached.to_str().unwrap(), file]);
    }
}

/// With the hour padded by a space, as Launchpad writes it.
fn now() -> String {
    let run = Run::of(Command::new("date").args(["-u", "+%a, %d %b %Y %_H:%M:%S UTC"]).env("LC_ALL", "C"));
    run.clean().trim().to_owned()
}

fn registry(archive: &Archive, name: &str, suites: &[&str]) -> String {
    let text = archive.registry().replace("\"upstream\"", &format!("{name:?}"));
    format!("{text}suites = {suites:?}\n\n")
}

async fn add(root: &Root, home: &Home, server: &Server, repository: &str) {
    let (_, setup) = home.json(["client-setup", repository, "--base-url", &server.base]);
    let command = setup["command"].as_str().unwrap();
    let keyring = command.split(' ').find(|word| word.starts_with(&server.base)).unwrap();
    follow_setup(root, &setup, &get(keyring, &[]).await.body);
}

/// A root that fetches what a desktop fetches.
fn desktop() -> Root {
    let root = Root::default();
    let configuration = fs::read_to_string(root.path().join("apt.conf")).unwrap();
    let configuration = configuration.replace("Languages \"none\"", "Languages \"en\"");
    root.write("apt.conf", configuration + TARGETS);
    root
}

fn lists(root: &Root, part: &str) -> usize {
    let lists = fs::read_dir(root.path().join("var/lib/apt/lists")).unwrap();
    lists.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(part)).count()
}

/// Release and updates from one address, security from another; four components; everything that Launchpad lists.
async fn ubuntu(preset: &str, codename: &str) {
    const COMPONENTS: [&str; 4] = ["main", "restricted", "universe", "multiverse"];
    let (main, security) = (Archive::new().await, Archive::new().await);
    let [updates, secure] = ["updates", "security"].map(|suite| format!("{codename}-{suite}"));
    for (archive, suite) in [(&main, codename), (&main, &updates), (&security, &secure)] {
        let base = archive.path().join("archive");
        let mut writing = Suite::new(archive, &base, codename, suite);
        for component in COMPONENTS {
            let newer = if suite == codename { "1" } else { suite.rsplit('-').next().unwrap() };
            let mut debs = vec![Deb::new(&format!("in-{component}"), &format!("1.0+{newer}"), "amd64")];
            if suite == codename {
                debs.push(Deb::new(&format!("only-{component}"), "1.0", "all").field("Depends", "in-main"));
            }
            writing.component(component, &debs);
        }
        writing.sign(&COMPONENTS.join(" "), &now());
    }
    for archive in [&main, &security] {
        archive.serve(&archive.path().join("archive"));
    }
    let registries =
        registry(&main, "archive", &[codename, &updates]) + &registry(&security, "security", &[&secure]);
    let repository = |name: &str, more: &str| {
        format!(
            "[[repository]]\nname = \"{name}\"\necosystem = \"apt\"\nregistries = [\"archive\", \"security\"]\n\
             preset = \"{preset}\"\n{more}\n"
        )
    };
    let toml = registries + &repository("curated", "") + &repository("verbatim", "view = \"verbatim\"\n");
    let home = Home::with(&toml);
    for name in ["curated", "verbatim"] {
        let report = home.sync(name, 0);
        assert_eq!(report["alarms"].as_array().unwrap().len(), 0, "{report:#}");
    }
    let server = home.serve();
    for name in ["curated", "verbatim"] {
        let root = desktop();
        add(&root, &home, &server, name).await;
        if name == "verbatim" {
            // Two archives, each with a key of its own.
            let both = [main.gpg.keyring(), security.gpg.keyring()].concat();
            root.write("etc/apt/keyrings/reservoir-verbatim-upstream.gpg", both);
        }
        root.update().clean();
        assert_eq!(root.known().len(), 8, "{name}");
        assert_eq!(root.candidate("in-universe").as_deref(), Some("1.0+updates"), "{name}");
        root.get(&["install", "only-multiverse", "in-restricted"]).clean();
        assert!(root.path().join("usr/share/in-main/version").exists());
        let shown = root.cache(&["show", "in-main"]).clean();
        assert!(shown.contains("Told at length."), "{name}: {shown}");
        // What a curated suite does not list nobody misses.
        let kept = if name == "verbatim" { 12 } else { 0 };
        assert_eq!((lists(&root, "dep11"), lists(&root, "cnf")), (kept, kept), "{name}");
        assert_eq!(lists(&root, "_Contents-amd64"), kept / 4, "{name}");
        let text = root.update().clean();
        assert!(!text.contains("Get:"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ubuntu_22_04_is_mirrored_as_it_is_laid_out() {
    ubuntu("ubuntu-22.04", "jammy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ubuntu_24_04_is_mirrored_as_it_is_laid_out() {
    ubuntu("ubuntu-24.04", "noble").await;
}

/// A flat archive as NVIDIA's: files beside their index, `./` before their names, fields behind the lists.
fn flat(archive: &Archive, deb: &Deb) {
    let base = archive.path().join("flat");
    fs::create_dir_all(&base).unwrap();
    let bytes = deb.build();
    let name = format!("./{}", deb.file_name());
    let packages = deb.stanza(&name, &bytes) + "\n\n";
    fs::write(base.join("Packages"), &packages).unwrap();
    let packed = Command::new("gzip").args(["-9", "-n", "-c"]).arg(base.join("Packages")).output().unwrap();
    let mut release = format!(
        "Origin: Vendor\nLabel: Vendor CUDA\nArchitecture: x86_64\nDate: {}\nMD5Sum:\nSHA256:\n",
        now()
    );
    for (name, bytes) in [("Packages", packages.as_bytes()), ("Packages.gz", &packed.stdout)] {
        let _ = writeln!(release, " {} {:>16} {name}", Sha256Digest::of(bytes), bytes.len());
    }
    release += "Acquire-By-Hash: no\n";
    fs::write(base.join("Release"), &release).unwrap();
    let (file, out) = (base.join("Release"), base.join("Release.gpg"));
    archive.gpg.run(&["--armor", "--detach-sign", "-o", out.to_str().unwrap(), file.to_str().unwrap()]);
    let detached = fs::read(out).unwrap();
    for (name, bytes) in [
        ("Packages", packages.into_bytes()),
        ("Packages.gz", packed.stdout),
        ("Release", release.into_bytes()),
        ("Release.gpg", detached),
        (&*deb.file_name(), bytes),
    ] {
        archive.upstream.route(format!("/{name}"), Reply::ok(bytes));
    }
}

/// A DGX system reads the vendor's base archive and a flat one for CUDA beside Ubuntu's.
async fn dgx(preset: &str, codename: &str) {
    let (base, cuda) = (Archive::new().await, Archive::new().await);
    let updates = format!("{codename}-updates");
    for suite in [codename, &updates] {
        let mut writing = Suite::new(&base, &base.path().join("archive"), codename, suite);
        let version = if suite == codename { "6.0" } else { "6.3" };
        for (component, name) in [("common", "nv-common"), ("dgx", "dgx-release")] {
            let deb = Deb::new(name, version, "amd64");
            let deb = if component == "dgx" { deb.field("Depends", "nv-common, cuda") } else { deb };
            writing.component(component, &[deb]);
        }
        writing.sign("common dgx", &now());
    }
    base.serve(&base.path().join("archive"));
    flat(&cuda, &Deb::new("cuda", "13.0-1", "amd64"));
    let toml = registry(&base, "base", &[codename, &updates])
        + &cuda.registry().replace("\"upstream\"", "\"flat\"")
        + &format!(
            "\n[[repository]]\nname = \"dgx\"\necosystem = \"apt\"\nregistry = \"base\"\npreset = \"{preset}\"\n\n\
             [[repository]]\nname = \"cuda\"\necosystem = \"apt\"\nregistry = \"flat\"\nsuites = [\"/\"]\n"
        );
    let home = Home::with(&toml);
    for name in ["dgx", "cuda"] {
        let report = home.sync(name, 0);
        assert_eq!(report["alarms"].as_array().unwrap().len(), 0, "{report:#}");
    }
    let server = home.serve();
    let root = desktop();
    for name in ["dgx", "cuda"] {
        add(&root, &home, &server, name).await;
    }
    root.update().clean();
    assert_eq!(root.candidate("dgx-release").as_deref(), Some("6.3"));
    root.get(&["install", "dgx-release"]).clean();
    assert!(root.path().join("usr/share/cuda/version").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn dgx_os_6_is_mirrored_as_it_is_laid_out() {
    dgx("dgx-os-6", "jammy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dgx_os_7_is_mirrored_as_it_is_laid_out() {
    dgx("dgx-os-7", "noble").await;
}
