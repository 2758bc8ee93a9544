//! Files under passing names, which get their own together: what has its name is whole and durable.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    bundle::{
        files::{HEADER, HEADER_SIGNATURE, SUMS, TRAILER, TRAILER_SIGNATURE, sync_folder},
        objects, records,
        volume::is_file_name,
    },
    error::{Error, Result},
};

/// So many files are synced at a time.
const SIDE_BY_SIDE: usize = 16;

/// A file that does not have its name yet.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Fresh {
    /// An empty file.
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(passing(name));
        let file = File::create(&path).map_err(Error::io(format!("create `{}`", path.display())))?;
        Ok(Self { name: name.to_owned(), path, file })
    }

    /// A file of these bytes.
    pub(super) fn of(folder: &Path, name: &str, bytes: &[u8]) -> Result<Self> {
        let mut fresh = Self::create(folder, name)?;
        let failed = Error::io(format!("write `{}`", fresh.path.display()));
        fresh.file.write_all(bytes).map_err(failed)?;
        Ok(fresh)
    }

    /// A copy of another file.
    pub(super) fn copy(folder: &Path, name: &str, source: &Path) -> Result<Self> {
        let failed = || Error::io(format!("copy `{}`", source.display()));
        let mut input = File::open(source).map_err(failed())?;
        let mut fresh = Self::create(folder, name)?;
        std::io::copy(&mut input, &mut fresh.file).map_err(failed())?;
        Ok(fresh)
    }
}

/// Gives files their names, in this order, once all of them are durable, and `others` that have theirs; the names are
/// when it returns. Waiting for many files at a time costs a small part of one after the other: the disk writes its own
/// journal once for all of them.
pub(super) fn place(folder: &Path, files: Vec<Fresh>, others: &[File]) -> Result<()> {
    let all: Vec<&File> = files.iter().map(|fresh| &fresh.file).chain(others).collect();
    for some in all.chunks(SIDE_BY_SIDE) {
        std::thread::scope(|scope| {
            let syncing: Vec<_> = some.iter().map(|file| scope.spawn(move || file.sync_all())).collect();
            syncing.into_iter().try_for_each(|one| {
                let synced = one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                synced.map_err(Error::io("sync a file of the bundle"))
            })
        })?;
    }
    for fresh in files {
        let path = folder.join(&fresh.name);
        fs::rename(&fresh.path, &path).map_err(Error::io(format!("write `{}`", path.display())))?;
    }
    sync_folder(folder)
}

/// Makes a folder; gives what has to be synced for its own name to be durable.
pub(super) fn make(folder: &Path) -> Result<Vec<File>> {
    let failed = || Error::io(format!("create `{}`", folder.display()));
    let folder = std::path::absolute(folder).map_err(failed())?;
    let missing = folder.ancestors().take_while(|path| !path.exists()).count();
    fs::create_dir_all(&folder).map_err(failed())?;
    let parents = folder.ancestors().skip(1).take(missing);
    let mut parents: Vec<File> = parents.map(File::open).collect::<std::io::Result<_>>().map_err(failed())?;
    if missing == 0 {
        // It may have been made by a run that was cut off; who may not look there has been given it.
        parents.extend(folder.parent().and_then(|parent| File::open(parent).ok()));
    }
    Ok(parents)
}

/// Makes room for a bundle: removes what an export left that was interrupted before its header had its name. A folder
/// that holds another bundle, a part of one, or anything else, is not written into.
pub(super) fn clear(folder: &Path) -> Result<()> {
    let failed = || Error::io(format!("look into `{}`", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        names.push(entry.map_err(failed())?.file_name());
    }
    names.retain(|name| name != "lost+found");
    let is_begun = names.iter().any(|name| **name == *passing(HEADER));
    for name in &names {
        let name = name.to_string_lossy();
        let is_left = match name.strip_suffix(".new") {
            Some(own) => is_own(own),
            // These get their names before the header does.
            None => {
                [records::NAME, objects::NAME, HEADER_SIGNATURE].contains(&&*name)
                    || is_begun && is_file_name(&name)
            }
        };
        if !is_left {
            return Err(Error::Conflict {
                what: format!("`{}`", folder.display()),
                detail: "it holds other files; name an empty folder".into(),
            });
        }
    }
    // What says that all of it is left goes last.
    names.sort_by_key(|name| **name == *passing(HEADER));
    for name in names {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(Error::io(format!("remove `{}`", path.display())))?;
    }
    Ok(())
}

fn is_own(name: &str) -> bool {
    let small = [HEADER, HEADER_SIGNATURE, records::NAME, objects::NAME, SUMS, TRAILER, TRAILER_SIGNATURE];
    small.contains(&name) || is_file_name(name)
}

fn passing(name: &str) -> String {
    format!("{name}.new")
}
