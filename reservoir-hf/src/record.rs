//! The record of a commit: everything that is in it, also what is not kept here.
//!
//! ```text
//! {"version":"1","repo":"org/name","commit":"<40>","files":2,"size":1234}
//! {"path":"config.json","oid":"<40>","size":34}
//! {"path":"model.safetensors","oid":"<40>","size":1200,"lfs":{"sha256":"<64>","pointer_size":130}}
//! {"path":"onnx","oid":"<40>"}
//! …
//! ```
//!
//! One line for each file and folder, in the order of their paths. It says nothing that can change: the same
//! commit has the same record, whoever reads it and when.

use bytes::Bytes;
use reservoir_core::{Error, Result, digest::Sha256Digest, store::ByteStream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    git::{blob_id, lfs_pointer},
    lines::Lines,
    name::{ObjectId, RepoId},
};

/// The format that is written.
const VERSION: &str = "1";
/// Files and folders of one commit.
pub(crate) const ITEM_LIMIT: usize = 400_000;
/// Bytes of one line.
const LINE_LIMIT: usize = 64 << 10;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    version: String,
    /// `org/name`, `datasets/org/name`.
    repo: String,
    /// The commit.
    pub(crate) commit: ObjectId,
    /// How many files follow.
    pub(crate) files: u64,
    /// Their bytes together.
    pub(crate) size: u64,
    /// The commit as git has it, of commits that were made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) git: Option<String>,
}

/// A file or folder of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// Its path within the commit.
    pub(crate) path: String,
    /// Its git object: a blob, or a tree for a folder.
    pub(crate) oid: ObjectId,
    /// Bytes of a file; absent for a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// Where git has only a pointer to the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lfs: Option<Lfs>,
}

/// A file that git keeps elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lfs {
    /// The digest of its bytes.
    pub(crate) sha256: Sha256Digest,
    /// The length of the pointer.
    pub(crate) pointer_size: u64,
}

impl Item {
    pub(crate) fn is_file(&self) -> bool {
        self.size.is_some()
    }

    /// Checks that a pointer is the one whose id git's tree has.
    ///
    /// # Errors
    /// [`Error::Malformed`] (`lfs-pointer`).
    pub(crate) fn check_pointer(&self) -> Result<()> {
        let (Some(lfs), Some(size)) = (self.lfs, self.size) else { return Ok(()) };
        let pointer = lfs_pointer(&lfs.sha256, size);
        if pointer.len() as u64 == lfs.pointer_size && blob_id(pointer.as_bytes()) == self.oid {
            return Ok(());
        }
        let shown: String = self.path.chars().take(120).collect();
        let detail = "its pointer is not the one in the commit: digest and size were not what git has";
        Err(Error::malformed(format!("`{shown}`"), "lfs-pointer", detail))
    }
}

/// Writes a record. `items` are sorted by path.
pub(crate) fn write(repo: &RepoId, commit: ObjectId, items: &[Item], git: Option<String>) -> Result<Bytes> {
    let sizes = || items.iter().filter_map(|item| item.size);
    let size = sizes().try_fold(0_u64, u64::checked_add).ok_or_else(|| {
        Error::malformed(format!("commit `{commit}`"), "commit-size", "the sizes of its files overflow")
    })?;
    let header = Header {
        version: VERSION.to_owned(),
        repo: repo.to_string(),
        commit,
        files: sizes().count() as u64,
        size,
        git,
    };
    let mut bytes = Vec::new();
    line(&mut bytes, &header)?;
    for item in items {
        line(&mut bytes, item)?;
    }
    Ok(bytes.into())
}

fn line(bytes: &mut Vec<u8>, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *bytes, value)
        .map_err(|error| Error::invalid("commit record", error.to_string()))?;
    bytes.push(b'\n');
    Ok(())
}

/// A record, read line by line.
pub(crate) struct Reader(Lines);

impl Reader {
    /// Reads lines from the place where `bytes` begins.
    pub(crate) fn new(bytes: ByteStream, offset: u64) -> Self {
        Self(Lines::new(bytes, offset, LINE_LIMIT))
    }

    /// Where the line begins that is read next, in bytes from the beginning of the record.
    pub(crate) fn offset(&self) -> u64 {
        self.0.offset()
    }

    /// The first line; refuses a record of another repository or of a newer program.
    pub(crate) async fn header(&mut self, repo: &RepoId, commit: ObjectId) -> Result<Header> {
        let refuse =
            |detail: &str| Error::malformed(format!("record of `{repo}@{commit}`"), "commit-record", detail);
        let header: Header = self.next().await?.ok_or_else(|| refuse("is empty"))?;
        if header.version != VERSION {
            return Err(Error::TooNew {
                what: format!("record of `{repo}@{commit}`"),
                found: header.version,
                known: VERSION.to_owned(),
            });
        }
        if header.repo != repo.to_string() || header.commit != commit {
            return Err(refuse("belongs to another commit"));
        }
        Ok(header)
    }

    /// The next file or folder.
    pub(crate) async fn item(&mut self) -> Result<Option<Item>> {
        self.next().await
    }

    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let refuse = |detail: String| Error::malformed("record of a commit", "commit-record", detail);
        let Some(line) = self.0.next().await? else { return Ok(None) };
        if line.last() != Some(&b'\n') {
            return Err(refuse("ends within a line".to_owned()));
        }
        serde_json::from_slice(&line).map(Some).map_err(|error| refuse(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, executor::block_on, stream};

    use super::*;

    fn items() -> Vec<Item> {
        let text = "the bytes of a large file";
        let sha256 = Sha256Digest::of(text.as_bytes());
        let pointer = lfs_pointer(&sha256, text.len() as u64);
        let lfs = Lfs { sha256, pointer_size: pointer.len() as u64 };
        let (size, oid) = (Some(text.len() as u64), blob_id(pointer.as_bytes()));
        vec![
            Item { path: "a".into(), oid: blob_id(b"x"), size: Some(1), lfs: None },
            Item { path: "b".into(), oid: blob_id(b"tree"), size: None, lfs: None },
            Item { path: "b/model.bin".into(), oid, size, lfs: Some(lfs) },
        ]
    }

    #[test]
    fn what_is_written_is_read_in_any_pieces() {
        let (repo, commit) = ("org/name".parse().unwrap(), blob_id(b"commit"));
        let bytes = write(&repo, commit, &items(), None).unwrap();
        for piece in [1, 7, 4096] {
            let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let mut reader = Reader::new(stream::iter(pieces).boxed(), 0);
            let header = block_on(reader.header(&repo, commit)).unwrap();
            assert_eq!((header.files, header.size), (2, 26));
            let mut found = Vec::new();
            while let Some(item) = block_on(reader.item()).unwrap() {
                found.push(item);
            }
            assert_eq!(found, items());
            assert_eq!(reader.offset(), bytes.len() as u64);
        }
        let cut = stream::iter([Ok(bytes.slice(..bytes.len() - 2))]).boxed();
        let mut reader = Reader::new(cut, 0);
        block_on(reader.header(&repo, commit)).unwrap();
        assert!(
            block_on(async {
                while reader.item().await?.is_some() {}
                Ok::<_, Error>(())
            })
            .is_err()
        );
    }

    #[test]
    fn a_pointer_is_the_one_in_the_commit() {
        let mut item = items().remove(2);
        item.check_pointer().unwrap();
        item.size = Some(7);
        assert!(item.check_pointer().is_err());
    }

    /// Records are stored for ever: this one must stay readable.
    #[test]
    fn the_first_version_stays_readable() {
        let frozen = include_str!("../tests/frozen/commit-record-v1.jsonl");
        let (repo, commit) = ("org/name".parse().unwrap(), blob_id(b"commit"));
        assert_eq!(frozen.as_bytes(), write(&repo, commit, &items(), None).unwrap());
    }
}
