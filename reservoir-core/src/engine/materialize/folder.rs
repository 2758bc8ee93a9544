//! Into a folder: made beside its place under another name, and renamed when all of it is there.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::{Placed, Placement};
use crate::{
    archive::{Source, read_blocking},
    blocking,
    bundle::space::{check_space, sync_all},
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Store, StoreExt as _},
};

/// Files at a time.
const AT_ONCE: usize = 4;
/// Bytes hashed at a time.
const PIECE: usize = 256 << 10;

/// How a file came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Cloned,
    Linked,
    Copied,
}

/// Fills the folder; says how many files share blocks with the store, and how many are the store's own.
pub(super) async fn fill(
    store: &dyn Store,
    folder: PathBuf,
    files: &[Placed],
    placement: Placement,
) -> Result<(u64, u64)> {
    let begun = {
        let (folder, size) = (folder.clone(), files.iter().map(|file| file.blob.size).sum());
        blocking::run(move || Unfinished::begin(&folder, size, placement)).await?
    };
    // Collected first: a stream over a closure of borrowed futures is not Send to the compiler.
    let work: Vec<_> = files.iter().map(|file| place(store, &begun.path, file, placement)).collect();
    let ways: Vec<Way> = stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await?;
    blocking::run(move || begun.finish(&folder)).await?;
    let count = |way| ways.iter().filter(|one| **one == way).count() as u64;
    Ok((count(Way::Cloned), count(Way::Linked)))
}

async fn place(store: &dyn Store, folder: &Path, file: &Placed, placement: Placement) -> Result<Way> {
    let path = folder.join(file.place.as_str());
    let (source, wanted) = (store.local_file(&file.blob.sha256), file.blob.sha256);
    if let Some(source) = source.filter(|_| placement != Placement::Copy) {
        let path = path.clone();
        let shared = blocking::run(move || {
            make_parent(&path)?;
            let Some(way) = share(&source, &path, placement)? else { return Ok(None) };
            check(&path, wanted)?;
            Ok(Some(way))
        });
        if let Some(way) = shared.await? {
            return Ok(way);
        }
    }
    read_blocking(store.read_all(&file.blob).await?, move |bytes| copy(bytes, &path)).await
}

fn copy(mut bytes: Source, path: &Path) -> Result<Way> {
    let failed = |verb: &str| Error::io(format!("{verb} `{}`", path.display()));
    make_parent(path)?;
    let mut out = File::create_new(path).map_err(failed("create"))?;
    bytes.each(|piece| out.write_all(piece).map_err(failed("write")))?;
    Ok(Way::Copied)
}

fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(Error::io(format!("create `{}`", parent.display())))
}

/// Has `path` share the bytes of `source`, if the file system can.
fn share(source: &Path, path: &Path, placement: Placement) -> Result<Option<Way>> {
    let failed = |error: io::Error| Error::io(format!("place `{}`", path.display()))(error);
    if placement == Placement::HardLink {
        return match fs::hard_link(source, path) {
            Ok(()) => Ok(Some(Way::Linked)),
            Err(error) if is_impossible(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        };
    }
    match clone(source, path) {
        Ok(()) => Ok(Some(Way::Cloned)),
        Err(error) if is_impossible(&error) => {
            if path.exists() {
                fs::remove_file(path).map_err(failed)?;
            }
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Another file system, or one that cannot share, or does not let us.
fn is_impossible(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, InvalidInput, PermissionDenied, TooManyLinks, Unsupported};
    // ENOTTY: not even asked for by name.
    matches!(error.kind(), CrossesDevices | InvalidInput | PermissionDenied | TooManyLinks | Unsupported)
        || error.raw_os_error() == Some(25)
}

#[cfg(target_os = "linux")]
fn clone(source: &Path, path: &Path) -> io::Result<()> {
    let (from, to) = (File::open(source)?, File::create_new(path)?);
    Ok(rustix::fs::ioctl_ficlone(&to, &from)?)
}

#[cfg(not(target_os = "linux"))]
fn clone(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What was shared was not read on its way: it is now.
fn check(path: &Path, expected: Sha256Digest) -> Result<()> {
    let failed = || Error::io(format!("read `{}`", path.display()));
    let mut file = File::open(path).map_err(failed())?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece).map_err(failed())? {
            0 => break,
            count => hasher.update(&piece[..count]),
        }
    }
    let actual = Sha256Digest::from(hasher);
    if actual == expected {
        return Ok(());
    }
    let what = format!("file `{}`", path.display());
    Err(Error::Integrity { what, expected: expected.to_string(), actual: actual.to_string() })
}

/// A folder that is not in its place yet; gone when dropped.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    /// Whose lock says that somebody fills the folder; `None` on a file system without locks.
    _lock: Option<File>,
}

impl Unfinished {
    fn begin(folder: &Path, size: u64, placement: Placement) -> Result<Self> {
        let shown = folder.display();
        let name = folder.file_name().ok_or_else(|| {
            Error::invalid(
                format!("destination `{shown}`"),
                "has no name; write the folder that is to be made",
            )
        })?;
        if !is_empty(folder)? {
            let detail = "is there and has something in it; nothing was changed";
            return Err(Error::Conflict { what: format!("destination `{shown}`"), detail: detail.into() });
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(parent).map_err(Error::io(format!("create `{}`", parent.display())))?;
        sweep(parent, name);
        if placement == Placement::Copy {
            check_space(parent, size)?;
        }
        Self::create(parent, name)
    }

    fn create(parent: &Path, name: &OsStr) -> Result<Self> {
        let mut hidden = prefix(name);
        hidden.push(uuid::Uuid::new_v4().to_string());
        let path = parent.join(hidden);
        let failed = || Error::io(format!("create `{}`", path.display()));
        fs::create_dir(&path).map_err(failed())?;
        let lock = File::open(&path).map_err(failed())?;
        match lock.try_lock() {
            // Before it had its lock it may have been swept, with nothing in it.
            Ok(()) if !path.exists() => Err(failed()(io::ErrorKind::NotFound.into())),
            Ok(()) => Ok(Self { path, _lock: Some(lock) }),
            Err(TryLockError::Error(_)) => Ok(Self { path, _lock: None }),
            Err(TryLockError::WouldBlock) => Err(failed()(io::ErrorKind::WouldBlock.into())),
        }
    }

    fn finish(self, folder: &Path) -> Result<()> {
        sync_all(&self.path)?;
        let renamed = fs::rename(&self.path, folder);
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Error::Conflict {
                what: format!("destination `{}`", folder.display()),
                detail: "somebody put something there meanwhile".into(),
            },
            _ => Error::io(format!("rename to `{}`", folder.display()))(error),
        })?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(Error::io(format!("sync `{}`", parent.display())))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing of that name.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What the name of an unfinished folder begins with; an id follows.
fn prefix(name: &OsStr) -> std::ffi::OsString {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

/// Removes what processes that were killed left unfinished beside `name`: folders of ours that nobody has locked. Where
/// there are no locks they stay, for nobody can say whose they are.
fn sweep(parent: &Path, name: &OsStr) {
    let prefix = prefix(name);
    let is_ours = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let id = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        id.is_some_and(|id| uuid::Uuid::try_parse_ascii(id).is_ok())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for left in entries.flatten().filter(is_ours).map(|entry| entry.path()) {
        // Held until all of it is gone.
        let Ok(lock) = File::open(&left) else { continue };
        if lock.try_lock().is_ok() {
            let removed = fs::remove_dir_all(&left);
            tracing::info!(path = %left.display(), ?removed, "removed what a killed process left unfinished");
        }
    }
}

fn is_empty(folder: &Path) -> Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(Error::io(format!("list `{}`", folder.display()))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_processes_left_is_swept_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("model");
        let id = || uuid::Uuid::new_v4();
        let left = home.path().join(format!(".model.{}", id()));
        let others = [
            home.path().join(format!(".model.{}", "backup")),
            home.path().join(format!(".other.{}", id())),
            home.path().join(format!("model.{}", id())),
        ];
        for path in others.iter().chain([&left]) {
            fs::create_dir_all(path.join("deep")).unwrap();
            fs::write(path.join("deep/file"), "text").unwrap();
        }
        // Begun by somebody who is alive, and by us after that.
        let alive = Unfinished::begin(&folder, 1, Placement::Copy).unwrap();
        assert!(!left.exists() && others.iter().all(|path| path.join("deep/file").exists()));
        fs::write(alive.path.join("file"), "text").unwrap();
        let second = Unfinished::begin(&folder, 1, Placement::Copy).unwrap();
        assert!(alive.path.join("file").exists() && second.path.exists());
        alive.finish(&folder).unwrap();
        assert!(second.finish(&folder).is_err(), "the first is there");
        let mut there: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut expected: Vec<_> = others.into_iter().chain([folder]).collect();
        there.sort();
        expected.sort();
        assert_eq!(there, expected);
    }
}
