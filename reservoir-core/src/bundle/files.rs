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

/// Writes files, each under another name first: each is absent or whole, and those before it are durable when it is
/// there, as are `others`, which are written already. All of them are when this returns. Syncing them side by side costs
/// a small part of one after the other.
pub(super) fn write_all_whole(folder: &Path, files: &[(&str, &[u8])], others: &[File]) -> Result<()> {
    let failed = |name: &str| Error::io(format!("write `{}`", folder.join(name).display()));
    let mut written = Vec::with_capacity(files.len());
    for (name, bytes) in files {
        let temporary = folder.join(format!("{name}.new"));
        let mut file = File::create(&temporary).map_err(failed(name))?;
        file.write_all(bytes).map_err(failed(name))?;
        written.push((name, temporary, file));
    }
    sync_files(written.iter().map(|(_, _, file)| file).chain(others))?;
    for (name, temporary, _) in written {
        fs::rename(&temporary, folder.join(name)).map_err(failed(name))?;
    }
    sync_folder(folder)
}

/// Makes some files durable, at the same time: the disk then writes its own journal once for all of them.
fn sync_files<'f>(files: impl Iterator<Item = &'f File>) -> Result<()> {
    std::thread::scope(|scope| {
        let syncing: Vec<_> = files.map(|file| scope.spawn(move || file.sync_all())).collect();
        syncing.into_iter().try_for_each(|one| {
            let synced = one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            synced.map_err(Error::io("sync a file of the bundle"))
        })
    })
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
