//! Writing a bundle, in one pass: to a folder, where it goes on after an interruption, or down a stream.

mod fresh;
mod volume;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::{
    fresh::Fresh,
    volume::{Hasher, Volume},
};
use super::{
    files::{
        HEADER, HEADER_SIGNATURE, SUMS, TRAILER, TRAILER_SIGNATURE, read_small, sync_folder, write_whole,
    },
    header::Header,
    key::StreamKey,
    objects,
    parity::{self, ParitySums},
    pieces::Pieces,
    records,
    stage::Watch,
    tape,
    trailer::{Trailer, VolumeSums},
    volume::{HEAD, Layout, VolumeHead, file_name},
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// How far an unfinished bundle is. Gone when it is finished.
const PROGRESS: &str = "export.progress";
/// Bytes after which what was written is made durable, and noted.
const CHECKPOINT: u64 = 256 << 20;
/// Bytes after which the disk begins with what was written.
const FLUSH: u64 = 16 << 20;

/// Where a bundle goes.
pub enum Target {
    /// A folder, made if absent.
    Folder(PathBuf),
    /// A stream, such as standard output.
    Stream(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => f.debug_tuple("Folder").field(folder).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// How far an export is, durable.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    bundle: Sha256Digest,
    /// Volumes that are finished.
    volumes: Vec<VolumeSums>,
    /// Bytes of the next volume's file that are durable.
    bytes: u64,
}

/// A bundle being written. Every method blocks.
pub(crate) struct Writer {
    target: Target,
    header: Header,
    bundle: Sha256Digest,
    sums: Vec<(Sha256Digest, String)>,
    done: Vec<VolumeSums>,
    parity: Vec<ParitySums>,
    volume: Option<Volume>,
    /// Files that get their names together, the header last: before the first note, or with the trailer.
    unnamed: Vec<Fresh>,
    /// Files that become durable with the next that get their names.
    beside: Vec<File>,
    /// Bytes between checkpoints.
    every: u64,
    /// The checkpoint that is being made while the writing goes on.
    checkpoint: Option<JoinHandle<Result<()>>>,
    /// The disk being told to begin, while the writing goes on.
    flush: Option<JoinHandle<Result<()>>>,
    /// Whether an earlier run has written all of it, and died before anybody was told.
    ended: bool,
}

impl Writer {
    /// Begins a bundle, or goes on with it: `header_bytes` is the header as signed before, if the folder has it.
    ///
    /// The two compressed files are copied from where they were made.
    pub(crate) fn begin(
        mut target: Target,
        header: Header,
        key: &StreamKey,
        records: &Path,
        objects: &Path,
    ) -> Result<Self> {
        let bytes = header.encode()?;
        let bundle = Sha256Digest::of(&bytes);
        let signature = key.sign(&bytes, &comment(&header, HEADER));
        let (mut unnamed, mut beside) = (Vec::new(), Vec::new());
        let mut sums = vec![
            (bundle, HEADER.to_owned()),
            (Sha256Digest::of(signature.as_bytes()), HEADER_SIGNATURE.to_owned()),
            (header.records.sha256, records::NAME.to_owned()),
            (header.objects.sha256, objects::NAME.to_owned()),
        ];
        sums.reserve(header.volumes.count as usize + 2);
        match &mut target {
            Target::Folder(folder) => {
                beside = fresh::make(folder)?;
                fresh::clear(folder)?;
                // The header last: a folder with a header has what the header commits to. It comes first all the same,
                // as it says what the others are.
                let header = Fresh::of(folder, HEADER, &bytes)?;
                unnamed.push(Fresh::of(folder, HEADER_SIGNATURE, signature.as_bytes())?);
                unnamed.push(Fresh::copy(folder, records::NAME, records)?);
                unnamed.push(Fresh::copy(folder, objects::NAME, objects)?);
                unnamed.push(header);
            }
            Target::Stream(out) => {
                // The signed file first, as it is read first.
                put(out, HEADER, &bytes)?;
                put(out, HEADER_SIGNATURE, signature.as_bytes())?;
                pour(out, records::NAME, records)?;
                pour(out, objects::NAME, objects)?;
            }
        }
        let mut writer = Self::over(target, header, bundle, sums);
        (writer.unnamed, writer.beside) = (unnamed, beside);
        Ok(writer)
    }

    /// Goes on with the unfinished bundle in `folder`, whose header has the digest `bundle`; `None` when it is not
    /// there. One key signs all of it: the header once more where the key is another by now.
    pub(crate) fn resume(folder: &Path, bundle: Sha256Digest, key: &StreamKey) -> Result<Option<Self>> {
        let Ok(bytes) = read_small(&folder.join(HEADER), super::header::LIMIT) else { return Ok(None) };
        if Sha256Digest::of(&bytes) != bundle {
            return Ok(None);
        }
        let header = Header::decode(&bytes)?;
        // The same key makes the same signature.
        let signature = key.sign(&bytes, &comment(&header, HEADER));
        if read_small(&folder.join(HEADER_SIGNATURE), super::key::FILE)? != signature.as_bytes() {
            write_whole(folder, HEADER_SIGNATURE, signature.as_bytes())?;
        }
        let target = Target::Folder(folder.to_owned());
        if let Some(trailer) = ended(folder, &header, bundle, key) {
            let mut writer = Self::over(target, header, bundle, Vec::new());
            (writer.done, writer.parity, writer.ended) = (trailer.volumes, trailer.parity, true);
            return Ok(Some(writer));
        }
        let mut sums = vec![(bundle, HEADER.to_owned())];
        sums.push((Sha256Digest::of(signature.as_bytes()), HEADER_SIGNATURE.to_owned()));
        sums.push((header.records.sha256, records::NAME.to_owned()));
        sums.push((header.objects.sha256, objects::NAME.to_owned()));
        let noted = read_small(&folder.join(PROGRESS), super::trailer::LIMIT).ok();
        let noted: Option<Progress> = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let noted = noted.filter(|noted| noted.bundle == bundle);
        let noted = noted.unwrap_or(Progress { bundle, volumes: Vec::new(), bytes: 0 });
        for volume in &noted.volumes {
            sums.push((volume.sha256, file_name(volume.index)));
        }
        let mut writer = Self::over(target, header, bundle, sums);
        writer.done = noted.volumes;
        let next = writer.done.len() as u32 + 1;
        if noted.bytes > HEAD && next <= writer.header.volumes.count {
            writer.volume = Some(Volume::reopen(folder, next, noted.bytes)?);
        }
        Ok(Some(writer))
    }

    fn over(target: Target, header: Header, bundle: Sha256Digest, sums: Vec<(Sha256Digest, String)>) -> Self {
        Self {
            target,
            header,
            bundle,
            sums,
            done: Vec::new(),
            parity: Vec::new(),
            volume: None,
            unnamed: Vec::new(),
            beside: Vec::new(),
            every: CHECKPOINT,
            checkpoint: None,
            flush: None,
            ended: false,
        }
    }

    /// The header.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The digest of the header, which names the bundle.
    pub(crate) fn bundle(&self) -> Sha256Digest {
        self.bundle
    }

    /// Whether nothing of it has its name before all of it is written: it is small, and begun anew after an interruption.
    pub(crate) fn ends_at_once(&self) -> bool {
        let Layout { count, payload, .. } = self.header.volumes;
        !self.unnamed.is_empty() && count <= 1 && self.header.parity.is_none() && HEAD + payload < self.every
    }

    /// Takes a file elsewhere that has to be durable as soon as the header has its name.
    pub(crate) fn with(&mut self, beside: File) {
        self.beside.push(beside);
    }

    /// The first payload byte that is wanted.
    pub(crate) fn position(&self) -> u64 {
        let before = self.header.volumes.extent(self.done.len() as u32 + 1).start;
        before + self.volume.as_ref().map_or(0, |volume| volume.bytes - HEAD)
    }

    /// Takes the next payload bytes.
    pub(crate) fn push(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let index = self.done.len() as u32 + 1;
            if self.volume.is_none() {
                self.volume = Some(self.open(index)?);
            }
            let volume = self.volume.as_mut().expect("opened right above");
            let room = HEAD + self.header.volumes.size(index) - volume.bytes;
            let now = bytes.split_to(bytes.len().min(room as usize));
            volume.write(&mut self.target, now)?;
            if volume.bytes - volume.durable >= self.every {
                self.checkpoint()?;
            } else if volume.bytes - volume.durable.max(volume.flushed) >= FLUSH {
                self.begin_flush()?;
            }
            self.close_if_full()?;
        }
        Ok(())
    }

    fn open(&mut self, index: u32) -> Result<Volume> {
        let head = VolumeHead {
            format: self.header.format.clone(),
            bundle: self.bundle,
            index,
            count: self.header.volumes.count,
            size: self.header.volumes.size(index),
            label: self.header.label(index),
        };
        let head = head.encode()?;
        let file = match &mut self.target {
            Target::Folder(folder) => {
                if self.unnamed.is_empty() {
                    let path = folder.join(file_name(index));
                    let file =
                        File::create(&path).map_err(Error::io(format!("create `{}`", path.display())))?;
                    Some((path, file))
                } else {
                    let Fresh { path, file, .. } = Fresh::create(folder, &file_name(index))?;
                    Some((path, file))
                }
            }
            Target::Stream(out) => {
                let size = HEAD + self.header.volumes.size(index);
                out.write_all(&tape::header(&file_name(index), size)?)
                    .map_err(Error::io("write the stream"))?;
                None
            }
        };
        let (pieces, hasher) = (Pieces::default(), Hasher::start());
        let mut volume = Volume { index, file, bytes: 0, durable: 0, flushed: 0, pieces, hasher };
        volume.write(&mut self.target, Bytes::copy_from_slice(&head))?;
        Ok(volume)
    }

    /// Checkpoints as often as a test wants them.
    #[cfg(test)]
    pub(super) fn set_checkpoints(&mut self, every: u64) {
        self.every = every;
    }

    /// Makes what was written durable and notes how far that is, while the writing goes on.
    fn checkpoint(&mut self) -> Result<()> {
        self.settle()?;
        self.place()?;
        let (Target::Folder(folder), Some(volume)) = (&self.target, &mut self.volume) else { return Ok(()) };
        volume.durable = volume.bytes;
        let Some((path, file)) = &volume.file else { return Ok(()) };
        let failed = Error::io(format!("sync `{}`", path.display()));
        let file = match file.try_clone() {
            Ok(file) => file,
            Err(error) => return Err(failed(error)),
        };
        let progress = Progress { bundle: self.bundle, volumes: self.done.clone(), bytes: volume.bytes };
        let folder = folder.clone();
        self.checkpoint = Some(std::thread::spawn(move || {
            file.sync_data().map_err(failed)?;
            note(&folder, &progress)
        }));
        Ok(())
    }

    /// Gives what has none yet its name: from here on an interrupted run goes on.
    fn place(&mut self) -> Result<()> {
        let Target::Folder(folder) = &self.target else { return Ok(()) };
        let mut files = std::mem::take(&mut self.unnamed);
        let Some(header) = files.pop() else { return Ok(()) };
        if let Some(Volume { index, file: Some((path, file)), .. }) = &mut self.volume {
            let name = file_name(*index);
            let named = folder.join(&name);
            let file = file.try_clone().map_err(Error::io(format!("sync `{}`", path.display())))?;
            files.push(Fresh { path: std::mem::replace(path, named), name, file });
        }
        files.push(header);
        fresh::place(folder, files, &std::mem::take(&mut self.beside))
    }

    /// Has the disk begin with what was written, so that it has less to do when it is waited for.
    fn begin_flush(&mut self) -> Result<()> {
        let is_busy = |thread: &Option<JoinHandle<_>>| thread.as_ref().is_some_and(|one| !one.is_finished());
        if is_busy(&self.checkpoint) || is_busy(&self.flush) {
            return Ok(());
        }
        self.settle()?;
        let Some(volume) = &mut self.volume else { return Ok(()) };
        volume.flushed = volume.bytes;
        let Some((path, file)) = &volume.file else { return Ok(()) };
        let failed = || Error::io(format!("sync `{}`", path.display()));
        let (file, failed_later) = (file.try_clone().map_err(failed())?, failed());
        self.flush = Some(std::thread::spawn(move || file.sync_data().map_err(failed_later)));
        Ok(())
    }

    /// Waits for the checkpoint that is being made, and for the disk that began.
    fn settle(&mut self) -> Result<()> {
        for thread in [self.flush.take(), self.checkpoint.take()].into_iter().flatten() {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    }

    fn close_if_full(&mut self) -> Result<()> {
        let Some(volume) = &self.volume else { return Ok(()) };
        let size = HEAD + self.header.volumes.size(volume.index);
        if volume.bytes < size {
            return Ok(());
        }
        self.settle()?;
        let Some(volume) = self.volume.take() else { return Ok(()) };
        // Behind the last one only the trailer follows, unless there is parity: what is left of a small one is sooner
        // written again, and is made durable with the trailer.
        let is_last = self.done.len() as u64 + 1 == u64::from(self.header.volumes.count);
        let is_noted = !is_last || self.header.parity.is_some() || size - volume.durable >= self.every;
        if let Some((path, file)) = volume.file {
            // Before the header, which is the last that has no name yet.
            match self.unnamed.len().checked_sub(1) {
                Some(header) => {
                    self.unnamed.insert(header, Fresh { name: file_name(volume.index), path, file });
                }
                None if is_noted => {
                    file.sync_all().map_err(Error::io(format!("sync `{}`", path.display())))?;
                }
                None => self.beside.push(file),
            }
        }
        if is_noted {
            self.place()?;
        }
        if let Target::Stream(out) = &mut self.target {
            pad(out, size)?;
        }
        let sha256 = volume.hasher.finish();
        let label = self.header.label(volume.index);
        self.sums.push((sha256, file_name(volume.index)));
        let sums = VolumeSums { index: volume.index, label, size, sha256, pieces: volume.pieces.finish() };
        self.done.push(sums);
        if let Target::Folder(folder) = &self.target
            && is_noted
        {
            let progress = Progress { bundle: self.bundle, volumes: self.done.clone(), bytes: 0 };
            note(folder, &progress)?;
        }
        Ok(())
    }

    /// Makes the parity volumes that the header promises, once every volume is written: those are read once more.
    pub(crate) fn add_parity(&mut self, watch: &dyn Watch) -> Result<()> {
        let Target::Folder(folder) = &self.target else { return Ok(()) };
        if self.ended {
            return Ok(());
        }
        self.parity = parity::encode(folder, &self.header, self.bundle, watch)?;
        let sums = self.parity.iter().map(|volume| (volume.sha256, parity::file_name(volume.index)));
        self.sums.extend(sums);
        Ok(())
    }

    /// Writes the trailer and the sums. The bundle is durable and whole when this returns.
    ///
    /// # Errors
    /// [`Error::Integrity`] when less was pushed than the header promises.
    pub(crate) fn finish(mut self, key: &StreamKey) -> Result<()> {
        if self.done.len() as u64 != u64::from(self.header.volumes.count) {
            return Err(Error::Integrity {
                what: "the payload of the bundle".into(),
                expected: format!("{} bytes", self.header.volumes.payload),
                actual: format!("{} bytes", self.position()),
            });
        }
        if let (Target::Folder(folder), true) = (&self.target, self.ended) {
            sync_folder(folder)?;
            let _ = fs::remove_file(folder.join(PROGRESS));
            return Ok(());
        }
        let (volumes, parity) = (std::mem::take(&mut self.done), std::mem::take(&mut self.parity));
        let trailer = Trailer { format: self.header.format.clone(), bundle: self.bundle, volumes, parity };
        let bytes = trailer.encode()?;
        let signature = key.sign(&bytes, &comment(&self.header, TRAILER));
        self.sums.push((Sha256Digest::of(&bytes), TRAILER.to_owned()));
        self.sums.push((Sha256Digest::of(signature.as_bytes()), TRAILER_SIGNATURE.to_owned()));
        let lines = self.sums.iter().map(|(sha256, name)| format!("{sha256}  {name}\n"));
        let lines = lines.collect::<String>();
        match &mut self.target {
            Target::Folder(folder) => {
                let mut files = std::mem::take(&mut self.unnamed);
                files.push(Fresh::of(folder, SUMS, lines.as_bytes())?);
                files.push(Fresh::of(folder, TRAILER_SIGNATURE, signature.as_bytes())?);
                files.push(Fresh::of(folder, TRAILER, &bytes)?);
                fresh::place(folder, files, &std::mem::take(&mut self.beside))?;
                // Where it stays, because the power goes now, it says what the trailer says.
                let _ = fs::remove_file(folder.join(PROGRESS));
                Ok(())
            }
            Target::Stream(out) => {
                // On a stream the signed file comes first, as it is read first.
                put(out, SUMS, lines.as_bytes())?;
                put(out, TRAILER, &bytes)?;
                put(out, TRAILER_SIGNATURE, signature.as_bytes())?;
                out.write_all(&[0; 2 * tape::BLOCK as usize]).map_err(Error::io("write the stream"))?;
                out.flush().map_err(Error::io("write the stream"))
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The next run must not meet a note that is still being written.
        let _ = self.settle();
    }
}

/// The trailer in a folder, if it is that of the bundle, by this key, and the volumes that it names are there: it got its
/// name behind all of them, and nothing is left to write.
fn ended(folder: &Path, header: &Header, bundle: Sha256Digest, key: &StreamKey) -> Option<Trailer> {
    let document = read_small(&folder.join(TRAILER), super::trailer::LIMIT).ok()?;
    let signature = read_small(&folder.join(TRAILER_SIGNATURE), super::key::FILE).ok()?;
    key.public().verify(TRAILER, &document, std::str::from_utf8(&signature).ok()?).ok()?;
    let trailer = Trailer::decode(&document, bundle, &header.volumes).ok()?;
    let is_there = |(name, size): (String, u64)| {
        let found = fs::symlink_metadata(folder.join(name));
        found.is_ok_and(|found| found.is_file() && found.len() == size)
    };
    let volumes = trailer.volumes.iter().map(|volume| (file_name(volume.index), volume.size));
    let parity = trailer.parity.iter().map(|volume| (parity::file_name(volume.index), volume.size));
    volumes.chain(parity).all(is_there).then_some(trailer)
}

pub(super) fn comment(header: &Header, file: &str) -> String {
    format!("{file} of bundle {} for {}, stream {}", header.sequence, header.site, header.stream)
}

/// Writes a small file down the stream.
fn put(out: &mut Box<dyn Write + Send>, name: &str, bytes: &[u8]) -> Result<()> {
    let size = bytes.len() as u64;
    out.write_all(&tape::header(name, size)?).map_err(Error::io("write the stream"))?;
    out.write_all(bytes).map_err(Error::io("write the stream"))?;
    pad(out, size)
}

fn pad(out: &mut Box<dyn Write + Send>, size: u64) -> Result<()> {
    let rest = [0; tape::BLOCK as usize];
    out.write_all(&rest[..tape::padding(size)]).map_err(Error::io("write the stream"))
}

/// Writes a file down the stream.
fn pour(out: &mut Box<dyn Write + Send>, name: &str, source: &Path) -> Result<()> {
    let failed = || Error::io(format!("copy `{}`", source.display()));
    let mut input = File::open(source).map_err(failed())?;
    let size = input.metadata().map_err(failed())?.len();
    out.write_all(&tape::header(name, size)?).map_err(Error::io("write the stream"))?;
    std::io::copy(&mut input, out).map_err(failed())?;
    pad(out, size)
}

fn note(folder: &Path, progress: &Progress) -> Result<()> {
    let bytes = serde_json::to_vec(progress).map_err(|error| Error::invalid(PROGRESS, error.to_string()))?;
    write_whole(folder, PROGRESS, &bytes)
}
