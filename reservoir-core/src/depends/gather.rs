//! How a universe comes to be: file by file, from what is kept with the files.

use std::{collections::BTreeMap, fmt::Debug};

use serde_json::Value;

use super::{PackageId, Universe};
use crate::{
    error::Result,
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

/// A file whose package may be part of a universe.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// Its artifact.
    pub artifact: &'a ArtifactName,
    /// Its revision.
    pub revision: &'a RevisionName,
    /// Its path within the repository.
    pub path: &'a ContentPath,
    /// Facts from the registry and, over them, those from the file itself.
    pub attributes: &'a BTreeMap<String, Value>,
    /// Whether it is of a repository beside this one (see [`Dependencies::beside`](super::Dependencies::beside)).
    pub beside: bool,
}

/// A universe that is being filled, for one target of a repository.
///
/// # Contract
/// - Files come in any order. The first package has number zero, the next one, and so on; a file that belongs to
///   a package which is there already gets that one's number.
/// - What the format adds itself when there are no more files (something to stand for the selection) comes after
///   all packages of files.
/// - What one file says wrongly never spoils the rest: a package whose requirements cannot be read counts as one
///   that cannot be installed, with that as the reason.
/// - Kept of a file is what its requirements and conflicts are decided by, not more.
pub trait Gather: Debug + Send {
    /// Takes a file; the number of its package, or `None` when it is none for this target.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) when there are too many.
    fn add(&mut self, file: &Offered<'_>) -> Result<Option<PackageId>>;

    /// There are no more.
    fn finish(self: Box<Self>) -> Box<dyn Universe>;
}
