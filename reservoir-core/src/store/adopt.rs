//! Taking files: hashed where they lie, then moved into place, or copied where moving is impossible or unsafe.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Blob, PutOptions, StagedBlob,
    disk::{self, Disk},
    ingest::{self, BlobHasher},
    keys,
    tree::{self, Tree},
};
use crate::{
    blocking,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Writes the tree of a blob that needs one. Blocks.
pub(super) fn place_tree(disk: &Disk, blob: &Blob, tree: &Tree) -> Result<()> {
    if tree::is_stored(blob.size) {
        disk.place_bytes(&[tree.encode()], &keys::tree(&blob.sha256))?;
    }
    Ok(())
}

/// Both digests of a blob's file; `None` when there is none.
pub(super) async fn rehash_file(path: PathBuf, sha256: Sha256Digest) -> Result<Option<Blob>> {
    blocking::run(move || match fs::File::open(&path) {
        Ok(file) => Ok(Some(ingest::hash_file(&file, &path, &PutOptions::default())?.0)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("open blob `{sha256}`"))(error)),
    })
    .await
}

/// Opens and hashes a file to be put. Blocks.
pub(super) fn hash_source(path: &Path, options: &PutOptions) -> Result<(fs::File, Blob, Tree)> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io(format!("stat `{}`", path.display())))?;
    if !metadata.is_file() {
        return Err(Error::invalid(
            "the file to store",
            format!("`{}` is not a regular file", path.display()),
        ));
    }
    let file = disk::open(path)?;
    let (blob, tree) = ingest::hash_file(&file, path, options)?;
    Ok((file, blob, tree))
}

/// Moves a hashed file into place, or copies it and hashes the copy. Blocks.
pub(super) fn adopt_or_copy(disk: &Disk, file: &fs::File, path: &Path, blob: &Blob) -> Result<()> {
    let key = keys::blob(&blob.sha256);
    if disk.adopt(file, path, &key)? {
        return Ok(());
    }
    let mut hasher = BlobHasher::default();
    let staged = disk.copy(file, path, |piece| hasher.update(piece))?;
    let (copied, _) = hasher.finish();
    if copied != *blob {
        return Err(Error::Integrity {
            what: format!("`{}`, which changed while it was copied", path.display()),
            expected: blob.sha256.to_string(),
            actual: copied.sha256.to_string(),
        });
    }
    disk.place(staged, &key)?;
    remove(path)
}

/// Moves staged blobs into place, each tree before its blob: first their bytes are made durable, then they get their
/// names, then the names are made durable. Blocks.
pub(super) fn adopt_staged(disk: &Disk, staged: &[StagedBlob]) -> Result<()> {
    let moves: Vec<(&Path, object_store::path::Path)> = staged
        .iter()
        .flat_map(|StagedBlob { blob, path, tree }| {
            let tree = tree::is_stored(blob.size).then(|| (&**tree, keys::tree(&blob.sha256)));
            tree.into_iter().chain([(&**path, keys::blob(&blob.sha256))])
        })
        .collect();
    disk.place_all(&moves)
}

/// Removes a file whose bytes are stored. Blocks.
pub(super) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(Error::io(format!("remove `{}`, which is stored", path.display())))
}
