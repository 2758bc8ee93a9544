//! Requirements, and what there is to satisfy them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Inspection;
use crate::{
    digest::Sha256Digest,
    lifecycle::{RevisionId, Status},
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

/// "Some version of this artifact such that…", in the format's own words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The artifact.
    pub artifact: ArtifactName,
    /// The constraint as the format writes it; never re-serialised.
    pub constraint: String,
    /// Optional parts asked for (extras, features).
    pub extras: Vec<String>,
    /// What asked for it, for messages; `None` for the selection itself.
    pub wanted_by: Option<String>,
}

impl Requirement {
    /// What packages need of one another, where that is decided at once for all.
    pub(crate) fn of_others() -> Self {
        let wanted_by = Some("what was chosen".to_owned());
        Self { artifact: Self::everything(), constraint: String::new(), extras: Vec::new(), wanted_by }
    }

    /// The name that stands for every artifact that is known, for selections without a list.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "an asterisk is an artifact name")]
    pub fn everything() -> ArtifactName {
        "*".parse().expect("an asterisk is an artifact name")
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.artifact)?;
        if !self.extras.is_empty() {
            write!(f, "[{}]", self.extras.join(","))?;
        }
        write!(f, "{}", self.constraint)
    }
}

/// A revision that may satisfy a requirement.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: RevisionId,
    /// Its name.
    pub revision: RevisionName,
    /// Where it stands.
    pub status: Status,
    /// Its files.
    pub files: Vec<CandidateFile>,
}

/// One file of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateFile {
    /// Its path within the repository.
    pub path: ContentPath,
    /// Bytes, when known.
    pub size: Option<u64>,
    /// Its digest, when known.
    pub sha256: Option<Sha256Digest>,
    /// Facts from the registry.
    pub attributes: BTreeMap<String, Value>,
    /// What inspection found, once it was pulled.
    pub inspection: Option<Inspection>,
}

/// What `choose` picks: some files of one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The revision.
    pub id: RevisionId,
    /// The files of it that are wanted.
    pub paths: Vec<ContentPath>,
}
