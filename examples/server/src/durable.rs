//! Files that are on the disk before anybody is told that they are: settings, keys, copies of them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Writes a file, over what was there. Blocks on the disk. Its name is durable when the folder is synced.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Copies a file with its permissions. Blocks on the disk. Its name is durable when the folder is synced.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    sync(to)
}

/// Makes what a file holds durable, or the names in a folder. Blocks on the disk.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a folder, where there is none, for its owner only; what is there stays as it is. Blocks on the disk.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let is_new = !path.exists();
    fs::create_dir_all(path)?;
    if is_new {
        restrict(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync(parent)?;
        }
    }
    Ok(())
}

/// Leaves a folder to its owner only.
pub(crate) fn restrict(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
