//! What a repository asks for, and which files satisfy it.
//!
//! For each target the versions are walked from the newest, as pip does: a version counts when the target can
//! install it, with the one wheel it likes best or, if the repository allows, an sdist. A requirement takes
//!
//! - all such versions when a person wrote it with a specifier,
//! - the newest one when it is a bare name or comes from another package,
//! - and never more than `newest`, where that is set.

use std::{cmp::Reverse, collections::BTreeSet};

use reservoir_core::{
    Error, Result,
    clock::Timestamp,
    ecosystem::{Candidate, CandidateFile, Chosen, RepositoryConfig, Requirement},
};
use serde_json::Value;

use crate::{
    attribute,
    filename::{DistFilename, WheelFilename},
    name::ProjectName,
    options::{Options, PackageSpec, Sdists},
    provenance::Documents,
    requirement::{Constraint, parse_specifiers},
    tags::Tags,
    target::Target,
    version::Version,
};

/// What the selection asks for; `specs` replaces the configured one when not empty.
/// Lines whose marker holds for no target are left out.
///
/// # Errors
/// [`Error::Invalid`] for the repository's own keys, and what [`PackageSpec::parse`] gives.
pub fn roots(repository: &RepositoryConfig, specs: &[String]) -> Result<Vec<Requirement>> {
    let options = Options::of(repository)?;
    let packages = if specs.is_empty() {
        options.packages
    } else {
        specs.iter().map(|spec| PackageSpec::parse(spec)).collect::<Result<_>>()?
    };
    let roots = packages.into_iter().filter(|spec| spec.requirement.may_apply(&options.targets, &[])).map(
        |PackageSpec { requirement, all }| {
            let whole = all || options.whole;
            let bare = requirement.tail.is_empty() && whole;
            Requirement {
                artifact: requirement.name.to_artifact(),
                constraint: if bare { Constraint::WHOLE.to_owned() } else { requirement.tail },
                extras: requirement.extras,
                wanted_by: None,
            }
        },
    );
    Ok(roots.collect())
}

/// Picks the files that satisfy a requirement among everything known of one project, newest version first.
/// Empty when nothing does.
///
/// # Errors
/// [`Error::Invalid`] for the repository's own keys, [`Error::Malformed`] for the requirement.
pub fn choose(
    repository: &RepositoryConfig,
    requirement: &Requirement,
    candidates: &[Candidate],
) -> Result<Vec<Chosen>> {
    let options = Options::of(repository)?;
    let project = ProjectName::try_from(&requirement.artifact)?;
    let constraint = Constraint::parse(&requirement.constraint)
        .map_err(|detail| Error::malformed(format!("requirement `{requirement}`"), "requirement", detail))?;
    let take_yanked = options.yanked || constraint.is_pin();
    let now = Timestamp::now().to_jiff();
    let takes = |file: &CandidateFile, name: &DistFilename| {
        (take_yanked || !is_yanked(file))
            && options.filter.refusal(name, file.size, &file.attributes, now).is_none()
    };
    let mut releases: Vec<Release<'_>> = candidates
        .iter()
        .filter(|candidate| !candidate.status.is_refused())
        .filter_map(|candidate| Release::of(candidate, &project, &takes))
        .filter(|release| constraint.contains(&release.version))
        .collect();
    releases.sort_unstable_by(|a, b| b.version.cmp(&a.version));

    let limit = match (options.newest, &requirement.wanted_by) {
        (Some(newest), _) => newest,
        (None, None) if !constraint.is_bare() => usize::MAX,
        (None, _) => 1,
    };
    let mut wanted: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); releases.len()];
    let mut walk = |pick: &dyn Fn(&Release<'_>) -> Vec<usize>| {
        let picked: Vec<Vec<usize>> = releases.iter().map(pick).collect();
        let counts = |index: &usize, pre: bool| {
            !picked[*index].is_empty() && (pre || !releases[*index].version.is_prerelease())
        };
        let mut pre = options.prereleases.unwrap_or_else(|| constraint.names_prerelease());
        if options.prereleases.is_none() && !(0..releases.len()).any(|index| counts(&index, pre)) {
            pre = true;
        }
        for index in (0..releases.len()).filter(|index| counts(index, pre)).take(limit) {
            wanted[index].extend(&picked[index]);
        }
    };
    if options.targets.is_empty() {
        walk(&|release| release.everything(options.sdists));
    }
    for target in options.targets.iter().filter(|target| constraint.may_concern(target)) {
        let tags = Tags::of(target);
        walk(&|release| release.best(target, &tags, options.sdists));
    }

    let chosen =
        releases.iter().zip(wanted).filter(|(_, files)| !files.is_empty()).map(|(release, files)| {
            let mut paths: Vec<_> = files.iter().map(|index| release.files[*index].0.path.clone()).collect();
            let companions: Vec<_> = paths.iter().filter_map(|path| release.documents.of(path)).collect();
            paths.extend(companions);
            paths.sort_unstable();
            Chosen { id: release.candidate.id, paths }
        });
    Ok(chosen.collect())
}

/// A candidate whose version and file names were understood.
struct Release<'a> {
    candidate: &'a Candidate,
    version: Version,
    files: Vec<(&'a CandidateFile, DistFilename)>,
    documents: Documents<'a>,
}

impl<'a> Release<'a> {
    fn of(
        candidate: &'a Candidate,
        project: &ProjectName,
        takes: &dyn Fn(&CandidateFile, &DistFilename) -> bool,
    ) -> Option<Self> {
        let version = candidate.revision.as_str().parse().ok()?;
        let files = candidate
            .files
            .iter()
            .filter_map(|file| Some((file, DistFilename::parse(file.path.file_name(), project).ok()?)))
            .filter(|(file, name)| takes(file, name))
            .collect();
        Some(Self { candidate, version, files, documents: Documents::among(&candidate.files) })
    }

    /// Without targets: all wheels, and sdists as the repository says.
    fn everything(&self, sdists: Sdists) -> Vec<usize> {
        let wheels = self.indexes(|name| matches!(name, DistFilename::Wheel(_)));
        let sources = || self.indexes(|name| matches!(name, DistFilename::Sdist(_)));
        with_sdists(wheels, sources, sdists)
    }

    /// For one target: the wheel it likes best, and sdists as the repository says.
    fn best(&self, target: &Target, tags: &Tags, sdists: Sdists) -> Vec<usize> {
        let fitting = |index: &usize| python_fits(self.files[*index].0, target);
        let best = self
            .files
            .iter()
            .enumerate()
            .filter_map(|(index, (_, name))| match name {
                DistFilename::Wheel(wheel) => Some((index, wheel)),
                DistFilename::Sdist(_) => None,
            })
            .filter(|(index, _)| fitting(index))
            .filter_map(|(index, wheel)| Some((preference(tags.rank(wheel)?, wheel), index)))
            .min()
            .map(|(_, index)| index);
        let sources = || {
            let mut sources = self.indexes(|name| matches!(name, DistFilename::Sdist(_)));
            sources.retain(fitting);
            sources
        };
        with_sdists(best.into_iter().collect(), sources, sdists)
    }

    fn indexes(&self, keep: impl Fn(&DistFilename) -> bool) -> Vec<usize> {
        (0..self.files.len()).filter(|index| keep(&self.files[*index].1)).collect()
    }
}

/// Least is best: the tag, then the highest build, then the name so that the choice is the same every time.
fn preference(rank: usize, wheel: &WheelFilename) -> impl Ord + use<> {
    (rank, Reverse(wheel.build.clone()), wheel.text.clone())
}

fn with_sdists(mut wheels: Vec<usize>, sources: impl Fn() -> Vec<usize>, sdists: Sdists) -> Vec<usize> {
    if sdists == Sdists::Always || (sdists == Sdists::Fallback && wheels.is_empty()) {
        wheels.extend(sources());
    }
    wheels
}

fn is_yanked(file: &CandidateFile) -> bool {
    is_set(file.attributes.get(attribute::YANKED))
}

/// Whether a fact that is `true` or a reason holds.
pub(crate) fn is_set(value: Option<&Value>) -> bool {
    !matches!(value, None | Some(Value::Null | Value::Bool(false)))
}

/// Requires-Python of the file, as the registry says or else as the file itself says. A value that cannot be
/// read excludes nothing, as with pip.
fn python_fits(file: &CandidateFile, target: &Target) -> bool {
    let claimed = file.attributes.get(attribute::REQUIRES_PYTHON);
    let own = || file.inspection.as_ref().and_then(|seen| seen.attributes.get(attribute::REQUIRES_PYTHON));
    claimed
        .or_else(own)
        .and_then(Value::as_str)
        .and_then(|text| parse_specifiers(text).ok())
        .is_none_or(|specifiers| target.python.may_satisfy(&specifiers))
}
