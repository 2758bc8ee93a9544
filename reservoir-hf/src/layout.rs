//! Where things are kept within a repository.
//!
//! ```text
//! content      models/org/name/<commit>/<path>        a file of a commit
//!              commits/models/org/name/<commit>       the record of a commit: everything that is in it
//! publication  models/org/name/info.json              what clients are told of a model: refs, commits, card
//! ```

use reservoir_core::{Error, Result, path::ContentPath};

use crate::name::{ObjectId, RepoId};

/// What a path of the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'p> {
    /// The record of a commit.
    Record,
    /// A file, by its path within the commit.
    File(&'p str),
}

/// The path of a commit's record.
pub(crate) fn record_path(repo: &RepoId, commit: ObjectId) -> Result<ContentPath> {
    format!("{}{commit}", records(repo)).parse()
}

/// What the paths of all records of a repository begin with.
pub(crate) fn records(repo: &RepoId) -> String {
    format!("commits/{}/", repo.folder())
}

/// What stands for the commit in the path of a record; `None` for other paths.
pub(crate) fn commit_of_record(path: &ContentPath) -> Option<&str> {
    path.as_str().strip_prefix("commits/")?.rsplit('/').next()
}

/// What the paths of a commit's files begin with.
pub(crate) fn files(repo: &RepoId, commit: ObjectId) -> String {
    format!("{}/{commit}/", repo.folder())
}

/// The path of a file of a commit.
pub(crate) fn file_path(repo: &RepoId, commit: ObjectId, path: &str) -> Result<ContentPath> {
    format!("{}{path}", files(repo, commit)).parse()
}

/// The publication's path of what clients are told of a repository.
pub(crate) fn info_path(repo: &RepoId) -> Result<ContentPath> {
    format!("{}/info.json", repo.folder()).parse()
}

/// What a path of the content is, given whose it is said to be.
///
/// # Errors
/// [`Error::Malformed`] when it is not a path of that commit.
pub(crate) fn place<'p>(path: &'p ContentPath, repo: &RepoId, commit: ObjectId) -> Result<Place<'p>> {
    if *path == record_path(repo, commit)? {
        return Ok(Place::Record);
    }
    match path.as_str().strip_prefix(files(repo, commit).as_str()) {
        Some(inner) if !inner.is_empty() => Ok(Place::File(inner)),
        _ => {
            let detail = format!("is not a path of `{repo}@{commit}`");
            Err(Error::malformed(format!("`{path}`"), "hub-path", detail))
        }
    }
}
