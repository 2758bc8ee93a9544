//! Checking every byte of a bundle without writing any.

use std::{fs::File, io::Read, path::Path};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{
    files::open_part,
    hashing::Hashing,
    header::{Header, Part},
    objects::{Object, ObjectsReader},
    parity,
    pieces::Pieces,
    stage::wrong,
    tape::cut_short,
    trailer::Trailer,
    volume::{HEAD, PIECE, VolumeHead},
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

const BUFFER: usize = 1 << 20;

/// A bundle being checked; its volumes come in order, several copies of one behind each other.
pub(crate) struct Verifier<'a> {
    header: &'a Header,
    bundle: Sha256Digest,
    trailer: &'a Trailer,
    objects: ObjectsReader<File>,
    object: Option<Object>,
    hashing: Hashing,
    pending: Vec<Object>,
    next: u32,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(
        header: &'a Header,
        bundle: Sha256Digest,
        trailer: &'a Trailer,
        objects: File,
    ) -> Result<Self> {
        let mut objects = ObjectsReader::new(objects, &header.objects, header.volumes)?;
        let object = objects.next()?;
        Ok(Self {
            header,
            bundle,
            trailer,
            objects,
            object,
            hashing: Hashing::start(),
            pending: Vec::new(),
            next: 1,
        })
    }

    /// Reads a volume whose input stands behind its head.
    pub(crate) fn volume(
        &mut self,
        head: &VolumeHead,
        raw: &[u8; HEAD as usize],
        input: &mut dyn Read,
    ) -> Result<()> {
        let (index, label) = (head.index, self.header.label(head.index));
        // Blobs were hashed as they came from the first copy.
        let is_copy = index >= 1 && index < self.next;
        let is_next = index == self.next || is_copy;
        if head.bundle != self.bundle || !is_next || head.size != self.header.volumes.size(index) {
            return Err(self.missing());
        }
        self.next = index.max(self.next - 1) + 1;
        let sums = &self.trailer.volumes[index as usize - 1];
        let mut pieces = Pieces::default();
        pieces.update(raw);
        let extent = self.header.volumes.extent(index);
        let mut at = extent.start;
        while at < extent.end {
            let mut buffer = vec![0; BUFFER.min((extent.end - at) as usize)];
            input.read_exact(&mut buffer).map_err(cut_short)?;
            pieces.update(&buffer);
            let full = pieces.full().len();
            if pieces.full().last() != sums.pieces[..full].last() {
                return Err(damaged(index, &label, full as u64 - 1));
            }
            let end = at + buffer.len() as u64;
            if !is_copy {
                self.hash(&Bytes::from(buffer), at, end)?;
            }
            at = end;
        }
        let found = pieces.finish();
        match found.iter().zip(&sums.pieces).position(|(found, expected)| found != expected) {
            Some(piece) => Err(damaged(index, &label, piece as u64)),
            None => Ok(()),
        }
    }

    /// Gives each blob its part of the bytes from `from` to `to` of the payload.
    fn hash(&mut self, bytes: &Bytes, from: u64, to: u64) -> Result<()> {
        while let Some(object) = self.object {
            let end = object.at + object.blob.size;
            if object.at >= to && object.blob.size > 0 {
                break;
            }
            if object.at >= from {
                self.hashing.begin()?;
            }
            let (low, high) = (object.at.max(from), end.min(to));
            if low < high {
                self.hashing.update(bytes.slice((low - from) as usize..(high - from) as usize))?;
            }
            if end > to {
                break;
            }
            self.hashing.end(object.index)?;
            self.pending.push(object);
            self.object = self.objects.next()?;
        }
        while let Some(hashed) = self.hashing.poll() {
            self.heard(&hashed)?;
        }
        Ok(())
    }

    fn heard(&mut self, (index, blob, _): &super::hashing::Hashed) -> Result<()> {
        let Some(place) = self.pending.iter().position(|object| object.index == *index) else {
            return Ok(());
        };
        let object = self.pending.swap_remove(place);
        if *blob == object.blob {
            return Ok(());
        }
        Err(wrong(self.header, &object, &blob.sha256))
    }

    /// Whether all of it came.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.next <= self.header.volumes.count {
            return Err(self.missing());
        }
        while !self.pending.is_empty() {
            let hashed = self.hashing.wait()?;
            self.heard(&hashed)?;
        }
        Ok(())
    }

    fn missing(&self) -> Error {
        let label = self.header.label(self.next);
        Error::malformed(
            "the bundle",
            "bundle-truncated",
            format!("volume {} (`{label}`) is missing", self.next),
        )
    }
}

fn damaged(volume: u32, label: &str, piece: u64) -> Error {
    Error::Integrity {
        what: format!("volume {volume} (`{label}`), 8 MiB from byte {}", piece * PIECE),
        expected: "what was written".into(),
        actual: "other bytes".into(),
    }
}

/// Whether a compressed file is what the header says.
pub(crate) fn check_part_file(path: &Path, name: &str, part: &Part) -> Result<()> {
    check_file(path, name, part.size, part.sha256)
}

/// Whether a parity volume is what the trailer says; those of other bundles are left alone.
pub(crate) fn check_parity_file(path: &Path, trailer: &Trailer) -> Result<()> {
    let name = |index| path.file_name().is_some_and(|name| name == &*parity::file_name(index));
    match trailer.parity.iter().find(|sums| name(sums.index)) {
        Some(sums) => check_file(path, &sums.label, sums.size, sums.sha256),
        None => Ok(()),
    }
}

fn check_file(path: &Path, name: &str, expected: u64, digest: Sha256Digest) -> Result<()> {
    let failed = || Error::io(format!("read `{}`", path.display()));
    let mut file = open_part(path)?.take(expected + 1);
    let (mut sha256, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = file.read(&mut buffer).map_err(failed())?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        size += read as u64;
    }
    let found = Sha256Digest::from(sha256);
    if found == digest && size == expected {
        return Ok(());
    }
    Err(Error::Integrity {
        what: format!("`{name}`"),
        expected: digest.to_string(),
        actual: found.to_string(),
    })
}
