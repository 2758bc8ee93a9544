//! The part of a problem that a question can depend on.

use super::problem::{ClauseId, Problem};

const OUTSIDE: u32 = u32::MAX;

/// Everything that may have to be installed for some packages: what can satisfy their requirements, what can
/// satisfy the requirements of that, and so on; and what is always needed.
#[derive(Debug)]
pub(super) struct Cone<'p> {
    pub(super) problem: &'p Problem,
    /// Its packages, in the order in which they were reached.
    pub(super) members: Vec<u32>,
    places: Vec<u32>,
    /// Its packages by slot.
    by_slot: Vec<(u32, u32)>,
}

/// One thing that an installation has to obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fact {
    /// What was asked for, by its place in the question.
    Goal(usize),
    /// A requirement.
    Requires(ClauseId),
    /// Two packages that exclude each other.
    Excludes(u32, u32),
    /// A slot, which takes one package.
    Slot(u32),
}

/// Whether packages that are known to be impossible count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dead {
    /// To decide, they are as good as absent.
    Absent,
    /// To explain, one wants to know why.
    Present,
}

impl<'p> Cone<'p> {
    pub(super) fn of(problem: &'p Problem, goals: &[Vec<u32>], dead: Dead) -> Self {
        let places = vec![OUTSIDE; problem.len()];
        let mut cone = Self { problem, members: Vec::new(), places, by_slot: Vec::new() };
        let counts = |package: &u32| dead == Dead::Present || !problem.is_dead(*package);
        let always = problem.always().flat_map(|clause| problem.any_of(clause));
        goals.iter().flatten().chain(always).filter(|package| counts(package)).for_each(|p| cone.reach(*p));
        let mut next = 0;
        while let Some(package) = cone.members.get(next).copied() {
            next += 1;
            for clause in problem.requirements(package) {
                problem.any_of(clause).iter().filter(|p| counts(p)).for_each(|p| cone.reach(*p));
            }
        }
        cone.by_slot = cone.members.iter().map(|package| (problem.slot(*package), *package)).collect();
        cone.by_slot.sort_unstable();
        cone
    }

    fn reach(&mut self, package: u32) {
        let place = &mut self.places[package as usize];
        if *place == OUTSIDE {
            *place = self.members.len() as u32;
            self.members.push(package);
        }
    }

    /// Where a package is in it.
    pub(super) fn place(&self, package: u32) -> Option<u32> {
        Some(self.places[package as usize]).filter(|place| *place != OUTSIDE)
    }

    /// All that holds among its packages.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self.problem.always().map(Fact::Requires).collect();
        for package in self.members.iter().copied() {
            facts.extend(self.problem.requirements(package).map(Fact::Requires));
            let others = self.problem.enemies(package).iter().copied();
            let others = others.filter(|other| *other > package && self.place(*other).is_some());
            facts.extend(others.map(|other| Fact::Excludes(package, other)));
        }
        let slots = self.by_slot.chunk_by(|one, other| one.0 == other.0).filter(|slot| slot.len() > 1);
        facts.extend(slots.map(|slot| Fact::Slot(slot[0].0)));
        facts
    }

    /// The packages of a slot.
    pub(super) fn of_slot(&self, slot: u32) -> impl Iterator<Item = u32> {
        let first = self.by_slot.partition_point(|(other, _)| *other < slot);
        self.by_slot[first..].iter().take_while(move |(other, _)| *other == slot).map(|(_, package)| *package)
    }
}
