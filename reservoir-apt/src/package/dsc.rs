//! A source package's description (`.dsc`): it must speak of the same source, version and files as the index.

use std::collections::BTreeSet;

use reservoir_core::{
    Error, Result,
    ecosystem::{Inspection, PulledFile},
};

use crate::{
    attribute,
    control::{Stanza, words},
    name::{Kind, split_revision},
};

/// Most bytes of a description.
const LIMIT: u64 = 1 << 20;

/// Compares a description with its index entry. Its own signature, by whoever uploaded it, is not looked at: the
/// archive's signature covers its digest.
pub(super) async fn inspect(file: &PulledFile<'_>) -> Result<Inspection> {
    let what = format!("`{}`", file.path);
    let bytes = file.store.read_whole(&file.blob.sha256, LIMIT).await?;
    let text = unframed(&bytes);
    let stanza = Stanza::parse(text)?;
    let differs = |detail: String| Err(Error::malformed(what.clone(), "dsc-fields", detail));
    let (name, version) = (stanza.required("Source")?, stanza.required("Version")?);
    let is_named = matches!(Kind::of(file.artifact), Some(Kind::Source(known)) if known.as_str() == name);
    if !is_named || split_revision(file.revision).is_none_or(|(known, _)| known.as_str() != version) {
        return differs(format!("it is of `{name}` {version}"));
    }
    let own = files(&stanza);
    let listed = file.attributes.get(attribute::SOURCES).and_then(serde_json::Value::as_object);
    for stanza in listed.into_iter().flatten().filter_map(|(_, stanza)| stanza.as_str()) {
        let listed = files(&Stanza::parse(stanza.as_bytes())?);
        if let Some(other) = own.iter().find(|line| !listed.contains(*line)) {
            return differs(format!("it needs `{}`, which the index does not list so", other.join(" ")));
        }
    }
    Ok(Inspection::default())
}

/// Digest, size and name of each file.
fn files<'a>(stanza: &Stanza<'a>) -> BTreeSet<Vec<&'a str>> {
    let list = stanza.get("Checksums-Sha256").unwrap_or_default();
    list.lines().map(|line| words(line).collect::<Vec<_>>()).filter(|line| !line.is_empty()).collect()
}

/// The text within a clearsigned frame, if there is one.
fn unframed(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii();
    let Some(rest) = bytes.strip_prefix(b"-----BEGIN PGP SIGNED MESSAGE-----") else { return bytes };
    let find = |text: &[u8], wanted: &[u8]| memchr::memmem::find(text, wanted);
    let start = find(rest, b"\n\n").map_or(0, |at| at + 2);
    let body = &rest[start..];
    body[..find(body, b"\n-----BEGIN PGP SIGNATURE-----").unwrap_or(body.len())].trim_ascii()
}
