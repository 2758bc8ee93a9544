//! What differs between two manifests, without reading the pages they share.

use std::{cmp::Ordering, sync::Arc};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};

use super::{
    Change,
    root::{PageRef, Root},
};
use crate::{
    error::Result,
    snapshot::{Entry, cache::NodeCache, page::Page},
};

pub(super) fn diff(
    cache: Arc<NodeCache>,
    old: Option<Arc<Root>>,
    new: Arc<Root>,
) -> BoxStream<'static, Result<Change>> {
    let state = (cache, Cursor::new(old), Cursor::new(Some(new)));
    stream::try_unfold(state, |(cache, mut old, mut new)| async move {
        let change = next(&cache, &mut old, &mut new).await?;
        Ok(change.map(|change| (change, (cache, old, new))))
    })
    .boxed()
}

async fn next(cache: &NodeCache, old: &mut Cursor, new: &mut Cursor) -> Result<Option<Change>> {
    loop {
        // The same page on both sides begins at the same path, so neither cursor is inside it when the other
        // comes to it.
        while let (Some(left), Some(right)) = (old.unopened(), new.unopened())
            && left.sha256 == right.sha256
        {
            old.skip_page();
            new.skip_page();
        }
        let order = match (old.path(), new.path()) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.cmp(right),
        };
        match order {
            Ordering::Less => {
                old.open(cache).await?;
                return Ok(Some(Change::Removed(old.take()?)));
            }
            Ordering::Greater => {
                new.open(cache).await?;
                return Ok(Some(Change::Added(new.take()?)));
            }
            Ordering::Equal => {
                old.open(cache).await?;
                new.open(cache).await?;
                if old.line() != new.line() {
                    return Ok(Some(Change::Changed { old: old.take()?, new: new.take()? }));
                }
                old.advance();
                new.advance();
            }
        }
    }
}

/// A place in a manifest. The page it is in is read only when an entry of it is needed.
struct Cursor {
    root: Option<Arc<Root>>,
    page: usize,
    open: Option<Arc<Page>>,
    index: usize,
}

impl Cursor {
    fn new(root: Option<Arc<Root>>) -> Self {
        Self { root, page: 0, open: None, index: 0 }
    }

    fn page_ref(&self) -> Option<&PageRef> {
        self.root.as_ref()?.pages.get(self.page)
    }

    /// The page ahead, if none is being read.
    fn unopened(&self) -> Option<&PageRef> {
        if self.open.is_some() { None } else { self.page_ref() }
    }

    fn skip_page(&mut self) {
        self.open = None;
        self.index = 0;
        self.page += 1;
    }

    /// The path ahead; known from the root at the beginning of a page.
    fn path(&self) -> Option<&str> {
        match &self.open {
            Some(page) => Some(page.path(self.index)),
            None => self.page_ref().map(|page| page.first.as_str()),
        }
    }

    async fn open(&mut self, cache: &NodeCache) -> Result<()> {
        if let Some(page) = self.unopened() {
            self.open = Some(cache.page(page).await?);
        }
        Ok(())
    }

    /// The encoded entry ahead, on an open page.
    fn line(&self) -> Option<&[u8]> {
        self.open.as_ref().map(|page| page.line(self.index))
    }

    fn advance(&mut self) {
        self.index += 1;
        if self.open.as_ref().is_none_or(|page| self.index >= page.len()) {
            self.skip_page();
        }
    }

    /// Takes the entry ahead, on an open page.
    fn take(&mut self) -> Result<Box<Entry>> {
        let page = self.open.as_ref().expect("opened before an entry is taken");
        let entry = page.entry(self.index)?;
        self.advance();
        Ok(Box::new(entry))
    }
}
