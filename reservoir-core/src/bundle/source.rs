//! Finding bundles and volumes on media, whatever came first.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    files::{self, read_small},
    key::FILE,
    tape::cut_short,
    trailer,
    volume::{HEAD, VolumeHead},
};
use crate::error::{Error, Result};

/// Files looked at in one folder.
const FILES: usize = 200_000;

/// What lies on media that can be looked at in any order. Nothing of it was read yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Folders with a header.
    pub(crate) headers: Vec<PathBuf>,
    /// All folders.
    pub(crate) folders: Vec<PathBuf>,
    /// Files that are named like volumes, or were named by the caller.
    pub(crate) volumes: Vec<PathBuf>,
    /// Files that are named like parity volumes.
    pub(crate) parity: Vec<PathBuf>,
}

/// Looks at what the caller named: folders and volumes.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for path in paths {
        let shown = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::not_found("file or folder", &shown),
            _ => Error::io(format!("look at `{shown}`"))(error),
        })?;
        if metadata.is_dir() {
            look_into(path, &mut found)?;
        } else if path.file_name().is_some_and(|name| name == files::HEADER) {
            look_into(path.parent().unwrap_or(Path::new(".")), &mut found)?;
        } else if named(path, "parity-") {
            found.parity.push(path.clone());
        } else {
            found.volumes.push(path.clone());
        }
    }
    for list in [&mut found.headers, &mut found.folders, &mut found.volumes, &mut found.parity] {
        list.sort();
        list.dedup();
    }
    if found.headers.is_empty() && found.volumes.is_empty() {
        return Err(Error::invalid("PATH", "holds no `bundle.json` and no volume of a bundle"));
    }
    Ok(found)
}

fn look_into(folder: &Path, found: &mut Found) -> Result<()> {
    let failed = || Error::io(format!("look into `{}`", folder.display()));
    found.folders.push(folder.to_owned());
    for (count, entry) in fs::read_dir(folder).map_err(failed())?.enumerate() {
        if count >= FILES {
            let what = format!("files in `{}`", folder.display());
            return Err(Error::LimitExceeded { what, limit: FILES.to_string() });
        }
        let entry = entry.map_err(failed())?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == files::HEADER {
            found.headers.push(folder.to_owned());
        } else if named(Path::new(name), "volume-") {
            found.volumes.push(entry.path());
        } else if named(Path::new(name), "parity-") {
            found.parity.push(entry.path());
        }
    }
    Ok(())
}

/// Whether a file is named `PREFIX….rsv`.
fn named(path: &Path, prefix: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(prefix)) && path.extension().is_some_and(|end| end == "rsv")
}

/// A small file and its signature, neither read for what it says.
pub(crate) fn signed(folder: &Path, name: &str, signature: &str, limit: usize) -> Result<(Vec<u8>, String)> {
    let document = read_small(&folder.join(name), limit)?;
    let signature = read_small(&folder.join(signature), FILE).map_err(|error| match error {
        Error::NotFound { .. } => {
            Error::Untrusted { what: format!("`{name}`"), reason: "its signature is missing".into() }
        }
        error => error,
    })?;
    let refused =
        |_| Error::Untrusted { what: format!("`{name}`"), reason: "its signature is not text".into() };
    Ok((document, String::from_utf8(signature).map_err(refused)?))
}

/// The header of the bundle in a folder.
pub(crate) fn header(folder: &Path) -> Result<(Vec<u8>, String)> {
    signed(folder, files::HEADER, files::HEADER_SIGNATURE, super::header::LIMIT)
}

/// The trailer of the bundle in a folder; `None` when it is not there.
pub(crate) fn trailer(folder: &Path) -> Result<Option<(Vec<u8>, String)>> {
    if !folder.join(files::TRAILER).exists() {
        return Ok(None);
    }
    signed(folder, files::TRAILER, files::TRAILER_SIGNATURE, trailer::LIMIT).map(Some)
}

/// Opens a volume that is as long as it says, and reads its head; the file stands behind it.
pub(crate) fn open_volume(path: &Path) -> Result<(VolumeHead, [u8; HEAD as usize], File)> {
    let (head, raw, file) = open_head(path)?;
    check_length(path, &head, &file)?;
    Ok((head, raw, file))
}

/// The same for one that may be cut, or go on.
pub(crate) fn open_head(path: &Path) -> Result<(VolumeHead, [u8; HEAD as usize], File)> {
    let what = path.display().to_string();
    let metadata = fs::symlink_metadata(path).map_err(Error::io(format!("read `{what}`")))?;
    if !metadata.is_file() {
        return Err(Error::malformed(what, "bundle-file", "it is not a regular file"));
    }
    let mut file = File::open(path).map_err(Error::io(format!("read `{what}`")))?;
    let (head, raw) = read_head(&what, &mut file)?;
    Ok((head, raw, file))
}

/// Whether a volume is as long as its head says.
pub(crate) fn check_length(path: &Path, head: &VolumeHead, file: &File) -> Result<()> {
    let what = path.display().to_string();
    let length = file.metadata().map_err(Error::io(format!("read `{what}`")))?.len();
    // What is longer than it says hides something; what is shorter was cut.
    let expected = HEAD.saturating_add(head.size);
    if length > expected {
        return Err(Error::malformed(
            what,
            "bundle-volume",
            format!("it has bytes behind its end, byte {expected}"),
        ));
    }
    if length < expected {
        let detail = format!("it has {length} bytes, {expected} were written");
        return Err(Error::malformed(format!("`{what}` (`{}`)", head.label), "bundle-truncated", detail));
    }
    Ok(())
}

/// Reads the head of a volume.
pub(crate) fn read_head(what: &str, input: &mut dyn Read) -> Result<(VolumeHead, [u8; HEAD as usize])> {
    let mut raw = [0; HEAD as usize];
    input.read_exact(&mut raw).map_err(cut_short)?;
    Ok((VolumeHead::decode(what, &raw)?, raw))
}
