//! Receiving bytes: hashed as they come, in memory while they are few, in a staging file when they are many.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    mem,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures::{TryStreamExt as _, future::BoxFuture};
use sha2::{Digest as _, Sha256};

use super::{
    Blob, ByteStream, PutOptions,
    tree::{Tree, TreeBuilder},
};
use crate::{
    blocking,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Staging files carry this, so that sweeping a shared directory takes nothing else.
pub(super) const STAGING_PREFIX: &str = "reservoir-staged-";

/// One piece of hashing and writing: large enough to hide the hop to another thread.
const BATCH: usize = 1024 * 1024;

/// Files from this size on are hashed by two threads.
const PARALLEL: u64 = 4 * 1024 * 1024;

/// Bytes that take longer to hash than a thread takes to begin.
const WORTH_A_THREAD: usize = 512 * 1024;

/// Both digests and the tree, in one pass.
#[derive(Default, Clone)]
pub(crate) struct BlobHasher {
    sha256: Sha256,
    tree: TreeBuilder,
}

impl BlobHasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        // In pieces that stay in the cache between the two.
        for piece in bytes.chunks(128 * 1024) {
            self.sha256.update(piece);
            self.tree.update(piece);
        }
    }

    /// Takes pieces while `beside` is done with them, such as writing them: on two threads where they are enough to be
    /// worth one. Blocks.
    pub(crate) fn update_beside<T: Send>(
        &mut self,
        pieces: &[Bytes],
        beside: impl FnOnce() -> T + Send,
    ) -> T {
        if pieces.iter().map(Bytes::len).sum::<usize>() < WORTH_A_THREAD {
            let done = beside();
            for piece in pieces {
                self.update(piece);
            }
            return done;
        }
        let Self { sha256, tree } = self;
        std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                let done = beside();
                for piece in pieces {
                    tree.update(piece);
                }
                done
            });
            for piece in pieces {
                sha256.update(piece);
            }
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub(crate) fn finish(self) -> (Blob, Tree) {
        let tree = self.tree.finish();
        (Blob { sha256: self.sha256.into(), blake3: tree.root(), size: tree.size() }, tree)
    }
}

/// A file that is removed when dropped, unless it was renamed into place.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) placed: bool,
}

impl Staged {
    /// Creates a new file of a random name.
    pub(super) fn create(directory: &Path) -> Result<Self> {
        let path = directory.join(format!("{STAGING_PREFIX}{}", uuid::Uuid::new_v4().simple()));
        let create = || File::options().read(true).write(true).create_new(true).open(&path);
        let file = match create() {
            // What a host names as scratch may be a folder that nobody has made yet.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(directory)
                    .map_err(Error::io(format!("create `{}`", directory.display())))?;
                create()
            }
            created => created,
        };
        let file = file.map_err(Error::io(format!("create `{}`", path.display())))?;
        Ok(Self { path, file, placed: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(format!("write `{}`", self.path.display())))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // Whatever stays is found by `sweep_leftovers`.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where received bytes are until they are placed.
pub(super) enum Content {
    /// Few bytes.
    Memory(Vec<Bytes>),
    /// Many bytes.
    File(Staged),
}

/// Bytes that are what their sender promised.
pub(super) struct Received {
    pub(super) blob: Blob,
    pub(super) tree: Tree,
    pub(super) content: Content,
}

/// Hashes all of `body`, keeping at most `in_memory` bytes and a batch in memory.
///
/// When dropped, the staging file is removed as soon as the batch being written is done.
pub(super) async fn receive(
    mut body: ByteStream,
    options: &PutOptions,
    staging: &Path,
    in_memory: usize,
) -> Result<Received> {
    let spool = Spool { hasher: BlobHasher::default(), staged: None, staging: staging.to_owned() };
    let mut writing: BoxFuture<'static, Result<Spool>> = Box::pin(async { Ok(spool) });
    let mut pending = Vec::new();
    let (mut held, mut threshold, mut size) = (0, in_memory.max(BATCH), 0);
    while let Some(chunk) = body.try_next().await? {
        if chunk.is_empty() {
            continue;
        }
        size += chunk.len() as u64;
        check_size(size, options)?;
        held += chunk.len();
        pending.push(chunk);
        if held >= threshold {
            let batch = mem::take(&mut pending);
            (held, threshold) = (0, BATCH);
            let mut spool = writing.await?;
            let job = tokio::task::spawn_blocking(move || spool.write(&batch).map(|()| spool));
            writing = Box::pin(blocking::joined(job));
        }
    }
    let spool = writing.await?;
    let received = blocking::run(move || spool.finish(pending)).await?;
    check_promise(&received.blob, options)?;
    Ok(received)
}

struct Spool {
    hasher: BlobHasher,
    staged: Option<Staged>,
    staging: PathBuf,
}

impl Spool {
    fn write(&mut self, batch: &[Bytes]) -> Result<()> {
        let staged = match &mut self.staged {
            Some(staged) => staged,
            none => none.insert(Staged::create(&self.staging)?),
        };
        for bytes in batch {
            self.hasher.update(bytes);
            staged.write(bytes)?;
        }
        Ok(())
    }

    fn finish(mut self, rest: Vec<Bytes>) -> Result<Received> {
        if self.staged.is_some() {
            self.write(&rest)?;
        } else {
            for bytes in &rest {
                self.hasher.update(bytes);
            }
        }
        let (blob, tree) = self.hasher.finish();
        let content = self.staged.map_or(Content::Memory(rest), Content::File);
        Ok(Received { blob, tree, content })
    }
}

/// Refuses as soon as too much came.
fn check_size(size: u64, options: &PutOptions) -> Result<()> {
    if let Some(limit) = options.limit
        && size > limit
    {
        return Err(Error::LimitExceeded { what: "a blob".into(), limit: format!("{limit} bytes") });
    }
    match options.size {
        Some(expected) if size > expected => Err(wrong_size(expected, format!("more than {expected} bytes"))),
        _ => Ok(()),
    }
}

fn check_promise(blob: &Blob, options: &PutOptions) -> Result<()> {
    check_size(blob.size, options)?;
    if let Some(expected) = options.size
        && blob.size != expected
    {
        return Err(wrong_size(expected, format!("{} bytes", blob.size)));
    }
    match options.expected {
        Some(expected) if blob.sha256 != expected => Err(Error::Integrity {
            what: "a blob".into(),
            expected: expected.to_string(),
            actual: blob.sha256.to_string(),
        }),
        _ => Ok(()),
    }
}

fn wrong_size(expected: u64, actual: String) -> Error {
    Error::Integrity { what: "a blob".into(), expected: format!("{expected} bytes"), actual }
}

/// Hashes an open file and checks it against what was promised. Blocks.
pub(crate) fn hash_file(file: &File, path: &Path, options: &PutOptions) -> Result<(Blob, Tree)> {
    hash_file_watched(file, path, options, &mut |_| Ok(()))
}

/// The same, and tells how many bytes more were read; an error of who is told ends it.
pub(crate) fn hash_file_watched(
    file: &File,
    path: &Path,
    options: &PutOptions,
    watch: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(Blob, Tree)> {
    let failed = || Error::io(format!("read `{}`", path.display()));
    let size = file.metadata().map_err(failed())?.len();
    check_size(size, options)?;
    let (mut stopped, stop) = (None, AtomicBool::new(false));
    let mut go_on = |piece: &[u8]| match watch(piece.len() as u64) {
        Ok(()) => true,
        Err(error) => {
            stop.store(true, Ordering::Relaxed);
            stopped = Some(error);
            false
        }
    };
    let (blob, tree) = if size < PARALLEL {
        let mut hasher = BlobHasher::default();
        let read = each_piece_while(file, |piece| {
            hasher.update(piece);
            go_on(piece)
        });
        read.map_err(failed())?;
        hasher.finish()
    } else {
        // Each thread reads for itself: a second copy out of the page cache costs a tenth of SHA-256.
        let mut tree = TreeBuilder::default();
        let mut sha256 = Sha256::new();
        let (first, second) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                each_piece_while(file, |piece| {
                    tree.update(piece);
                    !stop.load(Ordering::Relaxed)
                })
            });
            let first = each_piece_while(file, |piece| {
                sha256.update(piece);
                go_on(piece)
            });
            (first, other.join())
        });
        first.map_err(failed())?;
        second.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(failed())?;
        let tree = tree.finish();
        (Blob { sha256: Sha256Digest::from(sha256), blake3: tree.root(), size: tree.size() }, tree)
    };
    if let Some(error) = stopped {
        return Err(error);
    }
    if blob.size != size {
        return Err(wrong_size(size, format!("{} bytes: the file changed while it was read", blob.size)));
    }
    check_promise(&blob, options)?;
    Ok((blob, tree))
}

/// Reads a whole file from its beginning, without moving its cursor.
pub(super) fn each_piece(file: &File, mut take: impl FnMut(&[u8])) -> std::io::Result<()> {
    each_piece_while(file, |piece| {
        take(piece);
        true
    })
}

/// The same, for as long as more is wanted.
fn each_piece_while(file: &File, mut take: impl FnMut(&[u8]) -> bool) -> std::io::Result<()> {
    let mut buffer = vec![0; 512 * 1024];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                if !take(&buffer[..read]) {
                    return Ok(());
                }
                offset += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
