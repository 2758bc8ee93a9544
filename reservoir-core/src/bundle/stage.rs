//! Where a bundle waits until all of it is verified. Nothing reaches the store or the catalog before.
//!
//! Blobs are written to files by digest, whatever the order of the volumes, and hashed as they come. What is durable is
//! noted, so that the next run goes on from there.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    hashing::Hashing,
    header::{Header, Part},
    objects::{self, Object, ObjectsReader},
    records::{self, RecordsReader},
    space::sync_all,
    tape::cut_short,
    trailer::Trailer,
    volume::{HEAD, PIECE, VolumeHead},
    write::{Pieces, read_small, write_whole},
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, StagedBlob, hash, tree},
};

const HEADER: &str = super::write::HEADER;
const SIGNATURE: &str = super::write::HEADER_SIGNATURE;
const STATE: &str = "load.progress";
/// Bytes read at a time.
const BUFFER: usize = 1 << 20;
/// Bytes after which what was staged is made durable, and noted.
const CHECKPOINT: u64 = 256 << 20;

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
    hashing: Hashing,
    /// The blob in the hasher, and how far.
    in_hasher: Option<(u64, u64)>,
    /// Ends that were sent to the hasher and not heard of.
    pending: BTreeMap<u64, Object>,
    /// Verified, to be named when their bytes are durable.
    verified: Vec<Blob>,
    checkpoint: Option<JoinHandle<Result<()>>>,
}

impl Stage {
    /// Opens the stage of a bundle whose header was verified; goes on with what is there.
    pub(crate) fn open(folder: PathBuf, header: Header, document: &[u8], signature: &str) -> Result<Self> {
        let bundle = Sha256Digest::of(document);
        fs::create_dir_all(folder.join("blobs"))
            .map_err(Error::io(format!("create `{}`", folder.display())))?;
        let known = read_small(&folder.join(HEADER), super::header::LIMIT).ok();
        if known.as_deref() != Some(document) {
            write_whole(&folder, SIGNATURE, signature.as_bytes())?;
            write_whole(&folder, HEADER, document)?;
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
            hashing: Hashing::start(),
            in_hasher: None,
            pending: BTreeMap::new(),
            verified: Vec::new(),
            checkpoint: None,
        })
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
        self.folder.join(name).exists()
    }

    /// Takes one of the two compressed files, if it is what the header says.
    pub(crate) fn take_part(&self, name: &'static str, input: &mut dyn Read) -> Result<()> {
        let part = if name == records::NAME { &self.header.records } else { &self.header.objects };
        let temporary = self.folder.join(format!("{name}.new"));
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
        out.sync_all().map_err(failed())?;
        fs::rename(&temporary, self.folder.join(name)).map_err(failed())
    }

    /// The list of blobs, from its beginning.
    pub(crate) fn objects(&self) -> Result<ObjectsReader<File>> {
        let file =
            File::open(self.folder.join(objects::NAME)).map_err(Error::io("read the list of objects"))?;
        ObjectsReader::new(file, &self.header.objects, self.header.volumes)
    }

    /// The records, from their beginning.
    pub(crate) fn records(&self) -> Result<RecordsReader<File>> {
        let file = File::open(self.folder.join(records::NAME)).map_err(Error::io("read the records"))?;
        RecordsReader::new(file, &self.header.records)
    }

    /// Where the records are.
    pub(crate) fn records_file(&self) -> PathBuf {
        self.folder.join(records::NAME)
    }

    pub(crate) fn records_part(&self) -> &Part {
        &self.header.records
    }

    /// Finds out which blobs have to come: those that neither `has` nor the stage has.
    pub(crate) fn list(&mut self, mut has: impl FnMut(&[Object]) -> Result<Vec<bool>>) -> Result<()> {
        let mut objects = self.objects()?;
        self.wanted = vec![0; (self.header.objects.lines as usize).div_ceil(64)];
        self.needed = 0;
        let mut batch = Vec::new();
        loop {
            let object = objects.next()?;
            let ended = object.is_none();
            batch.extend(object);
            if batch.len() == 256 || ended {
                for (object, has) in batch.iter().zip(has(&batch)?) {
                    if !has && !self.blob_path(&object.blob.sha256).exists() {
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
                return Ok(());
            }
        }
    }

    /// The empty blob has no place in a volume.
    fn take_empty(&mut self, object: &Object) -> Result<()> {
        if object.blob.sha256 != Sha256Digest::of(b"") || object.blob.blake3 != blake3::hash(b"").into() {
            return Err(wrong(&self.header, object, &Sha256Digest::of(b"")));
        }
        let path = self.blob_path(&object.blob.sha256);
        self.make_folder(&path)?;
        File::create(&path).map_err(Error::io(format!("create `{}`", path.display())))?;
        self.forget(object.index);
        Ok(())
    }

    /// Bytes that have to come.
    pub(crate) fn needed(&self) -> u64 {
        self.needed
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
    pub(crate) fn place(&self, blob: &Blob) -> Result<PathBuf> {
        let path = self.part_path(&blob.sha256);
        self.make_folder(&path)?;
        Ok(path)
    }

    fn forget(&mut self, index: u64) {
        if let Some(bits) = self.wanted.get_mut((index / 64) as usize) {
            *bits &= !(1 << (index % 64));
        }
    }

    /// Takes the trailer, whose signature was verified.
    pub(crate) fn take_trailer(&mut self, document: &[u8]) -> Result<()> {
        self.trailer = Some(Trailer::decode(document, self.bundle, &self.header.volumes)?);
        Ok(())
    }

    /// The same, where the medium may hold the trailer of another bundle: that one is left alone.
    pub(crate) fn take_trailer_of_this(&mut self, document: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Of {
            bundle: Sha256Digest,
        }
        let of: Of = serde_json::from_slice(document)
            .map_err(|error| Error::malformed("volumes.json", "bundle-json", error.to_string()))?;
        if of.bundle == self.bundle { self.take_trailer(document) } else { Ok(()) }
    }

    /// Whether a volume belongs to this bundle.
    pub(crate) fn is_mine(&self, head: &VolumeHead) -> bool {
        head.bundle == self.bundle
    }

    pub(crate) fn has_trailer(&self) -> bool {
        self.trailer.is_some()
    }

    /// Whether a volume says that it belongs here.
    pub(crate) fn check_head(&self, what: &str, head: &VolumeHead) -> Result<()> {
        let layout = &self.header.volumes;
        let agrees = head.bundle == self.bundle
            && head.index >= 1
            && head.index <= layout.count
            && head.count == layout.count
            && head.size == layout.size(head.index);
        if agrees {
            return Ok(());
        }
        Err(Error::malformed(what, "bundle-volume", "it is not the volume that the header says"))
    }

    /// Volumes that still have to come, with something wanted in them.
    pub(crate) fn missing(&self) -> Result<Vec<u32>> {
        let layout = self.header.volumes;
        let mut missing: Vec<u32> = Vec::new();
        let mut objects = self.objects()?;
        while let Some(object) = objects.next()? {
            if object.blob.size == 0 || !self.is_wanted(object.index) {
                continue;
            }
            let (first, last) = (layout.place(object.at).0, layout.place(object.at + object.blob.size - 1).0);
            for index in first..=last {
                let taken = self.state.volumes.get(&index).copied().unwrap_or(0);
                let end =
                    (object.at + object.blob.size).min(layout.extent(index).end) - layout.extent(index).start;
                if taken < end && missing.last().is_none_or(|last| *last < index) {
                    missing.push(index);
                }
            }
        }
        Ok(missing)
    }

    /// Bytes of the volumes that have not been taken yet.
    pub(crate) fn left(&self) -> Result<u64> {
        let layout = self.header.volumes;
        let taken = |index: &u32| self.state.volumes.get(index).copied().unwrap_or(0);
        let missing = self.missing()?;
        Ok(missing.iter().map(|index| layout.size(*index).saturating_sub(taken(index))).sum())
    }

    /// Whether a volume has something that is wanted.
    pub(crate) fn wants(&mut self, index: u32) -> Result<bool> {
        Ok(self.missing()?.contains(&index))
    }

    /// Takes a volume whose head was checked.
    pub(crate) fn take_volume(
        &mut self,
        (head, raw): (&VolumeHead, &[u8; HEAD as usize]),
        mut input: Input<'_>,
        watch: &dyn Watch,
    ) -> Result<()> {
        let index = head.index;
        let extent = self.header.volumes.extent(index);
        let done = self.state.volumes.get(&index).copied().unwrap_or(0).min(head.size);
        let mut pieces = Pieces::default();
        let (mut first_piece, mut at) = (0, HEAD);
        if let Input::File(file) = &mut input
            && HEAD + done >= PIECE
        {
            // From the beginning of a piece, so that it can be checked.
            first_piece = (HEAD + done) / PIECE;
            at = first_piece * PIECE;
            file.seek(SeekFrom::Start(at)).map_err(Error::io("read a volume"))?;
        } else {
            pieces.update(raw);
        }
        let mut objects = self.objects()?;
        let mut object = objects.next()?;
        let mut noted = done;
        let end = HEAD + head.size;
        let mut open: Option<(u64, File)> = None;
        while at < end {
            let mut buffer = vec![0; BUFFER.min((end - at) as usize)];
            let filled = match &mut input {
                Input::File(file) => file.read_exact(&mut buffer),
                Input::Stream(stream) => stream.read_exact(&mut buffer),
            };
            filled.map_err(|error| self.unreadable(index, at, error))?;
            pieces.update(&buffer);
            self.check_pieces(index, first_piece, &pieces)?;
            watch.bytes(buffer.len() as u64)?;
            let buffer = Bytes::from(buffer);
            // Payload positions of this buffer.
            let from = extent.start + (at - HEAD);
            let to = from + buffer.len() as u64;
            at += buffer.len() as u64;
            while let Some(current) = object {
                let blob_end = current.at + current.blob.size;
                if current.at >= to {
                    break;
                }
                let (low, high) = (current.at.max(from).max(extent.start + done), blob_end.min(to));
                if low < high && self.is_wanted(current.index) {
                    let part = buffer.slice((low - from) as usize..(high - from) as usize);
                    self.write(&mut open, &current, low - current.at, part)?;
                }
                if blob_end > to {
                    break;
                }
                object = objects.next()?;
            }
            self.hear()?;
            let taken = at - HEAD;
            if taken >= noted + CHECKPOINT {
                noted = taken;
                self.note(index, taken)?;
            }
        }
        let last = pieces.finish();
        self.check_last(index, first_piece, &last)?;
        drop(open);
        while !self.pending.is_empty() {
            let hashed = self.hashing.wait()?;
            self.heard(hashed)?;
        }
        self.note(index, head.size)?;
        self.settle()
    }

    /// Writes a part of a blob at its place, and hashes it where the parts before it were hashed.
    fn write(
        &mut self,
        open: &mut Option<(u64, File)>,
        object: &Object,
        offset: u64,
        bytes: Bytes,
    ) -> Result<()> {
        let path = self.part_path(&object.blob.sha256);
        let failed = || Error::io(format!("write `{}`", path.display()));
        let file = match open {
            Some((index, file)) if *index == object.index => file,
            _ => {
                self.make_folder(&path)?;
                let file =
                    File::options().create(true).truncate(false).write(true).open(&path).map_err(failed())?;
                &mut open.insert((object.index, file)).1
            }
        };
        file.write_all_at(&bytes, offset).map_err(failed())?;
        let end = offset + bytes.len() as u64;
        if offset == 0 {
            self.hashing.begin()?;
            self.in_hasher = Some((object.index, 0));
        }
        if self.in_hasher == Some((object.index, offset)) {
            self.hashing.update(bytes)?;
            self.in_hasher = Some((object.index, end));
            if end == object.blob.size {
                self.hashing.end(object.index)?;
                self.pending.insert(object.index, *object);
                self.in_hasher = None;
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<()> {
        while let Some(hashed) = self.hashing.poll() {
            self.heard(hashed)?;
        }
        Ok(())
    }

    fn heard(&mut self, (index, blob, tree): super::hashing::Hashed) -> Result<()> {
        let Some(object) = self.pending.remove(&index) else { return Ok(()) };
        self.verify(&object, blob, &tree)
    }

    /// Holds a hashed blob against the list; its file gets its name at the next checkpoint.
    fn verify(&mut self, object: &Object, found: Blob, tree: &tree::Tree) -> Result<()> {
        if found != object.blob {
            let _ = fs::remove_file(self.part_path(&object.blob.sha256));
            self.distrust(object)?;
            return Err(wrong(&self.header, object, &found.sha256));
        }
        if tree::is_stored(found.size) {
            let path = self.tree_path(&found.sha256);
            fs::write(&path, tree.encode()).map_err(Error::io(format!("write `{}`", path.display())))?;
        }
        self.verified.push(found);
        Ok(())
    }

    /// Volumes with a part of a wrong blob have to come again from where it begins.
    fn distrust(&mut self, object: &Object) -> Result<()> {
        self.settle()?;
        let layout = self.header.volumes;
        let last = layout.place(object.at + object.blob.size.saturating_sub(1)).0;
        for index in layout.place(object.at).0..=last {
            let start = layout.extent(index).start;
            if let Some(taken) = self.state.volumes.get_mut(&index) {
                *taken = (*taken).min(object.at.saturating_sub(start));
            }
        }
        self.write_state()
    }

    /// Makes what is staged durable and notes it, beside the reading.
    fn note(&mut self, index: u32, taken: u64) -> Result<()> {
        self.settle()?;
        self.state.volumes.insert(index, taken);
        let (folder, state) = (self.folder.clone(), self.state.clone());
        let verified = std::mem::take(&mut self.verified);
        let names: Vec<_> = verified
            .iter()
            .map(|blob| (self.part_path(&blob.sha256), self.blob_path(&blob.sha256)))
            .collect();
        self.checkpoint = Some(std::thread::spawn(move || {
            sync_all(&folder)?;
            for (part, path) in names {
                fs::rename(&part, &path).map_err(Error::io(format!("rename to `{}`", path.display())))?;
            }
            write_state(&folder, &state)
        }));
        Ok(())
    }

    /// Waits for the checkpoint that is being made.
    fn settle(&mut self) -> Result<()> {
        match self.checkpoint.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
    }

    fn write_state(&self) -> Result<()> {
        write_state(&self.folder, &self.state)
    }

    /// Hashes what could not be hashed as it came: blobs whose parts came out of order or in several runs.
    pub(crate) fn finish(&mut self, watch: &dyn Watch) -> Result<()> {
        self.settle()?;
        let mut objects = self.objects()?;
        while let Some(object) = objects.next()? {
            let part = self.part_path(&object.blob.sha256);
            if !self.is_wanted(object.index) || self.blob_path(&object.blob.sha256).exists() || !part.exists()
            {
                continue;
            }
            watch.bytes(0)?;
            let file = File::open(&part).map_err(Error::io(format!("read `{}`", part.display())))?;
            let (blob, tree) = hash::hash_file(&file, &part, &crate::store::PutOptions::default())?;
            self.verify(&object, blob, &tree)?;
        }
        let verified = std::mem::take(&mut self.verified);
        sync_all(&self.folder)?;
        for blob in verified {
            let path = self.blob_path(&blob.sha256);
            fs::rename(self.part_path(&blob.sha256), &path)
                .map_err(Error::io(format!("rename to `{}`", path.display())))?;
        }
        Ok(())
    }

    /// The staged file of a blob, if it is here and verified.
    pub(crate) fn staged(&self, blob: &Blob) -> Option<StagedBlob> {
        let path = self.blob_path(&blob.sha256);
        path.exists().then(|| StagedBlob { blob: *blob, path, tree: self.tree_path(&blob.sha256) })
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    fn blob_path(&self, sha256: &Sha256Digest) -> PathBuf {
        blob_path(&self.blobs(), sha256)
    }

    fn part_path(&self, sha256: &Sha256Digest) -> PathBuf {
        self.blob_path(sha256).with_extension("part")
    }

    fn tree_path(&self, sha256: &Sha256Digest) -> PathBuf {
        self.blob_path(sha256).with_extension("tree")
    }

    fn make_folder(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(Error::io(format!("create `{}`", folder.display())))
    }

    fn check_pieces(&self, volume: u32, first: u64, pieces: &Pieces) -> Result<()> {
        let Some(place) = pieces.full().len().checked_sub(1) else { return Ok(()) };
        self.check_piece(volume, first + place as u64, pieces.full().get(place))
    }

    fn check_last(&self, volume: u32, first: u64, pieces: &[crate::digest::Blake3Digest]) -> Result<()> {
        let Some(place) = pieces.len().checked_sub(1) else { return Ok(()) };
        self.check_piece(volume, first + place as u64, pieces.get(place))
    }

    fn check_piece(
        &self,
        volume: u32,
        piece: u64,
        found: Option<&crate::digest::Blake3Digest>,
    ) -> Result<()> {
        let Some(trailer) = &self.trailer else { return Ok(()) };
        let sums = &trailer.volumes[volume as usize - 1];
        match (sums.pieces.get(piece as usize), found) {
            (Some(expected), Some(found)) if expected != found => Err(Error::Integrity {
                what: format!("volume {volume} (`{}`), 8 MiB from byte {}", sums.label, piece * PIECE),
                expected: expected.to_string(),
                actual: found.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn unreadable(&self, volume: u32, at: u64, error: std::io::Error) -> Error {
        match cut_short(error) {
            Error::Malformed { rule, .. } => {
                let what = format!("volume {volume} (`{}`)", self.header.label(volume));
                Error::malformed(what, rule, format!("it ends at or after byte {at}, before its end"))
            }
            error => error,
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(thread) = self.checkpoint.take() {
            let _ = thread.join();
        }
    }
}

/// Where a staged blob lies below `blobs`.
pub(crate) fn blob_path(blobs: &Path, sha256: &Sha256Digest) -> PathBuf {
    let hex = sha256.to_string();
    blobs.join(&hex[..2]).join(hex)
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
