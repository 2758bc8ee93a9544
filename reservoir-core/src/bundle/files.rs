//! The small files of a bundle: their names, and how they are read and written whole.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
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

/// Opens what a medium has under a name if that is a regular file. Links are not followed, and nobody waits for a pipe or
/// a device, also where one takes the place of a file in this moment.
pub(crate) fn open_if_regular(path: &Path) -> io::Result<Option<File>> {
    // First, as a device may do something when it is opened.
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut options = File::options();
    options.read(true);
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    let file = options.open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The same, where there must be one.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let what = path.display().to_string();
    match open_if_regular(path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(Error::malformed(what, "bundle-file", "it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::not_found("file", what)),
        Err(error) => Err(Error::io(format!("read `{what}`"))(error)),
    }
}

/// The same, for a file without which a bundle is none.
pub(crate) fn open_part(path: &Path) -> Result<File> {
    open_regular(path).map_err(|error| match error {
        Error::NotFound { .. } => {
            Error::malformed("the bundle", "bundle-truncated", format!("`{}` is missing", path.display()))
        }
        error => error,
    })
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let what = path.display().to_string();
    let file = open_regular(path)?;
    let size = file.metadata().map_err(Error::io(format!("read `{what}`")))?.len();
    if size > limit as u64 {
        return Err(Error::malformed(what, "bundle-file", format!("it is over {limit} bytes")));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(Error::io(format!("read `{what}`")))?;
    if bytes.len() > limit {
        return Err(Error::malformed(what, "bundle-file", format!("it is over {limit} bytes")));
    }
    Ok(bytes)
}
