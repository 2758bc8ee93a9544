//! Archives made by the tools that real archives are made with, on the loopback.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use reservoir_core::{
    digest::Sha256Digest,
    testing::upstream::{Reply, Upstream},
};
use tempfile::TempDir;

use super::{
    deb::Deb,
    root::{Root, Run},
};

/// A `GnuPG` home with one key.
#[derive(Debug)]
pub struct Gpg {
    home: TempDir,
}

impl Default for Gpg {
    fn default() -> Self {
        // A short path: the agent's socket is in it.
        let home = tempfile::Builder::new().prefix("gpg").tempdir().unwrap();
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let gpg = Self { home };
        let words = ["--quick-gen-key", "Archive <archive@example.com>", "rsa2048", "sign", "never"];
        gpg.run(&words);
        gpg
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // The agent that gpg started ends with its home.
        let _ =
            Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).output();
    }
}

impl Gpg {
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .env("GNUPGHOME", self.home.path())
            .args(["--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"])
            .args(arguments)
            .output()
            .expect("gpg is installed by scripts/test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The public key as a binary keyring.
    pub fn keyring(&self) -> Vec<u8> {
        self.run(&["--export"])
    }
}

/// A tree of files, and a server of them.
#[derive(Debug)]
pub struct Archive {
    pub folder: TempDir,
    pub gpg: Gpg,
    pub upstream: Upstream,
}

impl Archive {
    pub async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), gpg: Gpg::default(), upstream: Upstream::start().await }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn keyring(&self) -> PathBuf {
        let path = self.path().join("keyring.gpg");
        fs::write(&path, self.gpg.keyring()).unwrap();
        path
    }

    /// `[[registry]]` for it.
    pub fn registry(&self) -> String {
        format!(
            "[[registry]]\nname = \"upstream\"\necosystem = \"apt\"\nurl = \"{}\"\nkeyring = \"{}\"\n",
            self.upstream.url("/"),
            self.keyring().display()
        )
    }

    /// Writes packages to a folder of their own, for the tools.
    pub fn debs(&self, debs: &[Deb]) -> Vec<PathBuf> {
        let folder = self.path().join("incoming");
        fs::create_dir_all(&folder).unwrap();
        let write = |deb: &Deb| {
            let path = folder.join(deb.file_name());
            fs::write(&path, deb.build()).unwrap();
            path
        };
        debs.iter().map(write).collect()
    }

    /// Everything below `root` is served as it is now.
    pub fn serve(&self, root: &Path) {
        for folder in ["dists", "pool"] {
            self.serve_folder(root, &root.join(folder));
        }
    }

    fn serve_folder(&self, root: &Path, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.serve_folder(root, &path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                let escaped = name.replace('+', "%2B").replace('~', "%7E");
                let bytes = fs::read(&path).unwrap();
                self.upstream.route(format!("/{name}"), Reply::ok(bytes.clone()));
                self.upstream.route(format!("/{escaped}"), Reply::ok(bytes));
            }
        }
    }

    /// The same packages by reprepro; the folder of the archive.
    pub fn reprepro(&self, suite: &str, debs: &[PathBuf]) -> PathBuf {
        let base = self.path().join("reprepro");
        fs::create_dir_all(base.join("conf")).unwrap();
        let distributions = format!(
            "Origin: Test\nLabel: Test\nSuite: stable\nCodename: {suite}\nArchitectures: amd64 source\n\
             Components: main\nDescription: by reprepro\nSignWith: yes\n"
        );
        fs::write(base.join("conf/distributions"), distributions).unwrap();
        let run = Run::of(
            Command::new("reprepro")
                .env("GNUPGHOME", self.gpg.home())
                .args(["-S", "misc", "-P", "optional", "-b"])
                .arg(&base)
                .args(["includedeb", suite])
                .args(debs),
        );
        assert_eq!(run.code, 0, "{}", run.text);
        base
    }

    /// The same packages by aptly.
    pub fn aptly(&self, suite: &str, debs: &[PathBuf]) -> PathBuf {
        let root = self.path().join("aptly");
        fs::create_dir_all(&root).unwrap();
        let configuration = self.path().join("aptly.conf");
        fs::write(&configuration, serde_json::json!({ "rootDir": root }).to_string()).unwrap();
        let aptly = |arguments: &[&str]| {
            let run = Run::of(
                Command::new("aptly")
                    .env("GNUPGHOME", self.gpg.home())
                    .arg("-config")
                    .arg(&configuration)
                    .args(arguments),
            );
            assert_eq!(run.code, 0, "{}", run.text);
        };
        let folder = debs[0].parent().unwrap().to_str().unwrap();
        let distribution = format!("-distribution={suite}");
        aptly(&["repo", "create", &distribution, "-component=main", "test"]);
        aptly(&["repo", "add", "test", folder]);
        aptly(&[
            "publish",
            "repo",
            "-architectures=amd64",
            "-origin=Test",
            "-label=Test",
            "-batch",
            "-passphrase=",
            "test",
        ]);
        root.join("public")
    }

    /// The same packages by apt-ftparchive, with `by-hash` and every compression it has.
    pub fn ftparchive(&self, suite: &str, debs: &[PathBuf]) -> PathBuf {
        let base = self.path().join("ftparchive");
        let pool = base.join("pool/main");
        fs::create_dir_all(&pool).unwrap();
        for deb in debs {
            fs::copy(deb, pool.join(deb.file_name().unwrap())).unwrap();
        }
        self.sign(&base, suite, "Test");
        base
    }

    /// A source package by dpkg-source, put into the pool below `base`.
    pub fn source(&self, base: &Path, name: &str, upstream: &str, revision: &str) {
        let folder = tempfile::tempdir_in(self.path()).unwrap();
        let tree = folder.path().join(format!("{name}-{upstream}"));
        fs::create_dir_all(tree.join("debian/source")).unwrap();
        fs::write(tree.join("hello.c"), "int main(void) { return 0; }\n").unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let run = Run::of(Command::new(program).args(arguments).current_dir(folder.path()));
            assert_eq!(run.code, 0, "{}", run.text);
        };
        let (orig, inner) = (format!("{name}_{upstream}.orig.tar.gz"), format!("{name}-{upstream}"));
        run("tar", &["--sort=name", "--mtime=@0", "--exclude=debian", "-czf", &orig, &inner]);
        for (file, text) in [
            ("source/format", "3.0 (quilt)\n".to_owned()),
            (
                "changelog",
                format!(
                    "{name} ({upstream}-{revision}) unstable; urgency=low\n\n  * One.\n\n \
                     -- A B <a@example.com>  Sat, 21 Nov 2026 12:00:00 +0000\n"
                ),
            ),
            (
                "control",
                format!(
                    "Source: {name}\nSection: misc\nPriority: optional\nMaintainer: A B <a@example.com>\n\
                     Standards-Version: 4.6.0\n\nPackage: {name}\nArchitecture: any\nDescription: a test\n"
                ),
            ),
        ] {
            fs::write(tree.join("debian").join(file), text).unwrap();
        }
        run("dpkg-source", &["-b", &inner]);
        let pool = base.join("pool/main");
        fs::create_dir_all(&pool).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, pool.join(path.file_name().unwrap())).unwrap();
            }
        }
    }

    /// Indexes and a signed Release for what is in the pool below `base`.
    pub fn sign(&self, base: &Path, suite: &str, label: &str) {
        let binary = base.join(format!("dists/{suite}/main/binary-amd64"));
        fs::create_dir_all(&binary).unwrap();
        let ftparchive = |arguments: &[&str]| ftparchive(base, arguments);
        let main = binary.parent().unwrap().to_owned();
        let long = base.join("long");
        let mut arguments = vec!["packages", "pool/main"];
        if long.is_dir() {
            arguments.splice(0..0, ["-o", "APT::FTPArchive::LongDescription=false"]);
        }
        let packages = ftparchive(&arguments);
        fs::write(binary.join("Packages"), &packages).unwrap();
        compress(&binary.join("Packages"));
        if long.is_dir() {
            let text = descriptions(&String::from_utf8(packages).unwrap(), &long);
            fs::create_dir_all(main.join("i18n")).unwrap();
            fs::write(main.join("i18n/Translation-en"), text).unwrap();
            compress(&main.join("i18n/Translation-en"));
        }
        if fs::read_dir(base.join("pool/main"))
            .unwrap()
            .any(|one| one.unwrap().path().extension().is_some_and(|ending| ending == "dsc"))
        {
            fs::create_dir_all(main.join("source")).unwrap();
            fs::write(main.join("source/Sources"), ftparchive(&["sources", "pool/main"])).unwrap();
            compress(&main.join("source/Sources"));
        }
        for (folder, stem) in [(&binary, "Packages"), (&main.join("source"), "Sources")] {
            let by_hash = folder.join("by-hash/SHA256");
            for ending in ["", ".gz", ".xz"] {
                let Ok(bytes) = fs::read(folder.join(format!("{stem}{ending}"))) else { continue };
                fs::create_dir_all(&by_hash).unwrap();
                fs::write(by_hash.join(Sha256Digest::of(&bytes).to_string()), bytes).unwrap();
            }
        }
        self.release(base, suite, &[("Label", label)]);
    }

    /// A signed Release of the indexes that are there, some of its fields different.
    pub fn release(&self, base: &Path, suite: &str, fields: &[(&str, &str)]) {
        let dists = format!("dists/{suite}");
        let mut all: BTreeMap<&str, &str> = BTreeMap::from([
            ("Origin", "Test"),
            ("Label", "Test"),
            ("Suite", "stable"),
            ("Codename", suite),
            ("Architectures", "amd64"),
            ("Components", "main"),
            ("Acquire-By-Hash", "yes"),
        ]);
        all.extend(fields.iter().copied());
        self.clearsign(base, &dists, &all);
    }

    /// A flat archive, its packages beside their index, as vendors have it.
    pub fn flat(&self, debs: &[PathBuf]) -> PathBuf {
        let base = self.path().join("flat");
        fs::create_dir_all(&base).unwrap();
        for deb in debs {
            fs::copy(deb, base.join(deb.file_name().unwrap())).unwrap();
        }
        let packages = ftparchive(&base, &["packages", "."]);
        fs::write(base.join("Packages"), packages).unwrap();
        compress(&base.join("Packages"));
        self.clearsign(&base, ".", &BTreeMap::from([("Origin", "Test"), ("Label", "Test")]));
        for entry in fs::read_dir(&base).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            self.upstream.route(format!("/{name}"), Reply::ok(fs::read(&path).unwrap()));
        }
        base
    }

    fn clearsign(&self, base: &Path, folder: &str, fields: &BTreeMap<&str, &str>) {
        for name in ["InRelease", "Release", "Release.gpg"] {
            let _ = fs::remove_file(base.join(folder).join(name));
        }
        let options: Vec<String> =
            fields.iter().map(|(name, value)| format!("APT::FTPArchive::Release::{name}={value}")).collect();
        let mut arguments: Vec<&str> = options.iter().flat_map(|option| ["-o", option.as_str()]).collect();
        arguments.extend(["release", folder]);
        let release = ftparchive(base, &arguments);
        let file = self.path().join("Release.tmp");
        fs::write(&file, release).unwrap();
        let out = base.join(folder).join("InRelease");
        self.gpg.run(&["--clearsign", "-o", out.to_str().unwrap(), file.to_str().unwrap()]);
        let out = base.join(folder).join("Release.gpg");
        self.gpg.run(&["--armor", "--detach-sign", "-o", out.to_str().unwrap(), file.to_str().unwrap()]);
        fs::copy(&file, base.join(folder).join("Release")).unwrap();
        fs::remove_file(file).unwrap();
    }
}

fn ftparchive(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("apt-ftparchive").args(arguments).current_dir(folder).output();
    let output = output.expect("apt-ftparchive is in apt-utils, which scripts/test installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn compress(file: &Path) {
    for (program, ending) in [("gzip", "gz"), ("xz", "xz")] {
        let output = Command::new(program).args(["-9", "-c"]).arg(file).output().unwrap();
        fs::write(file.with_extension(ending), output.stdout).unwrap();
    }
}

/// The stanzas of `Translation-en`: what the files of a folder say of the packages they are named by.
fn descriptions(packages: &str, long: &Path) -> String {
    let stanza = |stanza: &str| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let (name, md5) = (field("Package:")?, field("Description-md5:")?);
        let text = fs::read_to_string(long.join(name)).ok()?;
        let short = field("Description:").unwrap_or_default();
        Some(format!("Package: {name}\nDescription-md5: {md5}\nDescription-en: {short}\n {text}\n\n"))
    };
    packages.split("\n\n").filter_map(stanza).collect()
}

/// The `.sources` file and the key, put where `client-setup` says, below a root.
pub fn follow_setup(root: &Root, setup: &serde_json::Value, keyring: &[u8]) {
    let file = &setup["files"][0];
    let (name, text) = (file["name"].as_str().unwrap(), file["text"].as_str().unwrap());
    let signed_by = text.lines().find_map(|line| line.strip_prefix("Signed-By: ")).unwrap();
    root.write(signed_by.trim_start_matches('/'), keyring);
    let text = text.replace(signed_by, root.path().join(signed_by.trim_start_matches('/')).to_str().unwrap());
    root.write(&format!("etc/apt/sources.list.d/{name}"), text);
}
