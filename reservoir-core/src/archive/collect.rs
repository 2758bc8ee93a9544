//! The digests of all files of an archive, and the bytes of a few.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Compression, Limits, Member, MemberKind, Take, Visitor, walk_tar, walk_zip};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, Store},
};

/// What an archive contains.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Size and digest of every regular file; a hard link (TAR) has those of its target.
    pub digests: BTreeMap<String, (u64, Sha256Digest)>,
    /// The bytes of the files that were asked for.
    pub kept: BTreeMap<String, Bytes>,
    /// Symbolic links (TAR only) and their targets.
    pub links: BTreeMap<String, String>,
}

/// Walks a ZIP, hashes every file and keeps the bytes of those that `keep` chooses by name.
///
/// Beyond `keep_limit` bytes kept in all, it fails with [`Error::LimitExceeded`].
/// Dropping the future stops it at the next chunk.
pub async fn collect_zip(
    store: &dyn Store,
    blob: &Blob,
    what: &str,
    limits: &Limits,
    keep: impl Fn(&str) -> bool + Send + 'static,
    keep_limit: u64,
) -> Result<Collected> {
    let collector = Collector::new(what, keep, keep_limit);
    Ok(walk_zip(store, blob, what, limits, collector).await?.collected)
}

/// As [`collect_zip`], for a TAR.
pub async fn collect_tar(
    store: &dyn Store,
    blob: &Blob,
    what: &str,
    compression: Compression,
    limits: &Limits,
    keep: impl Fn(&str) -> bool + Send + 'static,
    keep_limit: u64,
) -> Result<Collected> {
    let collector = Collector::new(what, keep, keep_limit);
    Ok(walk_tar(store, blob, what, compression, limits, collector).await?.collected)
}

struct Collector<K> {
    what: String,
    keep: K,
    keep_limit: u64,
    /// Bytes that may still be kept.
    room: u64,
    collected: Collected,
    current: Option<Current>,
}

struct Current {
    name: String,
    size: u64,
    hasher: Sha256,
    kept: Option<Vec<u8>>,
}

impl<K> Collector<K> {
    fn new(what: &str, keep: K, keep_limit: u64) -> Self {
        let collected = Collected::default();
        Self { what: what.to_owned(), keep, keep_limit, room: keep_limit, collected, current: None }
    }
}

impl<K> fmt::Debug for Collector<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("what", &self.what).finish_non_exhaustive()
    }
}

impl<K: Fn(&str) -> bool + Send + 'static> Visitor for Collector<K> {
    fn member(&mut self, member: &Member<'_>) -> Result<Take> {
        match member.kind {
            MemberKind::File => {}
            MemberKind::Directory => return Ok(Take::Skip),
            MemberKind::Symlink { target } => {
                self.collected.links.insert(member.name.to_owned(), target.to_owned());
                return Ok(Take::Skip);
            }
            MemberKind::Hardlink { target } => {
                // The walk saw to it that the target is a file that came before.
                if let Some(&digest) = self.collected.digests.get(target) {
                    self.collected.digests.insert(member.name.to_owned(), digest);
                }
                return Ok(Take::Skip);
            }
        }
        let kept = if (self.keep)(member.name) {
            self.room = self.room.checked_sub(member.size).ok_or_else(|| Error::LimitExceeded {
                what: format!("`{}` of {}", member.name, self.what),
                limit: format!("{} bytes kept in memory", self.keep_limit),
            })?;
            Some(Vec::new())
        } else {
            None
        };
        self.current =
            Some(Current { name: member.name.to_owned(), size: member.size, hasher: Sha256::new(), kept });
        Ok(Take::Read)
    }

    fn data(&mut self, chunk: &[u8]) -> Result<()> {
        if let Some(current) = &mut self.current {
            current.hasher.update(chunk);
            if let Some(kept) = &mut current.kept {
                kept.extend_from_slice(chunk);
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some(Current { name, size, hasher, kept }) = self.current.take() {
            if let Some(kept) = kept {
                self.collected.kept.insert(name.clone(), kept.into());
            }
            self.collected.digests.insert(name, (size, hasher.into()));
        }
        Ok(())
    }
}
