//! Why something cannot be installed, in words.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use serde::{Serialize, Serializer};

use super::{
    PackageId, Universe,
    cone::{Cone, Dead, Fact},
    problem::Problem,
    sat::{Answer, Sat},
};
use crate::error::Result;

/// Alternatives that a step names.
const NAMED: usize = 4;
/// Steps of an explanation.
const STEPS: usize = 24;

/// Why there is no installation: facts that cannot all hold, beginning with what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation(pub Vec<Step>);

/// One fact of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A requirement that nothing satisfies.
    Missing {
        /// Who needs it; without, every installation does.
        package: Option<String>,
        /// What, as the format writes it.
        requirement: String,
        /// What there is instead, where the format can tell.
        because: Option<String>,
    },
    /// A requirement that only some packages satisfy.
    Needs {
        /// Who needs it; without, every installation does.
        package: Option<String>,
        /// What, as the format writes it.
        requirement: String,
        /// What satisfies it, the first few.
        satisfied_by: Vec<String>,
        /// How many more do.
        more: usize,
    },
    /// Two packages that exclude each other.
    Excludes {
        /// Who says so.
        package: String,
        /// Whom it excludes.
        other: String,
        /// How the format writes it.
        because: String,
    },
    /// Packages of which only one can be there.
    OneOf {
        /// Which, the first few.
        packages: Vec<String>,
    },
    /// There are more steps than are told.
    More,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = |package: &Option<String>| match package {
            Some(package) => format!("`{package}` needs"),
            None => "every installation needs".to_owned(),
        };
        match self {
            Self::Missing { package, requirement, because } => {
                write!(f, "{} `{requirement}`, which nothing satisfies", owner(package))?;
                because.as_ref().map_or(Ok(()), |because| write!(f, ": {because}"))
            }
            Self::Needs { package, requirement, satisfied_by, more } => {
                let named = satisfied_by.iter().map(|by| format!("`{by}`")).collect::<Vec<_>>().join(" or ");
                write!(f, "{} `{requirement}`: {named}", owner(package))?;
                if *more > 0 { write!(f, " or {more} others") } else { Ok(()) }
            }
            Self::Excludes { package, other, because } => {
                write!(f, "`{package}` excludes `{other}` (`{because}`)")
            }
            Self::OneOf { packages } => {
                let named = packages.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(" and ");
                write!(f, "only one of {named} can be installed")
            }
            Self::More => f.write_str("and so on"),
        }
    }
}

/// As lines of text.
impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

pub(super) struct Explainer<'a> {
    pub(super) universe: &'a dyn Universe,
    pub(super) problem: &'a Problem,
    pub(super) patience: u64,
}

impl Explainer<'_> {
    /// Why one of each goal cannot be installed. What lacks something is told by what is lacking; only where
    /// nothing lacks it takes a search to tell which facts exclude one another.
    pub(super) fn explain(&self, goals: &[Vec<u32>]) -> Result<Explanation> {
        let mut steps = Vec::new();
        let lacking = goals.iter().find(|goal| goal.iter().all(|package| self.problem.is_dead(*package)));
        if let Some(goal) = lacking {
            self.lacking(goal, &mut steps)?;
        } else if let Some(clause) = self.lacking_always() {
            steps.push(self.requires(clause));
            self.lacking(self.problem.any_of(clause), &mut steps)?;
        } else {
            steps = self.conflict(goals)?;
        }
        if steps.len() > STEPS {
            steps.truncate(STEPS);
            steps.push(Step::More);
        }
        Ok(Explanation(steps))
    }

    fn lacking_always(&self) -> Option<usize> {
        let dead = |clause: &usize| self.problem.any_of(*clause).iter().all(|p| self.problem.is_dead(*p));
        self.problem.always().find(dead)
    }

    /// Follows what dead packages lack, down to requirements that nothing satisfies.
    fn lacking(&self, dead: &[u32], steps: &mut Vec<Step>) -> Result<()> {
        let mut seen: HashSet<u32> = dead.iter().copied().collect();
        let mut queue: VecDeque<u32> = dead.iter().copied().collect();
        while let Some(package) = queue.pop_front() {
            if steps.len() > STEPS {
                break;
            }
            let Some(clause) = self.problem.dead_requirement(package) else {
                for step in self.conflict(&[vec![package]])? {
                    if !steps.contains(&step) {
                        steps.push(step);
                    }
                }
                continue;
            };
            steps.push(self.requires(clause));
            queue.extend(self.problem.any_of(clause).iter().filter(|other| seen.insert(**other)));
        }
        Ok(())
    }

    /// The facts that exclude one another, as few as leaving out one after the other gives.
    fn conflict(&self, goals: &[Vec<u32>]) -> Result<Vec<Step>> {
        let cone = Cone::of(self.problem, goals, Dead::Present);
        let goal_facts = (0..goals.len()).map(Fact::Goal);
        let all: Vec<Fact> = goal_facts.chain(cone.facts()).collect();

        // First by whole packages, since a cone has many facts.
        let always = cone.members.len() as u32;
        let by_package = all.iter().map(|fact| (*fact, self.group(&cone, *fact).unwrap_or(always)));
        let grouped = by_package.clone().map(|(fact, group)| (fact, Some(group)));
        let mut sat = Sat::new(&cone, goals, grouped, always + 1, self.patience);
        if sat.ask(&[], 0..=always)? == Answer::Yes {
            return Ok(Vec::new());
        }
        let groups: HashSet<u32> = sat.core().into_iter().collect();
        let few: Vec<Fact> =
            by_package.filter(|(_, group)| groups.contains(group)).map(|(fact, _)| fact).collect();

        // Then by facts.
        let count = few.len() as u32;
        let grouped = few.iter().zip(0..).map(|(fact, group)| (*fact, Some(group)));
        let mut sat = Sat::new(&cone, goals, grouped, count, self.patience);
        if sat.ask(&[], 0..count)? == Answer::Yes {
            return Ok(Vec::new());
        }
        let mut needed = sat.core();
        let mut index = 0;
        while index < needed.len() {
            let without = needed.iter().copied().enumerate().filter(|(at, _)| *at != index).map(|(_, g)| g);
            let without: Vec<u32> = without.collect();
            if sat.ask(&[], without.iter().copied())? == Answer::No {
                let still: HashSet<u32> = sat.core().into_iter().collect();
                // What is before `index` is needed and stays in every core.
                needed.retain(|group| still.contains(group));
            } else {
                index += 1;
            }
        }
        let facts: Vec<Fact> = needed.iter().map(|group| few[*group as usize]).collect();
        Ok(self.told(&cone, goals, &facts))
    }

    /// Whose fact it is, as a place in the cone.
    fn group(&self, cone: &Cone<'_>, fact: Fact) -> Option<u32> {
        match fact {
            Fact::Requires(clause) => self.problem.owner(clause).0.and_then(|owner| cone.place(owner)),
            Fact::Excludes(one, _) => cone.place(one),
            Fact::Goal(_) | Fact::Slot(_) => None,
        }
    }

    /// Facts in the order in which one follows them: from what was asked for along requirements, then what
    /// excludes what.
    fn told(&self, cone: &Cone<'_>, goals: &[Vec<u32>], facts: &[Fact]) -> Vec<Step> {
        // Of a slot only what the facts speak of is worth telling.
        let spoken_of: HashSet<u32> =
            facts.iter().flat_map(|fact| self.speaks_of(goals, *fact)).copied().collect();
        let mut requirements: Vec<usize> = Vec::new();
        let mut steps = Vec::new();
        for fact in facts {
            match *fact {
                Fact::Goal(_) => {}
                Fact::Requires(clause) => requirements.push(clause),
                Fact::Excludes(one, other) => steps.push(self.excludes(one, other)),
                Fact::Slot(slot) => {
                    let packages = cone.of_slot(slot).filter(|package| spoken_of.contains(package));
                    let named = packages.take(NAMED).map(|package| self.label(package)).collect();
                    steps.push(Step::OneOf { packages: named });
                }
            }
        }
        // The cone was reached in breadth from what was asked for.
        requirements.sort_by_key(|clause| {
            let owner = self.problem.owner(*clause).0.and_then(|owner| cone.place(owner));
            (owner.is_none(), owner, *clause)
        });
        requirements.into_iter().map(|clause| self.requires(clause)).chain(steps).collect()
    }

    fn speaks_of<'f>(&'f self, goals: &'f [Vec<u32>], fact: Fact) -> &'f [u32] {
        match fact {
            Fact::Goal(goal) => &goals[goal],
            Fact::Requires(clause) => self.problem.any_of(clause),
            Fact::Excludes(..) | Fact::Slot(_) => &[],
        }
    }

    fn requires(&self, clause: usize) -> Step {
        let (owner, index) = self.problem.owner(clause);
        let owner = owner.map(PackageId);
        let requirement = self.universe.requirement_text(owner, index);
        let package = owner.map(|owner| self.universe.label(owner));
        let alternatives = self.problem.any_of(clause);
        if alternatives.is_empty() {
            let because = self.universe.lack_text(owner, index);
            return Step::Missing { package, requirement, because };
        }
        let satisfied_by = alternatives.iter().take(NAMED).map(|package| self.label(*package)).collect();
        Step::Needs { package, requirement, satisfied_by, more: alternatives.len().saturating_sub(NAMED) }
    }

    fn excludes(&self, one: u32, other: u32) -> Step {
        // Either of them may be the one that says so.
        let mut said = Vec::new();
        self.universe.conflicts(PackageId(one), &mut said);
        let (package, other) = if said.contains(&PackageId(other)) { (one, other) } else { (other, one) };
        let because = self.universe.conflict_text(PackageId(package), PackageId(other));
        Step::Excludes { package: self.label(package), other: self.label(other), because }
    }

    fn label(&self, package: u32) -> String {
        self.universe.label(PackageId(package))
    }
}
