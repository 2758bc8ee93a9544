//! Source distributions: one folder, `PKG-INFO` that agrees.

use reservoir_core::{
    Error, Result,
    archive::{self, Compression, Limits},
    ecosystem::{Inspection, PulledFile},
};
use serde_json::Value;

use super::{NEEDS_BUILD, build, describe, identity::Identity};
use crate::{
    attribute,
    filename::SdistFormat,
    metadata::{self, Metadata},
};

pub(super) async fn inspect(
    file: &PulledFile<'_>,
    identity: &Identity<'_>,
    format: SdistFormat,
) -> Result<Inspection> {
    let what = format!("`{}`", identity.file_name());
    let (store, blob, limits) = (file.store, file.blob, Limits::default());
    let keep_limit = metadata::LIMIT + build::LIMIT;
    let collected = match format {
        SdistFormat::Zip => archive::collect_zip(store, blob, &what, &limits, is_wanted, keep_limit).await?,
        SdistFormat::TarGz => {
            let gzip = Compression::Gzip;
            archive::collect_tar(store, blob, &what, gzip, &limits, is_wanted, keep_limit).await?
        }
        SdistFormat::TarBz2 | SdistFormat::TarXz => {
            let detail = "sdists are read as .tar.gz and .zip; choose a wheel or a later version".to_owned();
            return Err(Error::Unsupported { what, detail });
        }
    };

    let mut folders: Vec<&str> = collected
        .digests
        .keys()
        .chain(collected.links.keys())
        .map(|path| path.split_once('/').map_or("", |(folder, _)| folder))
        .collect();
    folders.sort_unstable();
    folders.dedup();
    let folder = match *folders {
        [folder] if identity.is_folder(folder) => folder,
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
    if bytes.len() as u64 > metadata::LIMIT {
        return Err(identity.refuse("metadata-size", format!("PKG-INFO has {} bytes", bytes.len())));
    }
    let metadata = Metadata::parse(&format!("PKG-INFO of {what}"), bytes)?;
    identity.check(&metadata)?;
    let is_static = metadata.is_static();
    let mut inspection = describe(metadata);
    if !is_static {
        inspection.labels.push(NEEDS_BUILD.to_owned());
        inspection.attributes.insert(attribute::DYNAMIC.to_owned(), Value::Bool(true));
    }
    let pyproject = collected.kept.get(&format!("{folder}/pyproject.toml"));
    if let Some(requires) = build::requires(pyproject.map(|bytes| &**bytes)) {
        inspection.attributes.insert(attribute::BUILD_REQUIRES.to_owned(), requires.into());
    }
    Ok(inspection)
}

/// `PKG-INFO` and `pyproject.toml` of a top-level folder.
fn is_wanted(path: &str) -> bool {
    path.split_once('/').is_some_and(|(_, name)| matches!(name, "PKG-INFO" | "pyproject.toml"))
}
