//! A bundle without volumes, as files in a folder: what is handed to another Reservoir over HTTP, blob by blob.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{
    files::{HEADER, HEADER_SIGNATURE, read_small, write_whole},
    header::Header,
    key::StreamKey,
    objects::{self, ObjectsReader},
    records,
    write::comment,
};
use crate::{
    digest::{Blake3Digest, Sha256Digest},
    error::{Error, Result},
    store::Blob,
};

/// Rows of equal length in the order of digests, so that a blob is found without reading the list.
const INDEX: &str = "objects.index";
/// SHA-256, BLAKE3, size.
const ROW: usize = 32 + 32 + 8;

/// The files of one bundle.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// Signs a header and puts it beside the two compressed files, which are moved here from where they were made.
    /// The header comes last: a folder with a header is whole.
    pub(crate) fn put(
        folder: PathBuf,
        header: &Header,
        key: &StreamKey,
        (records_file, objects_file): (&Path, &Path),
    ) -> Result<Self> {
        let failed = || Error::io(format!("write `{}`", folder.display()));
        fs::create_dir_all(&folder).map_err(failed())?;
        let list = File::open(objects_file).map_err(failed())?;
        let mut list = ObjectsReader::new(list, &header.objects, header.volumes)?;
        let mut index = BufWriter::new(File::create(folder.join(INDEX)).map_err(failed())?);
        while let Some(object) = list.next()? {
            index.write_all(object.blob.sha256.as_bytes()).map_err(failed())?;
            index.write_all(object.blob.blake3.as_bytes()).map_err(failed())?;
            index.write_all(&object.blob.size.to_be_bytes()).map_err(failed())?;
        }
        index.flush().map_err(failed())?;
        fs::rename(records_file, folder.join(records::NAME)).map_err(failed())?;
        fs::rename(objects_file, folder.join(objects::NAME)).map_err(failed())?;
        let document = header.encode()?;
        let signature = key.sign(&document, &comment(header, HEADER));
        write_whole(&folder, HEADER_SIGNATURE, signature.as_bytes())?;
        write_whole(&folder, HEADER, &document)?;
        Ok(Self { folder })
    }

    /// What lies in a folder, if it is whole.
    pub(crate) fn open(folder: PathBuf) -> Option<Self> {
        folder.join(HEADER).is_file().then_some(Self { folder })
    }

    /// The header, as this program has signed it.
    pub(crate) fn header(&self) -> Result<Header> {
        Header::decode(&read_small(&self.folder.join(HEADER), super::header::LIMIT)?)
    }

    /// The path of one of the four files that are handed out.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        let known = [HEADER, HEADER_SIGNATURE, records::NAME, objects::NAME];
        known.contains(&name).then(|| self.folder.join(name))
    }

    /// A blob of this bundle.
    pub(crate) fn find(&self, sha256: &Sha256Digest) -> Result<Option<Blob>> {
        let failed = || Error::io("read the list of a shared bundle");
        let index = File::open(self.folder.join(INDEX)).map_err(failed())?;
        let (mut low, mut high) = (0, index.metadata().map_err(failed())?.len() / ROW as u64);
        let mut row = [0; ROW];
        while low < high {
            let middle = low + (high - low) / 2;
            index.read_exact_at(&mut row, middle * ROW as u64).map_err(failed())?;
            let found = array(&row, 0);
            match found.cmp(sha256.as_bytes()) {
                std::cmp::Ordering::Equal => {
                    return Ok(Some(Blob {
                        sha256: *sha256,
                        blake3: Blake3Digest::from_bytes(array(&row, 32)),
                        size: u64::from_be_bytes(array(&row, 64)),
                    }));
                }
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}

/// `N` bytes of a row.
fn array<const N: usize>(row: &[u8; ROW], at: usize) -> [u8; N] {
    std::array::from_fn(|index| row[at + index])
}
