//! Which of several installations is meant: the one that takes first alternatives.

use std::collections::VecDeque;

use super::{
    cone::Cone,
    problem::ClauseId,
    sat::{Answer, Sat},
};
use crate::error::Result;

/// Decides requirement by requirement. What was decided can always be completed, by what every installation must have
/// too, because the solver is asked before each choice that is not in the installation it found last.
pub(super) struct Choice<'c> {
    cone: &'c Cone<'c>,
    sat: Sat<'c>,
    taken: Vec<u32>,
    is_taken: Vec<bool>,
    /// Of `taken`, how many were looked at for what they need.
    followed: usize,
    pending: VecDeque<ClauseId>,
}

impl<'c> Choice<'c> {
    /// `sat` has just said yes.
    pub(super) fn new(cone: &'c Cone<'c>, sat: Sat<'c>) -> Self {
        let is_taken = vec![false; cone.members.len()];
        Self { cone, sat, taken: Vec::new(), is_taken, followed: 0, pending: VecDeque::new() }
    }

    pub(super) fn decide(mut self, goals: &[Vec<u32>]) -> Result<Vec<u32>> {
        for goal in goals {
            self.one_of(goal)?;
            self.forced();
        }
        loop {
            self.forced();
            let Some(clause) = self.pending.pop_front() else { return Ok(self.taken) };
            self.one_of(self.cone.problem.any_of(clause))?;
        }
    }

    /// Takes what leaves no choice; puts off the rest.
    fn forced(&mut self) {
        while let Some(package) = self.taken.get(self.followed).copied() {
            self.followed += 1;
            for clause in self.cone.problem.requirements(package) {
                let mut possible =
                    self.cone.problem.any_of(clause).iter().filter(|p| self.cone.place(**p).is_some());
                match (possible.next(), possible.next()) {
                    (Some(only), None) => self.take(*only),
                    _ => self.pending.push_back(clause),
                }
            }
        }
    }

    fn one_of(&mut self, alternatives: &[u32]) -> Result<()> {
        let place = |package: &u32| self.cone.place(*package).map(|place| place as usize);
        if alternatives.iter().filter_map(place).any(|place| self.is_taken[place]) {
            return Ok(());
        }
        for package in alternatives.iter().copied().filter(|package| place(package).is_some()) {
            if !self.sat.has(package) {
                self.taken.push(package);
                let answer = self.sat.ask(&self.taken, []);
                self.taken.pop();
                if answer? == Answer::No {
                    continue;
                }
            }
            self.take(package);
            return Ok(());
        }
        Ok(())
    }

    fn take(&mut self, package: u32) {
        if let Some(place) = self.cone.place(package)
            && !std::mem::replace(&mut self.is_taken[place as usize], true)
        {
            self.taken.push(package);
        }
    }
}
