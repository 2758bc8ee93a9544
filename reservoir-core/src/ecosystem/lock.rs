//! Lock files: a closure that somebody's client computed, to be brought in exactly.

use serde_json::Value;

use super::{Chosen, Requirement};
use crate::{digest::Sha256Digest, path::ContentPath};

/// What a lock file asks of registries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LockFile {
    /// Its packages.
    pub packages: Vec<Locked>,
    /// What it names that no registry can bring (a checkout, a folder), in words.
    pub missing: Vec<String>,
}

/// One package of a lock file.
#[derive(Debug, Clone, PartialEq)]
pub struct Locked {
    /// The package, and which version of it.
    pub requirement: Requirement,
    /// Its files and their digests, for the format that read them.
    pub detail: Value,
}

/// Which of the files that registries offer are those of a locked package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedFiles {
    /// The files.
    pub chosen: Vec<Chosen>,
    /// The digests that the lock promises: a file for which its registry tells none must have this one.
    pub digests: Vec<(ContentPath, Sha256Digest)>,
    /// What the lock names and nobody offers, or offers with other bytes, in words.
    pub missing: Vec<String>,
    /// The digests of what is missing, as far as the lock has them: a further registry may offer it.
    pub lacking: Vec<Sha256Digest>,
}
