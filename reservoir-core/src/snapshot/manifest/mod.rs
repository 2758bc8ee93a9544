//! Two-level Merkle manifests: sorted entries cut into pages at content-defined boundaries, and a root that
//! lists the pages. Pages and roots are blobs.
//!
//! A page ends after an entry whose path hashes to zero in ten bits, so that about 1024 entries share a page, a
//! change of one entry rewrites one page (and its neighbour, when a boundary comes or goes), and the same entries
//! give the same root whatever was edited in which order.

mod diff;
pub(crate) mod root;
#[cfg(test)]
mod tests;
mod write;

use std::{fmt, sync::Arc};

use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use self::root::Root;
use super::{Entry, cache::NodeCache, page::Cutting};
use crate::{
    blocking,
    digest::Sha256Digest,
    error::Result,
    path::ContentPath,
    store::{BlobSink, Store},
};

/// Reads manifests through a cache of decoded, immutable pages that is bounded by bytes and shared by all
/// repositories of an engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pages {
    cache: Arc<NodeCache>,
    cutting: Cutting,
}

/// One manifest, open for reading. Cheap to clone.
#[derive(Clone)]
pub struct Manifest {
    digest: Sha256Digest,
    root: Arc<Root>,
    cache: Arc<NodeCache>,
}

/// One change to make to a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds or replaces the entry of its path.
    Put(Box<Entry>),
    /// Removes the entry, if there.
    Remove(ContentPath),
}

impl Edit {
    /// The path it touches.
    #[must_use]
    pub fn path(&self) -> &ContentPath {
        match self {
            Self::Put(entry) => &entry.path,
            Self::Remove(path) => path,
        }
    }
}

/// One difference between two manifests.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Only in the new one.
    Added(Box<Entry>),
    /// Only in the old one.
    Removed(Box<Entry>),
    /// In both, but different.
    Changed {
        /// As it was.
        old: Box<Entry>,
        /// As it is.
        new: Box<Entry>,
    },
}

impl Change {
    /// The path that differs.
    #[must_use]
    pub fn path(&self) -> &ContentPath {
        match self {
            Self::Added(entry) | Self::Removed(entry) | Self::Changed { new: entry, .. } => &entry.path,
        }
    }
}

/// What writing a manifest did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The new root.
    pub root: Sha256Digest,
    /// Entries in all.
    pub entries: u64,
    /// Pages written anew (not taken over from the parent).
    pub pages_written: u64,
}

impl Pages {
    /// A reader with a cache of `capacity` bytes; 64 MiB hold some 200,000 entries.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, capacity: u64) -> Self {
        Self { cache: Arc::new(NodeCache::new(store, capacity)), cutting: Cutting::STANDARD }
    }

    /// The same cache in front of another store, such as one that has what is about to be published.
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Self {
        Self { cache: Arc::new(self.cache.over(store)), cutting: self.cutting }
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.cache.store()
    }

    /// Opens a manifest by its root; reads and verifies the root, no page.
    ///
    /// A root that the store does not have is [`Error::Integrity`](crate::Error::Integrity), as is a missing page
    /// later: somebody referred to it, so it is damage. [`Error::TooNew`](crate::Error::TooNew) when a newer
    /// program wrote it.
    pub async fn open(&self, root: Sha256Digest) -> Result<Manifest> {
        let cache = Arc::clone(&self.cache);
        Ok(Manifest { digest: root, root: cache.root(root).await?, cache })
    }

    /// Applies `edits` (sorted by path, each path once) to `parent` (nothing, when `None`) and writes what
    /// changed: pages first, the root last. Memory is bounded by one page and the root, whatever the number of
    /// edits; pages that no edit touches are taken over unread.
    ///
    /// An out-of-order edit is [`Error::Invalid`](crate::Error::Invalid), as is a fractional number among the
    /// attributes; an entry over 1 MiB of JSON is [`Error::LimitExceeded`](crate::Error::LimitExceeded). With no
    /// effective change the parent's root comes back and nothing is written.
    ///
    /// Pages taken over are not pinned again: the caller keeps the parent from being collected meanwhile. Dropping
    /// the future leaves at most unreferenced pages behind, which garbage collection takes.
    pub async fn write(
        &self,
        parent: Option<&Manifest>,
        edits: BoxStream<'_, Result<Edit>>,
        sink: &dyn BlobSink,
    ) -> Result<Written> {
        write::write(self, parent, edits, sink).await
    }

    /// What differs between two manifests, in path order. Pages that both share are skipped unread.
    /// At most one page of each is held.
    #[must_use]
    pub fn diff(&self, old: Option<&Manifest>, new: &Manifest) -> BoxStream<'static, Result<Change>> {
        diff::diff(Arc::clone(&self.cache), old.map(|old| Arc::clone(&old.root)), Arc::clone(&new.root))
    }
}

impl Manifest {
    /// Its root.
    #[must_use]
    pub fn root(&self) -> Sha256Digest {
        self.digest
    }

    /// Entries in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.root.entries
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sizes of all entries' blobs, added up; a blob under two paths counts twice.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.root.bytes
    }

    /// Finds one path: two binary searches, at most one page read.
    pub async fn get(&self, path: &str) -> Result<Option<Entry>> {
        let Some(page) = self.root.page_of(path) else { return Ok(None) };
        let page = self.cache.page(page).await?;
        page.find(path).map(|index| page.entry(index)).transpose()
    }

    /// The entries whose path begins with `prefix` (any text, `six` finds `six/a` and `sixteen`), in path
    /// order; all for the empty prefix. Holds one page at a time.
    #[must_use]
    pub fn scan(&self, prefix: &str) -> BoxStream<'static, Result<Entry>> {
        let prefix: Arc<str> = prefix.into();
        let pages = &self.root.pages;
        let start = pages.partition_point(|page| page.last.as_str() < &*prefix);
        let end = pages.partition_point(|page| {
            let first = page.first.as_str();
            first < &*prefix || first.starts_with(&*prefix)
        });
        let (root, cache) = (Arc::clone(&self.root), Arc::clone(&self.cache));
        stream::iter(start..end.max(start))
            .then(move |index| {
                let (root, cache, prefix) = (Arc::clone(&root), Arc::clone(&cache), Arc::clone(&prefix));
                async move {
                    let page = cache.page(&root.pages[index]).await?;
                    let entries = page.matching(&prefix);
                    Ok(stream::iter(entries.map(move |index| page.entry(index))))
                }
            })
            .try_flatten()
            .boxed()
    }

    /// The entries of one of its pages, by its place in [`pages`](Self::pages); for walks that visit pages
    /// which several manifests share only once.
    pub async fn page_entries(&self, index: usize) -> Result<Vec<Entry>> {
        let Some(page) = self.root.pages.get(index) else { return Ok(Vec::new()) };
        let page = self.cache.page(page).await?;
        blocking::run(move || page.matching("").map(|index| page.entry(index)).collect()).await
    }

    /// The digests of its pages, for garbage collection and bundles.
    #[must_use]
    pub fn pages(&self) -> Vec<Sha256Digest> {
        self.root.pages.iter().map(|page| page.sha256).collect()
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("root", &self.digest)
            .field("entries", &self.root.entries)
            .field("pages", &self.root.pages.len())
            .finish_non_exhaustive()
    }
}
