//! A set of blobs on disk, in 256 files by first byte, so that memory holds a 256th of it at a time.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use crate::{
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    store::Blob,
};

const ROW: usize = 72;

/// A set being filled. Its files go with it; a file is made with its first blob, so that small sets cost little.
pub(crate) struct BlobSet {
    folder: PathBuf,
    writers: Vec<Option<BufWriter<File>>>,
}

impl BlobSet {
    /// Makes an empty set in `folder`, which is emptied.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        let failed = || Error::io(format!("write scratch files in `{}`", folder.display()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(failed())?;
        Ok(Self { folder, writers: (0..256).map(|_| None).collect() })
    }

    pub(crate) fn add(&mut self, blob: &Blob) -> Result<()> {
        let mut row = [0; ROW];
        row[..32].copy_from_slice(blob.sha256.as_bytes());
        row[32..64].copy_from_slice(blob.blake3.as_bytes());
        row[64..].copy_from_slice(&blob.size.to_be_bytes());
        let failed = || Error::io("write a scratch file");
        let writer = match &mut self.writers[usize::from(row[0])] {
            Some(writer) => writer,
            none => {
                let file = File::create(self.folder.join(format!("{:02x}", row[0]))).map_err(failed())?;
                none.insert(BufWriter::with_capacity(4096, file))
            }
        };
        writer.write_all(&row).map_err(failed())
    }

    /// Ends filling.
    pub(crate) fn sorted(mut self) -> Result<SortedBlobs> {
        let mut filled = Vec::with_capacity(256);
        for writer in self.writers.drain(..) {
            filled.push(writer.is_some());
            if let Some(mut writer) = writer {
                writer.flush().map_err(Error::io("write a scratch file"))?;
            }
        }
        Ok(SortedBlobs { folder: std::mem::take(&mut self.folder), filled })
    }
}

impl Drop for BlobSet {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A finished set; can be walked in the order of digests, any number of times.
pub(crate) struct SortedBlobs {
    folder: PathBuf,
    /// By first byte, whether there is a file.
    filled: Vec<bool>,
}

impl SortedBlobs {
    /// The blobs whose digests begin with `prefix`, each once, in order.
    ///
    /// # Errors
    /// [`Error::Integrity`] when two of one digest differ in size or tree.
    pub(crate) fn bucket(&self, prefix: u8) -> Result<Vec<Blob>> {
        if !self.filled[usize::from(prefix)] {
            return Ok(Vec::new());
        }
        let bytes =
            fs::read(self.folder.join(format!("{prefix:02x}"))).map_err(Error::io("read a scratch file"))?;
        let mut blobs: Vec<Blob> = bytes.as_chunks::<ROW>().0.iter().map(blob).collect();
        blobs.sort_unstable_by_key(|blob| (blob.sha256, blob.blake3, blob.size));
        blobs.dedup();
        if let Some(pair) = blobs.windows(2).find(|pair| pair[0].sha256 == pair[1].sha256) {
            return Err(Error::Integrity {
                what: format!("blob `{}`", pair[0].sha256),
                expected: format!("{} ({} bytes)", pair[0].blake3, pair[0].size),
                actual: format!("{} ({} bytes)", pair[1].blake3, pair[1].size),
            });
        }
        Ok(blobs)
    }
}

impl Drop for SortedBlobs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn blob(row: &[u8; ROW]) -> Blob {
    Blob {
        sha256: Sha256Digest::from_bytes(std::array::from_fn(|index| row[index])),
        blake3: Blake3Digest::from_bytes(std::array::from_fn(|index| row[32 + index])),
        size: u64::from_be_bytes(std::array::from_fn(|index| row[64 + index])),
    }
}
