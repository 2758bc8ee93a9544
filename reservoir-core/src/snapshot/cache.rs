//! Decoded roots and pages, shared by all manifests of an engine and bounded by bytes.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use super::{
    manifest::root::{PageRef, ROOT_LIMIT, Root},
    page::{PAGE_LIMIT, Page},
};
use crate::{
    blocking,
    digest::Sha256Digest,
    error::{Error, Result},
    store::Store,
};

/// Reads and decodes each blob once, however many ask for it at the same time.
pub(crate) struct NodeCache {
    store: Arc<dyn Store>,
    nodes: Arc<Cache<Key, Node, ByBytes>>,
}

/// The kind is part of the key: a hostile root may list a root as its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Root(Sha256Digest),
    Page(Sha256Digest),
}

#[derive(Debug, Clone)]
enum Node {
    Root(Arc<Root>),
    Page(Arc<Page>),
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Key, Node> for ByBytes {
    fn weight(&self, _: &Key, node: &Node) -> u64 {
        match node {
            Node::Root(root) => root.weight(),
            Node::Page(page) => page.weight(),
        }
    }
}

impl std::fmt::Debug for NodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeCache")
            .field("store", &self.store)
            .field("bytes", &self.nodes.weight())
            .finish_non_exhaustive()
    }
}

impl NodeCache {
    pub(crate) fn new(store: Arc<dyn Store>, capacity: u64) -> Self {
        // A typical page is 400 KB. The estimate bounds the number of shards, and with it the largest node that fits.
        let items = usize::try_from(capacity / (400 << 10)).unwrap_or(usize::MAX).max(1);
        Self { store, nodes: Arc::new(Cache::with_weighter(items, capacity, ByBytes)) }
    }

    /// The same nodes, read through another store where they are not here yet.
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Self {
        Self { store, nodes: Arc::clone(&self.nodes) }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> u64 {
        self.nodes.weight()
    }

    pub(crate) async fn root(&self, digest: Sha256Digest) -> Result<Arc<Root>> {
        let load = async {
            let bytes = self.read(&digest, ROOT_LIMIT, "root").await?;
            let root = blocking::run(move || Root::decode(&bytes, &digest)).await?;
            Ok(Node::Root(Arc::new(root)))
        };
        match self.nodes.get_or_insert_async(&Key::Root(digest), load).await? {
            Node::Root(root) => Ok(root),
            Node::Page(_) => unreachable!("root keys hold roots"),
        }
    }

    /// Reads a page and checks that it is what the root says it is.
    pub(crate) async fn page(&self, expected: &PageRef) -> Result<Arc<Page>> {
        tokio::task::consume_budget().await;
        let digest = expected.sha256;
        let load = async {
            let bytes = self.read(&digest, PAGE_LIMIT, "page").await?;
            let page = blocking::run(move || Page::decode(bytes, &digest)).await?;
            Ok(Node::Page(Arc::new(page)))
        };
        match self.nodes.get_or_insert_async(&Key::Page(digest), load).await? {
            Node::Page(page) => expected.check(&page).map(|()| page),
            Node::Root(_) => unreachable!("page keys hold pages"),
        }
    }

    /// A page that is gone is damage, not "no such file": clients must not be told 404.
    async fn read(&self, digest: &Sha256Digest, limit: u64, kind: &str) -> Result<bytes::Bytes> {
        self.store.read_whole(digest, limit).await.map_err(|error| match error {
            Error::NotFound { .. } => Error::Integrity {
                what: format!("manifest {kind}"),
                expected: digest.to_string(),
                actual: "no such blob".to_owned(),
            },
            other => other,
        })
    }
}
