//! What is published, file by file, as a universe: for `check`.

use reservoir_core::{
    Result,
    depends::{Gather, Offered, PackageId, Universe},
};

use super::{
    universe::Builder,
    world::{File, World},
};
use crate::{filename::DistFilename, name::ProjectName};

/// The releases of a repository that clients on one target see. In question is what the selection asks for, and
/// each release that satisfies it; without a selection, everything.
#[derive(Debug)]
pub(super) struct Published(pub(super) World);

impl Gather for Published {
    fn add(&mut self, file: &Offered<'_>) -> Result<Option<PackageId>> {
        // What is kept beside a file is no package.
        let Ok(project) = ProjectName::try_from(file.artifact) else { return Ok(None) };
        let Ok(name) = DistFilename::parse(file.path.file_name(), &project) else { return Ok(None) };
        let needs = self.0.needs_of_facts(file.attributes);
        let facts = file.attributes;
        let put = self.0.put(File { name, path: file.path, attributes: facts, facts, needs })?;
        Ok(put.map(|(number, _)| PackageId(number)))
    }

    fn finish(self: Box<Self>) -> Box<dyn Universe> {
        Box::new(Builder::new(&self.0, &|_| true).build().universe)
    }
}
