//! What a format says of a set of packages, so that the engine can tell which of them go together.

use std::fmt::Debug;

use crate::error::{Error, Result};

/// Most alternatives of all requirements, and most conflicts, that a universe may have.
const EDGES: usize = 1 << 26;

/// A package of a universe: its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(pub u32);

impl PackageId {
    /// Its place, as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of packages with what they need and what they exclude, resolved to one another by the format's own
/// rules: names, versions, capabilities, architectures.
///
/// # Contract
/// - Packages are numbered from zero to [`len`](Self::len); the numbers never change.
/// - An installation is a set of packages. It is consistent when at most one package of each
///   [`slot`](Self::slot) is in it, when each of its packages has one of each of its requirements in it, when no
///   two of them are in [`conflict`](Self::conflicts), and when it has one of each of the
///   [`always`](Self::always) requirements.
/// - Answers depend on the arguments alone. The engine asks for the requirements and conflicts of each package
///   once, in order, and keeps four bytes for each alternative and eight for each conflict; words are only asked
///   for when something is explained.
/// - What is malformed was refused when the universe was built. Nothing here fails.
pub trait Universe: Debug + Send + Sync {
    /// How many packages there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A package in words: `jq 1.6-2.1 (amd64)`.
    fn label(&self, package: PackageId) -> String;

    /// What a package takes the place of: two packages of one slot exclude each other, as two versions of one
    /// name mostly do. Any number below four billion; by default each package has a slot of its own.
    fn slot(&self, package: PackageId) -> u32 {
        package.0
    }

    /// What a package needs.
    fn requirements(&self, package: PackageId, out: &mut Clauses);

    /// The packages that this one excludes. One direction is enough; itself is passed over.
    fn conflicts(&self, package: PackageId, out: &mut Vec<PackageId>);

    /// What every installation must have, whatever it is for.
    fn always(&self, _out: &mut Clauses) {}

    /// Whether a verdict on the package is asked for. Others only help to satisfy requirements.
    fn in_question(&self, _package: PackageId) -> bool {
        true
    }

    /// Whether the package is here for others that name it and is never a goal itself, such as one for another
    /// architecture, which has a target of its own.
    fn only_helps(&self, _package: PackageId) -> bool {
        false
    }

    /// The `index`th requirement of a package (of what is always needed, without a package) as the format
    /// writes it: `libc6 (>= 2.34)`.
    fn requirement_text(&self, package: Option<PackageId>, index: usize) -> String;

    /// What there is instead of what satisfies the `index`th requirement, where nothing does and the format can
    /// tell: `1.0 is for other platforms`.
    fn lack_text(&self, _package: Option<PackageId>, _index: usize) -> Option<String> {
        None
    }

    /// Why one package excludes another, as the format writes it: `Breaks: libfoo (<< 2)`.
    fn conflict_text(&self, package: PackageId, other: PackageId) -> String;

    /// What whoever reads verdicts should know of all of them, such as what was not looked at. Few lines.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Requirements: of each one any of some packages must be there.
#[derive(Debug, Clone, Default)]
pub struct Clauses {
    pub(super) ends: Vec<u32>,
    pub(super) any_of: Vec<u32>,
}

impl Clauses {
    /// Adds a requirement that any of `alternatives` satisfies, the preferred one first. Without alternatives
    /// nothing does.
    pub fn push(&mut self, alternatives: impl IntoIterator<Item = PackageId>) {
        let start = self.any_of.len();
        for PackageId(alternative) in alternatives {
            // Clauses are short, mostly of one alternative.
            if !self.any_of[start..].contains(&alternative) {
                self.any_of.push(alternative);
            }
        }
        self.ends.push(self.any_of.len() as u32);
    }

    pub(super) fn bounded(&self) -> Result<()> {
        bounded("the alternatives of all requirements", self.any_of.len().max(self.ends.len()))
    }
}

pub(super) fn bounded(what: &str, edges: usize) -> Result<()> {
    if edges <= EDGES {
        return Ok(());
    }
    Err(Error::LimitExceeded { what: what.into(), limit: format!("{EDGES}") })
}
