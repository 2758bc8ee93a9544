//! What one target could install of the projects that are known: of each version the file that it likes best.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use reservoir_core::{
    Error, Result,
    ecosystem::{Inspection, RepositoryConfig, Requirement},
    lifecycle::RevisionId,
    path::ContentPath,
};
use serde_json::Value;

use crate::{
    attribute,
    filename::{BuildTag, DistFilename},
    name::ProjectName,
    options::{Options, Sdists},
    package::NEEDS_BUILD,
    requirement::{Constraint, PyRequirement, parse_specifiers},
    select::is_set,
    tags::Tags,
    target::Target,
    version::Version,
};

/// Most releases of all projects together.
const RELEASES: usize = 4 << 20;
/// Versions of a project of which it is remembered why the target cannot install them.
const UNFIT: usize = 50;

/// The releases that a target could install.
#[derive(Debug)]
pub(super) struct World {
    pub(super) target: Target,
    tags: Tags,
    pub(super) options: Options,
    /// What the selection asks for on this target.
    pub(super) roots: Vec<Arc<PyRequirement>>,
    pub(super) releases: Vec<Release>,
    pub(super) projects: HashMap<ProjectName, Project>,
}

/// A project.
#[derive(Debug, Default)]
pub(super) struct Project {
    /// Its releases, by their numbers.
    pub(super) releases: BTreeMap<Version, u32>,
    /// Versions that the target cannot install, and why.
    pub(super) unfit: BTreeMap<Version, String>,
}

/// A version that the target could install.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) project: ProjectName,
    pub(super) version: Version,
    pub(super) file: ContentPath,
    /// Where the registry keeps attestations of the file.
    pub(super) companion: Option<ContentPath>,
    pub(super) revision: Option<RevisionId>,
    pub(super) needs: Needs,
    /// What it is built with, where it is source and clients build.
    pub(super) built_with: Arc<[Arc<PyRequirement>]>,
    liking: Liking,
}

/// Least is best: what is not yanked, wheels, the tag, the highest build, the name.
type Liking = (bool, bool, usize, Reverse<Option<BuildTag>>, String);

/// What a release needs.
#[derive(Debug, Clone)]
pub(super) enum Needs {
    /// Its file was not read yet.
    Unread,
    /// These lines.
    Lines(Arc<[Arc<PyRequirement>]>),
    /// It cannot be installed, whatever is there.
    Never {
        /// What is needed in words.
        what: String,
        /// Why that is not to be had.
        because: String,
    },
}

/// A file that may be the one that a target installs.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) name: DistFilename,
    pub(super) path: &'a ContentPath,
    pub(super) attributes: &'a BTreeMap<String, Value>,
    /// What it says of itself, if it was read.
    pub(super) facts: &'a BTreeMap<String, Value>,
    pub(super) needs: Needs,
}

impl World {
    /// A target without any release yet.
    pub(super) fn new(repository: &RepositoryConfig, target: &str, roots: &[Requirement]) -> Result<Self> {
        let options = Options::of(repository)?;
        let found = options.targets.iter().find(|known| known.to_string() == target).cloned();
        let target = found.ok_or_else(|| Error::not_found("target", target))?;
        let roots = roots.iter().map(PyRequirement::of_root).collect::<Result<Vec<_>>>()?;
        let here = |root: &PyRequirement| root.may_apply(std::slice::from_ref(&target), &[]);
        let roots = roots.into_iter().filter(here).map(Arc::new).collect();
        let tags = Tags::of(&target);
        Ok(Self { target, tags, options, roots, releases: Vec::new(), projects: HashMap::new() })
    }

    /// Takes a file: the number of its release, and whether it is the one of its files that is liked best so far.
    /// `None` when the target cannot install it.
    pub(super) fn put(&mut self, file: File<'_>) -> Result<Option<(u32, bool)>> {
        let (project, version) = (file.name.name().clone(), file.name.version().clone());
        let known = self.projects.entry(project.clone()).or_default();
        let liking = match liking(&file, &self.target, &self.tags, self.options.sdists) {
            Ok(liking) => liking,
            Err(reason) => {
                if known.unfit.len() < UNFIT {
                    known.unfit.entry(version).or_insert(reason);
                }
                return Ok(None);
            }
        };
        let number = match known.releases.entry(version.clone()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let number = self.releases.len();
                if number == RELEASES {
                    let what = "the releases of all projects".to_owned();
                    return Err(Error::LimitExceeded { what, limit: format!("{RELEASES}") });
                }
                let file = file.path.clone();
                let (companion, revision, needs) = (None, None, Needs::Unread);
                let worst = (true, true, usize::MAX, Reverse(None), String::new());
                self.releases.push(Release {
                    project,
                    version,
                    file,
                    companion,
                    revision,
                    needs,
                    built_with: Arc::default(),
                    liking: worst,
                });
                *entry.insert(number as u32)
            }
        };
        let better = liking < self.releases[number as usize].liking;
        let built_with = if better { self.built_with(file.facts) } else { Arc::default() };
        let release = &mut self.releases[number as usize];
        if better {
            release.built_with = built_with;
            release.liking = liking;
            release.file = file.path.clone();
            release.needs = file.needs;
        }
        Ok(Some((number, better)))
    }

    /// Notes why a version is not to be had; nothing, when another file of it is.
    pub(super) fn pass_over(&mut self, project: &ProjectName, version: &Version, reason: String) {
        let known = self.projects.entry(project.clone()).or_default();
        if known.unfit.len() < UNFIT {
            known.unfit.entry(version.clone()).or_insert(reason);
        }
    }

    /// What a file needs by what it says of itself.
    pub(super) fn needs(&self, inspection: &Inspection) -> Needs {
        let built = inspection.labels.iter().any(|label| label == NEEDS_BUILD);
        let python = inspection.attributes.get(attribute::REQUIRES_PYTHON).and_then(Value::as_str);
        self.needs_of(inspection.requirements.iter().map(String::as_str), built, python)
    }

    /// The same by its facts in a manifest.
    pub(super) fn needs_of_facts(&self, facts: &BTreeMap<String, Value>) -> Needs {
        let lines = facts.get(Inspection::REQUIREMENTS).and_then(Value::as_array);
        let lines = lines.into_iter().flatten().filter_map(Value::as_str);
        let built = facts.get(attribute::DYNAMIC) == Some(&Value::Bool(true));
        self.needs_of(lines, built, None)
    }

    fn needs_of<'l>(&self, lines: impl Iterator<Item = &'l str>, built: bool, python: Option<&str>) -> Needs {
        if built && !self.options.builds {
            let because = "what it needs is known only once it is built, and nothing is built here (`builds = true` \
                           believes what it says itself)";
            let because = because.to_owned();
            return Needs::Never { what: "a wheel of it".to_owned(), because };
        }
        if let Some(python) = python.filter(|python| !python_fits(python, &self.target)) {
            let because = format!("the target has {}", self.target.python);
            return Needs::Never { what: format!("Python {python}"), because };
        }
        let mut read = Vec::new();
        for line in lines {
            match PyRequirement::parse(line) {
                Ok(line) => read.push(Arc::new(line)),
                Err(error) => {
                    return Needs::Never {
                        what: line.chars().take(200).collect(),
                        because: error.to_string(),
                    };
                }
            }
        }
        Needs::Lines(read.into())
    }

    /// What a file is built with, where clients build.
    pub(super) fn built_with(&self, facts: &BTreeMap<String, Value>) -> Arc<[Arc<PyRequirement>]> {
        if !self.options.builds {
            return Arc::default();
        }
        // A line that cannot be read is told when it is followed.
        built_with(facts).unwrap_or_default().into_iter().map(Arc::new).collect()
    }

    /// Releases that are here as source alone, and of which it was not looked at what they are built with.
    pub(super) fn built_unseen(&self) -> impl Iterator<Item = &Release> {
        let is_source = |release: &&Release| release.liking.1 && matches!(release.needs, Needs::Lines(_));
        self.releases.iter().filter(|_| !self.options.builds).filter(is_source)
    }

    /// Whether a release was yanked by its registry.
    pub(super) fn is_yanked(&self, release: u32) -> bool {
        self.releases[release as usize].liking.0
    }

    /// The releases that satisfy a requirement, those first that an installer tries first: as uv does it, the highest
    /// version, and pre-releases when nothing else will do, unless the selection itself names one.
    pub(super) fn fitting(&self, requirement: &PyRequirement, of_selection: bool) -> Vec<u32> {
        let constraint = &requirement.constraint;
        let Some(project) = self.projects.get(&requirement.name) else { return Vec::new() };
        let yanked = self.options.yanked || (of_selection && constraint.is_pin());
        let newest_first = project.releases.iter().rev();
        let fits = newest_first.filter(|(version, _)| constraint.contains(version));
        let fits = fits.filter(|(_, number)| yanked || !self.is_yanked(**number));
        let prereleases = self.options.prereleases;
        if prereleases == Some(true) || (of_selection && constraint.names_prerelease()) {
            return fits.map(|(_, number)| *number).collect();
        }
        let (early, stable): (Vec<_>, Vec<_>) = fits.partition(|(version, _)| version.is_prerelease());
        let early = early.into_iter().filter(|_| prereleases.is_none());
        stable.into_iter().chain(early).map(|(_, number)| *number).collect()
    }
}

impl PyRequirement {
    /// What the selection asks for, in the engine's form.
    pub(super) fn of_root(root: &Requirement) -> Result<Self> {
        let constraint = Constraint::parse(&root.constraint)
            .map_err(|detail| Error::malformed(format!("requirement `{root}`"), "requirement", detail))?;
        Ok(Self {
            name: ProjectName::try_from(&root.artifact)?,
            extras: root.extras.clone(),
            tail: root.constraint.clone(),
            url: None,
            constraint,
        })
    }
}

/// What a source distribution is built with.
///
/// # Errors
/// [`Error::Malformed`] (`requirement`) for a line that no repair makes readable.
pub(super) fn built_with(facts: &BTreeMap<String, Value>) -> Result<Vec<PyRequirement>> {
    let lines = facts.get(attribute::BUILD_REQUIRES).and_then(Value::as_array);
    lines.into_iter().flatten().filter_map(Value::as_str).map(PyRequirement::parse).collect()
}

/// How much a target likes a file, or why it cannot install it.
fn liking(file: &File<'_>, target: &Target, tags: &Tags, sdists: Sdists) -> Result<Liking, String> {
    let yanked = is_set(file.attributes.get(attribute::YANKED));
    let python = file.attributes.get(attribute::REQUIRES_PYTHON).and_then(Value::as_str);
    if let Some(python) = python.filter(|python| !python_fits(python, target)) {
        return Err(format!("needs Python {python}"));
    }
    match &file.name {
        DistFilename::Wheel(wheel) => {
            let list = |tags: &[String]| tags.join(".");
            let all = || format!("{}-{}-{}", list(&wheel.python), list(&wheel.abi), list(&wheel.platform));
            let rank = tags.rank(wheel).ok_or_else(|| format!("is here as a wheel for `{}`", all()))?;
            Ok((yanked, false, rank, Reverse(wheel.build.clone()), wheel.text.clone()))
        }
        DistFilename::Sdist(_) if sdists == Sdists::Never => Err("is here as source alone".to_owned()),
        DistFilename::Sdist(sdist) => Ok((yanked, true, 0, Reverse(None), sdist.text.clone())),
    }
}

/// A value that cannot be read excludes nothing, as with pip.
fn python_fits(python: &str, target: &Target) -> bool {
    parse_specifiers(python).map_or(true, |specifiers| target.python.may_satisfy(&specifiers))
}
