//! Room on a disk, asked before the first byte.

use std::path::Path;

use crate::error::{Error, Result};

/// Left free beside what is needed, for the file system's own.
const MARGIN: u64 = 16 << 20;

/// [`Error::NoSpace`] when `needed` bytes do not fit on the disk of `folder`.
#[cfg(target_os = "linux")]
pub(crate) fn check_space(folder: &Path, needed: u64) -> Result<()> {
    let failed = |error: rustix::io::Errno| {
        Error::io(format!("ask for the free space of `{}`", folder.display()))(error.into())
    };
    let found = rustix::fs::statvfs(folder).map_err(failed)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if needed > 0 && free < needed.saturating_add(MARGIN) {
        let what = format!("to `{}`, which has {free} bytes free and would take {needed}", folder.display());
        return Err(Error::NoSpace { what });
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn check_space(_: &Path, _: u64) -> Result<()> {
    Ok(())
}

/// Makes everything that was written to the file system of `folder` durable.
#[cfg(target_os = "linux")]
pub(crate) fn sync_all(folder: &Path) -> Result<()> {
    let failed = || Error::io(format!("sync `{}`", folder.display()));
    let folder = std::fs::File::open(folder).map_err(failed())?;
    rustix::fs::syncfs(&folder).map_err(|error| failed()(error.into()))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_all(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("sync a folder"))? {
        let entry = entry.map_err(Error::io("sync a folder"))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_all(&entry.path())?;
        } else {
            std::fs::File::open(entry.path())
                .and_then(|file| file.sync_all())
                .map_err(Error::io("sync a file"))?;
        }
    }
    Ok(())
}
