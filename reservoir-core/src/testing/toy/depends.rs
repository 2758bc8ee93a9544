//! Requirements of the toy format: `nail`, `nail=1.0`, `nail>=1.0`, `nail=*`.

use super::{
    Toy,
    file::{is_version, is_word},
};
use crate::{
    depends::Dependencies,
    ecosystem::{Candidate, Chosen, Inspection, RepositoryConfig, Requirement},
    error::{Error, Result},
};

impl Dependencies for Toy {
    fn requirements(
        &self,
        _: &RepositoryConfig,
        _: &Requirement,
        owner: &str,
        inspection: &Inspection,
    ) -> Result<Vec<Requirement>> {
        inspection.requirements.iter().map(|text| parse(text, Some(owner))).collect()
    }
}

/// Reads one requirement.
pub(super) fn parse(text: &str, wanted_by: Option<&str>) -> Result<Requirement> {
    let split = text.find(['=', '>']).unwrap_or(text.len());
    let (name, constraint) = text.split_at(split);
    let version = constraint.strip_prefix(">=").or(constraint.strip_prefix('='));
    if !is_word(name) || !version.is_none_or(|v| v == "*" || is_version(v)) || constraint.starts_with(">=*") {
        let detail = format!("{text:?} is not NAME, NAME=VERSION, NAME>=VERSION or NAME=*");
        return Err(Error::invalid("toy requirement", detail));
    }
    Ok(Requirement {
        artifact: name.parse()?,
        constraint: constraint.to_owned(),
        extras: Vec::new(),
        wanted_by: wanted_by.map(str::to_owned),
    })
}

/// The newest version that satisfies a requirement, or all for `=*`; always all files of a version.
pub(super) fn choose(requirement: &Requirement, candidates: &[Candidate]) -> Vec<Chosen> {
    let constraint = requirement.constraint.as_str();
    let fits = |candidate: &&Candidate| match (constraint.strip_prefix(">="), constraint.strip_prefix('=')) {
        (Some(least), _) => key(candidate.revision.as_str()) >= key(least),
        (None, Some("*") | None) => true,
        (None, Some(version)) => candidate.revision.as_str() == version,
    };
    let mut fitting: Vec<&Candidate> = candidates.iter().filter(fits).collect();
    fitting.sort_by_key(|candidate| std::cmp::Reverse(key(candidate.revision.as_str())));
    if constraint != "=*" {
        fitting.truncate(1);
    }
    let chosen = |candidate: &Candidate| Chosen {
        id: candidate.id,
        paths: candidate.files.iter().map(|file| file.path.clone()).collect(),
    };
    fitting.into_iter().map(chosen).collect()
}

/// What versions are compared by.
fn key(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}
