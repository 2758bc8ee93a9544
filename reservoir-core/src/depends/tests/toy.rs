//! A universe written down by hand.

use crate::depends::{Clauses, PackageId, Universe};

/// Packages with slots, requirements and conflicts, all by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Toy {
    pub(super) slots: Vec<u32>,
    pub(super) needs: Vec<Vec<Vec<u32>>>,
    pub(super) excludes: Vec<Vec<u32>>,
    pub(super) always: Vec<Vec<u32>>,
}

impl Toy {
    /// `count` packages in slots of their own that need nothing.
    pub(super) fn of(count: usize) -> Self {
        Self {
            slots: (0..count as u32).collect(),
            needs: vec![Vec::new(); count],
            excludes: vec![Vec::new(); count],
            always: Vec::new(),
        }
    }

    pub(super) fn need(mut self, package: usize, any_of: &[u32]) -> Self {
        self.needs[package].push(any_of.to_vec());
        self
    }

    pub(super) fn exclude(mut self, package: usize, other: u32) -> Self {
        self.excludes[package].push(other);
        self
    }

    /// Whether a set of packages, one bit each, is a consistent installation.
    pub(super) fn holds(&self, set: u32) -> bool {
        let has = |package: &u32| set & (1 << package) != 0;
        let satisfied = |clauses: &[Vec<u32>]| clauses.iter().all(|clause| clause.iter().any(has));
        let members: Vec<u32> = (0..self.slots.len() as u32).filter(has).collect();
        satisfied(&self.always)
            && members.iter().all(|one| {
                let alone = |other: &&u32| self.slots[**other as usize] == self.slots[*one as usize];
                satisfied(&self.needs[*one as usize])
                    && members.iter().filter(alone).count() == 1
                    && !self.excludes[*one as usize].iter().any(|other| other != one && has(other))
            })
    }
}

fn packages(ids: &[u32]) -> impl Iterator<Item = PackageId> {
    ids.iter().copied().map(PackageId)
}

impl Universe for Toy {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn label(&self, package: PackageId) -> String {
        format!("p{}", package.0)
    }

    fn slot(&self, package: PackageId) -> u32 {
        self.slots[package.index()]
    }

    fn requirements(&self, package: PackageId, out: &mut Clauses) {
        self.needs[package.index()].iter().for_each(|any_of| out.push(packages(any_of)));
    }

    fn conflicts(&self, package: PackageId, out: &mut Vec<PackageId>) {
        out.extend(packages(&self.excludes[package.index()]));
    }

    fn always(&self, out: &mut Clauses) {
        self.always.iter().for_each(|any_of| out.push(packages(any_of)));
    }

    fn requirement_text(&self, package: Option<PackageId>, index: usize) -> String {
        match package {
            Some(package) => format!("{:?}", self.needs[package.index()][index]),
            None => format!("{:?}", self.always[index]),
        }
    }

    fn conflict_text(&self, _package: PackageId, other: PackageId) -> String {
        format!("no p{}", other.0)
    }
}
