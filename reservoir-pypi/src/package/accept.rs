//! Taking a file that somebody uploads: what it is, by its name and by what it says itself.

use std::collections::BTreeMap;

use reservoir_core::{
    Error, Result,
    clock::Timestamp,
    ecosystem::{Accepted, Inspection, PulledFile, Received},
    path::ContentPath,
};
use serde_json::Value;

use crate::{
    attribute,
    filename::{DistFilename, SdistFilename, WheelFilename},
    requirement::{PyRequirement, parse_specifiers},
};

/// Reads the file's name and looks into it at once, so that what is no package takes nobody's place. Its time is now.
///
/// # Errors
/// Those of [`inspect`](super::inspect); [`Error::Malformed`] for requirements that cannot be read.
pub(crate) async fn accept(file: &Received<'_>) -> Result<(Accepted, Inspection)> {
    let name = if is_wheel_name(file.name) {
        DistFilename::Wheel(WheelFilename::parse(file.name)?)
    } else {
        DistFilename::Sdist(SdistFilename::parse(file.name, None)?)
    };
    let accepted = Accepted {
        artifact: name.name().to_artifact(),
        revision: name.version().to_revision(),
        path: name.path(),
        attributes: BTreeMap::from([
            (attribute::UPLOAD_TIME.to_owned(), Value::String(Timestamp::now().to_jiff().to_string())),
            (Accepted::INTERNAL.to_owned(), Value::Bool(true)),
        ]),
        inspection: None,
    };
    let pulled = PulledFile {
        artifact: &accepted.artifact,
        revision: &accepted.revision,
        path: &accepted.path,
        attributes: &accepted.attributes,
        blob: file.blob,
        store: file.store,
    };
    let inspection = super::inspect(&pulled).await?;
    check_requirements(file.name, &inspection)?;
    Ok((accepted, inspection))
}

/// Refuses what no installer could read: whoever uploads can still mend it, whoever mirrors cannot.
fn check_requirements(file: &str, inspection: &Inspection) -> Result<()> {
    for requirement in &inspection.requirements {
        PyRequirement::parse(requirement)?;
    }
    let python = inspection.attributes.get(attribute::REQUIRES_PYTHON).and_then(Value::as_str);
    if let Some(Err(detail)) = python.map(parse_specifiers) {
        let detail = format!("`Requires-Python: {}` {detail}", python.unwrap_or_default());
        return Err(Error::malformed(format!("`{file}`"), "requires-python", detail));
    }
    Ok(())
}

/// Whether a path is that of a wheel.
pub(crate) fn is_wheel(path: &ContentPath) -> bool {
    is_wheel_name(path.file_name())
}

fn is_wheel_name(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".whl")
}
