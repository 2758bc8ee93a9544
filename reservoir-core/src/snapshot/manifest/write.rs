//! Writing: sorted edits merged into the parent's pages.

use std::cmp::Ordering;

use futures::{
    FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};

use super::{
    Edit, Manifest, Pages, Written,
    root::{PageRef, Root},
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    path::ContentPath,
    snapshot::{Entry, page::PageBuilder},
    store::{Blob, BlobSink},
};

/// Pages that are stored at the same time, beside the one that is being encoded; five megabytes each at most.
const STORING: usize = 4;
/// The digest of a page that is on its way.
const UNKNOWN: Sha256Digest = Sha256Digest::from_bytes([0; 32]);

pub(super) fn write<'a>(
    pages: &'a Pages,
    parent: Option<&'a Manifest>,
    edits: BoxStream<'a, Result<Edit>>,
    sink: &'a dyn BlobSink,
) -> BoxFuture<'a, Result<Written>> {
    Box::pin(async move {
        let old = parent.map_or(&[][..], |parent| &parent.root.pages);
        let mut edits = Edits::start(edits).await?;
        let mut out = Output::new(pages, old, sink);
        let mut next = 0;
        loop {
            // Between pages, everything up to the page that the next edit falls into stays as it is. The last page
            // may have ended for want of entries only, so whatever comes behind it falls into it.
            if out.builder.is_empty() {
                let touched = edits.head.as_ref().map_or(old.len(), |edit| {
                    old.partition_point(|page| page.last < *edit.path()).min(old.len().saturating_sub(1))
                });
                if touched > next {
                    out.pages.extend_from_slice(&old[next..touched]);
                    next = touched;
                }
            }
            let Some(page) = old.get(next) else { break };
            let page = pages.cache.page(page).await?;
            next += 1;
            for index in 0..page.len() {
                let path = page.path(index);
                let replaced = loop {
                    match edits.head.as_ref().map(|edit| edit.path().as_str().cmp(path)) {
                        Some(Ordering::Less) => out.apply(edits.take().await?).await?,
                        Some(Ordering::Equal) => break true,
                        Some(Ordering::Greater) | None => break false,
                    }
                };
                if replaced {
                    out.apply(edits.take().await?).await?;
                } else {
                    out.push(path, page.line(index), page.size(index)).await?;
                }
            }
        }
        while edits.head.is_some() {
            out.apply(edits.take().await?).await?;
        }
        out.finish(parent).await
    })
}

/// The edits, one ahead, checked for order.
struct Edits<'a> {
    stream: BoxStream<'a, Result<Edit>>,
    head: Option<Edit>,
}

impl<'a> Edits<'a> {
    async fn start(mut stream: BoxStream<'a, Result<Edit>>) -> Result<Self> {
        let head = stream.next().await.transpose()?;
        Ok(Self { stream, head })
    }

    /// The next edit, which the caller knows to be there.
    async fn take(&mut self) -> Result<Edit> {
        let next = self.stream.next().await.transpose()?;
        let edit = self.head.take().expect("callers look at the head first");
        if let Some(next) = &next
            && next.path() <= edit.path()
        {
            let detail =
                format!("`{}` comes after `{}`; sort them, each path once", next.path(), edit.path());
            return Err(Error::invalid("manifest edits", detail));
        }
        self.head = next;
        Ok(edit)
    }
}

/// The pages of the manifest being written.
struct Output<'a> {
    old: &'a [PageRef],
    sink: &'a dyn BlobSink,
    builder: PageBuilder,
    line: Vec<u8>,
    pages: Vec<PageRef>,
    written: u64,
    /// Pages on their way to the store. Waiting for the disk and encoding take about as long.
    storing: FuturesUnordered<BoxFuture<'a, Result<(usize, Blob)>>>,
}

impl<'a> Output<'a> {
    fn new(pages: &Pages, old: &'a [PageRef], sink: &'a dyn BlobSink) -> Self {
        let builder = PageBuilder::new(pages.cutting);
        let storing = FuturesUnordered::new();
        Self { old, sink, builder, line: Vec::new(), pages: Vec::new(), written: 0, storing }
    }

    async fn apply(&mut self, edit: Edit) -> Result<()> {
        match edit {
            Edit::Put(entry) => self.put(&entry).await,
            Edit::Remove(_) => Ok(()),
        }
    }

    async fn put(&mut self, entry: &Entry) -> Result<()> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        entry.encode(&mut line)?;
        self.push(entry.path.as_str(), &line, entry.blob.size).await?;
        self.line = line;
        Ok(())
    }

    async fn push(&mut self, path: &str, line: &[u8], size: u64) -> Result<()> {
        if self.builder.push(path, line, size)? {
            self.cut().await?;
        }
        Ok(())
    }

    /// Stores the page, unless it came out as the parent has it.
    async fn cut(&mut self) -> Result<()> {
        let Some(cut) = self.builder.cut()? else { return Ok(()) };
        let place = self.pages.len();
        let mut page = PageRef {
            bytes: cut.total,
            entries: cut.entries,
            first: cut.first,
            last: cut.last,
            sha256: UNKNOWN,
        };
        // Whoever stores it hashes it; here only what may be there already.
        if let Some(old) = self.old_page(&page.first)
            && old.bytes == page.bytes
            && old.entries == page.entries
            && old.last == page.last
            && old.sha256 == Sha256Digest::of(&cut.bytes)
        {
            page.sha256 = old.sha256;
            self.pages.push(page);
            return Ok(());
        }
        self.pages.push(page);
        let stored = self.sink.put_bytes(cut.bytes);
        self.storing.push(stored.map_ok(move |blob| (place, blob)).boxed());
        self.written += 1;
        while self.storing.len() > STORING {
            self.stored().await?;
        }
        // Begun now, it goes on while more is encoded.
        if let Some(stored) = self.storing.next().now_or_never().flatten() {
            self.note(stored?);
        }
        Ok(())
    }

    /// Waits for one of the pages being stored; `false` when there is none.
    async fn stored(&mut self) -> Result<bool> {
        let stored = self.storing.try_next().await?;
        Ok(stored.map(|stored| self.note(stored)).is_some())
    }

    fn note(&mut self, (place, blob): (usize, Blob)) {
        self.pages[place].sha256 = blob.sha256;
    }

    fn old_page(&self, first: &ContentPath) -> Option<&'a PageRef> {
        let index = self.old.binary_search_by(|page| page.first.cmp(first)).ok()?;
        Some(&self.old[index])
    }

    async fn finish(mut self, parent: Option<&Manifest>) -> Result<Written> {
        self.cut().await?;
        while self.stored().await? {}
        if let Some(parent) = parent
            && parent.root.pages == self.pages
        {
            return Ok(Written { root: parent.digest, entries: parent.len(), pages_written: 0 });
        }
        let root = Root::new(self.pages).ok_or_else(|| Error::LimitExceeded {
            what: "the sizes of a manifest's entries".to_owned(),
            limit: format!("{} bytes", u64::MAX),
        })?;
        let blob = self.sink.put_bytes(root.encode()?.into()).await?;
        Ok(Written { root: blob.sha256, entries: root.entries, pages_written: self.written })
    }
}
