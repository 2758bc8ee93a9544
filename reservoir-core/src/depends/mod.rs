//! Dependencies: what else is needed, what goes together, and why something does not.
//!
//! Two engines, given a small adapter by each format. A [`Closure`] follows requirements file by file, as the
//! files arrive. A [`Solver`] looks at a whole [`Universe`]: it says for every package whether some consistent
//! installation contains it, explains in words why not, and picks what to install for a request.

use std::fmt::Debug;

use crate::{
    ecosystem::{Inspection, RepositoryConfig, Requirement},
    error::Result,
};

mod choice;
mod closure;
mod cone;
mod explain;
mod model;
mod problem;
mod sat;
mod solver;
#[cfg(test)]
mod tests;
mod universe;

pub use self::{
    closure::Closure,
    explain::{Explanation, Step},
    solver::{Effort, Solution, Solver, Verdicts},
    universe::{Clauses, PackageId, Universe},
};

/// What a format knows of dependencies.
pub trait Dependencies: Debug + Send + Sync {
    /// What an inspected file needs under this repository's targets, when it was chosen for `wanted`
    /// (whose extras count). `owner` names the file's revision in messages.
    fn requirements(
        &self,
        repository: &RepositoryConfig,
        wanted: &Requirement,
        owner: &str,
        inspection: &Inspection,
    ) -> Result<Vec<Requirement>>;
}
