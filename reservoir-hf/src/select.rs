//! What a repository asks for, and which commit and files satisfy it.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result,
    ecosystem::{Candidate, CandidateFile, Chosen, RepositoryConfig, Requirement},
    path::ContentPath,
};
use serde_json::Value;

use crate::{
    attribute,
    layout::{self, Place},
    name::{Label, ObjectId, RepoId},
    needs,
    options::{Options, parse_spec},
};

/// The part of a repository that a tokenizer is made of, as an extra of a requirement.
pub(crate) const TOKENIZER: &str = "tokenizer";

/// What the selection asks for; `specs` replaces the configured one when not empty.
///
/// # Errors
/// What [`Options::of`] and [`parse_spec`] give.
pub fn roots(repository: &RepositoryConfig, specs: &[String]) -> Result<Vec<Requirement>> {
    let selection = if specs.is_empty() {
        Options::of(repository)?.selection
    } else {
        specs.iter().map(|spec| parse_spec(spec)).collect::<Result<_>>()?
    };
    selection.iter().map(|(repo, label)| requirement(repo, label, None)).collect()
}

/// A requirement: an id and, as its constraint, `@` and a label.
///
/// # Errors
/// None in practice: what is an id is an artifact name.
pub fn requirement(repo: &RepoId, label: &Label, wanted_by: Option<&str>) -> Result<Requirement> {
    Ok(Requirement {
        artifact: repo.to_artifact()?,
        constraint: format!("@{label}"),
        extras: Vec::new(),
        wanted_by: wanted_by.map(str::to_owned),
    })
}

/// The label of a requirement.
///
/// # Errors
/// [`Error::Malformed`] (`ref-name`).
pub(crate) fn label(requirement: &Requirement) -> Result<Label> {
    match requirement.constraint.strip_prefix('@') {
        Some(label) => label.parse(),
        None if requirement.constraint.is_empty() => Ok(Label::default()),
        None => requirement.constraint.parse(),
    }
}

/// The files of the one commit that a requirement means: those that the patterns take, and the commit's record. Where
/// only the tokenizer is wanted, those that it may be made of.
///
/// # Errors
/// As [`roots`].
pub fn choose(
    repository: &RepositoryConfig,
    requirement: &Requirement,
    candidates: &[Candidate],
) -> Result<Vec<Chosen>> {
    let options = Options::of(repository)?;
    let repo: RepoId = requirement.artifact.as_str().parse()?;
    let alive = |candidate: &&Candidate| !candidate.status.is_refused();
    let alive: Vec<&Candidate> = candidates.iter().filter(alive).collect();
    let Some(candidate) = named(label(requirement)?.as_str(), &alive) else { return Ok(Vec::new()) };
    let commit: ObjectId = candidate.revision.as_str().parse()?;
    let is_tokenizer = requirement.extras.iter().any(|extra| extra == TOKENIZER);
    let mut paths: Vec<ContentPath> = Vec::new();
    for file in &candidate.files {
        let wanted = match layout::place(&file.path, &repo, commit)? {
            Place::Record => true,
            Place::File(path) => options.patterns.takes(path) && (!is_tokenizer || needs::is_tokenizer(path)),
        };
        if wanted {
            paths.push(file.path.clone());
        }
    }
    paths.sort_unstable();
    Ok(vec![Chosen { id: candidate.id, paths }])
}

/// The commit that a label means: the one that the ref was last seen at, or the one whose id it is or begins.
pub(crate) fn named<'c>(label: &str, candidates: &[&'c Candidate]) -> Option<&'c Candidate> {
    let label: Label = label.parse().ok()?;
    let candidates = candidates.iter().copied();
    let exact = candidates.clone().find(|candidate| candidate.revision.as_str() == label.as_str());
    let by_ref = || {
        label.refs().into_iter().find_map(|name| {
            let seen = candidates.clone().filter_map(|candidate| {
                let seen = candidate.files.iter().find_map(|file| refs(file).get(&name).copied())?;
                Some((seen, candidate))
            });
            seen.max_by_key(|(seen, candidate)| (*seen, candidate.id)).map(|(_, candidate)| candidate)
        })
    };
    let abbreviated = || {
        let mut fitting =
            candidates.clone().filter(|candidate| label.abbreviates(candidate.revision.as_str()));
        fitting.next().filter(|_| fitting.next().is_none())
    };
    exact.or_else(by_ref).or_else(abbreviated)
}

fn refs(file: &CandidateFile) -> BTreeMap<String, i64> {
    refs_of(&file.attributes)
}

/// The refs that a commit's record says point to it, each with when that was seen.
pub(crate) fn refs_of(attributes: &BTreeMap<String, Value>) -> BTreeMap<String, i64> {
    let Some(Value::Object(refs)) = attributes.get(attribute::REFS) else { return BTreeMap::new() };
    refs.iter().filter_map(|(name, seen)| Some((name.clone(), seen.as_i64()?))).collect()
}

/// As the command line writes a revision: no id has an `@` in it, names of branches may.
pub(crate) fn split_spec(spec: &str) -> Result<(&str, Option<&str>)> {
    match spec.split_once('@') {
        Some((id, label)) if !id.is_empty() && !label.is_empty() => Ok((id, Some(label))),
        None if !spec.is_empty() => Ok((spec, None)),
        _ => Err(Error::invalid("artifact", format!("`{spec}` is not ORG/NAME or ORG/NAME@REVISION"))),
    }
}
