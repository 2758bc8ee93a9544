//! The releases of a target as the engine's universe.
//!
//! A package is a release; or a release with one of its extras, which needs the release itself; or something that the
//! selection asks for. Two versions of a project exclude each other.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use reservoir_core::depends::{Clauses, PackageId, Universe};

use super::world::{Needs, World};
use crate::{
    name::ProjectName,
    requirement::{Constraint, PyRequirement},
    version::Version,
};

/// Releases that are named where nothing satisfies a requirement.
const NAMED: usize = 4;

/// A universe of Python packages.
#[derive(Debug)]
pub(super) struct Releases {
    /// Project and version of each.
    named: Vec<(ProjectName, Version)>,
    slots: Vec<u32>,
    rest: Vec<Package>,
    /// What each package needs.
    clauses: Vec<Vec<Clause>>,
    in_question: Vec<bool>,
    notes: Vec<String>,
}

/// A package that is no release.
#[derive(Debug)]
enum Package {
    Extra { release: u32, extra: Arc<str> },
    Selected(Arc<PyRequirement>),
}

#[derive(Debug, Clone)]
struct Clause {
    any_of: Arc<[PackageId]>,
    text: Arc<str>,
    /// Where nothing satisfies it: what there is instead.
    lack: Option<Arc<str>>,
}

/// A universe that is being built.
pub(super) struct Builder<'w> {
    world: &'w World,
    rest: Vec<Package>,
    clauses: Vec<Vec<Clause>>,
    extras: HashMap<(u32, Arc<str>), u32>,
    fitting: HashMap<(ProjectName, String, bool), Arc<[PackageId]>>,
    /// Whether a project is known to the world; of what is not it is noted that it is missing.
    is_known: &'w dyn Fn(&ProjectName) -> bool,
    missing: BTreeSet<ProjectName>,
    /// Packages with extras whose requirements are to be looked at.
    queue: VecDeque<(u32, u32, Arc<str>)>,
}

/// What was built.
pub(super) struct Built {
    pub(super) universe: Releases,
    /// What stands for each root.
    pub(super) roots: Vec<PackageId>,
    /// Projects that something needs and that are not known.
    pub(super) missing: BTreeSet<ProjectName>,
}

impl<'w> Builder<'w> {
    pub(super) fn new(world: &'w World, is_known: &'w dyn Fn(&ProjectName) -> bool) -> Self {
        Self {
            world,
            rest: Vec::new(),
            clauses: Vec::new(),
            extras: HashMap::new(),
            fitting: HashMap::new(),
            is_known,
            missing: BTreeSet::new(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn build(mut self) -> Built {
        let world = self.world;
        let count = world.releases.len();
        self.clauses = vec![Vec::new(); count];
        for (number, release) in world.releases.iter().enumerate() {
            match &release.needs {
                Needs::Unread => {}
                Needs::Lines(lines) => {
                    for line in lines.iter().filter(|line| applies(world, line, &[])) {
                        let clauses = self.need(line, false);
                        self.clauses[number].extend(clauses);
                    }
                }
                Needs::Never { what, because } => self.clauses[number].push(Clause {
                    any_of: Arc::new([]),
                    text: what.as_str().into(),
                    lack: Some(because.as_str().into()),
                }),
            }
        }
        for (number, release) in world.releases.iter().enumerate() {
            let applying = release.built_with.iter().filter(|line| applies(world, line, &[]));
            for line in applying.cloned().collect::<Vec<_>>() {
                // A build has an environment of its own, in which nothing else excludes what it needs: that something
                // fits is enough. What that needs in turn is asked of it by itself.
                let lacking = self.need(&line, false).into_iter().filter(|clause| clause.any_of.is_empty());
                let lacking = lacking
                    .map(|clause| Clause { text: format!("{} to be built", clause.text).into(), ..clause });
                self.clauses[number].extend(lacking);
            }
        }
        let mut roots: Vec<PackageId> = Vec::new();
        let mut in_question = vec![world.roots.is_empty(); count];
        for root in &world.roots {
            let clauses = self.need(root, true);
            for clause in &clauses {
                for package in clause.any_of.iter() {
                    if in_question.len() <= package.index() {
                        in_question.resize(package.index() + 1, false);
                    }
                    in_question[package.index()] = true;
                }
            }
            roots.push(self.add(Package::Selected(Arc::clone(root)), clauses));
        }
        self.follow_extras();
        in_question.resize(self.clauses.len(), false);
        for root in &roots {
            in_question[root.index()] = true;
        }
        let Self { rest, clauses, missing, .. } = self;
        let releases: Vec<_> =
            world.releases.iter().map(|release| (release.project.clone(), release.version.clone())).collect();
        let mut projects: HashMap<&ProjectName, u32> = HashMap::new();
        let mut slots: Vec<u32> = Vec::with_capacity(clauses.len());
        for (project, _) in &releases {
            let next = projects.len() as u32;
            slots.push(*projects.entry(project).or_insert(next));
        }
        slots.extend((0..rest.len() as u32).map(|index| projects.len() as u32 + index));
        let notes = notes(world);
        let universe = Releases { named: releases, slots, rest, clauses, in_question, notes };
        Built { universe, roots, missing }
    }

    fn add(&mut self, package: Package, clauses: Vec<Clause>) -> PackageId {
        let id = PackageId(self.clauses.len() as u32);
        self.rest.push(package);
        self.clauses.push(clauses);
        id
    }

    /// A requirement: of the project, and of each extra.
    fn need(&mut self, line: &PyRequirement, of_selection: bool) -> Vec<Clause> {
        let text: Arc<str> = written(line).into();
        if let Err(error) = line.refuse_url("this package") {
            return vec![Clause { any_of: Arc::new([]), text, lack: Some(error.to_string().into()) }];
        }
        let fitting = self.fitting(line, of_selection);
        let lack = fitting.is_empty().then(|| lack(self.world, line, of_selection).into());
        let mut clauses = vec![Clause { any_of: Arc::clone(&fitting), text: Arc::clone(&text), lack }];
        for extra in &line.extras {
            let extra: Arc<str> = extra.as_str().into();
            let with: Vec<_> = fitting.iter().map(|release| self.with_extra(release.0, &extra)).collect();
            if !with.is_empty() {
                clauses.push(Clause { any_of: with.into(), text: Arc::clone(&text), lack: None });
            }
        }
        clauses
    }

    fn fitting(&mut self, line: &PyRequirement, of_selection: bool) -> Arc<[PackageId]> {
        if !(self.is_known)(&line.name) {
            self.missing.insert(line.name.clone());
        }
        let key = (line.name.clone(), line.tail.clone(), of_selection);
        let world = self.world;
        let find = || world.fitting(line, of_selection).into_iter().map(PackageId).collect();
        Arc::clone(self.fitting.entry(key).or_insert_with(find))
    }

    fn with_extra(&mut self, release: u32, extra: &Arc<str>) -> PackageId {
        if let Some(known) = self.extras.get(&(release, Arc::clone(extra))) {
            return PackageId(*known);
        }
        let of = &self.world.releases[release as usize];
        let text = format!("{}=={}", of.project, of.version).into();
        let itself = Clause { any_of: Arc::new([PackageId(release)]), text, lack: None };
        let id = self.add(Package::Extra { release, extra: Arc::clone(extra) }, vec![itself]);
        self.extras.insert((release, Arc::clone(extra)), id.0);
        self.queue.push_back((id.0, release, Arc::clone(extra)));
        id
    }

    /// What releases need with extras and not without. An extra that a release does not define needs nothing, as
    /// with pip and uv.
    fn follow_extras(&mut self) {
        let world = self.world;
        while let Some((id, release, extra)) = self.queue.pop_front() {
            let Needs::Lines(lines) = &world.releases[release as usize].needs else { continue };
            let with = [extra.to_string()];
            for line in lines.iter().filter(|line| applies(world, line, &with) && !applies(world, line, &[]))
            {
                let clauses = self.need(line, false);
                self.clauses[id as usize].extend(clauses);
            }
        }
    }
}

fn applies(world: &World, line: &PyRequirement, extras: &[String]) -> bool {
    line.may_apply(std::slice::from_ref(&world.target), extras)
}

/// A requirement as it was written, nearly.
fn written(line: &PyRequirement) -> String {
    let extras = if line.extras.is_empty() { String::new() } else { format!("[{}]", line.extras.join(",")) };
    format!("{}{extras}{}", line.name, line.tail.trim_end())
}

/// What there is of a project of which nothing satisfies a requirement.
fn lack(world: &World, line: &PyRequirement, of_selection: bool) -> String {
    let Some(project) = world.projects.get(&line.name) else { return format!("`{}` is not here", line.name) };
    let fits = |version: &Version| line.constraint.contains(version);
    let mut words = Vec::new();
    for (version, number) in project.releases.iter().rev().filter(|(version, _)| fits(version)) {
        let why = if world.is_yanked(*number) {
            let pinned = if of_selection { "" } else { " by the selection" };
            format!("{version} is yanked, and not pinned{pinned}")
        } else {
            format!("{version} is a pre-release")
        };
        words.push(why);
    }
    let unfit = project.unfit.iter().rev().filter(|(version, _)| fits(version));
    let unfit = unfit.filter(|(version, _)| !project.releases.contains_key(*version));
    words.extend(unfit.map(|(version, reason)| format!("{version} {reason}")));
    if words.is_empty() {
        let here: Vec<String> = project.releases.keys().rev().map(ToString::to_string).collect();
        let here = if here.is_empty() {
            project.unfit.keys().rev().map(ToString::to_string).collect()
        } else {
            here
        };
        return format!("here is {}", few(&here, " and "));
    }
    few(&words, ", ")
}

/// What is true of the whole, and no reason against any package.
fn notes(world: &World) -> Vec<String> {
    let unseen = world.built_unseen().map(|release| format!("{} {}", release.project, release.version));
    let unseen: Vec<String> = unseen.collect();
    if unseen.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "here as source alone, which clients build: {}; what that takes was not looked at, `builds = true` brings it \
         along and looks",
        few(&unseen, ", ")
    )]
}

fn few(words: &[String], between: &str) -> String {
    let named = words.iter().take(NAMED).cloned().collect::<Vec<_>>().join(between);
    match words.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

impl Releases {
    fn clause(&self, package: Option<PackageId>, index: usize) -> Option<&Clause> {
        self.clauses.get(package?.index())?.get(index)
    }
}

impl Universe for Releases {
    fn len(&self) -> usize {
        self.clauses.len()
    }

    fn label(&self, package: PackageId) -> String {
        let release = |release: usize, extra: &str| {
            let (project, version) = &self.named[release];
            format!("{project}{extra} {version}")
        };
        match package.index().checked_sub(self.named.len()) {
            None => release(package.index(), ""),
            Some(index) => match &self.rest[index] {
                Package::Extra { release: of, extra } => release(*of as usize, &format!("[{extra}]")),
                Package::Selected(root) if root.tail == Constraint::WHOLE => {
                    format!("the selected {}", root.name)
                }
                Package::Selected(root) => format!("the selected {}", written(root)),
            },
        }
    }

    fn slot(&self, package: PackageId) -> u32 {
        self.slots[package.index()]
    }

    fn requirements(&self, package: PackageId, out: &mut Clauses) {
        for clause in &self.clauses[package.index()] {
            out.push(clause.any_of.iter().copied());
        }
    }

    fn conflicts(&self, _package: PackageId, _out: &mut Vec<PackageId>) {}

    fn in_question(&self, package: PackageId) -> bool {
        self.in_question[package.index()]
    }

    fn requirement_text(&self, package: Option<PackageId>, index: usize) -> String {
        self.clause(package, index).map_or_else(String::new, |clause| clause.text.to_string())
    }

    fn lack_text(&self, package: Option<PackageId>, index: usize) -> Option<String> {
        self.clause(package, index)?.lack.as_deref().map(str::to_owned)
    }

    fn conflict_text(&self, _package: PackageId, _other: PackageId) -> String {
        String::new()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
