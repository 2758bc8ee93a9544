//! Dependencies: what else is needed, what goes together, and why something does not.
//!
//! Two engines, given a small adapter by each format. A [`Closure`] follows requirements file by file, as the
//! files arrive. A [`Solver`] looks at a whole [`Universe`]: it says for every package whether some consistent
//! installation contains it, explains in words why not, and picks what to install for a request.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{
    ecosystem::{Inspection, RepositoryConfig, Requirement},
    error::{Error, Result},
    name::RepositoryName,
};

mod choice;
mod closure;
mod cone;
mod draft;
mod explain;
mod gather;
mod model;
mod problem;
mod sat;
mod solver;
#[cfg(test)]
mod tests;
mod universe;

pub use self::{
    closure::Closure,
    draft::{Draft, Peek, Proposal},
    explain::{Explanation, Step},
    gather::{Gather, Offered},
    solver::{Cover, Effort, Solution, Solver, Verdicts},
    universe::{Clauses, PackageId, Universe},
};

/// What a format knows of dependencies.
#[async_trait]
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

    /// For whom it can be said what goes together, in the format's words (a suite and an architecture, a Python);
    /// empty where a format cannot say.
    fn targets(&self, _repository: &RepositoryConfig) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// An empty universe for one of [`targets`](Self::targets), to be filled with the files of the repository.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what is no target.
    fn gather(&self, _repository: &RepositoryConfig, target: &str) -> Result<Box<dyn Gather>> {
        Err(Error::not_found("target", target))
    }

    /// Other repositories here whose packages clients have as well: those help to satisfy requirements, get no verdict
    /// and are not brought in again.
    fn beside(&self, _repository: &RepositoryConfig) -> Result<Vec<RepositoryName>> {
        Ok(Vec::new())
    }

    /// The beginning of a universe for one of [`targets`](Self::targets) that is found out while it is solved for
    /// `roots`: for formats where only the file itself says what it needs.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what is no target, [`Error::Unsupported`] where a format does not solve.
    fn draft(
        &self,
        repository: &RepositoryConfig,
        target: &str,
        roots: &[Requirement],
    ) -> Result<Box<dyn Draft>> {
        let _ = (target, roots);
        Err(Error::Unsupported {
            what: format!("solving for `{}` repositories", repository.ecosystem),
            detail: "this ecosystem does not pick versions that go together".into(),
        })
    }

    /// Reads what a file says of itself without fetching all of it; `None` where only the whole file tells. It is
    /// a hint from the registry: what the file itself says is compared with it once it is here.
    ///
    /// # Errors
    /// What the fetcher reports; [`Error::Malformed`] for what cannot be believed.
    async fn peek(&self, _file: &Peek<'_>) -> Result<Option<Inspection>> {
        Ok(None)
    }

    /// Whether everything that decides what is needed is known from the registry, before anything is pulled.
    /// Then dependencies are decided at once, over the universe of each target, and not file by file.
    fn ahead(&self) -> bool {
        false
    }
}
