//! Where a bundle waits until all of it is verified. Nothing reaches the store or the catalog before.
//!
//! Blobs are written to files by digest, whatever the order of the volumes, and hashed as they come. What is durable is
//! noted, so that the next run goes on from there. Nothing is made durable for less than a checkpoint's worth of bytes:
//! what a small bundle brings goes to the store from files that only this run knows to be whole.

mod verified;
mod volumes;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io::{Read, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    files::{self, read_small, write_whole},
    hashing::Hashing,
    header::{Header, Part},
    objects::{self, Object, ObjectsReader},
    records::{self, RecordsReader},
    trailer::Trailer,
    volume::HEAD,
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, PutOptions, StagedBlob, hash, tree},
};

const HEADER: &str = files::HEADER;
const SIGNATURE: &str = files::HEADER_SIGNATURE;
const STATE: &str = "load.progress";
/// Bytes of a block, as the system counts the room that a file takes.
const BLOCK: u64 = 512;
/// Bytes read at a time.
const BUFFER: usize = 1 << 20;
/// Bytes after which what was staged is made durable, and noted.
const CHECKPOINT: u64 = 256 << 20;
/// Bytes after which the disk begins with what was staged.
const FLUSH: u64 = 16 << 20;

/// What is told of a load while it runs: payload bytes taken, and whether to stop.
pub(crate) trait Watch {
    /// So many payload bytes more; an error stops the load where it is.
    fn bytes(&self, count: u64) -> Result<()>;
}

/// Where the bytes of a volume come from.
pub(crate) enum Input<'a> {
    /// A file that stands behind its head.
    File(File),
    /// A stream that stands behind the head.
    Stream(&'a mut dyn Read),
}

/// How many payload bytes of each volume are durable.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    volumes: BTreeMap<u32, u64>,
}

/// A bundle being taken in. Every method blocks.
pub(crate) struct Stage {
    folder: PathBuf,
    header: Header,
    bundle: Sha256Digest,
    trailer: Option<Trailer>,
    state: State,
    /// One bit for each blob that has to come.
    wanted: Vec<u64>,
    needed: u64,
    /// Bytes of those that are on the disk already.
    staged: u64,
    hashing: Hashing,
    /// The blob in the hasher, and how far.
    in_hasher: Option<(u64, u64)>,
    /// Ends that were sent to the hasher and not heard of.
    pending: BTreeMap<u64, Object>,
    /// Verified, to be named when their bytes are durable.
    verified: Vec<Blob>,
    /// Verified, and never to be named here: their bytes are made durable where they get their names in the store.
    ready: Arc<HashSet<Sha256Digest>>,
    /// Small files that are whole, to be named when their bytes are durable.
    unnamed: Vec<&'static str>,
    checkpoint: Option<JoinHandle<Result<()>>>,
    /// The disk being told to begin, while the reading goes on.
    flush: Option<JoinHandle<Result<()>>>,
    /// Bytes between checkpoints.
    every: u64,
    /// Volumes with something wanted in them, once they were looked for.
    missing: Option<BTreeSet<u32>>,
    /// Where the last volume ended in the list of objects.
    place: Option<volumes::Place>,
}

impl Stage {
    /// Opens the stage of a bundle whose header was verified; goes on with what is there.
    pub(crate) fn open(folder: PathBuf, header: Header, document: &[u8], signature: &str) -> Result<Self> {
        let bundle = Sha256Digest::of(document);
        fs::create_dir_all(folder.join("blobs"))
            .map_err(Error::io(format!("create `{}`", folder.display())))?;
        let known = read_small(&folder.join(HEADER), super::header::LIMIT).ok();
        let mut unnamed = Vec::new();
        if known.as_deref() != Some(document) {
            for (name, bytes) in [(SIGNATURE, signature.as_bytes()), (HEADER, document)] {
                let path = folder.join(unfinished(name));
                fs::write(&path, bytes).map_err(Error::io(format!("write `{}`", path.display())))?;
                unnamed.push(name);
            }
        }
        let state = read_small(&folder.join(STATE), 16 << 20).ok();
        let state = state.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Self {
            folder,
            header,
            bundle,
            trailer: None,
            state,
            wanted: Vec::new(),
            needed: 0,
            staged: 0,
            hashing: Hashing::start(),
            in_hasher: None,
            pending: BTreeMap::new(),
            verified: Vec::new(),
            ready: Arc::default(),
            unnamed,
            checkpoint: None,
            flush: None,
            every: CHECKPOINT,
            missing: None,
            place: None,
        })
    }

    /// Checkpoints as often as a test wants them.
    #[cfg(test)]
    pub(super) fn set_checkpoints(&mut self, every: u64) {
        self.every = every;
    }

    /// The header and signature that an earlier run has verified and kept in `folder`.
    pub(crate) fn kept(folder: &Path) -> Result<(Vec<u8>, String)> {
        let document = read_small(&folder.join(HEADER), super::header::LIMIT)?;
        let signature = read_small(&folder.join(SIGNATURE), super::key::FILE)?;
        Ok((document, String::from_utf8_lossy(&signature).into_owned()))
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether one of the two compressed files is here.
    pub(crate) fn has_part(&self, name: &str) -> bool {
        self.part_file(name).exists()
    }

    fn part_file(&self, name: &str) -> PathBuf {
        if self.unnamed.contains(&name) { self.folder.join(unfinished(name)) } else { self.folder.join(name) }
    }

    /// Takes one of the two compressed files, if it is what the header says.
    pub(crate) fn take_part(&mut self, name: &'static str, input: &mut dyn Read) -> Result<()> {
        let part = if name == records::NAME { &self.header.records } else { &self.header.objects };
        let temporary = self.folder.join(unfinished(name));
        let failed = || Error::io(format!("write `{}`", temporary.display()));
        let mut out = File::create(&temporary).map_err(failed())?;
        let (mut sha256, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0; BUFFER];
        let mut input = input.take(part.size + 1);
        loop {
            let read = input.read(&mut buffer).map_err(Error::io(format!("read `{name}`")))?;
            if read == 0 {
                break;
            }
            sha256.update(&buffer[..read]);
            size += read as u64;
            out.write_all(&buffer[..read]).map_err(failed())?;
        }
        let found = Sha256Digest::from(sha256);
        if size != part.size || found != part.sha256 {
            let _ = fs::remove_file(&temporary);
            return Err(Error::Integrity {
                what: format!("`{name}`"),
                expected: format!("{} ({} bytes)", part.sha256, part.size),
                actual: format!("{found} ({size} bytes, or more)"),
            });
        }
        self.unnamed.push(name);
        Ok(())
    }

    /// The list of blobs, from its beginning.
    pub(crate) fn objects(&self) -> Result<ObjectsReader<File>> {
        let file =
            File::open(self.part_file(objects::NAME)).map_err(Error::io("read the list of objects"))?;
        ObjectsReader::new(file, &self.header.objects, self.header.volumes)
    }

    /// The records, from their beginning.
    pub(crate) fn records(&self) -> Result<RecordsReader<File>> {
        let file = File::open(self.part_file(records::NAME)).map_err(Error::io("read the records"))?;
        RecordsReader::new(file, &self.header.records)
    }

    /// The records as a blob for the store, which keeps them as evidence; those of the stage stay.
    pub(crate) fn records_blob(&self) -> Result<StagedBlob> {
        self.kept_blob(records::NAME, "records.kept", self.header.records.sha256)
    }

    /// The same for the header.
    pub(crate) fn header_blob(&self) -> Result<StagedBlob> {
        self.kept_blob(HEADER, "header.kept", self.bundle)
    }

    fn kept_blob(&self, name: &str, copy: &str, sha256: Sha256Digest) -> Result<StagedBlob> {
        let path = self.folder.join(copy);
        let tree_path = path.with_extension("tree");
        let failed = || Error::io(format!("write `{}`", path.display()));
        fs::copy(self.part_file(name), &path).map_err(failed())?;
        let file = File::open(&path).map_err(failed())?;
        let options = PutOptions { expected: Some(sha256), ..PutOptions::default() };
        let (blob, tree) = hash::hash_file(&file, &path, &options)?;
        if tree::is_stored(blob.size) {
            fs::write(&tree_path, tree.encode()).map_err(failed())?;
        }
        Ok(StagedBlob { blob, path, tree: tree_path })
    }

    pub(crate) fn records_part(&self) -> &Part {
        &self.header.records
    }

    /// Finds out which blobs have to come: those that neither `has` nor the stage has.
    pub(crate) fn list(&mut self, mut has: impl FnMut(&[Object]) -> Result<Vec<bool>>) -> Result<()> {
        let mut objects = self.objects()?;
        self.wanted = vec![0; (self.header.objects.lines as usize).div_ceil(64)];
        (self.needed, self.staged, self.missing) = (0, 0, None);
        let taken = self.state.volumes.clone();
        let mut batch = Vec::new();
        loop {
            let object = objects.next()?;
            let ended = object.is_none();
            batch.extend(object);
            if batch.len() == 256 || ended {
                for (object, has) in batch.iter().zip(has(&batch)?) {
                    let part = self.part_path(&object.blob.sha256);
                    if has {
                        // Volumes that come now leave it as it is.
                        let _ = fs::remove_file(part);
                    } else if !self.blob_path(&object.blob.sha256).exists() {
                        match fs::metadata(&part) {
                            Ok(part) => self.staged += object.blob.size.min(part.blocks() * BLOCK),
                            // It was in the store when its volumes were taken, or came there from here, and was
                            // collected since.
                            Err(_) if object.blob.size > 0 => self.take_again(object),
                            Err(_) => {}
                        }
                        self.wanted[(object.index / 64) as usize] |= 1 << (object.index % 64);
                        self.needed += object.blob.size;
                        if object.blob.size == 0 {
                            self.take_empty(object)?;
                        }
                    }
                }
                batch.clear();
            }
            if ended {
                return if self.state.volumes == taken { Ok(()) } else { self.write_state() };
            }
        }
    }

    /// The empty blob has no place in a volume.
    fn take_empty(&mut self, object: &Object) -> Result<()> {
        if object.blob.sha256 != Sha256Digest::of(b"") || object.blob.blake3 != blake3::hash(b"").into() {
            return Err(wrong(&self.header, object, &Sha256Digest::of(b"")));
        }
        let path = self.blob_path(&object.blob.sha256);
        File::create(&path).map_err(Error::io(format!("create `{}`", path.display())))?;
        self.forget(object.index);
        Ok(())
    }

    /// Bytes that have to come.
    pub(crate) fn needed(&self) -> u64 {
        self.needed
    }

    /// Bytes of them that the disk has no room taken for yet.
    pub(crate) fn to_come(&self) -> u64 {
        self.needed - self.staged
    }

    fn is_wanted(&self, index: u64) -> bool {
        self.wanted.get((index / 64) as usize).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    /// The next blob that has to come.
    pub(crate) fn next_wanted(&self, objects: &mut ObjectsReader<File>) -> Result<Option<Object>> {
        while let Some(object) = objects.next()? {
            if self.is_wanted(object.index) {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Where the bytes of a blob may be put by whoever fetches them whole; [`finish`](Self::finish) verifies them.
    pub(crate) fn place(&self, blob: &Blob) -> PathBuf {
        self.part_path(&blob.sha256)
    }

    fn forget(&mut self, index: u64) {
        if let Some(bits) = self.wanted.get_mut((index / 64) as usize) {
            *bits &= !(1 << (index % 64));
        }
    }

    /// The staged file of a blob, if it is here and verified.
    pub(crate) fn staged(&self, blob: &Blob) -> Option<StagedBlob> {
        let path = self.verified_path(&blob.sha256);
        path.exists().then(|| StagedBlob { blob: *blob, path, tree: self.tree_path(&blob.sha256) })
    }

    /// The verified blobs, for others to read.
    pub(crate) fn staged_blobs(&self) -> StagedBlobs {
        StagedBlobs { folder: self.blobs(), ready: Arc::clone(&self.ready) }
    }

    fn verified_path(&self, sha256: &Sha256Digest) -> PathBuf {
        if self.ready.contains(sha256) { self.part_path(sha256) } else { self.blob_path(sha256) }
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    fn blob_path(&self, sha256: &Sha256Digest) -> PathBuf {
        blob_path(&self.blobs(), sha256)
    }

    fn part_path(&self, sha256: &Sha256Digest) -> PathBuf {
        self.blob_path(sha256).with_extension(PART)
    }

    fn tree_path(&self, sha256: &Sha256Digest) -> PathBuf {
        self.blob_path(sha256).with_extension("tree")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.settle();
        // The next run may be given volumes only.
        if let Err(error) = self.keep() {
            tracing::warn!(%error, "cannot keep what was staged; the next run begins with `bundle.json` again");
        }
    }
}

/// Where the verified blobs of a stage are.
#[derive(Debug, Clone)]
pub(crate) struct StagedBlobs {
    folder: PathBuf,
    ready: Arc<HashSet<Sha256Digest>>,
}

impl StagedBlobs {
    /// The file of a blob, whether it is there or not.
    pub(crate) fn path(&self, sha256: &Sha256Digest) -> PathBuf {
        let path = blob_path(&self.folder, sha256);
        if self.ready.contains(sha256) { path.with_extension(PART) } else { path }
    }
}

/// The extension of a blob that is not both verified and durable.
const PART: &str = "part";

/// What a small file is called before it is durable.
fn unfinished(name: &str) -> String {
    format!("{name}.new")
}

/// Where a staged blob lies below `blobs`: all in one folder, because folders cost more than files.
fn blob_path(blobs: &Path, sha256: &Sha256Digest) -> PathBuf {
    blobs.join(sha256.to_string())
}

fn write_state(folder: &Path, state: &State) -> Result<()> {
    let bytes = serde_json::to_vec(state).map_err(|error| Error::invalid(STATE, error.to_string()))?;
    write_whole(folder, STATE, &bytes)
}

pub(super) fn wrong(header: &Header, object: &Object, found: &Sha256Digest) -> Error {
    let (volume, offset) = header.volumes.place(object.at);
    Error::Integrity {
        what: format!(
            "blob `{}` in volume {volume} (`{}`), byte {}",
            object.blob.sha256,
            header.label(volume),
            offset + HEAD
        ),
        expected: format!("{} ({} bytes)", object.blob.sha256, object.blob.size),
        actual: found.to_string(),
    }
}
