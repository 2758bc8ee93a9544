//! Git itself says what the ids of blobs, trees and commits are.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use reservoir_core::digest::Sha256Digest;
use reservoir_hf::git::{blob_id, commit, lfs_pointer, trees};

const SECONDS: i64 = 1_700_000_000;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "somebody")
            .env(format!("GIT_{who}_EMAIL"), "somebody@localhost");
        command.env(format!("GIT_{who}_DATE"), format!("{SECONDS} +0000"));
    }
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Names that git sorts differently from plain text: a folder counts as if it ended with a slash.
#[test]
fn trees_and_commits_are_gits() {
    let pointer = lfs_pointer(&Sha256Digest::of(b"x"), 1);
    let files: BTreeMap<&str, &str> = BTreeMap::from([
        ("a.txt", "one\n"),
        ("a/b", "two\n"),
        ("a-b", ""),
        ("a/c/d/é ü.json", "{}"),
        ("ab", "three"),
        ("model.bin", pointer.as_str()),
    ]);
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
    for (path, text) in &files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    git(folder.path(), &["add", "--all"]);
    let (mut parent, mut tree) = (None, None);
    for message in ["First", "Second\n\nwith words"] {
        git(folder.path(), &["commit", "--quiet", "--allow-empty", "-m", message]);
        let (root, folders) =
            trees(files.iter().map(|(path, text)| (*path, blob_id(text.as_bytes())))).unwrap();
        assert_eq!(root.to_string(), git(folder.path(), &["rev-parse", "HEAD^{tree}"]));
        for (path, id) in &folders {
            assert_eq!(id.to_string(), git(folder.path(), &["rev-parse", &format!("HEAD:{path}")]), "{path}");
        }
        assert_eq!(folders.len(), 3);
        let (id, text) = commit(root, parent, "somebody", SECONDS, message);
        assert_eq!(id.to_string(), git(folder.path(), &["rev-parse", "HEAD"]));
        assert_eq!(text.trim(), git(folder.path(), &["cat-file", "-p", "HEAD"]));
        (parent, tree) = (Some(id), Some(root));
    }
    assert!(tree.is_some());
    for path in ["a.txt", "a/c/d/é ü.json"] {
        assert_eq!(blob_id(files[path].as_bytes()).to_string(), git(folder.path(), &["hash-object", path]));
    }
}

#[test]
fn a_path_is_file_or_folder() {
    let id = blob_id(b"");
    assert!(trees([("a", id), ("a/b", id)].into_iter()).is_err());
    assert!(trees([("a/b", id), ("a", id)].into_iter()).is_err());
    assert!(trees([("a", id), ("a", id)].into_iter()).is_err());
    let deep = "a/".repeat(100) + "b";
    assert!(trees([(deep.as_str(), id)].into_iter()).is_err());
}
