//! The small files of a bundle: their names, and how they are read and written whole.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
};

use crate::error::{Error, Result};

pub(crate) const HEADER: &str = "bundle.json";
pub(crate) const HEADER_SIGNATURE: &str = "bundle.json.minisig";
pub(crate) const TRAILER: &str = "volumes.json";
pub(crate) const TRAILER_SIGNATURE: &str = "volumes.json.minisig";
pub(crate) const SUMS: &str = "SHA256SUMS";

/// Writes a file under another name first, so that it is absent or whole.
pub(crate) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}.new")));
    let failed = || Error::io(format!("write `{}`", path.display()));
    let mut file = File::create(&temporary).map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    file.sync_all().map_err(failed())?;
    fs::rename(&temporary, &path).map_err(failed())
}

pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    let failed = || Error::io(format!("sync `{}`", folder.display()));
    File::open(folder).map_err(failed())?.sync_all().map_err(failed())
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let what = path.display().to_string();
    let metadata = fs::symlink_metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found("file", &what),
        _ => Error::io(format!("read `{what}`"))(error),
    })?;
    if !metadata.is_file() {
        return Err(Error::malformed(what, "bundle-file", "it is not a regular file"));
    }
    if metadata.len() > limit as u64 {
        return Err(Error::malformed(what, "bundle-file", format!("it is over {limit} bytes")));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let file = File::open(path).map_err(Error::io(format!("read `{what}`")))?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(Error::io(format!("read `{what}`")))?;
    if bytes.len() > limit {
        return Err(Error::malformed(what, "bundle-file", format!("it is over {limit} bytes")));
    }
    Ok(bytes)
}
