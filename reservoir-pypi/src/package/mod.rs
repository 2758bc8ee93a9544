//! Reading one package file: its own metadata, checked against its name and its archive.

mod accept;
mod blake2b;
mod build;
mod identity;
mod sdist;
mod wheel;

use std::collections::BTreeMap;

use futures::try_join;
use reservoir_core::{
    Result,
    ecosystem::{Inspection, PulledFile},
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};
use serde_json::Value;

pub(crate) use self::accept::{accept, is_wheel};
use self::identity::Identity;
use crate::{attribute, filename::DistFilename, metadata::Metadata, provenance};

/// The sdist's dependencies are known only after building it (PEP 643).
pub(crate) const NEEDS_BUILD: &str = "needs-build";

/// The registry promises another `METADATA` than the wheel has.
pub(crate) const METADATA_DIFFERS: &str = "metadata-differs-upstream";

/// Reads a pulled wheel or sdist, or what is kept beside one.
///
/// # Errors
/// [`Error::Malformed`](reservoir_core::Error::Malformed) with the rule it breaks;
/// [`Error::Unsupported`](reservoir_core::Error::Unsupported) for sdists in other forms than gzip and zip;
/// [`Error::Integrity`](reservoir_core::Error::Integrity) when the store's bytes rotted.
pub(crate) async fn inspect(file: &PulledFile<'_>) -> Result<Inspection> {
    if file.path.as_str().ends_with(provenance::ENDING) {
        return provenance::inspect(file).await;
    }
    let (identity, name) = Identity::of(file)?;
    let looked = async {
        match name {
            DistFilename::Wheel(_) => wheel::inspect(file, &identity).await,
            DistFilename::Sdist(sdist) => sdist::inspect(file, &identity, sdist.format).await,
        }
    };
    // At the same time: a client of a cache may be waiting for the end of both.
    let (mut inspection, blake2b) = try_join!(looked, blake2b::digest(file.store, file.blob))?;
    inspection.attributes.insert(attribute::BLAKE2B.to_owned(), Value::String(blake2b));
    Ok(inspection)
}

/// What the metadata of a file says that was not pulled.
///
/// # Errors
/// [`Error::Malformed`](reservoir_core::Error::Malformed) when it is that of another project or version.
pub(crate) fn described(
    artifact: &ArtifactName,
    revision: &RevisionName,
    path: &ContentPath,
    metadata: Metadata,
) -> Result<Inspection> {
    let (identity, _) = Identity::listed(artifact, revision, path)?;
    identity.check(&metadata)?;
    Ok(describe(metadata))
}

/// What both kinds of files tell of themselves.
fn describe(metadata: Metadata) -> Inspection {
    let mut attributes = BTreeMap::new();
    let texts = [
        (attribute::REQUIRES_PYTHON, metadata.requires_python),
        (attribute::SUMMARY, metadata.summary),
        (attribute::LICENSE, metadata.license),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            attributes.insert(key.to_owned(), Value::String(text));
        }
    }
    if !metadata.provides_extra.is_empty() {
        attributes.insert(attribute::PROVIDES_EXTRA.to_owned(), metadata.provides_extra.into());
    }
    Inspection { attributes, requirements: metadata.requires_dist, ..Inspection::default() }
}
