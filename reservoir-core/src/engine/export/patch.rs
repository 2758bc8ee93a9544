//! What of a large blob the destination has already, in the blobs of the same name that it has: cut where the content
//! says, compared piece by piece, and sent as a patch when that is much less.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use fastcdc::v2020::StreamCDC;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;

use super::reach::Bases;
use crate::{
    Engine, blocking,
    bundle::{BlobReader, PATCH_BASES, PATCH_RUNS, Patched, Recipe, Run},
    error::{Error, Result},
    name::ArtifactName,
    path::ContentPath,
    store::{Blob, ByteStream, PutOptions, hash::hash_file},
};

/// Where patches are made, within the scratch folder of an export.
pub(super) const FOLDER: &str = "patches";
/// Smaller blobs are sent as they are.
const SMALLEST: u64 = 4 << 20;
/// A patch is used when it has at most three of so many parts of the blob.
const PARTS: u64 = 4;
/// Pieces have this size, and more in blobs that would have too many.
const PIECE: u64 = 32 << 10;
/// Pieces in the index, about.
const PIECES: u64 = 1 << 18;

/// The digest of a piece, as much of it as keeps chance out; the blob as a whole is held against its own.
type Name = [u8; 16];

impl Engine {
    /// Makes a patch in `folder` when it saves enough.
    pub(super) async fn patch(
        &self,
        blob: &Blob,
        (artifact, path): (&ArtifactName, &ContentPath),
        bases: &Bases,
        folder: &Path,
    ) -> Result<Option<(Blob, Patched)>> {
        if blob.size < SMALLEST || bases.is_empty() {
            return Ok(None);
        }
        let similar = self.similar(blob, artifact, path, bases).await?;
        if similar.is_empty() {
            return Ok(None);
        }
        let (engine, blob, folder) = (self.clone(), *blob, folder.to_owned());
        let runtime = tokio::runtime::Handle::current();
        blocking::run(move || {
            let open = |blob: &Blob| {
                let bytes = runtime.block_on(engine.inner.store.read(blob, 0..blob.size))?;
                Ok(BlobReader::new(runtime.clone(), bytes))
            };
            make(&blob, similar, &open, &folder)
        })
        .await
    }

    /// Large blobs of the same artifact and file name that the destination has, the newest first.
    async fn similar(
        &self,
        blob: &Blob,
        artifact: &ArtifactName,
        path: &ContentPath,
        bases: &Bases,
    ) -> Result<Vec<Blob>> {
        let name = |path: &str| path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned();
        let mut similar = Vec::new();
        for (repository, base) in bases.iter() {
            for (known, found) in self.inner.catalog.large_files(repository, artifact, SMALLEST).await? {
                let fits = name(&known) == name(path.as_str()) && found != *blob && !similar.contains(&found);
                if fits
                    && similar.len() < PATCH_BASES
                    && base.get(&known).await?.is_some_and(|entry| entry.blob == found)
                {
                    similar.push(found);
                }
            }
        }
        Ok(similar)
    }
}

/// Reads the bases, then the blob; `None` when too little of it is found.
fn make(
    blob: &Blob,
    bases: Vec<Blob>,
    open: &dyn Fn(&Blob) -> Result<BlobReader>,
    folder: &Path,
) -> Result<Option<(Blob, Patched)>> {
    let total: u64 = bases.iter().map(|base| base.size).sum();
    let average = (total / PIECES).max(PIECE).next_power_of_two().min(4 << 20) as usize;
    let pieces = |reader: BlobReader| StreamCDC::new(reader, average / 4, average, average * 4);
    let broken = |error: fastcdc::v2020::Error| Error::io("cut a blob")(error.into());
    let mut known: HashMap<Name, (u8, u64)> = HashMap::new();
    for (place, base) in (0_u8..).zip(&bases) {
        for piece in pieces(open(base)?) {
            let piece = piece.map_err(broken)?;
            known.entry(name(&piece.data)).or_insert((place, piece.offset));
        }
    }
    std::fs::create_dir_all(folder).map_err(Error::io("make a scratch folder"))?;
    let fresh = folder.join("new");
    let failed = || Error::io(format!("write `{}`", fresh.display()));
    let mut out = BufWriter::new(File::create(&fresh).map_err(failed())?);
    let (mut recipe, mut new) = (Recipe { blob: *blob, bases, runs: Vec::new() }, 0);
    for piece in pieces(open(blob)?) {
        let piece = piece.map_err(broken)?;
        let length = piece.data.len() as u64;
        if let Some(&(base, offset)) = known.get(&name(&piece.data)) {
            recipe.push(Run::Base { base, offset, length });
        } else {
            new += length;
            out.write_all(&piece.data).map_err(failed())?;
            recipe.push(Run::New { length });
        }
        if new > blob.size - blob.size / PARTS || recipe.runs.len() as u64 > PATCH_RUNS {
            let _ = std::fs::remove_file(&fresh);
            return Ok(None);
        }
    }
    out.flush().map_err(failed())?;
    let unnamed = folder.join("patch");
    write(&recipe, &fresh, &unnamed)?;
    let file = File::open(&unnamed).map_err(failed())?;
    let (made, _) = hash_file(&file, &unnamed, &PutOptions::default())?;
    // The header will promise these bytes, also to a run after the power went.
    file.sync_all().map_err(failed())?;
    std::fs::rename(&unnamed, place(folder, &made)).map_err(failed())?;
    std::fs::remove_file(&fresh).map_err(failed())?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())?;
    Ok(Some((made, Patched { blob: *blob, patch: made.sha256 })))
}

fn write(recipe: &Recipe, fresh: &Path, to: &Path) -> Result<()> {
    let failed = || Error::io(format!("write `{}`", to.display()));
    let mut out = BufWriter::new(File::create(to).map_err(failed())?);
    recipe.write(&mut out)?;
    std::io::copy(&mut File::open(fresh).map_err(failed())?, &mut out).map_err(failed())?;
    out.flush().map_err(failed())
}

/// Reads a patch from an offset on. The receiver holds it against its digest, as everything.
pub(super) async fn read(folder: &Path, patch: &Blob, from: u64) -> Result<ByteStream> {
    let failed = || Error::io("read a patch");
    let gone = |how: &str| Error::Conflict {
        what: "the unfinished bundle".into(),
        detail: format!("the scratch folder was {how} meanwhile; empty the medium and export again"),
    };
    let mut file = tokio::fs::File::open(place(folder, patch)).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => gone("emptied"),
        _ => failed()(error),
    })?;
    if file.metadata().await.map_err(failed())?.len() != patch.size {
        return Err(gone("damaged"));
    }
    file.seek(std::io::SeekFrom::Start(from)).await.map_err(failed())?;
    let bytes = ReaderStream::with_capacity(file, 1 << 20);
    Ok(bytes.map_err(move |error| failed()(error)).boxed())
}

/// Where a patch lies until it is written to the media.
fn place(folder: &Path, patch: &Blob) -> PathBuf {
    folder.join(patch.sha256.to_string())
}

fn name(piece: &[u8]) -> Name {
    let digest = blake3::hash(piece);
    std::array::from_fn(|index| digest.as_bytes()[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Sha256Digest, error::ErrorKind};

    #[tokio::test]
    async fn a_patch_that_lost_bytes_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = b"a patch";
        let (sha256, blake3) = (Sha256Digest::of(bytes), blake3::hash(bytes).into());
        let patch = Blob { sha256, blake3, size: bytes.len() as u64 };
        std::fs::write(place(folder.path(), &patch), bytes).unwrap();
        let read: Vec<_> = read(folder.path(), &patch, 2).await.unwrap().try_collect().await.unwrap();
        assert_eq!(read.concat(), b"patch");
        std::fs::write(place(folder.path(), &patch), b"a pat").unwrap();
        let error = super::read(folder.path(), &patch, 2).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
}
