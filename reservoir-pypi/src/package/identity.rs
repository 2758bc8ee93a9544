//! Whether a file, its metadata and the registry speak of the same project and version.

use reservoir_core::{
    Error, Result,
    ecosystem::PulledFile,
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

use crate::{filename::DistFilename, metadata::Metadata, name::ProjectName, version::Version};

/// The project and version that a file was pulled as, and that its name agrees with.
pub(super) struct Identity<'a> {
    project: ProjectName,
    version: Version,
    file_name: &'a str,
}

impl<'a> Identity<'a> {
    /// Reads the name of a pulled file and compares it with what the registry listed it as.
    ///
    /// # Errors
    /// Those of [`DistFilename::parse`], and [`Error::Malformed`] with rule `filename-version`.
    pub(super) fn of(file: &'a PulledFile<'_>) -> Result<(Self, DistFilename)> {
        Self::listed(file.artifact, file.revision, file.path)
    }

    /// The same for a file that was not pulled.
    pub(super) fn listed(
        artifact: &ArtifactName,
        revision: &RevisionName,
        path: &'a ContentPath,
    ) -> Result<(Self, DistFilename)> {
        let project = ProjectName::try_from(artifact)?;
        let version: Version = revision.as_str().parse()?;
        let identity = Self { project, version, file_name: path.file_name() };
        let name = DistFilename::parse(identity.file_name, &identity.project)?;
        if *name.version() != identity.version {
            let detail = format!("is version `{}`, listed as `{}`", name.version(), identity.version);
            return Err(identity.refuse("filename-version", detail));
        }
        Ok((identity, name))
    }

    /// The name of the file, for messages.
    pub(super) fn file_name(&self) -> &str {
        self.file_name
    }

    /// Whether a folder is called `<name>-<version>` of this project, however the two are spelt.
    pub(super) fn is_folder(&self, folder: &str) -> bool {
        folder.match_indices('-').any(|(at, _)| {
            let version = &folder[at + 1..];
            self.project.is_spelled(&folder[..at])
                // Tools of before PEP 440 escaped `-` as `_`.
                && (self.is_version(version) || self.is_version(&version.replace('_', "-")))
        })
    }

    /// Refuses metadata of another project or version.
    pub(super) fn check(&self, metadata: &Metadata) -> Result<()> {
        if !self.project.is_spelled(&metadata.name) {
            let detail = format!("says project `{}`, listed under `{}`", metadata.name, self.project);
            return Err(self.refuse("metadata-name", detail));
        }
        if !self.is_version(&metadata.version) {
            let detail = format!("says version `{}`, listed as `{}`", metadata.version, self.version);
            return Err(self.refuse("metadata-version", detail));
        }
        Ok(())
    }

    /// A refusal of this file.
    pub(super) fn refuse(&self, rule: &'static str, detail: impl Into<String>) -> Error {
        Error::malformed(format!("`{}`", self.file_name), rule, detail)
    }

    fn is_version(&self, text: &str) -> bool {
        text.parse::<Version>().is_ok_and(|version| version == self.version)
    }
}
