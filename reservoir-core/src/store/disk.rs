//! The local disk: rename into place, and every step durable before the next.
//!
//! Data is durable after `fsync` of its file, a name after `fsync` of its directory (fsync(2)), a directory
//! after `fsync` of its parent. What may become durable in any order is synced side by side: the file system then
//! writes its own journal once for all of it.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use object_store::path::Path as Key;

use super::ingest::{STAGING_PREFIX, Staged, each_piece};
use crate::error::{Error, Result};

/// Up to so many files or directories are synced each by itself: syncing the whole file system waits for what others
/// write as well.
const FEW: usize = if cfg!(target_os = "linux") { 6 } else { usize::MAX };
/// So many threads wait for the disk at a time.
const SIDE_BY_SIDE: usize = 8;

/// Directories that got something which is not durable yet.
#[derive(Debug, Default)]
struct Unsynced {
    /// Those to sync.
    directories: BTreeSet<PathBuf>,
    /// Those whose own names are durable afterwards.
    new: BTreeSet<PathBuf>,
}

/// A directory of this machine that holds a store. Every method blocks.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    staging: PathBuf,
    fsync: bool,
    /// Directories, the root among them, whose own names this process knows to be durable. Another process may have
    /// made a directory and not synced it yet, so that it exists says nothing.
    durable: Mutex<HashSet<PathBuf>>,
    /// The root, open: the kernel tells through it of every write that failed since.
    #[cfg(target_os = "linux")]
    handle: File,
    /// Whether it ever did.
    #[cfg(target_os = "linux")]
    broken: AtomicBool,
}

impl Disk {
    /// Opens or creates `root`.
    pub(super) fn open(root: &Path, fsync: bool) -> Result<Self> {
        let staging = root.join("staging");
        fs::create_dir_all(&staging).map_err(Error::io(format!("create `{}`", staging.display())))?;
        let root = root.canonicalize().map_err(Error::io(format!("open `{}`", root.display())))?;
        Ok(Self {
            staging: root.join("staging"),
            fsync,
            durable: Mutex::default(),
            #[cfg(target_os = "linux")]
            handle: open(&root)?,
            #[cfg(target_os = "linux")]
            broken: AtomicBool::new(false),
            root,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn staging(&self) -> &Path {
        &self.staging
    }

    pub(super) fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_ref())
    }

    /// Gives a staged file its name, replacing what had it. Durable when it returns.
    pub(super) fn place(&self, mut staged: Staged, key: &Key) -> Result<()> {
        self.sync(&staged.file, &staged.path)?;
        let (target, directory) = self.target(key);
        let unsynced = self.make_directories([&*directory])?;
        fs::rename(&staged.path, &target).map_err(Error::io(format!("rename to `{}`", target.display())))?;
        staged.placed = true;
        self.sync_directories(unsynced)
    }

    /// Gives bytes a name. Durable when it returns.
    pub(super) fn place_bytes(&self, parts: &[impl AsRef<[u8]>], key: &Key) -> Result<()> {
        self.place(self.stage(parts)?, key)
    }

    fn stage(&self, parts: &[impl AsRef<[u8]>]) -> Result<Staged> {
        let mut staged = Staged::create(&self.staging)?;
        parts.iter().try_for_each(|part| staged.write(part.as_ref()))?;
        Ok(staged)
    }

    /// Gives bytes a name that nothing has, or else says so. Durable when it returns, even when the name was
    /// given by another process that has not synced it yet.
    pub(super) fn place_new(&self, bytes: &[u8], key: &Key) -> Result<bool> {
        let staged = self.stage(&[bytes])?;
        self.sync(&staged.file, &staged.path)?;
        let (target, directory) = self.target(key);
        let unsynced = self.make_directories([&*directory])?;
        let created = match fs::hard_link(&staged.path, &target) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.sync(&open(&target)?, &target)?;
                false
            }
            Err(error) => return Err(Error::io(format!("link `{}`", target.display()))(error)),
        };
        self.sync_directories(unsynced)?;
        Ok(created)
    }

    /// Gives a foreign file, already hashed, its name here. `false` when it has to be copied instead: it lies on
    /// another file system, or has other names by which others could still write it.
    ///
    /// An error after the rename (the disk refuses to sync) leaves the blob whole in its place.
    pub(super) fn adopt(&self, file: &File, path: &Path, key: &Key) -> Result<bool> {
        let metadata = file.metadata().map_err(Error::io(format!("stat `{}`", path.display())))?;
        if metadata.nlink() != 1 {
            return Ok(false);
        }
        self.sync(file, path)?;
        let (target, directory) = self.target(key);
        let unsynced = self.make_directories([&*directory])?;
        match fs::rename(path, &target) {
            Ok(()) => self.sync_directories(unsynced).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            Err(error) => Err(Error::io(format!("rename to `{}`", target.display()))(error)),
        }
    }

    /// Gives files of ours their names, in this order. Their bytes are durable before the first has its name, and all
    /// names are when it returns. What lies on another file system is copied into staging first.
    pub(super) fn place_all(&self, moves: &[(&Path, Key)]) -> Result<()> {
        let mut copies = Vec::new();
        let mut sources = Vec::with_capacity(moves.len());
        for (path, _) in moves {
            let device = |path: &Path| Ok(fs::metadata(path)?.dev());
            let is_near = path.starts_with(&self.root)
                || device(path)
                    .and_then(|device| Ok(device == self.device()?))
                    .map_err(Error::io(format!("stat `{}`", path.display())))?;
            if is_near {
                sources.push(path.to_path_buf());
            } else {
                let copy = self.copy(&open(path)?, path, |_| {})?;
                sources.push(copy.path.clone());
                copies.push((copy, path));
            }
        }
        self.sync_files(&sources)?;
        let mut directories = BTreeSet::new();
        for (source, (_, key)) in sources.iter().zip(moves) {
            let target = self.path(key);
            rename(source, &target)?;
            let directory = target.parent().expect("keys have at least two parts");
            if !directories.contains(directory) {
                directories.insert(directory.to_owned());
            }
        }
        self.sync_names(&directories)?;
        for (_, original) in copies {
            fs::remove_file(original)
                .map_err(Error::io(format!("remove `{}`, which is stored", original.display())))?;
        }
        Ok(())
    }

    fn device(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.staging)?.dev())
    }

    /// Makes the bytes of some files durable.
    fn sync_files(&self, files: &[PathBuf]) -> Result<()> {
        if files.len() > FEW {
            return self.sync_everything();
        }
        self.sync_each(files)
    }

    /// Makes all names in some directories durable, and those of the directories themselves.
    fn sync_names(&self, directories: &BTreeSet<PathBuf>) -> Result<()> {
        if directories.len() > FEW {
            return self.sync_everything();
        }
        let unsynced = self.make_directories(directories.iter().map(PathBuf::as_path))?;
        self.sync_directories(unsynced)
    }

    /// Makes every name and byte of the file system durable: one call for many files (syncfs(2)).
    ///
    /// The kernel tells of a failed write once; others who wait for theirs must not take its silence for success, so
    /// a failure is remembered as long as the process lives.
    #[cfg(target_os = "linux")]
    fn sync_everything(&self) -> Result<()> {
        if !self.fsync {
            return Ok(());
        }
        let failed = || Error::io(format!("sync `{}`", self.root.display()));
        if self.broken.load(Ordering::SeqCst) {
            return Err(failed()(io::Error::other(
                "the disk has lost what was written to it before; see to it, and start anew",
            )));
        }
        rustix::fs::syncfs(&self.handle).map_err(|error| {
            self.broken.store(true, Ordering::SeqCst);
            failed()(error.into())
        })
    }

    /// Never called: there, each file and directory is synced by itself.
    #[cfg(not(target_os = "linux"))]
    fn sync_everything(&self) -> Result<()> {
        Err(Error::Unsupported {
            what: "syncing a whole file system".into(),
            detail: "this system syncs file by file".into(),
        })
    }

    /// Copies a file into staging, showing every piece to `see`.
    pub(super) fn copy(&self, file: &File, path: &Path, mut see: impl FnMut(&[u8])) -> Result<Staged> {
        let mut staged = Staged::create(&self.staging)?;
        let mut failure = Ok(());
        each_piece(file, |piece| {
            if failure.is_ok() {
                see(piece);
                failure = staged.write(piece);
            }
        })
        .map_err(Error::io(format!("read `{}`", path.display())))?;
        failure.map(|()| staged)
    }

    /// The path of a key, and its directory.
    fn target(&self, key: &Key) -> (PathBuf, PathBuf) {
        let target = self.path(key);
        let directory = target.parent().expect("keys have at least two parts").to_owned();
        (target, directory)
    }

    /// Makes directories where they are missing; what has to be synced once they have what they get.
    fn make_directories<'d>(&self, directories: impl IntoIterator<Item = &'d Path>) -> Result<Unsynced> {
        let mut unsynced = Unsynced::default();
        let durable = self.durable.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for directory in directories {
            // The root's own name too: nobody who only reads waits for it.
            let within = |path: &&Path| path.starts_with(&self.root);
            for new in directory.ancestors().take_while(within) {
                if durable.contains(new) || !unsynced.new.insert(new.to_owned()) {
                    break;
                }
                unsynced.directories.extend(new.parent().map(Path::to_owned));
            }
            unsynced.directories.insert(directory.to_owned());
        }
        drop(durable);
        // A parent comes before what is in it.
        for new in &unsynced.new {
            match fs::create_dir(new) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::io(format!("create `{}`", new.display()))(error));
                }
                _ => {}
            }
        }
        Ok(unsynced)
    }

    /// Makes the names in some directories durable, and those of the directories up to the root.
    fn sync_directories(&self, unsynced: Unsynced) -> Result<()> {
        self.sync_each(&Vec::from_iter(unsynced.directories))?;
        self.durable.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(unsynced.new);
        Ok(())
    }

    /// Syncs files or directories, side by side.
    fn sync_each(&self, paths: &[PathBuf]) -> Result<()> {
        let sync = |path: &PathBuf| self.sync(&open(path)?, path);
        if !self.fsync {
            return Ok(());
        }
        paths.chunks(SIDE_BY_SIDE).try_for_each(|paths| match paths {
            [one] => sync(one),
            several => std::thread::scope(|scope| {
                let syncing: Vec<_> = several.iter().map(|path| scope.spawn(move || sync(path))).collect();
                syncing
                    .into_iter()
                    .try_for_each(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            }),
        })
    }

    fn sync(&self, file: &File, path: &Path) -> Result<()> {
        if !self.fsync {
            return Ok(());
        }
        file.sync_all().map_err(Error::io(format!("sync `{}`", path.display())))
    }
}

/// Renames, making the directory where it is missing.
fn rename(source: &Path, target: &Path) -> Result<()> {
    let failed = || Error::io(format!("rename to `{}`", target.display()));
    match fs::rename(source, target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = target.parent().expect("keys have at least two parts");
            fs::create_dir_all(directory).map_err(failed())?;
            fs::rename(source, target).map_err(failed())
        }
        renamed => renamed.map_err(failed()),
    }
}

/// Opens for reading.
pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io(format!("open `{}`", path.display())))
}

/// Removes staging files in `directory` that nobody wrote to for `age`; returns how many. Blocks.
pub(super) fn sweep(directory: &Path, age: Duration) -> Result<u64> {
    let failed = || Error::io(format!("sweep `{}`", directory.display()));
    let now = SystemTime::now();
    let mut removed = 0;
    for entry in fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if !entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
            continue;
        }
        // Gone already: its writer placed or removed it.
        let Ok(metadata) = entry.metadata() else { continue };
        let idle = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
        if metadata.is_file() && idle.unwrap_or_default() >= age {
            match fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error)),
            }
        }
    }
    Ok(removed)
}
