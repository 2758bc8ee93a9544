//! Two-level Merkle manifests: sorted entries cut into pages at content-defined boundaries, and a root that
//! lists the pages. Pages and roots are blobs.

use std::sync::Arc;

use futures::stream::BoxStream;

use super::Entry;
use crate::{
    digest::Sha256Digest,
    error::Result,
    path::ContentPath,
    store::{BlobSink, Store},
};

/// Reads manifests through a cache of decoded, immutable pages that is bounded by bytes and shared by all
/// repositories of an engine.
#[derive(Debug, Clone)]
pub struct Pages {
    store: Arc<dyn Store>,
}

/// One manifest, open for reading. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Manifest {
    root: Sha256Digest,
}

/// One change to make to a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds or replaces the entry of its path.
    Put(Box<Entry>),
    /// Removes the entry, if there.
    Remove(ContentPath),
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
    /// A reader with a page cache of `capacity` bytes.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, capacity: u64) -> Self {
        let _ = capacity;
        Self { store }
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Opens a manifest by its root; reads and verifies the root, no page.
    pub async fn open(&self, root: Sha256Digest) -> Result<Manifest> {
        let _ = root;
        todo!()
    }

    /// Applies `edits` (sorted by path, each path once) to `parent` (nothing, when `None`) and writes what
    /// changed: pages first, the root last. Memory is bounded by one page, whatever the number of edits.
    /// An out-of-order edit is [`Error::Invalid`](crate::Error::Invalid). With no effective change the parent's root comes back
    /// and nothing is written.
    pub async fn write(
        &self,
        parent: Option<&Manifest>,
        edits: BoxStream<'_, Result<Edit>>,
        sink: &dyn BlobSink,
    ) -> Result<Written> {
        let _ = (parent, edits, sink);
        todo!()
    }

    /// What differs between two manifests, in path order. Pages that both share are skipped unread.
    #[must_use]
    pub fn diff(&self, old: Option<&Manifest>, new: &Manifest) -> BoxStream<'static, Result<Change>> {
        let _ = (old, new);
        todo!()
    }
}

impl Manifest {
    /// Its root.
    #[must_use]
    pub fn root(&self) -> Sha256Digest {
        self.root
    }

    /// Entries in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds one path: two binary searches, at most one page read.
    pub async fn get(&self, path: &str) -> Result<Option<Entry>> {
        let _ = path;
        todo!()
    }

    /// The entries whose path begins with `prefix`, in path order; all for the empty prefix.
    #[must_use]
    pub fn scan(&self, prefix: &str) -> BoxStream<'static, Result<Entry>> {
        let _ = prefix;
        todo!()
    }

    /// The digests of its pages, for garbage collection and bundles.
    #[must_use]
    pub fn pages(&self) -> Vec<Sha256Digest> {
        todo!()
    }
}
