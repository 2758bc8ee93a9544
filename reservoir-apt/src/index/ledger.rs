//! Which members the index files of the parent consist of, kept beside them and never served.

use std::collections::HashMap;

use bytes::Bytes;
use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    digest::Sha256Digest,
    snapshot::{Contents, Entry},
    store::Blob,
};
use serde::{Deserialize, Serialize};

use super::PRIVATE;

/// A page takes a few dozen bytes for each of its members: enough for tens of millions of packages.
const LIMIT: u64 = 64 << 20;

/// As it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Stored {
    #[serde(rename = "1")]
    V1(Ledger),
}

/// The members of one publication.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// What the members depend on beside their pages.
    pub(super) plan: Option<Sha256Digest>,
    /// The index files, in the order of the plan.
    pub(super) files: Vec<IndexFile>,
    /// The pages, in the order of the content.
    pub(super) pages: Vec<PageMembers>,
}

/// One index file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IndexFile {
    /// The compressed file.
    pub(super) packed: Blob,
    /// Bytes of the text.
    pub(super) size: u64,
    /// Digest of the text.
    pub(super) sha256: Sha256Digest,
}

/// What one page gave.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PageMembers {
    pub(super) page: Sha256Digest,
    /// For each index file that has anything of it: place in the plan, bytes of text, bytes compressed.
    pub(super) members: Vec<(usize, u64, u64)>,
}

/// A member of the parent's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) file: usize,
    pub(super) size: u64,
    pub(super) packed: u64,
    /// Where it begins in the parent's file.
    pub(super) offset: u64,
}

impl Ledger {
    pub(super) fn path() -> String {
        format!("{PRIVATE}members.json")
    }

    /// The parent's, if it was made by the same plan. One that cannot be read is as good as none: all is
    /// rendered anew.
    pub(super) async fn of_parent(contents: &Contents<'_>, plan: Sha256Digest) -> Result<Self> {
        let Some(publication) = contents.parent_publication else { return Ok(Self::default()) };
        let Some(entry) = publication.get(&Self::path()).await? else { return Ok(Self::default()) };
        let read = read(contents, &entry).await?;
        Ok(read.filter(|ledger| ledger.plan == Some(plan)).unwrap_or_default())
    }

    /// The members of each page.
    pub(super) fn by_page(&self) -> HashMap<Sha256Digest, Vec<Known>> {
        let mut offsets = vec![0_u64; self.files.len()];
        let mut pages = HashMap::with_capacity(self.pages.len());
        for page in &self.pages {
            let mut members = Vec::with_capacity(page.members.len());
            for &(file, size, packed) in &page.members {
                members.push(Known { file, size, packed, offset: offsets[file] });
                offsets[file] += packed;
            }
            pages.insert(page.page, members);
        }
        pages
    }

    pub(super) fn encode(self) -> Result<Bytes> {
        let bytes = serde_json::to_vec(&Stored::V1(self)).expect("plain fields serialize into memory");
        if bytes.len() as u64 > LIMIT {
            let what = "the list of index members".to_owned();
            return Err(Error::LimitExceeded { what, limit: format!("{LIMIT} bytes") });
        }
        Ok(bytes.into())
    }

    /// Whether every member lies within its file.
    fn adds_up(&self) -> bool {
        let mut sizes = vec![(0_u64, 0_u64); self.files.len()];
        for &(file, size, packed) in self.pages.iter().flat_map(|page| &page.members) {
            let Some(sum) = sizes.get_mut(file) else { return false };
            let sums = (sum.0.checked_add(size), sum.1.checked_add(packed));
            let (Some(size), Some(packed)) = sums else { return false };
            *sum = (size, packed);
        }
        self.files.iter().zip(sizes).all(|(file, (size, packed))| {
            // A file of no members is one empty member.
            file.size == size && (file.packed.size == packed || size == 0)
        })
    }
}

async fn read(contents: &Contents<'_>, entry: &Entry) -> Result<Option<Ledger>> {
    if entry.blob.size > LIMIT {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(entry.blob.size as usize);
    let mut chunks = contents.read(entry).await?;
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    let ledger = serde_json::from_slice(&bytes).ok().map(|Stored::V1(ledger)| ledger);
    Ok(ledger.filter(Ledger::adds_up))
}
