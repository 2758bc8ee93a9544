//! A file that is being downloaded: its bytes so far, their hash, and what they can be recognised by.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use url::Url;

use super::{Validators, url::without_userinfo};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, hash::BlobHasher, tree::Tree},
};

/// Bytes gathered before they are hashed and written; at most so many are fetched again after a crash.
const CHUNK: usize = 256 << 10;
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

/// A partial file. After [`flush`](Self::flush) all bytes pushed are in the file and in the hash.
pub(super) struct Partial {
    path: PathBuf,
    url_sha256: Sha256Digest,
    /// Away only while a blocking task has it, or after that task failed.
    disk: Option<Box<Disk>>,
    pending: Vec<u8>,
    written: u64,
    pub(super) validators: Validators,
}

impl Partial {
    /// Opens `path`, or creates it. Bytes that are there are kept when the sidecar recognises them, or when
    /// `trust_digest` says that a known digest will decide in the end; else they are discarded.
    pub(super) async fn open(path: &Path, url: &Url, trust_digest: bool) -> Result<Self> {
        let path = path.to_owned();
        let url_sha256 = Sha256Digest::of(without_userinfo(url).as_str().as_bytes());
        blocking(move || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(Error::io(format!("open `{}`", path.display())))?;
            let validators = read_sidecar(&path, url_sha256).unwrap_or_default();
            let mut hasher = BlobHasher::default();
            let written = if trust_digest || !validators.is_empty() {
                hash(&mut file, &mut hasher).map_err(Error::io(format!("read `{}`", path.display())))?
            } else {
                file.set_len(0).map_err(Error::io(format!("truncate `{}`", path.display())))?;
                0
            };
            let disk = Some(Box::new(Disk { file, hasher }));
            Ok(Self { path, url_sha256, disk, pending: Vec::new(), written, validators })
        })
        .await
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Bytes that are in the file.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Discards all bytes and what they were recognised by.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.pending.clear();
        self.validators = Validators::default();
        let sidecar = sidecar_path(&self.path);
        self.written = 0;
        self.with_disk("truncate", move |disk| {
            remove(&sidecar)?;
            disk.hasher = BlobHasher::default();
            disk.file.set_len(0)?;
            disk.file.seek(SeekFrom::Start(0)).map(drop)
        })
        .await
    }

    /// Remembers what the bytes to come can be recognised by, also for another process.
    pub(super) async fn recognise_by(&mut self, validators: Validators) -> Result<()> {
        let sidecar = sidecar_path(&self.path);
        let text = if validators.is_empty() {
            None
        } else {
            let meta = Sidecar::V1 { url_sha256: self.url_sha256, validators: validators.clone() };
            Some(serde_json::to_vec(&meta).expect("strings and a digest always serialise"))
        };
        self.validators = validators;
        self.with_disk("describe", move |_| match text {
            Some(text) => std::fs::write(&sidecar, text),
            None => remove(&sidecar),
        })
        .await
    }

    /// Takes more bytes; writes when a chunk is full.
    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Hashes and writes what is pending. When dropped midway, the blocking task finishes by itself.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let length = pending.len() as u64;
        self.with_disk("write", move |disk| {
            disk.file.write_all(&pending)?;
            disk.hasher.update(&pending);
            Ok(())
        })
        .await?;
        self.written += length;
        Ok(())
    }

    /// What it is, and its verification tree, once flushed.
    pub(super) fn blob(&self) -> Option<(Blob, Tree)> {
        Some(self.disk.as_ref()?.hasher.clone().finish())
    }

    /// Drops the sidecar: the file is complete.
    pub(super) async fn complete(mut self) -> Result<()> {
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
        let operation = format!("{verb} `{}`", self.path.display());
        let Some(mut disk) = self.disk.take() else {
            return Err(Error::io(operation)(std::io::Error::other("an earlier operation failed")));
        };
        let disk = blocking(move || {
            work(&mut disk).map_err(Error::io(operation))?;
            Ok(disk)
        })
        .await?;
        self.disk = Some(disk);
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::io("run a blocking task")(std::io::Error::other(error))))
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
