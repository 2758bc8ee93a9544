//! Closure over dependencies: one engine, a small adapter a format.

use std::fmt::Debug;

use crate::{
    ecosystem::{Inspection, RepositoryConfig, Requirement},
    error::Result,
};

mod closure;

pub use closure::Closure;

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
