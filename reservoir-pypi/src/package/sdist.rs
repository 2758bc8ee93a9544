//! Source distributions: one folder, `PKG-INFO` that agrees.

use reservoir_core::{
    Result,
    archive::{self, Limits, TarCompression},
    ecosystem::{Inspection, PulledFile},
};

use super::{NEEDS_BUILD, describe, identity::Identity};
use crate::metadata::{self, Metadata};

pub(super) async fn inspect(file: &PulledFile<'_>, name: &str) -> Result<Inspection> {
    let identity = Identity::of(file)?;
    let (stem, zip) = match name.strip_suffix(".zip") {
        Some(stem) => (stem, true),
        None => (name.strip_suffix(".tar.gz").unwrap_or(name), false),
    };
    if !identity.matches_stem(stem) {
        return Err(identity.refuse("sdist-file-name", "is not named after its project and version"));
    }
    let limits = Limits::default();
    let collected = if zip {
        archive::collect_zip(file.store, file.blob, name, &limits, is_wanted, metadata::LIMIT).await?
    } else {
        let gzip = TarCompression::Gzip;
        archive::collect_tar(file.store, file.blob, name, gzip, &limits, is_wanted, metadata::LIMIT).await?
    };

    let mut folders: Vec<&str> =
        collected.digests.keys().map(|path| path.split_once('/').map_or("", |(folder, _)| folder)).collect();
    folders.dedup();
    let folder = match *folders {
        [folder] if identity.matches_stem(folder) => folder,
        [""] | [] => return Err(identity.refuse("sdist-folder", "has files outside a folder, or none")),
        [folder] => {
            let detail = format!("folder `{folder}` is not named after its project and version");
            return Err(identity.refuse("sdist-folder", detail));
        }
        _ => {
            let detail = format!("has files under {} folders, not one", folders.len());
            return Err(identity.refuse("sdist-folder", detail));
        }
    };
    let path = format!("{folder}/PKG-INFO");
    let Some(bytes) = collected.kept.get(&path) else {
        return Err(identity.refuse("sdist-incomplete", format!("`{path}` is missing")));
    };
    let metadata = Metadata::parse(&format!("PKG-INFO of `{name}`"), bytes)?;
    identity.check(&metadata)?;
    let is_static = metadata.is_static();
    let mut inspection = describe(metadata);
    if !is_static {
        inspection.labels.push(NEEDS_BUILD.to_owned());
    }
    Ok(inspection)
}

/// `PKG-INFO` of a top-level folder.
fn is_wanted(path: &str) -> bool {
    path.split_once('/').is_some_and(|(_, name)| name == "PKG-INFO")
}
