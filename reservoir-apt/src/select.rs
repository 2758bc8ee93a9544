//! What a repository asks for, and which files satisfy it.
//!
//! Versions are walked from the newest, for each architecture (its own packages and those of `all`):
//!
//! - a package that is listed by name alone, in each suite: the newest version;
//! - one listed with a version, and everything where nothing is listed: all versions that fit;
//! - what another package asks for: the newest version that fits;
//! - never more than `newest`, where that is set.
//!
//! `sections` and `priorities` bind what the selection asks for, not what its packages need.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use reservoir_core::{
    Error, Result,
    ecosystem::{Candidate, CandidateFile, Chosen, DiscoveredFile, RepositoryConfig, Requirement},
    lifecycle::{RevisionId, Status},
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};
use serde::{Deserialize, Deserializer, de};

use crate::{
    attribute,
    control::Stanza,
    name::{Kind, PackageName, Suite, Version, last_part, split_revision},
    options::Options,
};

/// One line of `packages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSpec {
    /// The package.
    pub name: PackageName,
    /// Which versions of it.
    pub constraint: Constraint,
}

/// Which versions fit: all of several relations, as `(>= 1.6)` writes one. Empty fits every version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraint(pub Vec<(Relation, Version)>);

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Relation {
    /// As control files write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }

    /// Whether `version` stands so to `bound`.
    #[must_use]
    pub fn holds(self, version: &Version, bound: &Version) -> bool {
        match self {
            Self::Earlier => version < bound,
            Self::EarlierOrEqual => version <= bound,
            Self::Equal => version == bound,
            Self::LaterOrEqual => version >= bound,
            Self::Later => version > bound,
        }
    }
}

impl Constraint {
    /// Whether a version fits.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().all(|(relation, bound)| relation.holds(version, bound))
    }

    /// Whether every version fits.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Constraint {
    type Err = Error;

    /// Reads `(>= 1.6)`, several of them, or one without parentheses (`=1.6-2.1`, `>= 1.6`). `<` and `>`, which
    /// once meant `<=` and `>=`, are refused.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |detail: &str| Err(Error::invalid("version constraint", format!("`{text}` {detail}")));
        let mut relations = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let inner = if let Some(open) = rest.strip_prefix('(') {
                let Some((inner, after)) = open.split_once(')') else {
                    return refuse("has no closing parenthesis");
                };
                rest = after.trim_start().trim_start_matches(',').trim_start();
                inner.trim()
            } else {
                std::mem::take(&mut rest)
            };
            let end = inner.find(|c: char| !matches!(c, '<' | '=' | '>')).unwrap_or(inner.len());
            let relation = match &inner[..end] {
                "<<" => Relation::Earlier,
                "<=" => Relation::EarlierOrEqual,
                "=" | "==" => Relation::Equal,
                ">=" => Relation::LaterOrEqual,
                ">>" => Relation::Later,
                _ => return refuse("needs one of `<<`, `<=`, `=`, `>=`, `>>`, as in `(>= 1.6)`"),
            };
            relations.push((relation, inner[end..].trim().parse()?));
        }
        Ok(Self(relations))
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (relation, version)) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}({} {version})", relation.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for PackageSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let end = text.find(|c: char| matches!(c, '(' | '=' | '<' | '>') || c.is_whitespace());
        let (name, constraint) = text.split_at(end.unwrap_or(text.len()));
        Ok(Self { name: name.parse()?, constraint: constraint.parse()? })
    }
}

impl<'de> Deserialize<'de> for PackageSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What the selection asks for; `specs` replaces the packages configured when not empty. The suites themselves are
/// always asked for.
///
/// # Errors
/// [`Error::Invalid`] for the repository's own keys or a spec.
pub fn roots(repository: &RepositoryConfig, specs: &[String]) -> Result<Vec<Requirement>> {
    let options = Options::of(repository)?;
    let packages = if specs.is_empty() {
        options.packages
    } else {
        Some(specs.iter().map(|spec| spec.parse()).collect::<Result<Vec<PackageSpec>>>()?)
    };
    let requirement =
        |artifact, constraint| Requirement { artifact, constraint, extras: Vec::new(), wanted_by: None };
    let mut roots: Vec<Requirement> =
        options.suites.iter().map(|suite| requirement(suite.to_artifact(), String::new())).collect();
    match packages {
        None => roots.push(requirement(Requirement::everything(), String::new())),
        Some(packages) => {
            for PackageSpec { name, constraint } in packages {
                roots.push(requirement(name.as_str().parse()?, constraint.to_string()));
            }
        }
    }
    Ok(roots)
}

/// Picks the files that satisfy a requirement among everything known of one artifact.
///
/// # Errors
/// [`Error::Invalid`] for the repository's own keys or the requirement's constraint.
pub fn choose(
    repository: &RepositoryConfig,
    requirement: &Requirement,
    candidates: &[Candidate],
) -> Result<Vec<Chosen>> {
    let options = Options::of(repository)?;
    match Kind::of(&requirement.artifact) {
        Some(Kind::Suite(suite)) => {
            Ok(if options.suites.contains(&suite) { newest_suite(candidates) } else { Vec::new() })
        }
        Some(Kind::Binary(_)) => packages(&options, requirement, candidates, attribute::STANZAS),
        Some(Kind::Source(_)) if options.sources => {
            packages(&options, requirement, candidates, attribute::SOURCES)
        }
        Some(Kind::Source(_) | Kind::Lists(_)) | None => Ok(Vec::new()),
    }
}

/// Of each registry the newest state of the suite, whole.
fn newest_suite(candidates: &[Candidate]) -> Vec<Chosen> {
    let mut newest: BTreeMap<&str, (&Candidate, Vec<ContentPath>)> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| is_eligible(candidate)) {
        for file in &candidate.files {
            // upstream/<registry>/…
            let Some(registry) = file.path.as_str().split('/').nth(1) else { continue };
            let best = newest.entry(registry).or_insert((candidate, Vec::new()));
            // Dates are written so that text sorts as time.
            if candidate.revision > best.0.revision {
                *best = (candidate, Vec::new());
            }
            if candidate.id == best.0.id {
                best.1.push(file.path.clone());
            }
        }
    }
    let mut chosen: Vec<Chosen> = Vec::new();
    for (candidate, mut paths) in newest.into_values() {
        match chosen.iter_mut().find(|known| known.id == candidate.id) {
            Some(known) => known.paths.append(&mut paths),
            None => chosen.push(Chosen { id: candidate.id, paths }),
        }
    }
    chosen
}

/// The states of a suite that are here although each registry which had them has a newer one here.
pub(crate) fn superseded(known: &[Candidate]) -> Vec<RevisionId> {
    let here = |candidate: &Candidate| {
        let files = candidate.files.iter().filter(|file| file.inspection.is_some());
        files
            .filter_map(|file| file.path.as_str().split('/').nth(1).map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };
    let available = || known.iter().filter(|candidate| candidate.status == Status::Available);
    // Of each registry the newest that is whole: what is offered of it is here.
    let mut newest: BTreeMap<String, &Candidate> = BTreeMap::new();
    for candidate in available() {
        let missing = |file: &CandidateFile| {
            file.inspection.is_none() && !file.attributes.contains_key(DiscoveredFile::GONE)
        };
        if candidate.files.iter().any(missing) {
            continue;
        }
        for registry in here(candidate) {
            let best = newest.entry(registry).or_insert(candidate);
            if candidate.revision > best.revision {
                *best = candidate;
            }
        }
    }
    let is_over = |candidate: &&Candidate| {
        let registries = here(candidate);
        let newer = |registry| newest.get(registry).is_some_and(|best| best.revision > candidate.revision);
        !registries.is_empty() && registries.iter().all(newer)
    };
    available().filter(is_over).map(|candidate| candidate.id).collect()
}

fn is_eligible(candidate: &Candidate) -> bool {
    !candidate.status.is_refused()
}

/// A candidate that was understood.
struct Release<'a> {
    candidate: &'a Candidate,
    version: Version,
    architecture: &'a str,
    /// The keys of the suites and components that list it.
    listed: Vec<&'a str>,
}

fn packages(
    options: &Options,
    requirement: &Requirement,
    candidates: &[Candidate],
    key: &'static str,
) -> Result<Vec<Chosen>> {
    let constraint: Constraint = requirement.constraint.parse()?;
    let is_root = requirement.wanted_by.is_none();
    let mut releases: Vec<Release<'_>> = candidates
        .iter()
        .filter(|candidate| is_eligible(candidate))
        .filter_map(|candidate| release(options, candidate, key, is_root))
        .filter(|release| constraint.contains(&release.version))
        .collect();
    releases.sort_by(|a, b| b.version.cmp(&a.version));

    let limit = match (options.newest, is_root) {
        (Some(newest), _) => newest,
        (None, true) if options.packages.is_none() || !constraint.is_any() => usize::MAX,
        (None, _) => 1,
    };
    let architectures: Vec<&str> = if key == attribute::SOURCES {
        vec!["source"]
    } else {
        options.architectures.iter().map(crate::name::Architecture::as_str).collect()
    };
    // What a person lists is wanted in each suite; what a package needs, once.
    let places: BTreeSet<Option<&str>> = if is_root {
        releases.iter().flat_map(|release| &release.listed).map(|key| Some(suite_of(key))).collect()
    } else {
        BTreeSet::from([None])
    };
    let mut wanted = BTreeSet::new();
    for architecture in architectures {
        for place in &places {
            let fits = |release: &&Release<'_>| {
                (release.architecture == architecture || release.architecture == "all")
                    && place.is_none_or(|place| release.listed.iter().any(|key| suite_of(key) == place))
            };
            wanted.extend(releases.iter().filter(fits).take(limit).map(|release| release.candidate.id));
        }
    }
    let mut chosen: Vec<Chosen> = releases
        .iter()
        .filter(|release| wanted.contains(&release.candidate.id))
        .map(|release| whole(release.candidate))
        .collect();
    if key == attribute::SOURCES {
        let taken = releases.iter().filter(|release| wanted.contains(&release.candidate.id));
        let upstream: BTreeSet<&str> = taken.map(|release| upstream_of(release.version.as_str())).collect();
        let shared = candidates.iter().filter(|candidate| is_eligible(candidate)).filter(|candidate| {
            candidate
                .revision
                .as_str()
                .strip_suffix(":orig")
                .is_some_and(|version| upstream.contains(version))
        });
        chosen.extend(shared.map(whole));
    }
    Ok(chosen)
}

/// The source that a binary package was built from, as its stanza says: `Source: glibc (2.36-9)`, or its own name and
/// version where it says nothing.
#[must_use]
pub fn source_of(
    artifact: &ArtifactName,
    revision: &RevisionName,
    attributes: &BTreeMap<String, serde_json::Value>,
) -> Option<Requirement> {
    let Some(Kind::Binary(name)) = Kind::of(artifact) else { return None };
    let (version, _) = split_revision(revision)?;
    let stanzas = attributes.get(attribute::STANZAS)?.as_object()?;
    let text = stanzas.values().find_map(serde_json::Value::as_str)?;
    let stanza = Stanza::parse(text.as_bytes()).ok()?;
    let source = stanza.get("Source").unwrap_or_default();
    let (source, built) = source.split_once('(').unwrap_or((source, ""));
    let source = if source.trim().is_empty() { name.as_str() } else { source.trim() };
    let built = built.trim_end_matches(')').trim();
    let version = if built.is_empty() { version.as_str() } else { built };
    Some(Requirement {
        artifact: format!("src:{}", source.parse::<PackageName>().ok()?).parse().ok()?,
        constraint: format!("(= {})", version.parse::<Version>().ok()?),
        extras: Vec::new(),
        wanted_by: Some(name.to_string()),
    })
}

fn whole(candidate: &Candidate) -> Chosen {
    Chosen { id: candidate.id, paths: candidate.files.iter().map(|file| file.path.clone()).collect() }
}

/// `1.0` of `1:1.0-2`: what the files that upstream released are called by.
fn upstream_of(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

/// `bookworm` of `bookworm/main`; a flat repository's key is its own suite.
fn suite_of(key: &str) -> &str {
    if key.ends_with('/') { key } else { key.rsplit_once('/').map_or(key, |(suite, _)| suite) }
}

fn release<'a>(
    options: &Options,
    candidate: &'a Candidate,
    key: &'static str,
    is_root: bool,
) -> Option<Release<'a>> {
    let (version, architecture) = split_revision(&candidate.revision)?;
    if architecture != "source" && !options.wants_architecture(architecture) {
        return None;
    }
    let stanzas: Vec<(&str, &str)> = candidate.files.iter().flat_map(|file| listed(file, key)).collect();
    let filtered = is_root && !(options.sections.is_empty() && options.priorities.is_empty());
    let listed: Vec<&str> = stanzas
        .into_iter()
        .filter(|(place, _)| is_selected(options, place))
        .filter(|(_, stanza)| !filtered || fits_filters(options, stanza))
        .map(|(place, _)| place)
        .collect();
    (!listed.is_empty()).then_some(Release { candidate, version, architecture, listed })
}

fn listed<'a>(file: &'a CandidateFile, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let stanzas = file.attributes.get(key).and_then(serde_json::Value::as_object);
    stanzas.into_iter().flatten().filter_map(|(place, stanza)| Some((place.as_str(), stanza.as_str()?)))
}

/// Whether `suite/component` is among the suites and components.
fn is_selected(options: &Options, place: &str) -> bool {
    let suite_matches = |suite: &Suite| {
        if suite.is_flat() {
            return suite.to_string() == place;
        }
        let component = place.strip_prefix(suite.name()).and_then(|rest| rest.strip_prefix('/'));
        component.is_some_and(|component| options.wants_component(component))
    };
    options.suites.iter().any(suite_matches)
}

fn fits_filters(options: &Options, stanza: &str) -> bool {
    let Ok(stanza) = Stanza::parse(stanza.as_bytes()) else { return false };
    let section = stanza.get("Section").unwrap_or_default();
    let priority = stanza.get("Priority").unwrap_or_default();
    let fits = |wanted: &[String], values: &[&str]| {
        wanted.is_empty() || wanted.iter().any(|wanted| values.contains(&wanted.as_str()))
    };
    fits(&options.sections, &[section, last_part(section)]) && fits(&options.priorities, &[priority])
}
