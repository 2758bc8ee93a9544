//! Which of a lock's files each target takes, and which of them registries offer.

use std::collections::BTreeSet;

use reservoir_core::{
    Error, Result,
    ecosystem::{Candidate, CandidateFile, Chosen, Locked, LockedFiles, RepositoryConfig},
    lifecycle::{RevisionId, Status},
    path::ContentPath,
};
use serde_json::Value;

use super::{Detail, LockedFile};
use crate::{attribute, filename::DistFilename, name::ProjectName, select, version::Version};

/// Picks the files of one package.
///
/// # Errors
/// [`Error::Invalid`] for the repository's own keys.
pub(crate) fn choose(
    repository: &RepositoryConfig,
    locked: &Locked,
    candidates: &[Candidate],
) -> Result<LockedFiles> {
    let broken = |error: serde_json::Error| Error::invalid("a locked package", error.to_string());
    let detail: Detail = serde_json::from_value(locked.detail.clone()).map_err(broken)?;
    let choice = Choice { repository, locked, detail: &detail };
    if detail.files.is_empty() { choice.by_hash(candidates) } else { choice.by_name(candidates) }
}

struct Choice<'a> {
    repository: &'a RepositoryConfig,
    locked: &'a Locked,
    detail: &'a Detail,
}

impl Choice<'_> {
    /// The lock knows its files: a target takes one of them, which a registry must offer.
    fn by_name(&self, candidates: &[Candidate]) -> Result<LockedFiles> {
        let project = ProjectName::try_from(&self.locked.requirement.artifact)?;
        let mut found = LockedFiles::default();
        let named: Vec<(&LockedFile, DistFilename)> = self
            .detail
            .files
            .iter()
            .filter_map(|file| Some((file, DistFilename::parse(&file.name, &project).ok()?)))
            .collect();
        let Some(version) = named.first().map(|(_, name)| name.version().clone()) else {
            found.missing.push(self.told("has no file that an installer takes"));
            return Ok(found);
        };
        let imagined = imagine(&version, &named);
        let wanted = self.for_targets(&[imagined], &mut found)?;
        let mut chosen: Vec<Chosen> = Vec::new();
        for (file, name) in named {
            let path = name.path();
            if !wanted.contains(&path) {
                continue;
            }
            let Some(sha256) = file.sha256 else {
                found.missing.push(self.told(&format!("the lock has no SHA-256 for `{}`", file.name)));
                continue;
            };
            let mut offered = candidates.iter().filter_map(|candidate| {
                let file = candidate.files.iter().find(|file| file.path == path)?;
                Some((candidate.id, file))
            });
            match offered.next() {
                None => {
                    found.missing.push(self.told(&format!("no registry offers `{}`", file.name)));
                    found.lacking.push(sha256);
                }
                Some((_, known)) if known.sha256.is_some_and(|known| known != sha256) => {
                    found.missing.push(
                        self.told(&format!(
                            "`{}` is offered with other bytes than the lock names",
                            file.name
                        )),
                    );
                }
                Some((id, _)) => {
                    found.digests.push((path.clone(), sha256));
                    match chosen.iter_mut().find(|chosen| chosen.id == id) {
                        Some(chosen) => chosen.paths.push(path),
                        None => chosen.push(Chosen { id, paths: vec![path] }),
                    }
                }
            }
        }
        found.chosen = chosen;
        Ok(found)
    }

    /// The lock knows digests only: its files are those that a registry offers with one of them.
    fn by_hash(&self, candidates: &[Candidate]) -> Result<LockedFiles> {
        let mut found = LockedFiles::default();
        let mut unseen: BTreeSet<_> = self.detail.hashes.iter().copied().collect();
        let mut locked: Vec<Candidate> = candidates.to_vec();
        for candidate in &mut locked {
            candidate.files.retain(|file| match file.sha256 {
                Some(sha256) if self.detail.hashes.contains(&sha256) => {
                    unseen.remove(&sha256);
                    true
                }
                _ => false,
            });
        }
        let wanted = self.for_targets(&locked, &mut found)?;
        for candidate in &locked {
            let paths = candidate.files.iter().map(|file| &file.path);
            let paths: Vec<ContentPath> = paths.filter(|path| wanted.contains(*path)).cloned().collect();
            if !paths.is_empty() {
                found.chosen.push(Chosen { id: candidate.id, paths });
            }
        }
        for hash in unseen {
            found.missing.push(self.told(&format!("no registry offers a file with `sha256:{hash}`")));
            found.lacking.push(hash);
        }
        Ok(found)
    }

    /// What the targets take among `files`; a target that nothing fits is told.
    fn for_targets(&self, files: &[Candidate], found: &mut LockedFiles) -> Result<BTreeSet<ContentPath>> {
        let mut wanted = BTreeSet::new();
        for place in &self.detail.targets {
            let (mut one, mut whom) = (self.repository.clone(), String::new());
            if let Some(Value::Array(targets)) = self.repository.options.get("targets")
                && let Some(target) = targets.get(*place)
            {
                whom = format!(" for {target}");
                one.options.insert("targets".to_owned(), Value::Array(vec![target.clone()]));
            }
            let chosen = select::choose(&one, &self.locked.requirement, files)?;
            if chosen.is_empty() {
                found.missing.push(self.told(&format!("nothing of it fits{whom}")));
            }
            wanted.extend(chosen.into_iter().flat_map(|chosen| chosen.paths));
        }
        Ok(wanted)
    }

    fn told(&self, detail: &str) -> String {
        format!("`{}` ({}): {detail}", self.locked.requirement, self.detail.lock)
    }
}

/// The files of a lock as if a registry offered them.
fn imagine(version: &Version, files: &[(&LockedFile, DistFilename)]) -> Candidate {
    let files = files.iter().map(|(file, name)| CandidateFile {
        path: name.path(),
        size: file.size,
        sha256: file.sha256,
        attributes: file
            .upload_time
            .iter()
            .map(|time| (attribute::UPLOAD_TIME.to_owned(), Value::String(time.clone())))
            .collect(),
        inspection: None,
    });
    let (id, revision, status) = (RevisionId(0), version.to_revision(), Status::Scanned);
    Candidate { id, revision, status, files: files.collect() }
}
