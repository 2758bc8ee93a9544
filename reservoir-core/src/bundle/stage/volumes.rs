//! Taking volumes: their bytes to the files of the blobs they belong to, their pieces held against the trailer.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

use bytes::Bytes;

use super::{BUFFER, FLUSH, Input, Stage, Watch, unfinished};
use crate::{
    bundle::{
        buffers::Buffers,
        files,
        objects::{Object, ObjectsReader},
        pieces::Pieces,
        tape::cut_short,
        trailer::Trailer,
        volume::{HEAD, PIECE, VolumeHead},
    },
    digest::Blake3Digest,
    error::{Error, Result},
};

/// The list of objects, read up to the first that ends behind a byte of the payload.
pub(super) struct Place {
    at: u64,
    objects: ObjectsReader<File>,
    object: Option<Object>,
}

impl Stage {
    /// Takes the trailer, whose signature was verified.
    pub(crate) fn take_trailer(&mut self, document: &[u8]) -> Result<()> {
        self.trailer = Some(Trailer::decode(document, self.bundle, &self.header.volumes)?);
        Ok(())
    }

    /// The same from a medium: kept for the runs that are given other media.
    pub(crate) fn keep_trailer(&mut self, document: &[u8], signature: &str) -> Result<()> {
        self.take_trailer(document)?;
        let is_kept = self.unnamed.contains(&files::TRAILER) || self.folder.join(files::TRAILER).exists();
        if is_kept {
            return Ok(());
        }
        for (name, bytes) in [(files::TRAILER_SIGNATURE, signature.as_bytes()), (files::TRAILER, document)] {
            let path = self.folder.join(unfinished(name));
            fs::write(&path, bytes).map_err(Error::io(format!("write `{}`", path.display())))?;
            self.unnamed.push(name);
        }
        Ok(())
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
        if head.bundle != self.bundle {
            let (site, sequence) = (&self.header.site, self.header.sequence);
            let label = head.label.escape_debug();
            let detail = format!("it is `{label}` of another bundle; `{site} {sequence:06} …` is wanted");
            return Err(Error::malformed(what, "bundle-volume", detail));
        }
        let agrees = head.index >= 1
            && head.index <= layout.count
            && head.count == layout.count
            && head.size == layout.size(head.index);
        if agrees {
            return Ok(());
        }
        Err(Error::malformed(what, "bundle-volume", "it is not the volume that the header says"))
    }

    /// Volumes that still have to come, with something wanted in them.
    pub(crate) fn missing(&mut self) -> Result<Vec<u32>> {
        Ok(self.known_missing()?.iter().copied().collect())
    }

    /// The same, read from the list of objects once, for as long as volumes come whole.
    fn known_missing(&mut self) -> Result<&mut BTreeSet<u32>> {
        let missing = match self.missing.take() {
            Some(missing) => missing,
            None => self.find_missing()?,
        };
        Ok(self.missing.insert(missing))
    }

    fn find_missing(&self) -> Result<BTreeSet<u32>> {
        let layout = self.header.volumes;
        let mut missing = BTreeSet::new();
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
                if taken < end {
                    missing.insert(index);
                }
            }
        }
        Ok(missing)
    }

    /// Bytes of the volumes that have not been taken yet.
    pub(crate) fn left(&mut self) -> Result<u64> {
        let layout = self.header.volumes;
        let missing = self.missing()?;
        let taken = |index: &u32| self.state.volumes.get(index).copied().unwrap_or(0);
        Ok(missing.iter().map(|index| layout.size(*index).saturating_sub(taken(index))).sum())
    }

    /// Whether a volume has something that is wanted.
    pub(crate) fn wants(&mut self, index: u32) -> Result<bool> {
        Ok(self.known_missing()?.contains(&index))
    }

    /// Takes a volume whose head was checked. When it fails, another copy of the volume may be taken.
    pub(crate) fn take_volume(
        &mut self,
        head: (&VolumeHead, &[u8; HEAD as usize]),
        input: Input<'_>,
        watch: &dyn Watch,
    ) -> Result<()> {
        let taken = self.take_bytes(head, input, watch);
        if taken.is_err() {
            // What was hashed may be damaged: the blob is hashed as a whole when all of it has come.
            self.in_hasher = None;
            self.missing = None;
            // What the hasher still says is of this copy, and must not be taken for the next one's.
            while !self.pending.is_empty()
                && let Ok((index, ..)) = self.hashing.wait()
            {
                self.pending.remove(&index);
            }
        }
        taken
    }

    fn take_bytes(
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
        let Place { mut objects, mut object, .. } = self.place_at(extent.start)?;
        let (mut noted, mut flushed) = (done, done);
        let mut buffers = Buffers::default();
        let end = HEAD + head.size;
        let mut open: Option<(u64, File)> = None;
        while at < end {
            let mut buffer = buffers.take(BUFFER.min((end - at) as usize));
            let filled = match &mut input {
                Input::File(file) => file.read_exact(&mut buffer),
                Input::Stream(stream) => stream.read_exact(&mut buffer),
            };
            filled.map_err(|error| self.unreadable(index, at, error))?;
            pieces.update(&buffer);
            self.check_pieces(index, first_piece, &pieces)?;
            watch.bytes(buffer.len() as u64)?;
            let buffer = buffers.lend(buffer);
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
            if taken >= noted + self.every {
                noted = taken;
                self.note(index, taken)?;
            } else if taken >= noted.max(flushed) + FLUSH {
                flushed = taken;
                self.begin_flush()?;
            }
        }
        let last = pieces.finish();
        self.check_last(index, first_piece, &last)?;
        drop(open);
        while !self.pending.is_empty() {
            let hashed = self.hashing.wait()?;
            self.heard(hashed)?;
        }
        self.place = Some(Place { at: extent.end, objects, object });
        self.state.volumes.insert(index, head.size);
        self.known_missing()?.remove(&index);
        if head.size - noted < self.every && self.known_missing()?.is_empty() {
            return self.note_the_last(index, head.size);
        }
        self.note(index, head.size)?;
        self.settle()
    }

    /// The list of objects from the one on that has the payload's byte `at`: where the volume before ended, if they come
    /// in order.
    fn place_at(&mut self, at: u64) -> Result<Place> {
        if let Some(place) = self.place.take().filter(|place| place.at <= at) {
            return Ok(place);
        }
        let mut objects = self.objects()?;
        let object = objects.next()?;
        Ok(Place { at: 0, objects, object })
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

    fn check_pieces(&self, volume: u32, first: u64, pieces: &Pieces) -> Result<()> {
        let Some(place) = pieces.full().len().checked_sub(1) else { return Ok(()) };
        self.check_piece(volume, first + place as u64, pieces.full().get(place))
    }

    fn check_last(&self, volume: u32, first: u64, pieces: &[Blake3Digest]) -> Result<()> {
        let Some(place) = pieces.len().checked_sub(1) else { return Ok(()) };
        self.check_piece(volume, first + place as u64, pieces.get(place))
    }

    fn check_piece(&self, volume: u32, piece: u64, found: Option<&Blake3Digest>) -> Result<()> {
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
