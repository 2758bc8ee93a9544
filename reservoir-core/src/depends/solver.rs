//! The engine: who can be installed at all, and what to install for a request.

use super::{
    PackageId, Universe,
    choice::Choice,
    cone::{Cone, Dead, Fact},
    explain::{Explainer, Explanation},
    model::Model,
    problem::Problem,
    sat::{Answer, Sat},
};
use crate::error::Result;

/// Facts that one search may learn before it is given up; real universes need some hundred.
const PATIENCE: u64 = 2_000_000;
/// Goals up to which it is tried to install all at the same time, one after the other decided with care.
const TOGETHER: usize = 1_000;

/// Answers questions about one universe.
///
/// Everything that is found out is kept, so that later questions are answered faster.
#[derive(Debug)]
pub struct Solver<'u> {
    universe: &'u dyn Universe,
    problem: Problem,
    patience: u64,
    effort: Effort,
}

/// What it took to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Installations built without looking back.
    pub models: u64,
    /// Questions put to the SAT solver.
    pub searches: u64,
    /// Bytes of the universe as the engine keeps it, what the format keeps apart.
    pub bytes: usize,
}

/// What `check` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// How many packages were in question.
    pub checked: usize,
    /// Those that no consistent installation contains, in their order.
    pub broken: Vec<PackageId>,
}

/// What to have so that each of some packages can be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cover {
    /// These packages, in their order.
    pub packages: Vec<PackageId>,
    /// Those asked for that cannot be installed.
    pub impossible: Vec<PackageId>,
}

/// What to install for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Solution {
    /// These packages, in their order. Each has in it what it needs; with what every installation must have they
    /// can be completed to a consistent installation.
    Install(Vec<PackageId>),
    /// Nothing will do.
    Impossible(Explanation),
}

impl<'u> Solver<'u> {
    /// Reads a universe.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) when it is too large.
    pub fn new(universe: &'u dyn Universe) -> Result<Self> {
        let problem = Problem::of(universe)?;
        let effort = Effort { bytes: problem.bytes(), ..Effort::default() };
        Ok(Self { universe, problem, patience: PATIENCE, effort })
    }

    /// What it took so far.
    #[must_use]
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Says for each package in question whether some consistent installation contains it. `checkpoint` is asked
    /// now and then; its error ends the check.
    ///
    /// Most packages are proven many at a time: an installation is grown greedily over all that are not proven
    /// yet, again and again, and whatever is in one is installable. Only a package that cannot be added even to
    /// an empty installation is searched for. So the time is that of a few passes over the universe.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) when a search takes too long, and what `checkpoint`
    /// gives.
    pub fn check(&mut self, checkpoint: &mut dyn FnMut() -> Result<()>) -> Result<Verdicts> {
        let in_question: Vec<u32> =
            (0..self.universe.len() as u32).filter(|id| self.universe.in_question(PackageId(*id))).collect();
        let checked = in_question.len();
        if self.problem.is_hopeless() {
            return Ok(Verdicts { checked, broken: in_question.into_iter().map(PackageId).collect() });
        }
        let mut broken: Vec<PackageId> = Vec::new();
        let mut unproven = in_question;
        let mut model = Model::new(&self.problem);
        loop {
            checkpoint()?;
            unproven.retain(|package| {
                let dead = self.problem.is_dead(*package);
                broken.extend(dead.then_some(PackageId(*package)));
                !dead
            });
            let Some(first) = unproven.first().copied() else { break };
            if !model.begin(&self.problem, first) {
                let Some(installed) = self.search(&[vec![first]])? else {
                    self.problem.bury(first);
                    if self.problem.is_hopeless() {
                        // Then nothing was proven either.
                        broken.extend(unproven.into_iter().map(PackageId));
                        break;
                    }
                    continue;
                };
                model.replace(&self.problem, &installed);
            }
            self.effort.models += 1;
            for package in &unproven {
                model.add(&self.problem, *package);
            }
            unproven.retain(|package| !model.contains(*package));
        }
        broken.sort_unstable();
        Ok(Verdicts { checked, broken })
    }

    /// Why a package cannot be installed; empty when it can.
    pub fn explain(&self, package: PackageId) -> Result<Explanation> {
        self.explainer().explain(&[vec![package.0]])
    }

    /// Picks what to install so that of each goal one is there, and all that they need. Where there is a choice,
    /// the first alternative is taken that goes together with what was decided before: the goals in their order,
    /// then the requirements of what was taken, first those that leave no choice.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) when the search takes too long.
    pub fn solve(&mut self, goals: &[Vec<PackageId>]) -> Result<Solution> {
        let goals: Vec<Vec<u32>> =
            goals.iter().map(|goal| goal.iter().map(|package| package.0).collect()).collect();
        let Some(mut chosen) = self.choose(&goals)? else {
            return Ok(Solution::Impossible(self.explainer().explain(&goals)?));
        };
        chosen.sort_unstable();
        Ok(Solution::Install(chosen.into_iter().map(PackageId).collect()))
    }

    /// Picks what to have so that each of `goals` can be installed, if not all of them at the same time: a mirror
    /// of it alone lets them be installed. Few goals are looked at together, with the care of
    /// [`solve`](Self::solve); many, or such that exclude one another, in installations that are grown greedily, as
    /// [`check`](Self::check) does.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn cover(
        &mut self,
        goals: &[PackageId],
        checkpoint: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Cover> {
        let (impossible, open): (Vec<_>, Vec<_>) =
            goals.iter().partition(|goal| self.problem.is_dead(goal.0) || self.problem.is_hopeless());
        let mut impossible: Vec<PackageId> = impossible;
        let mut open: Vec<u32> = open.into_iter().map(|goal: PackageId| goal.0).collect();
        let mut covered = vec![false; self.problem.len()];
        if open.len() <= TOGETHER {
            let all: Vec<Vec<u32>> = open.iter().map(|goal| vec![*goal]).collect();
            if let Some(chosen) = self.choose(&all)? {
                cover(&mut covered, &chosen);
            }
        }
        let mut model = Model::new(&self.problem);
        loop {
            checkpoint()?;
            open.retain(|goal| !covered[*goal as usize]);
            let Some(first) = open.first().copied() else { break };
            model.clear(&self.problem);
            let begun = model.add(&self.problem, first);
            if begun {
                for goal in &open {
                    model.add(&self.problem, *goal);
                }
            }
            let count = model.installed().len();
            if begun && model.complete(&self.problem) {
                self.effort.models += 1;
                cover(&mut covered, &model.installed()[..count]);
            } else if let Some(chosen) = self.choose(&[vec![first]])? {
                cover(&mut covered, &chosen);
            } else {
                self.problem.bury(first);
                impossible.push(PackageId(first));
                open.retain(|goal| *goal != first);
            }
        }
        let packages = (0..covered.len() as u32).filter(|package| covered[*package as usize]);
        Ok(Cover { packages: packages.map(PackageId).collect(), impossible })
    }

    /// What the goals need, the first alternatives that fit; `None` when nothing does.
    fn choose(&mut self, goals: &[Vec<u32>]) -> Result<Option<Vec<u32>>> {
        self.effort.searches += 1;
        if self.problem.is_hopeless() {
            return Ok(None);
        }
        let cone = Cone::of(&self.problem, goals, Dead::Absent);
        let mut sat = Self::question(&cone, goals, self.patience);
        if sat.ask(&[], [])? == Answer::No {
            return Ok(None);
        }
        Choice::new(&cone, sat).decide(goals).map(Some)
    }

    /// An installation with one of each goal.
    fn search(&mut self, goals: &[Vec<u32>]) -> Result<Option<Vec<u32>>> {
        self.effort.searches += 1;
        let cone = Cone::of(&self.problem, goals, Dead::Absent);
        let mut sat = Self::question(&cone, goals, self.patience);
        Ok((sat.ask(&[], [])? == Answer::Yes).then(|| sat.installed()))
    }

    fn question<'c>(cone: &'c Cone<'c>, goals: &[Vec<u32>], patience: u64) -> Sat<'c> {
        let facts = (0..goals.len()).map(Fact::Goal).chain(cone.facts()).map(|fact| (fact, None));
        Sat::new(cone, goals, facts, 0, patience)
    }

    fn explainer(&self) -> Explainer<'_> {
        Explainer { universe: self.universe, problem: &self.problem, patience: self.patience }
    }
}

fn cover(covered: &mut [bool], packages: &[u32]) {
    for package in packages {
        covered[*package as usize] = true;
    }
}
