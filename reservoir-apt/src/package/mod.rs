//! Reading one package file: its own metadata, checked against what the index claims.

mod accept;
mod deb;
mod dsc;

pub(crate) use self::accept::accept;

use reservoir_core::{
    Error, Result,
    ecosystem::{Inspection, PulledFile},
};
use serde_json::Value;

use crate::{attribute, control::Stanza, sha512::Sha512Digest, upstream::is_description};

/// Reads a file that was pulled. Indexes and the parts of source packages were compared with a signed digest, which
/// is all that they claim.
///
/// # Errors
/// [`reservoir_core::Error::Malformed`] for what is not what its index says.
pub(crate) async fn inspect(file: &PulledFile<'_>) -> Result<Inspection> {
    let path = file.path.as_str();
    if path.starts_with("upstream/") {
        check_sha512(file).await?;
        return Ok(Inspection::default());
    }
    if [".deb", ".udeb", ".ddeb"].iter().any(|ending| path.ends_with(ending)) {
        check_stanzas(file).await?;
        return deb::inspect(file).await;
    }
    if is_description(path) {
        return dsc::inspect(file).await;
    }
    Ok(Inspection::default())
}

/// Compares an index file with the digest that it may be listed by alone.
async fn check_sha512(file: &PulledFile<'_>) -> Result<()> {
    let Some(expected) = file.attributes.get(attribute::SHA512).and_then(Value::as_str) else {
        return Ok(());
    };
    let actual = Sha512Digest::of_blob(file.store, file.blob).await?.to_string();
    if actual == expected {
        return Ok(());
    }
    Err(Error::Integrity { what: format!("`{}`", file.path), expected: expected.to_owned(), actual })
}

/// A package whose index says SHA-512 alone was pulled without a digest to compare.
async fn check_stanzas(file: &PulledFile<'_>) -> Result<()> {
    let stanzas = file.attributes.get(attribute::STANZAS).and_then(Value::as_object);
    for stanza in stanzas.into_iter().flat_map(serde_json::Map::values).filter_map(Value::as_str) {
        let stanza = Stanza::parse(stanza.as_bytes())?;
        let (None, Some(expected)) = (stanza.get("SHA256"), stanza.get("SHA512")) else { continue };
        let expected: Sha512Digest = expected.parse()?;
        let actual = Sha512Digest::of_blob(file.store, file.blob).await?;
        if actual != expected {
            let (expected, actual) = (expected.to_string(), actual.to_string());
            return Err(Error::Integrity { what: format!("`{}`", file.path), expected, actual });
        }
    }
    Ok(())
}
