//! A repository's line of snapshots without an engine: what a format renders of each, and what it answers from.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::memory::MemoryStore;
use crate::{
    clock::Timestamp,
    ecosystem::{Ecosystem, RepositoryConfig},
    error::Result,
    name::Actor,
    openpgp::Signer,
    serve::{Denials, PageCache, View},
    snapshot::{Contents, Edit, IndexWriter, Manifest, Pages, Snapshot},
};

/// Bytes of manifest pages that are kept parsed.
const PAGES: u64 = 8 << 20;

/// The snapshots so far, of which the newest can be looked at.
#[derive(Debug)]
pub struct Line {
    /// Has every blob.
    pub memory: MemoryStore,
    /// Reads and writes the manifests.
    pub pages: Pages,
    /// How many snapshots there are.
    pub number: u64,
    /// Content and publication of the newest.
    pub tip: Option<(Manifest, Manifest)>,
    created_at: Timestamp,
}

impl Default for Line {
    fn default() -> Self {
        let memory = MemoryStore::new();
        let pages = Pages::new(Arc::new(memory.clone()), PAGES);
        Self { memory, pages, number: 0, tip: None, created_at: Timestamp::from_micros(0) }
    }
}

impl Line {
    /// Makes the next snapshot of edits in any order; the paths of the publication that were written, and, with a `-`
    /// before them, that were removed. Dropped, or where the format fails, the newest stays the newest.
    ///
    /// # Errors
    /// What the format says of the content.
    pub async fn publish(
        &mut self,
        (ecosystem, repository): (&dyn Ecosystem, &RepositoryConfig),
        signer: Option<&Signer>,
        created_at: Timestamp,
        mut edits: Vec<Edit>,
    ) -> Result<Vec<String>> {
        edits.sort_by(|a, b| a.path().cmp(b.path()));
        let before = self.tip.as_ref();
        let content = self.write(before.map(|(content, _)| content), edits).await?;
        let number = self.number + 1;
        let parent = before.map(|(content, publication)| (content, publication));
        let contents = Contents::new(repository, (number, created_at), &content, parent, &self.pages);
        let mut out = IndexWriter::new(&self.memory);
        ecosystem.index(&contents.signed_by(signer), &mut out).await?;
        let edits: Vec<Edit> = out.into_edits().try_collect().await?;
        let paths = edits.iter().map(|edit| match edit {
            Edit::Put(entry) => entry.path.to_string(),
            Edit::Remove(path) => format!("-{path}"),
        });
        let paths = paths.collect();
        let publication = self.write(before.map(|(_, publication)| publication), edits).await?;
        (self.number, self.created_at) = (number, created_at);
        self.tip = Some((content, publication));
        Ok(paths)
    }

    async fn write(&self, parent: Option<&Manifest>, edits: Vec<Edit>) -> Result<Manifest> {
        let edits = stream::iter(edits.into_iter().map(Ok)).boxed();
        let written = self.pages.write(parent, edits, &self.memory).await?;
        self.pages.open(written.root).await
    }

    /// The newest snapshot, as requests see it.
    ///
    /// # Panics
    /// Where nothing was published.
    #[must_use]
    pub fn view(&self, denials: Denials, cache: PageCache) -> View {
        let (content, publication) = self.tip.clone().expect("something was published");
        let snapshot = Snapshot {
            number: self.number,
            content: content.root(),
            publication: publication.root(),
            parent: None,
            author: Actor::policy(),
            created_at: self.created_at,
            message: String::new(),
        };
        let store = Arc::new(self.memory.clone());
        View::new(Arc::new(snapshot), content, publication, store, Arc::new(denials), cache)
    }
}
