//! Questions that need looking back, put to a SAT solver.

use batsat::{Callbacks, Lit, Solver, SolverInterface as _, SolverOpts, Var, lbool};

use super::cone::{Cone, Fact};
use crate::error::{Error, Result};

/// Packages of a slot up to which each pair is written down; more are chained.
const PAIRS: usize = 6;

/// A question about a cone.
pub(super) struct Sat<'c> {
    cone: &'c Cone<'c>,
    solver: Solver<Patience>,
    /// The variable that switches each group of facts on, after those of the packages.
    groups: u32,
    /// Which packages the installation found last has, by their places.
    last: Vec<bool>,
}

/// What the solver found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
}

impl<'c> Sat<'c> {
    /// Facts without a group always hold; those with one while the group is switched on. `goals` is what
    /// [`Fact::Goal`] speaks of.
    pub(super) fn new(
        cone: &'c Cone<'c>,
        goals: &[Vec<u32>],
        facts: impl IntoIterator<Item = (Fact, Option<u32>)>,
        groups: u32,
        patience: u64,
    ) -> Self {
        let mut solver = Solver::new(SolverOpts::default(), Patience { left: patience });
        for _ in 0..cone.members.len() {
            // What nothing asks for stays out.
            solver.new_var(lbool::FALSE, true);
        }
        for _ in 0..groups {
            solver.new_var(lbool::FALSE, true);
        }
        let mut sat = Self { cone, solver, groups, last: Vec::new() };
        for (fact, group) in facts {
            sat.assert(fact, group, goals);
        }
        sat
    }

    fn assert(&mut self, fact: Fact, group: Option<u32>, goals: &[Vec<u32>]) {
        match fact {
            Fact::Goal(goal) => {
                let literals = self.any_of(&goals[goal]);
                self.add(group, literals);
            }
            Fact::Requires(clause) => {
                let mut literals = self.any_of(self.cone.problem.any_of(clause));
                if let Some(owner) = self.cone.problem.owner(clause).0 {
                    literals.extend(self.package(owner).map(|owner| !owner));
                }
                self.add(group, literals);
            }
            Fact::Excludes(one, other) => {
                let literals = [one, other].into_iter().filter_map(|p| self.package(p)).map(|p| !p).collect();
                self.add(group, literals);
            }
            Fact::Slot(slot) => {
                let literals: Vec<Lit> = self.cone.of_slot(slot).filter_map(|p| self.package(p)).collect();
                self.at_most_one(group, &literals);
            }
        }
    }

    fn at_most_one(&mut self, group: Option<u32>, literals: &[Lit]) {
        if literals.len() <= PAIRS {
            for (index, one) in literals.iter().enumerate() {
                for other in &literals[index + 1..] {
                    self.add(group, vec![!*one, !*other]);
                }
            }
            return;
        }
        // "One of those up to here", handed on from each few to the next.
        let mut before: Option<Lit> = None;
        for few in literals.chunks(PAIRS - 2) {
            let mut those = few.to_vec();
            those.extend(before);
            self.at_most_one(group, &those);
            let so_far = Lit::new(self.solver.new_var(lbool::FALSE, true), true);
            for one in those {
                self.add(group, vec![!one, so_far]);
            }
            before = Some(so_far);
        }
    }

    fn add(&mut self, group: Option<u32>, mut literals: Vec<Lit>) {
        literals.extend(group.map(|group| !self.group(group)));
        self.solver.add_clause_reuse(&mut literals);
    }

    fn any_of(&self, packages: &[u32]) -> Vec<Lit> {
        packages.iter().filter_map(|package| self.package(*package)).collect()
    }

    fn package(&self, package: u32) -> Option<Lit> {
        self.cone.place(package).map(|place| literal(place, true))
    }

    fn group(&self, group: u32) -> Lit {
        literal(self.cone.members.len() as u32 + group, true)
    }

    /// Whether there is an installation with all of `packages`, while `groups` hold.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when the search takes too long.
    pub(super) fn ask(&mut self, packages: &[u32], groups: impl IntoIterator<Item = u32>) -> Result<Answer> {
        let mut assumed: Vec<Lit> = packages.iter().filter_map(|package| self.package(*package)).collect();
        assumed.extend(groups.into_iter().map(|group| self.group(group)));
        let answer = self.solver.solve_limited(&assumed);
        if answer == lbool::TRUE {
            let places = 0..self.cone.members.len() as u32;
            self.last = places.map(|place| self.solver.value_var(variable(place)) == lbool::TRUE).collect();
            Ok(Answer::Yes)
        } else if answer == lbool::FALSE {
            Ok(Answer::No)
        } else {
            Err(Error::LimitExceeded {
                what: "the search for a consistent installation".into(),
                limit: "its steps".into(),
            })
        }
    }

    /// What the installation found last has.
    pub(super) fn installed(&self) -> Vec<u32> {
        let is_in = self.cone.members.iter().zip(&self.last).filter(|(_, is_in)| **is_in);
        is_in.map(|(package, _)| *package).collect()
    }

    /// Whether the installation found last has a package.
    pub(super) fn has(&self, package: u32) -> bool {
        let place = self.cone.place(package);
        place.is_some_and(|place| self.last.get(place as usize) == Some(&true))
    }

    /// After a no: the groups that exclude one another.
    pub(super) fn core(&self) -> Vec<u32> {
        let first = self.cone.members.len() as u32;
        (0..self.groups)
            .filter(|group| self.solver.unsat_core_contains_var(variable(first + *group)))
            .collect()
    }
}

fn variable(place: u32) -> Var {
    Var::unsafe_from_idx(place)
}

fn literal(place: u32, positive: bool) -> Lit {
    Lit::new(variable(place), positive)
}

/// Ends a search that learns more than it may.
struct Patience {
    left: u64,
}

impl Callbacks for Patience {
    fn on_new_clause(&mut self, _clause: &[Lit], _kind: batsat::clause::Kind) {
        self.left = self.left.saturating_sub(1);
    }

    fn stop(&self) -> bool {
        self.left == 0
    }
}
