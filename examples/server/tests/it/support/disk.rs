//! A small disk: a file system in memory of a fixed size, mounted for one test.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted disk. Unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one of so many KiB over a folder that it makes. Mounting needs root, as which the tests run in CI, or
    /// `sudo` that asks for no password; without either the test fails.
    pub fn mount(path: PathBuf, kib: u64) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let size = format!("size={kib}k,mode=0777");
        let mounted = as_root(&["mount", "-t", "tmpfs", "-o", &size, "reservoir-test"], &path);
        assert!(mounted, "a tmpfs of {kib} KiB cannot be mounted on `{}`", path.display());
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes what is left but so many bytes.
    pub fn fill_but(&self, left: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        // The last byte is written when there is no room for another.
        while ballast.write_all(&[0; 4096]).is_ok() {}
        let full = ballast.metadata().unwrap().len();
        ballast.set_len(full.saturating_sub(left)).unwrap();
    }

    /// Gives back what `fill_but` took.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a program that a failing test left running may have files open.
        as_root(&["umount", "-l"], &self.path);
    }
}

fn as_root(command: &[&str], path: &Path) -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    let sudo: &[&str] = if id.stdout.trim_ascii() == b"0" { &[] } else { &["sudo", "-n"] };
    let words: Vec<&str> = [sudo, command].concat();
    Command::new(words[0]).args(&words[1..]).arg(path).status().is_ok_and(|status| status.success())
}
