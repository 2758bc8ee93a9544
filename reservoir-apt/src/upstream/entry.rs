//! What a stanza of an index offers.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result,
    digest::Sha256Digest,
    ecosystem::{Cursor, DiscoveredArtifact, DiscoveredFile},
    name::RevisionName,
};
use serde_json::{Value, json};
use url::Url;

use super::{descriptions::Descriptions, filename};
use crate::{
    attribute,
    control::{Stanza, words},
    name::{Architecture, PackageName, Version, revision},
    sha512::Sha512Digest,
};

/// Files of one source package.
const SOURCE_FILES: usize = 100;

/// A binary package, from its stanza in `Packages`. `key` says which suite and component lists it.
pub(super) fn package(
    base: &Url,
    key: &str,
    bytes: &[u8],
    descriptions: Option<&Descriptions>,
) -> Result<DiscoveredArtifact> {
    let stanza = Stanza::parse(bytes)?;
    let name: PackageName = stanza.required("Package")?.parse()?;
    let version: Version = stanza.required("Version")?.parse()?;
    let architecture: Architecture = stanza.required("Architecture")?.parse()?;
    let filename = stanza.required("Filename")?;
    let size = number(stanza.required("Size")?)?;
    // What has the stronger digest alone is compared with it by inspection.
    let sha256: Option<Sha256Digest> = stanza.get("SHA256").map(str::parse).transpose()?;
    let sha512: Option<Sha512Digest> = stanza.get("SHA512").map(str::parse).transpose()?;
    if sha256.is_none() && sha512.is_none() {
        let detail = format!("`{name}` {version} has neither SHA256 nor SHA512");
        return Err(Error::malformed("stanza", "package-digest", detail));
    }
    let mut attributes = attributes(attribute::STANZAS, key, &lower_digests(&stanza));
    if let Some(descriptions) = descriptions
        && let Some(md5) = stanza.get("Description-md5")
        && let Some(text) = descriptions.find(md5)?
    {
        attributes.insert(attribute::DESCRIPTIONS.to_owned(), json!({ key: text }));
    }
    let file = DiscoveredFile {
        revision: revision(&version, architecture.as_str()),
        path: filename::content_path(filename, &[".deb", ".udeb", ".ddeb"])?,
        url: filename::address(base, filename),
        size: Some(size),
        sha256,
        attributes,
        bytes: None,
    };
    Ok(unit(name.as_str().parse()?, vec![file]))
}

/// A source package, from its stanza in `Sources`.
pub(super) fn source(base: &Url, key: &str, bytes: &[u8]) -> Result<DiscoveredArtifact> {
    let stanza = Stanza::parse(bytes)?;
    let name: PackageName = stanza.required("Package")?.parse()?;
    let version: Version = stanza.required("Version")?.parse()?;
    let directory = stanza.required("Directory")?.trim_end_matches('/');
    let Some(list) = stanza.get("Checksums-Sha256") else {
        let detail = format!("the source of `{name}` {version} has no Checksums-Sha256");
        return Err(Error::malformed("stanza", "package-digest", detail));
    };
    let mut files = Vec::new();
    for line in list.lines().filter(|line| !line.trim().is_empty()) {
        let mut parts = words(line);
        let (Some(sha256), Some(size), Some(file), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::malformed(
                "stanza",
                "source-files",
                "a line is not a digest, a size and a name",
            ));
        };
        if files.len() == SOURCE_FILES {
            let limit = format!("{SOURCE_FILES} files");
            return Err(Error::LimitExceeded { what: format!("the source of `{name}`"), limit });
        }
        if file.contains('/') {
            return Err(Error::malformed("stanza", "source-files", "a file of it is in a folder of its own"));
        }
        let filename = if directory == "." { file.to_owned() } else { format!("{directory}/{file}") };
        let is_main = is_description(file);
        files.push(DiscoveredFile {
            revision: source_revision(&name, &version, file),
            path: filename::content_path(&filename, &[])?,
            url: filename::address(base, &filename),
            size: Some(number(size)?),
            sha256: Some(sha256.parse()?),
            attributes: if is_main {
                attributes(attribute::SOURCES, key, &lower_digests(&stanza))
            } else {
                BTreeMap::new()
            },
            bytes: None,
        });
    }
    if files.iter().filter(|file| is_description(file.path.as_str())).count() != 1 {
        return Err(Error::malformed(
            "stanza",
            "source-files",
            format!("the source of `{name}` has not one .dsc"),
        ));
    }
    Ok(unit(format!("src:{name}").parse()?, files))
}

/// Whether a file describes its source package. Tools of Debian compare endings by their case.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "as dpkg-source does")]
pub(crate) fn is_description(path: &str) -> bool {
    path.ends_with(".dsc")
}

/// Several versions share what upstream released: that is a revision of its own, `UPSTREAM:orig`.
fn source_revision(name: &PackageName, version: &Version, file: &str) -> RevisionName {
    let upstream = file
        .strip_prefix(name.as_str())
        .and_then(|rest| rest.strip_prefix('_'))
        .and_then(|rest| rest.find(".orig").map(|end| &rest[..end]))
        .and_then(|upstream| upstream.parse::<Version>().ok());
    match upstream {
        Some(upstream) => revision(&upstream, "orig"),
        None => revision(version, "source"),
    }
}

fn attributes(name: &str, key: &str, stanza: &str) -> BTreeMap<String, Value> {
    BTreeMap::from([(name.to_owned(), json!({ key: stanza }))])
}

fn unit(artifact: reservoir_core::name::ArtifactName, files: Vec<DiscoveredFile>) -> DiscoveredArtifact {
    DiscoveredArtifact {
        artifact,
        cursor: Cursor::default(),
        attributes: BTreeMap::new(),
        quarantined: None,
        files,
        skipped: Vec::new(),
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse()
        .map_err(|_| Error::malformed("stanza", "package-size", format!("`{text}` is no number of bytes")))
}

/// The stanza with its digests in lower case: apt compares them as text.
fn lower_digests(stanza: &Stanza<'_>) -> String {
    const DIGESTS: [&str; 4] = ["SHA256", "SHA512", "SHA1", "MD5sum"];
    let mut text = stanza.text().to_owned();
    for name in DIGESTS {
        if let Some(range) = stanza.value_range(name)
            && text[range.clone()].bytes().any(|byte| byte.is_ascii_uppercase())
        {
            let lower = text[range.clone()].to_ascii_lowercase();
            text.replace_range(range, &lower);
        }
    }
    text
}
