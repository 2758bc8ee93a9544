//! `dose-debcheck`, and the index of the archive that this machine's apt is configured with.

use std::{collections::BTreeSet, fs::File, path::Path, process::Command};

use tempfile::NamedTempFile;

/// The largest index of this machine's own apt, unpacked.
pub(super) fn configured_index() -> NamedTempFile {
    let listed = Command::new("apt-get")
        .args(["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"])
        .output()
        .expect("apt-get runs");
    let files = String::from_utf8(listed.stdout).unwrap();
    let largest = files
        .lines()
        .max_by_key(|file| Path::new(file).metadata().map_or(0, |metadata| metadata.len()))
        .expect("this machine's apt has indexes; `scripts/services` sees to that");
    let unpacked = NamedTempFile::new().unwrap();
    let status = Command::new("/usr/lib/apt/apt-helper")
        .args(["cat-file", largest])
        .stdout(File::create(unpacked.path()).unwrap())
        .status()
        .expect("apt-helper runs");
    assert!(status.success());
    unpacked
}

/// What `dose-debcheck` says cannot be installed, as `NAME VERSION (ARCHITECTURE)`.
pub(super) fn broken(index: &Path, native: &str, foreign: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new("dose-debcheck");
    command.arg("--failures").arg(format!("--deb-native-arch={native}"));
    if !foreign.is_empty() {
        command.arg(format!("--deb-foreign-archs={}", foreign.join(",")));
    }
    let output =
        command.arg(index).output().expect("dose-debcheck is installed; `scripts/services` sees to that");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("total-packages:"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut broken = BTreeSet::new();
    let (mut package, mut version) = ("", "");
    for line in text.lines() {
        match line.trim().split_once(": ") {
            Some(("package", value)) => package = value,
            Some(("version", value)) => version = value,
            Some(("architecture", value)) => {
                broken.insert(format!("{package} {version} ({value})"));
            }
            _ => {}
        }
    }
    broken
}
