//! What a format gets and gives when it renders a publication.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future, stream::BoxStream};

use super::{Change, Edit, Entry, Manifest, Pages, departed};
use crate::{
    clock::Timestamp,
    ecosystem::RepositoryConfig,
    error::Result,
    openpgp::Signer,
    path::ContentPath,
    store::{Blob, BlobSink, ByteStream, PutOptions, Store, StoreExt as _},
};

/// What is to be rendered.
#[derive(Debug)]
pub struct Contents<'a> {
    /// For which repository.
    pub repository: &'a RepositoryConfig,
    /// The number of the snapshot being made.
    pub number: u64,
    /// Its time, strictly later than its parent's, by what the format asks for (`Ecosystem::spacing`) at least.
    pub created_at: Timestamp,
    /// What is in it.
    pub content: &'a Manifest,
    /// What was in the parent whose publication is the starting point.
    pub parent: Option<&'a Manifest>,
    /// The publication of that parent.
    pub parent_publication: Option<&'a Manifest>,
    /// What signs here, where the host gave a key.
    pub signer: Option<&'a Signer>,
    /// A folder for temporary files; the system's where there is none.
    pub scratch: Option<&'a Path>,
    pub(crate) pages: &'a Pages,
}

impl<'a> Contents<'a> {
    /// Puts together what an engine knows: the snapshot being made, its content, and the parent whose
    /// publication is the starting point (`None` for the first).
    #[must_use]
    pub fn new(
        repository: &'a RepositoryConfig,
        (number, created_at): (u64, Timestamp),
        content: &'a Manifest,
        parent: Option<(&'a Manifest, &'a Manifest)>,
        pages: &'a Pages,
    ) -> Self {
        let (parent, parent_publication) = parent.unzip();
        Self {
            repository,
            number,
            created_at,
            content,
            parent,
            parent_publication,
            signer: None,
            scratch: None,
            pages,
        }
    }

    /// The same, with what signs.
    #[must_use]
    pub fn signed_by(self, signer: Option<&'a Signer>) -> Self {
        Self { signer, ..self }
    }

    /// What changed since the parent, in path order; everything is added when there is none.
    #[must_use]
    pub fn changes(&self) -> BoxStream<'static, Result<Change>> {
        self.pages.diff(self.parent, self.content)
    }

    /// The files of the parent's publication, in path order, without what the engine keeps there.
    #[must_use]
    pub fn published(&self) -> BoxStream<'static, Result<Entry>> {
        let Some(parent) = self.parent_publication else { return futures::stream::empty().boxed() };
        let own = |entry: &Entry| future::ready(!entry.path.as_str().starts_with(departed::PREFIX));
        parent.scan("").try_filter(own).boxed()
    }

    /// Reads the bytes of an entry, verified piece by piece.
    pub async fn read(&self, entry: &Entry) -> Result<ByteStream> {
        self.pages.store().read_all(&entry.blob).await
    }

    /// Where the blobs of the content and of the parent's publication are read, verified piece by piece.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.pages.store()
    }
}

/// Takes the files of a publication. What is neither put nor removed stays as in the parent.
pub struct IndexWriter<'a> {
    pub(crate) sink: &'a dyn BlobSink,
    pub(crate) edits: std::collections::BTreeMap<ContentPath, Edit>,
    /// What leaves, but is served for a while.
    pub(crate) retired: Vec<Entry>,
}

impl std::fmt::Debug for IndexWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexWriter").field("edits", &self.edits.len()).finish_non_exhaustive()
    }
}

impl<'a> IndexWriter<'a> {
    /// Collects edits; the bytes go to `sink` at once.
    #[must_use]
    pub fn new(sink: &'a dyn BlobSink) -> Self {
        Self { sink, edits: std::collections::BTreeMap::new(), retired: Vec::new() }
    }

    /// The edits, in path order, as [`Pages::write`] takes them.
    #[must_use]
    pub fn into_edits(self) -> BoxStream<'a, Result<Edit>> {
        Box::pin(futures::stream::iter(self.edits.into_values().map(Ok)))
    }

    /// Writes a file of the publication. Attributes travel with its entry.
    pub async fn put(
        &mut self,
        path: ContentPath,
        bytes: Bytes,
        attributes: std::collections::BTreeMap<String, serde_json::Value>,
    ) -> Result<()> {
        let blob = self.store(bytes).await?;
        self.link(path, blob, attributes);
        Ok(())
    }

    /// Stores bytes under no path yet; [`link`](Self::link) gives them one or several.
    pub async fn store(&self, bytes: Bytes) -> Result<Blob> {
        self.sink.put_bytes(bytes).await
    }

    /// Stores a stream under no path yet, for files that do not belong into memory.
    pub async fn store_stream(&self, bytes: ByteStream) -> Result<Blob> {
        self.sink.put(bytes, PutOptions::default()).await
    }

    /// Puts a blob into the publication that this writer stored, that the content refers to, or that the parent's
    /// publication has.
    pub fn link(
        &mut self,
        path: ContentPath,
        blob: Blob,
        attributes: std::collections::BTreeMap<String, serde_json::Value>,
    ) {
        let entry = Entry { path: path.clone(), blob, artifact: None, revision: None, attributes };
        self.edits.insert(path, Edit::Put(Box::new(entry)));
    }

    /// Removes a file of the publication.
    pub fn remove(&mut self, path: ContentPath) {
        self.edits.insert(path.clone(), Edit::Remove(path));
    }

    /// Removes a file of the parent's publication whose name says which bytes it stands for (apt's `by-hash`, rpm's
    /// checksums): clients that have read an older index find it by
    /// [`View::recent_publication`](crate::serve::View::recent_publication) for a while.
    pub fn retire(&mut self, entry: Entry) {
        self.remove(entry.path.clone());
        self.retired.push(entry);
    }
}
