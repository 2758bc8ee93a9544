//! A set of blobs: a small one in memory, a large one on disk, in 256 files by first byte, so that memory holds a 256th of
//! it at a time.

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
/// Blobs that are kept in memory, about a MiB of them: making files costs more than what most deltas have to say.
const SMALL: usize = 16 << 10;

/// A set being filled. Its files go with it; a file is made with its first blob.
pub(crate) struct BlobSet {
    folder: PathBuf,
    small: Vec<Blob>,
    writers: Vec<Option<BufWriter<File>>>,
}

impl BlobSet {
    /// Makes an empty set; what is large will be in `folder`, which is removed if it is there.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove scratch files in `{}`", folder.display()))(error))
            }
            _ => Ok(Self { folder, small: Vec::new(), writers: Vec::new() }),
        }
    }

    pub(crate) fn add(&mut self, blob: &Blob) -> Result<()> {
        if self.writers.is_empty() {
            self.small.push(*blob);
            return if self.small.len() < SMALL { Ok(()) } else { self.spill() };
        }
        self.write(blob)
    }

    /// What was small so far goes to files, each digest once.
    fn spill(&mut self) -> Result<()> {
        let mut small = std::mem::take(&mut self.small);
        sort(&mut small);
        if small.len() < SMALL / 2 {
            // The same again and again.
            self.small = small;
            return Ok(());
        }
        fs::create_dir_all(&self.folder)
            .map_err(Error::io(format!("write scratch files in `{}`", self.folder.display())))?;
        self.writers = (0..256).map(|_| None).collect();
        small.iter().try_for_each(|blob| self.write(blob))
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
        let mut filled = Vec::with_capacity(256);
        for writer in self.writers.drain(..) {
            filled.push(writer.is_some());
            if let Some(mut writer) = writer {
                writer.flush().map_err(Error::io("write a scratch file"))?;
            }
        }
        let mut small = std::mem::take(&mut self.small);
        sort(&mut small);
        Ok(SortedBlobs { folder: std::mem::take(&mut self.folder), small, filled })
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
    /// All of a small set, in order.
    small: Vec<Blob>,
    /// Of a large one, by first byte, whether there is a file.
    filled: Vec<bool>,
}

impl SortedBlobs {
    /// The blobs whose digests begin with `prefix`, each once, in order.
    ///
    /// # Errors
    /// [`Error::Integrity`] when two of one digest differ in size or tree.
    pub(crate) fn bucket(&self, prefix: u8) -> Result<Vec<Blob>> {
        let blobs = match self.filled.get(usize::from(prefix)) {
            None => {
                let from = self.small.partition_point(|blob| blob.sha256.as_bytes()[0] < prefix);
                let rest = &self.small[from..];
                rest[..rest.partition_point(|blob| blob.sha256.as_bytes()[0] == prefix)].to_vec()
            }
            Some(false) => Vec::new(),
            Some(true) => {
                let file = self.folder.join(format!("{prefix:02x}"));
                let bytes = fs::read(file).map_err(Error::io("read a scratch file"))?;
                let mut blobs: Vec<Blob> = bytes.as_chunks::<ROW>().0.iter().map(blob).collect();
                sort(&mut blobs);
                blobs
            }
        };
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

/// In order, each once.
fn sort(blobs: &mut Vec<Blob>) {
    blobs.sort_unstable_by_key(|blob| (blob.sha256, blob.blake3, blob.size));
    blobs.dedup();
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

    fn numbered(number: u64) -> Blob {
        let bytes = number.to_be_bytes();
        Blob { sha256: Sha256Digest::of(&bytes), blake3: blake3::hash(&bytes).into(), size: number }
    }

    fn all(set: &SortedBlobs) -> Vec<Blob> {
        (0..=255).flat_map(|prefix| set.bucket(prefix).unwrap()).collect()
    }

    #[test]
    fn small_and_large_sets_are_walked_alike() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, 100, SMALL as u64 - 1, SMALL as u64, SMALL as u64 * 2] {
            let mut set = BlobSet::new(folder.path().join("set")).unwrap();
            let mut expected: Vec<Blob> = (0..count).map(numbered).collect();
            for blob in expected.iter().chain(&expected) {
                set.add(blob).unwrap();
            }
            expected.sort_unstable_by_key(|blob| blob.sha256);
            let sorted = set.sorted().unwrap();
            assert_eq!(all(&sorted), expected, "{count}");
            assert_eq!(all(&sorted), expected, "{count}, once more");
            drop(sorted);
            assert!(!folder.path().join("set").exists());
        }
    }

    #[test]
    fn what_contradicts_itself_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for fill in [0, SMALL as u64 + 1] {
            let mut set = BlobSet::new(folder.path().join("set")).unwrap();
            (0..fill).try_for_each(|number| set.add(&numbered(number))).unwrap();
            let one = numbered(fill);
            set.add(&one).unwrap();
            set.add(&Blob { size: 7, ..one }).unwrap();
            let sorted = set.sorted().unwrap();
            assert!(
                matches!(sorted.bucket(one.sha256.as_bytes()[0]), Err(Error::Integrity { .. })),
                "{fill}"
            );
        }
    }
}
