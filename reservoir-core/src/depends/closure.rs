//! The work list of a closure: what was asked for, what is still to be looked at.

use std::collections::{BTreeSet, VecDeque};

use crate::ecosystem::Requirement;

/// A fix-point over requirements. Each distinct (artifact, constraint, extras) is looked at once, so it ends
/// when no file asks for anything new; the number of distinct requirements is bounded.
#[derive(Debug)]
pub struct Closure {
    seen: BTreeSet<(String, String, Vec<String>)>,
    queue: VecDeque<Requirement>,
    limit: usize,
}

impl Closure {
    /// An empty closure that refuses to grow beyond `limit` distinct requirements.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { seen: BTreeSet::new(), queue: VecDeque::new(), limit }
    }

    /// Adds a requirement unless it was seen before.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) when the closure grows beyond its limit.
    pub fn push(&mut self, requirement: Requirement) -> crate::Result<()> {
        let mut extras = requirement.extras.clone();
        extras.sort_unstable();
        extras.dedup();
        let key = (requirement.artifact.to_string(), requirement.constraint.clone(), extras);
        if self.seen.insert(key) {
            if self.seen.len() > self.limit {
                return Err(crate::Error::LimitExceeded {
                    what: "the closure over dependencies".into(),
                    limit: format!("{} requirements", self.limit),
                });
            }
            self.queue.push_back(requirement);
        }
        Ok(())
    }

    /// Everything that is waiting, to be worked on as one wave.
    pub fn take_wave(&mut self) -> Vec<Requirement> {
        self.queue.drain(..).collect()
    }
}
