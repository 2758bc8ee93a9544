//! A file that is being downloaded: its bytes so far, their hash, and what they can be recognised by.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, spawn_blocking};
use url::Url;

use super::{Validators, url::without_userinfo};
use crate::{
    blocking,
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, hash::BlobHasher, tree::Tree},
};

/// Bytes gathered before they are hashed and written.
const CHUNK: usize = 256 << 10;
/// Bytes gathered while those before are hashed and written; what was gathered is fetched again after a crash.
const MOST: usize = 2 << 20;
/// Pieces gathered, however small they are.
const PIECES: usize = 4096;
/// Bytes after which what is written is sent to the disk, so that the last sync of a large file has little to do.
const SYNCED: u64 = 8 << 20;
/// How long a writer that was dropped may take to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// A sidecar is a few hundred bytes; more than this is not ours.
const SIDECAR_LIMIT: u64 = 16 << 10;

/// The sidecar `FILE.meta`: which representation the bytes belong to. The URL is kept as a digest, because
/// its query may be a secret.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Sidecar {
    #[serde(rename = "1")]
    V1 { url_sha256: Sha256Digest, validators: Validators },
}

/// The file on disk and the hash of all that is in it.
struct Disk {
    file: File,
    hasher: BlobHasher,
}

/// Some bytes on their way to the disk, and the task that has both.
struct Writing {
    bytes: u64,
    job: JoinHandle<Result<Box<Disk>>>,
}

/// A part of the file on its way from memory to the disk.
struct Syncing {
    /// Where it ends.
    until: u64,
    job: JoinHandle<Result<()>>,
}

/// A partial file. Bytes are hashed and written while the next ones come; after [`flush`](Self::flush) all that were
/// pushed are in the file and in the hash.
pub(super) struct Partial {
    path: PathBuf,
    url_sha256: Sha256Digest,
    /// Away only while a blocking task has it, or after that task failed.
    disk: Option<Box<Disk>>,
    writing: Option<Writing>,
    /// Its answer is waited for: a disk reports a lost write once.
    syncing: Option<Syncing>,
    synced: u64,
    pending: Vec<Bytes>,
    /// Bytes of what is pending.
    gathered: usize,
    written: u64,
    /// Whether there may be a sidecar.
    described: bool,
    pub(super) validators: Validators,
}

impl Partial {
    /// Opens `path`, or creates it. Bytes that are there are kept when the sidecar recognises them, or when
    /// `trust_digest` says that a known digest will decide in the end; else they are discarded.
    pub(super) async fn open(path: &Path, url: &Url, trust_digest: bool) -> Result<Self> {
        let path = path.to_owned();
        let url_sha256 = Sha256Digest::of(without_userinfo(url).as_str().as_bytes());
        blocking::run(move || {
            let mut file = open_alone(&path).map_err(Error::io(format!("open `{}`", path.display())))?;
            let described = sidecar_path(&path).exists();
            let validators = read_sidecar(&path, url_sha256).filter(|_| described).unwrap_or_default();
            let mut hasher = BlobHasher::default();
            let written = if trust_digest || !validators.is_empty() {
                hash(&mut file, &mut hasher).map_err(Error::io(format!("read `{}`", path.display())))?
            } else {
                file.set_len(0).map_err(Error::io(format!("truncate `{}`", path.display())))?;
                0
            };
            let disk = Some(Box::new(Disk { file, hasher }));
            Ok(Self {
                path,
                url_sha256,
                disk,
                writing: None,
                syncing: None,
                synced: written,
                pending: Vec::new(),
                gathered: 0,
                written,
                described,
                validators,
            })
        })
        .await
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        let writing = self.writing.as_ref().map_or(0, |writing| writing.bytes);
        self.written + writing + self.gathered as u64
    }

    /// Bytes that are in the file.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Discards all bytes and what they were recognised by.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.pending.clear();
        self.gathered = 0;
        self.validators = Validators::default();
        let sidecar = sidecar_path(&self.path);
        self.settle().await?;
        (self.written, self.synced) = (0, 0);
        self.described = false;
        self.with_disk("truncate", move |disk| {
            remove(&sidecar)?;
            disk.hasher = BlobHasher::default();
            disk.file.set_len(0)?;
            disk.file.seek(SeekFrom::Start(0)).map(drop)
        })
        .await
    }

    /// Remembers what the bytes to come can be recognised by; also for another process, where `for_others`.
    pub(super) async fn recognise_by(&mut self, validators: Validators, for_others: bool) -> Result<()> {
        let sidecar = sidecar_path(&self.path);
        let text = if validators.is_empty() || !for_others {
            None
        } else {
            let meta = Sidecar::V1 { url_sha256: self.url_sha256, validators: validators.clone() };
            Some(serde_json::to_vec(&meta).expect("strings and a digest always serialise"))
        };
        self.validators = validators;
        if text.is_none() && !self.described {
            return Ok(());
        }
        self.described = true;
        self.with_disk("describe", move |_| match text {
            Some(text) => std::fs::write(&sidecar, text),
            None => remove(&sidecar),
        })
        .await
    }

    /// Takes more bytes; writes when a chunk is full. Waits only when much more has come than could be written.
    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<()> {
        self.gathered += bytes.len();
        self.pending.push(bytes);
        let is_full = self.gathered >= MOST || self.pending.len() >= PIECES;
        if is_full || self.writing.as_ref().is_some_and(|writing| writing.job.is_finished()) {
            self.settle().await?;
        }
        if self.writing.is_none() && (is_full || self.gathered >= CHUNK) { self.write() } else { Ok(()) }
    }

    /// Whether some bytes are on their way to the disk.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Waits until what is being written is, and goes on with what was gathered meanwhile. May be dropped at any time.
    pub(super) async fn progress(&mut self) -> Result<()> {
        self.settle().await?;
        if self.gathered >= CHUNK { self.write() } else { Ok(()) }
    }

    /// Hashes and writes what is pending. When dropped midway, the blocking task finishes by itself.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.settle().await?;
        if !self.pending.is_empty() {
            self.write()?;
        }
        self.settle().await?;
        self.settle_sync().await
    }

    /// Begins to hash and write what is pending.
    fn write(&mut self) -> Result<()> {
        let mut disk = self.disk.take().ok_or_else(|| self.broken("write"))?;
        let operation = self.operation("write");
        let pieces = std::mem::take(&mut self.pending);
        let bytes = std::mem::take(&mut self.gathered) as u64;
        let job = spawn_blocking(move || {
            disk.append(&pieces).map_err(Error::io(operation))?;
            Ok(disk)
        });
        self.writing = Some(Writing { bytes, job });
        Ok(())
    }

    /// Waits until what is being written is.
    async fn settle(&mut self) -> Result<()> {
        let Some(Writing { bytes, job }) = &mut self.writing else { return Ok(()) };
        let (done, bytes) = (blocking::joined(job).await, *bytes);
        self.writing = None;
        self.disk = Some(done?);
        self.written += bytes;
        if self.syncing.as_ref().is_some_and(|syncing| syncing.job.is_finished()) {
            self.settle_sync().await?;
        }
        if self.syncing.is_none() && self.written >= self.synced + SYNCED {
            self.sync();
        }
        Ok(())
    }

    /// Begins to send what is written to the disk, while more comes.
    fn sync(&mut self) {
        let path = self.path.clone();
        // Opened anew: the lock goes with the file that is written to, and not when this is done.
        let operation = self.operation("sync");
        let job = spawn_blocking(move || {
            let synced = match File::open(&path) {
                Ok(file) => file.sync_data(),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            synced.map_err(Error::io(operation))
        });
        self.syncing = Some(Syncing { until: self.written, job });
    }

    /// Waits until what is being sent to the disk is there.
    async fn settle_sync(&mut self) -> Result<()> {
        let Some(Syncing { until, job }) = &mut self.syncing else { return Ok(()) };
        let (done, until) = (blocking::joined(job).await, *until);
        (self.syncing, self.synced) = (None, until);
        done
    }

    /// What it is, and its verification tree, once flushed.
    pub(super) fn blob(&self) -> Option<(Blob, Tree)> {
        Some(self.disk.as_ref()?.hasher.clone().finish())
    }

    /// Drops the sidecar: the file is complete.
    pub(super) async fn complete(mut self) -> Result<()> {
        if !self.described {
            return Ok(());
        }
        let sidecar = sidecar_path(&self.path);
        self.with_disk("complete", move |_| remove(&sidecar)).await
    }

    /// Removes the file and its sidecar.
    pub(super) async fn discard(mut self) -> Result<()> {
        let (path, sidecar) = (self.path.clone(), sidecar_path(&self.path));
        self.with_disk("remove", move |_| {
            remove(&sidecar)?;
            remove(&path)
        })
        .await
    }

    async fn with_disk<F>(&mut self, verb: &str, work: F) -> Result<()>
    where
        F: FnOnce(&mut Disk) -> std::io::Result<()> + Send + 'static,
    {
        self.settle().await?;
        let operation = self.operation(verb);
        let mut disk = self.disk.take().ok_or_else(|| self.broken(verb))?;
        let disk = blocking::run(move || {
            work(&mut disk).map_err(Error::io(operation))?;
            Ok(disk)
        })
        .await?;
        self.disk = Some(disk);
        Ok(())
    }

    fn operation(&self, verb: &str) -> String {
        format!("{verb} `{}`", self.path.display())
    }

    fn broken(&self, verb: &str) -> Error {
        Error::io(self.operation(verb))(std::io::Error::other("an earlier operation failed"))
    }
}

impl Disk {
    fn append(&mut self, pieces: &[Bytes]) -> std::io::Result<()> {
        let Self { file, hasher } = self;
        hasher.update_beside(pieces, || pieces.iter().try_for_each(|piece| file.write_all(piece)))
    }
}

/// Opens or creates the file once nobody writes into it any more: a download that was dropped may be writing its last
/// piece, for milliseconds. Who has it for longer is stopped, and keeps what it has; there is a new file then.
fn open_alone(path: &Path) -> std::io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let begun = Instant::now();
    loop {
        let file = open()?;
        match file.try_lock() {
            // A file system without locks.
            Err(TryLockError::Error(_)) => return Ok(file),
            Ok(()) => {
                // Meanwhile it may have been removed.
                let named = std::fs::metadata(path).ok().map(|named| (named.dev(), named.ino()));
                let own = file.metadata()?;
                if named == Some((own.dev(), own.ino())) {
                    return Ok(file);
                }
            }
            Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => remove(path)?,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn sidecar_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".meta");
    name.into()
}

/// The sidecar's validators; nothing when it is missing, torn or about another URL.
fn read_sidecar(path: &Path, url_sha256: Sha256Digest) -> Option<Validators> {
    let mut text = String::new();
    File::open(sidecar_path(path)).ok()?.take(SIDECAR_LIMIT).read_to_string(&mut text).ok()?;
    let Sidecar::V1 { url_sha256: known, validators } = serde_json::from_str(&text).ok()?;
    (known == url_sha256).then_some(validators)
}

fn hash(file: &mut File, hasher: &mut BlobHasher) -> std::io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was dropped in the middle of a piece ends that piece first; what hangs keeps a file that has no name.
    #[tokio::test]
    async fn a_file_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("partial");
        let url = Url::parse("http://127.0.0.1/x").unwrap();
        let mut first = Partial::open(&path, &url, true).await.unwrap();
        first.push(Bytes::from(vec![1; CHUNK])).await.unwrap();
        drop(first);
        let second = Partial::open(&path, &url, true).await.unwrap();
        assert_eq!(second.len(), CHUNK as u64, "the piece that was under way is whole");
        let begun = Instant::now();
        let third = Partial::open(&path, &url, true).await.unwrap();
        assert!(begun.elapsed() >= PATIENCE && third.len() == 0);
        drop(second);
        drop(third);
        assert_eq!(Partial::open(&path, &url, true).await.unwrap().len(), 0);
    }
}
