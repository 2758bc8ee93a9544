//! Reading one package file: its own metadata, checked against what the index claims.

mod accept;
mod deb;
mod dsc;

pub(crate) use self::accept::accept;

use reservoir_core::{
    Result,
    ecosystem::{Inspection, PulledFile},
};

use crate::upstream::is_description;

/// Reads a file that was pulled. Indexes and the parts of source packages were compared with a signed digest, which
/// is all that they claim.
///
/// # Errors
/// [`reservoir_core::Error::Malformed`] for what is not what its index says.
pub(crate) async fn inspect(file: &PulledFile<'_>) -> Result<Inspection> {
    let path = file.path.as_str();
    if path.starts_with("upstream/") {
        return Ok(Inspection::default());
    }
    if [".deb", ".udeb", ".ddeb"].iter().any(|ending| path.ends_with(ending)) {
        return deb::inspect(file).await;
    }
    if is_description(path) {
        return dsc::inspect(file).await;
    }
    Ok(Inspection::default())
}
