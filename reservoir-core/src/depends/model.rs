//! An installation that grows, package by package, without ever looking back.

use std::collections::VecDeque;

use super::problem::{ClauseId, Problem};

/// Nobody has a slot.
const FREE: u32 = u32::MAX;

/// A consistent installation. Adding a package adds what it needs, the preferred alternatives first; when that
/// does not work out, nothing is added. So whatever is in it is proven to be installable, and what could not be
/// added is not proven to be anything.
#[derive(Debug)]
pub(super) struct Model {
    /// What is in it, in the order in which it came.
    installed: Vec<u32>,
    is_in: Vec<bool>,
    /// How many of what is in it exclude each package.
    excluded: Vec<u32>,
    /// Who has each slot.
    holders: Vec<u32>,
    pending: VecDeque<ClauseId>,
}

impl Model {
    pub(super) fn new(problem: &Problem) -> Self {
        Self {
            installed: Vec::new(),
            is_in: vec![false; problem.len()],
            excluded: vec![0; problem.len()],
            holders: vec![FREE; problem.slot_count()],
            pending: VecDeque::new(),
        }
    }

    pub(super) fn contains(&self, package: u32) -> bool {
        self.is_in[package as usize]
    }

    /// Adds a package and what it needs; whether that worked.
    pub(super) fn add(&mut self, problem: &Problem, package: u32) -> bool {
        self.contains(package) || self.extend(problem, |model| model.put(problem, package))
    }

    /// Begins anew with a package and what every installation must have; whether that worked.
    pub(super) fn begin(&mut self, problem: &Problem, package: u32) -> bool {
        self.clear(problem);
        self.extend(problem, |model| {
            model.pending.extend(problem.always());
            model.put(problem, package)
        })
    }

    /// Begins anew with nothing, not even with what every installation must have.
    pub(super) fn clear(&mut self, problem: &Problem) {
        self.undo(problem, 0);
    }

    /// Adds what every installation must have; whether that worked.
    pub(super) fn complete(&mut self, problem: &Problem) -> bool {
        self.extend(problem, |model| {
            model.pending.extend(problem.always());
            true
        })
    }

    /// What is in it, in the order in which it came.
    pub(super) fn installed(&self) -> &[u32] {
        &self.installed
    }

    /// Puts an installation in that is known to be consistent.
    pub(super) fn replace(&mut self, problem: &Problem, installed: &[u32]) {
        self.clear(problem);
        for package in installed {
            self.put(problem, *package);
        }
    }

    fn extend(&mut self, problem: &Problem, begin: impl FnOnce(&mut Self) -> bool) -> bool {
        let mark = self.installed.len();
        if begin(self) && self.satisfy(problem, mark) {
            return true;
        }
        self.undo(problem, mark);
        false
    }

    /// Satisfies what the packages from `mark` on need. What leaves no choice comes first, so that a choice is
    /// made knowing it.
    fn satisfy(&mut self, problem: &Problem, mark: usize) -> bool {
        let mut next = mark;
        loop {
            while let Some(package) = self.installed.get(next).copied() {
                next += 1;
                for clause in problem.requirements(package) {
                    match problem.any_of(clause) {
                        [only] if self.contains(*only) => {}
                        [only] if !self.put(problem, *only) => return false,
                        [_] => {}
                        _ => self.pending.push_back(clause),
                    }
                }
            }
            let Some(clause) = self.pending.pop_front() else { return true };
            let alternatives = problem.any_of(clause);
            if !alternatives.iter().any(|package| self.contains(*package))
                && !alternatives.iter().any(|package| self.put(problem, *package))
            {
                return false;
            }
        }
    }

    fn put(&mut self, problem: &Problem, package: u32) -> bool {
        let slot = problem.slot(package) as usize;
        if problem.is_dead(package) || self.excluded[package as usize] > 0 || self.holders[slot] != FREE {
            return false;
        }
        self.holders[slot] = package;
        self.is_in[package as usize] = true;
        self.installed.push(package);
        for enemy in problem.enemies(package) {
            self.excluded[*enemy as usize] += 1;
        }
        true
    }

    fn undo(&mut self, problem: &Problem, mark: usize) {
        for package in self.installed.drain(mark..) {
            self.is_in[package as usize] = false;
            self.holders[problem.slot(package) as usize] = FREE;
            for enemy in problem.enemies(package) {
                self.excluded[*enemy as usize] -= 1;
            }
        }
        self.pending.clear();
    }
}
