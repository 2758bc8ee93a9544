//! A universe that is found out while it is solved.

use std::{collections::BTreeMap, fmt::Debug};

use serde_json::Value;
use url::Url;

use super::{PackageId, Universe};
use crate::{
    ecosystem::{Candidate, Inspection},
    error::Result,
    fetch::Fetcher,
    lifecycle::RevisionId,
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

/// What could be installed on one target, as far as it is known: all versions of the artifacts that were asked
/// about, and what those files need that were read.
///
/// # Contract
/// - A package whose file was not read yet is proposed as one that needs nothing. So what cannot be solved with the
///   proposal cannot be solved at all, and a solution is one as soon as all its packages were read.
/// - Alternatives of a requirement stand in the order in which the format's own installer would try them.
/// - What one file says wrongly spoils only its package: it counts as one that cannot be installed, with that as
///   the reason.
/// - Packages keep their numbers from one proposal to the next.
pub trait Draft: Debug + Send {
    /// Takes all that is known of an artifact; without candidates it is known that there are none.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) when there are too many.
    fn offer(&mut self, artifact: &ArtifactName, candidates: &[Candidate]) -> Result<()>;

    /// Takes what a file says of itself, or why that cannot be known.
    fn describe(&mut self, path: &ContentPath, told: &Result<Inspection, String>);

    /// The universe as it is known now.
    fn propose(&self) -> Proposal;

    /// The file to read to know what a package needs, and those of up to `more` packages that would be tried next
    /// in its place; empty when it was read, or has none.
    fn unread(&self, package: PackageId, more: usize) -> Vec<(RevisionId, ContentPath)>;

    /// The files that a package consists of; `None` for what is none of a registry's.
    fn files(&self, package: PackageId) -> Option<(RevisionId, Vec<ContentPath>)>;
}

/// What a [`Draft`] proposes.
#[derive(Debug)]
pub struct Proposal {
    /// What could be installed.
    pub universe: Box<dyn Universe>,
    /// What has to be: of each any one.
    pub goals: Vec<Vec<PackageId>>,
    /// Artifacts that something needs and that were not offered yet. While there are any, solving is too early.
    pub missing: Vec<ArtifactName>,
}

/// A file that is looked into where it is.
#[derive(Debug)]
pub struct Peek<'a> {
    /// Its artifact.
    pub artifact: &'a ArtifactName,
    /// Its revision.
    pub revision: &'a RevisionName,
    /// Its path within the repository.
    pub path: &'a ContentPath,
    /// Where to fetch it.
    pub url: &'a Url,
    /// Bytes, when the registry says.
    pub size: Option<u64>,
    /// Facts from the registry.
    pub attributes: &'a BTreeMap<String, Value>,
    /// How to fetch.
    pub fetcher: &'a Fetcher,
}
