//! The ids that git gives to bytes.

use futures::TryStreamExt as _;
use reservoir_core::{Result, digest::Sha256Digest, store::ByteStream};
use sha1::{Digest as _, Sha1};

use crate::name::ObjectId;

/// The id of a blob with these bytes.
#[must_use]
pub fn blob_id(bytes: &[u8]) -> ObjectId {
    object_id("blob", bytes)
}

/// The id of an object of any kind, from its content.
#[must_use]
pub fn object_id(kind: &str, content: &[u8]) -> ObjectId {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", content.len()));
    hash.update(content);
    ObjectId::from_bytes(hash.finalize().into())
}

/// The id of a blob that is read piece by piece.
///
/// # Errors
/// Those of the stream.
pub async fn blob_id_of_stream(mut bytes: ByteStream, size: u64) -> Result<ObjectId> {
    let mut hash = Sha1::new();
    hash.update(format!("blob {size}\0"));
    while let Some(piece) = bytes.try_next().await? {
        hash.update(&piece);
    }
    Ok(ObjectId::from_bytes(hash.finalize().into()))
}

/// The text that stands in git's tree for a file kept by LFS.
#[must_use]
pub fn lfs_pointer(sha256: &Sha256Digest, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_gits() {
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(blob_id(b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(blob_id(b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }
}
