//! One volume being written: to its file or down the stream, hashed on the way.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Target;
use crate::{
    bundle::{pieces::Pieces, volume::file_name},
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Buffers between the writer and the thread that hashes.
const AHEAD: usize = 16;

/// One volume being written.
pub(super) struct Volume {
    pub(super) index: u32,
    /// Absent where the bundle is a stream.
    pub(super) file: Option<(PathBuf, File)>,
    /// Bytes of the file so far.
    pub(super) bytes: u64,
    /// Bytes up to the last checkpoint.
    pub(super) durable: u64,
    /// Bytes that the disk was told to begin with.
    pub(super) flushed: u64,
    pub(super) pieces: Pieces,
    pub(super) hasher: Hasher,
}

impl Volume {
    pub(super) fn write(&mut self, target: &mut Target, bytes: Bytes) -> Result<()> {
        match (&mut self.file, target) {
            (Some((path, file)), _) => {
                file.write_all(&bytes).map_err(Error::io(format!("write `{}`", path.display())))?;
            }
            (None, Target::Stream(out)) => {
                out.write_all(&bytes).map_err(Error::io("write the stream"))?;
            }
            (None, Target::Folder(_)) => {}
        }
        self.bytes += bytes.len() as u64;
        self.pieces.update(&bytes);
        self.hasher.update(bytes);
        Ok(())
    }

    /// Reads again what is durable, and goes on behind it.
    pub(super) fn reopen(folder: &Path, index: u32, bytes: u64) -> Result<Self> {
        let path = folder.join(file_name(index));
        let failed = || Error::io(format!("go on with `{}`", path.display()));
        let mut file = File::options().read(true).write(true).open(&path).map_err(failed())?;
        let (mut pieces, hasher) = (Pieces::default(), Hasher::start());
        let mut left = bytes;
        while left > 0 {
            let mut buffer = vec![0; left.min(1 << 20) as usize];
            file.read_exact(&mut buffer).map_err(failed())?;
            left -= buffer.len() as u64;
            pieces.update(&buffer);
            hasher.update(buffer.into());
        }
        file.set_len(bytes).map_err(failed())?;
        file.seek(std::io::SeekFrom::Start(bytes)).map_err(failed())?;
        Ok(Self { index, file: Some((path, file)), bytes, durable: bytes, flushed: bytes, pieces, hasher })
    }
}

/// SHA-256 on a thread of its own: the slowest thing that is done to a byte.
pub(super) struct Hasher {
    send: SyncSender<Bytes>,
    join: JoinHandle<Sha256Digest>,
}

impl Hasher {
    pub(super) fn start() -> Self {
        let (send, take) = sync_channel::<Bytes>(AHEAD);
        let join = std::thread::spawn(move || {
            let mut sha256 = Sha256::new();
            while let Ok(bytes) = take.recv() {
                sha256.update(&bytes);
            }
            Sha256Digest::from(sha256)
        });
        Self { send, join }
    }

    fn update(&self, bytes: Bytes) {
        // The thread ends only when this sender is gone.
        let _ = self.send.send(bytes);
    }

    pub(super) fn finish(self) -> Sha256Digest {
        drop(self.send);
        self.join.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
