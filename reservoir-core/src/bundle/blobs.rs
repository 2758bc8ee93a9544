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
/// So many are kept in memory, without any file.
const FEW: usize = if cfg!(test) { 100 } else { 16_384 };

/// A set being filled. Its files go with it; there are none while it is small.
pub(crate) struct BlobSet {
    folder: PathBuf,
    /// What is in no file yet.
    few: Vec<Blob>,
    writers: Vec<Option<BufWriter<File>>>,
}

impl BlobSet {
    /// Makes an empty set in `folder`, which is emptied.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        let failed = || Error::io(format!("write scratch files in `{}`", folder.display()));
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed()(error)),
            _ => Ok(Self { folder, few: Vec::new(), writers: Vec::new() }),
        }
    }

    pub(crate) fn add(&mut self, blob: &Blob) -> Result<()> {
        if self.writers.is_empty() {
            if self.few.len() < FEW {
                self.few.push(*blob);
                return Ok(());
            }
            let failed = || Error::io(format!("write scratch files in `{}`", self.folder.display()));
            fs::create_dir_all(&self.folder).map_err(failed())?;
            self.writers = (0..256).map(|_| None).collect();
            let few = std::mem::take(&mut self.few);
            few.iter().try_for_each(|blob| self.write(blob))?;
        }
        self.write(blob)
    }

    fn write(&mut self, blob: &Blob) -> Result<()> {
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
        let mut filled = Vec::with_capacity(self.writers.len());
        for writer in self.writers.drain(..) {
            filled.push(writer.is_some());
            if let Some(mut writer) = writer {
                writer.flush().map_err(Error::io("write a scratch file"))?;
            }
        }
        let mut few = std::mem::take(&mut self.few);
        few.sort_unstable_by_key(|blob| blob.sha256);
        Ok(SortedBlobs { folder: std::mem::take(&mut self.folder), few, filled })
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
    /// All of them, in order, where there are no files.
    few: Vec<Blob>,
    /// By first byte, whether there is a file; nothing where there are none.
    filled: Vec<bool>,
}

impl SortedBlobs {
    /// The blobs whose digests begin with `prefix`, each once, in order.
    ///
    /// # Errors
    /// [`Error::Integrity`] when two of one digest differ in size or tree.
    pub(crate) fn bucket(&self, prefix: u8) -> Result<Vec<Blob>> {
        let mut blobs: Vec<Blob> = match self.filled.get(usize::from(prefix)) {
            Some(false) => return Ok(Vec::new()),
            Some(true) => {
                let bytes = fs::read(self.folder.join(format!("{prefix:02x}")));
                let bytes = bytes.map_err(Error::io("read a scratch file"))?;
                bytes.as_chunks::<ROW>().0.iter().map(blob).collect()
            }
            None => {
                let from = self.few.partition_point(|blob| blob.sha256.as_bytes()[0] < prefix);
                let until = self.few.partition_point(|blob| blob.sha256.as_bytes()[0] <= prefix);
                self.few[from..until].to_vec()
            }
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(number: usize) -> Blob {
        let bytes = number.to_string();
        let (sha256, blake3) = (Sha256Digest::of(bytes.as_bytes()), blake3::hash(bytes.as_bytes()).into());
        Blob { sha256, blake3, size: bytes.len() as u64 }
    }

    #[test]
    fn small_and_large_sets_are_walked_alike() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, FEW, FEW + 1, FEW * 20] {
            let place = folder.path().join(count.to_string());
            let mut set = BlobSet::new(place.clone()).unwrap();
            let mut expected: Vec<Blob> = (0..count).map(blob).collect();
            expected.iter().chain(expected.first()).for_each(|blob| set.add(blob).unwrap());
            assert_eq!(place.exists(), count >= FEW, "a small set needs no files: {count}");
            expected.sort_unstable_by_key(|blob| blob.sha256);
            let sorted = set.sorted().unwrap();
            let walked: Vec<Blob> = (0..=255).flat_map(|prefix| sorted.bucket(prefix).unwrap()).collect();
            assert_eq!(walked, expected);
            drop(sorted);
            assert!(!place.exists());
        }
    }

    #[test]
    fn two_blobs_of_one_digest_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut set = BlobSet::new(folder.path().join("set")).unwrap();
        set.add(&blob(1)).unwrap();
        set.add(&Blob { size: 7, ..blob(1) }).unwrap();
        let error = set.sorted().unwrap().bucket(blob(1).sha256.as_bytes()[0]).err().unwrap();
        assert!(matches!(error, Error::Integrity { .. }), "{error}");
    }
}
