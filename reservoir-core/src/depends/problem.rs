//! A universe as numbers, packed.

use super::{
    PackageId, Universe,
    universe::{Clauses, bounded},
};
use crate::error::{Error, Result};

/// A requirement: its place among all.
pub(super) type ClauseId = usize;

/// Requirements and conflicts of a universe in a few flat arrays, and what follows from requirements that
/// nothing can satisfy.
#[derive(Debug)]
pub(super) struct Problem {
    /// Where the clauses of each package begin; those that always hold come last.
    first_clause: Vec<u32>,
    clauses: Clauses,
    first_enemy: Vec<u32>,
    enemies: Vec<u32>,
    slots: Vec<u32>,
    /// How many slots there are.
    slot_count: usize,
    /// Packages that cannot be installed, as far as is known.
    dead: Vec<bool>,
    /// Of each clause, how many of its alternatives are not dead.
    alive: Vec<u32>,
    /// The clauses that each package is an alternative of.
    first_use: Vec<u32>,
    uses: Vec<u32>,
    /// Whether nothing can be installed at all.
    hopeless: bool,
}

impl Problem {
    pub(super) fn of(universe: &dyn Universe) -> Result<Self> {
        let count = universe.len();
        if count >= u32::MAX as usize / 4 {
            return Err(Error::LimitExceeded { what: "packages".into(), limit: (u32::MAX / 4).to_string() });
        }
        let mut clauses = Clauses::default();
        let mut first_clause = Vec::with_capacity(count + 2);
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let mut conflicts = Vec::new();
        for package in (0..count as u32).map(PackageId) {
            first_clause.push(clauses.ends.len() as u32);
            universe.requirements(package, &mut clauses);
            clauses.bounded()?;
            universe.conflicts(package, &mut conflicts);
            for other in conflicts.drain(..).filter(|other| *other != package) {
                pairs.push((package.0, other.0));
                pairs.push((other.0, package.0));
            }
            bounded("conflicts between packages", pairs.len())?;
        }
        first_clause.push(clauses.ends.len() as u32);
        universe.always(&mut clauses);
        clauses.bounded()?;
        first_clause.push(clauses.ends.len() as u32);

        pairs.sort_unstable();
        pairs.dedup();
        let first_enemy = starts(count, pairs.iter().map(|(package, _)| *package));
        let enemies = pairs.into_iter().map(|(_, other)| other).collect();
        let (slots, slot_count) = slots(universe);
        let (first_use, uses) = uses(count, &clauses);
        let alive = (0..clauses.ends.len()).map(|clause| clauses.any_of(clause).len() as u32).collect();
        let mut problem = Self {
            first_clause,
            clauses,
            first_enemy,
            enemies,
            slots,
            slot_count,
            dead: vec![false; count],
            alive,
            first_use,
            uses,
            hopeless: false,
        };
        problem.bury_hopeless();
        Ok(problem)
    }

    pub(super) fn len(&self) -> usize {
        self.dead.len()
    }

    pub(super) fn slot(&self, package: u32) -> u32 {
        self.slots[package as usize]
    }

    pub(super) fn slot_count(&self) -> usize {
        self.slot_count
    }

    /// The requirements of a package.
    pub(super) fn requirements(&self, package: u32) -> std::ops::Range<ClauseId> {
        self.first_clause[package as usize] as usize..self.first_clause[package as usize + 1] as usize
    }

    /// The requirements of every installation.
    pub(super) fn always(&self) -> std::ops::Range<ClauseId> {
        let count = self.len();
        self.first_clause[count] as usize..self.first_clause[count + 1] as usize
    }

    /// Whose requirement it is, and which of its requirements.
    pub(super) fn owner(&self, clause: ClauseId) -> (Option<u32>, usize) {
        let next = self.first_clause.partition_point(|first| *first as usize <= clause);
        let package = next - 1;
        let index = clause - self.first_clause[package] as usize;
        ((package < self.len()).then_some(package as u32), index)
    }

    /// What satisfies a requirement, the preferred first; dead packages too.
    pub(super) fn any_of(&self, clause: ClauseId) -> &[u32] {
        self.clauses.any_of(clause)
    }

    /// Whom a package excludes, and who excludes it, its own slot apart; in order.
    pub(super) fn enemies(&self, package: u32) -> &[u32] {
        let package = package as usize;
        &self.enemies[self.first_enemy[package] as usize..self.first_enemy[package + 1] as usize]
    }

    pub(super) fn is_dead(&self, package: u32) -> bool {
        self.dead[package as usize]
    }

    /// Whether not even the empty selection can be installed.
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// A requirement of a dead package that no living package satisfies, if that is why it is dead.
    pub(super) fn dead_requirement(&self, package: u32) -> Option<ClauseId> {
        self.requirements(package).find(|clause| self.alive[*clause] == 0)
    }

    /// Notes that a package cannot be installed, and what follows from that for those that need it.
    pub(super) fn bury(&mut self, package: u32) {
        let mut work = vec![package];
        while let Some(package) = work.pop() {
            if std::mem::replace(&mut self.dead[package as usize], true) {
                continue;
            }
            let (from, to) = (self.first_use[package as usize], self.first_use[package as usize + 1]);
            for index in from as usize..to as usize {
                let clause = self.uses[index] as usize;
                self.alive[clause] -= 1;
                if self.alive[clause] == 0 {
                    match self.owner(clause).0 {
                        Some(owner) => work.push(owner),
                        None => self.hopeless = true,
                    }
                }
            }
        }
    }

    fn bury_hopeless(&mut self) {
        for clause in 0..self.alive.len() {
            if self.any_of(clause).is_empty() {
                match self.owner(clause).0 {
                    Some(owner) => self.bury(owner),
                    None => self.hopeless = true,
                }
            }
        }
    }

    /// Bytes that the arrays take.
    pub(super) fn bytes(&self) -> usize {
        let words = self.first_clause.capacity()
            + self.clauses.ends.capacity()
            + self.clauses.any_of.capacity()
            + self.first_enemy.capacity()
            + self.enemies.capacity()
            + self.slots.capacity()
            + self.alive.capacity()
            + self.first_use.capacity()
            + self.uses.capacity();
        words * size_of::<u32>() + self.dead.capacity()
    }
}

impl Clauses {
    pub(super) fn any_of(&self, clause: ClauseId) -> &[u32] {
        let start = if clause == 0 { 0 } else { self.ends[clause - 1] };
        &self.any_of[start as usize..self.ends[clause] as usize]
    }
}

/// Slots numbered from zero, so that they can be indexes.
fn slots(universe: &dyn Universe) -> (Vec<u32>, usize) {
    let given: Vec<u32> = (0..universe.len() as u32).map(|id| universe.slot(PackageId(id))).collect();
    let mut known = given.clone();
    known.sort_unstable();
    known.dedup();
    let place = |slot: &u32| known.binary_search(slot).map_or(0, |place| place as u32);
    (given.iter().map(place).collect(), known.len())
}

/// Of sorted owners, where the entries of each begin.
fn starts(count: usize, owners: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut starts = vec![0; count + 1];
    owners.for_each(|owner| starts[owner as usize + 1] += 1);
    for owner in 0..count {
        starts[owner + 1] += starts[owner];
    }
    starts
}

fn uses(count: usize, clauses: &Clauses) -> (Vec<u32>, Vec<u32>) {
    let starts = starts(count, clauses.any_of.iter().copied());
    let mut next = starts.clone();
    let mut uses = vec![0; clauses.any_of.len()];
    for clause in 0..clauses.ends.len() {
        for alternative in clauses.any_of(clause) {
            let place = &mut next[*alternative as usize];
            uses[*place as usize] = clause as u32;
            *place += 1;
        }
    }
    (starts, uses)
}
