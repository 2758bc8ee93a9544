//! Verified reads: no byte leaves before its group matched the tree.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, path::PathBuf, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Blob, ByteStream,
    page_cache::{Buffer, Buffers, CACHED_SPAN, fill_from_page_cache},
    remembered::{Seen, Version},
    tree::Tree,
};
use crate::{
    blocking,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Bytes verified and yielded at once on a blocking thread, unless one group is more.
const SPAN: u64 = 512 * 1024;

/// Bytes read ahead of the consumer, unless two spans are more.
const AHEAD: u64 = 2 * 1024 * 1024;

/// The range, if it lies within the blob.
pub(super) fn check_range(blob: &Blob, range: &Range<u64>) -> Result<()> {
    if range.start > range.end || range.end > blob.size {
        return Err(Error::invalid(
            "range",
            format!(
                "{}..{} is not within the {} bytes of blob `{}`",
                range.start, range.end, blob.size, blob.sha256
            ),
        ));
    }
    Ok(())
}

/// What a reader of one blob needs to verify it.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) sha256: Sha256Digest,
    pub(super) tree: Arc<Tree>,
    pub(super) seen: Option<Arc<Seen>>,
}

impl Verifier {
    /// Groups in one span of about so many bytes.
    fn span_groups(&self, span: u64) -> u64 {
        (span / self.tree.group_size()).max(1)
    }

    /// The bytes of some whole groups.
    fn extent(&self, groups: &Range<u64>) -> Range<u64> {
        let size = self.tree.size();
        (groups.start * self.tree.group_size()).min(size)..(groups.end * self.tree.group_size()).min(size)
    }

    /// The spans of groups that cover a range of bytes.
    fn spans(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + Send + use<> {
        let group = self.tree.group_size();
        let end = range.end.div_ceil(group);
        let step = self.span_groups(SPAN);
        (range.start / group..end).step_by(step as usize).map(move |first| first..(first + step).min(end))
    }

    /// Checks the bytes of some whole groups.
    fn verify(&self, groups: Range<u64>, bytes: &[u8]) -> Result<()> {
        for (index, bytes) in groups.zip(bytes.chunks(self.tree.group_size() as usize)) {
            if self.seen.as_ref().is_some_and(|seen| seen.contains(index)) {
                continue;
            }
            if !self.tree.verify(index, bytes) {
                return Err(self.damaged(format!("other bytes in group {index}")));
            }
            if let Some(seen) = &self.seen {
                seen.insert(index);
            }
        }
        Ok(())
    }

    fn damaged(&self, actual: String) -> Error {
        Error::Integrity {
            what: format!("blob `{}`", self.sha256),
            expected: self.tree.root().to_string(),
            actual,
        }
    }
}

/// What of the span beginning at `start` the caller asked for.
fn wanted(bytes: &Bytes, start: u64, range: &Range<u64>) -> Bytes {
    let from = range.start.saturating_sub(start).min(bytes.len() as u64);
    let to = range.end.saturating_sub(start).min(bytes.len() as u64);
    bytes.slice(from as usize..to as usize)
}

/// Reads from an open file. What the page cache holds is read and verified at once, on the same core that sends it;
/// from the first byte that would wait for the disk, a few spans are read ahead on blocking threads.
pub(super) fn from_file(file: File, verifier: Verifier, range: Range<u64>) -> ByteStream {
    let source = Arc::new(Source { file, verifier, range, buffers: Buffers::default() });
    let at = source.range.start;
    let cached = Cached { source, at, ahead: None };
    // Nothing follows an error.
    stream::try_unfold(cached, async |mut cached| Ok(cached.next().await?.map(|bytes| (bytes, cached))))
        .boxed()
}

/// An open file and what is wanted of it.
#[derive(Debug)]
struct Source {
    file: File,
    verifier: Verifier,
    range: Range<u64>,
    buffers: Buffers,
}

impl Source {
    /// Reads some whole groups and yields what is wanted of them. Blocks.
    fn read(&self, groups: Range<u64>) -> Result<Bytes> {
        let extent = self.verifier.extent(&groups);
        let mut buffer = self.buffers.take((extent.end - extent.start) as usize);
        self.file.read_exact_at(buffer.bytes_mut(), extent.start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.verifier.damaged("fewer bytes".into()),
            _ => Error::io(format!("read blob `{}`", self.verifier.sha256))(error),
        })?;
        self.yielded(groups, buffer)
    }

    /// The same without waiting for the disk; `None` when the page cache does not have all of it.
    fn read_cached(&self, groups: Range<u64>) -> Result<Option<Bytes>> {
        let extent = self.verifier.extent(&groups);
        let mut buffer = self.buffers.take((extent.end - extent.start) as usize);
        if !fill_from_page_cache(&self.file, buffer.bytes_mut(), extent.start) {
            return Ok(None);
        }
        self.yielded(groups, buffer).map(Some)
    }

    fn yielded(&self, groups: Range<u64>, buffer: Buffer) -> Result<Bytes> {
        let start = self.verifier.extent(&groups).start;
        self.verifier.verify(groups, buffer.as_ref())?;
        Ok(wanted(&Bytes::from_owner(buffer), start, &self.range))
    }
}

/// A source that is read from the page cache as far as that goes.
struct Cached {
    source: Arc<Source>,
    /// The next byte wanted.
    at: u64,
    /// Everything that is left, once something had to be read from the disk.
    ahead: Option<ByteStream>,
}

impl Cached {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(ahead) = &mut self.ahead {
            return ahead.try_next().await;
        }
        let (verifier, end) = (&self.source.verifier, self.source.range.end);
        if self.at >= end {
            return Ok(None);
        }
        let group = verifier.tree.group_size();
        if group <= CACHED_SPAN {
            // A reader whose client is as fast as this must not keep others from the core.
            tokio::task::consume_budget().await;
            let first = self.at / group;
            let last = (first + verifier.span_groups(CACHED_SPAN)).min(end.div_ceil(group));
            if let Some(bytes) = self.source.read_cached(first..last)? {
                self.at += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
        self.ahead.insert(read_ahead(&self.source, self.at)).try_next().await
    }
}

/// Reads everything from `at` on, a few spans ahead, each on a blocking thread.
fn read_ahead(source: &Arc<Source>, at: u64) -> ByteStream {
    let verifier = &source.verifier;
    let span_bytes = verifier.span_groups(SPAN) * verifier.tree.group_size();
    let ahead = (AHEAD / span_bytes).clamp(2, 4) as usize;
    let spans = verifier.spans(&(at..source.range.end));
    let source = Arc::clone(source);
    stream::iter(spans)
        .map(move |groups| {
            let source = Arc::clone(&source);
            blocking::run(move || source.read(groups))
        })
        .buffered(ahead)
        .boxed()
}

/// Groups of a stream that begins at a group's first byte; what it holds is one span at most.
pub(super) fn from_stream(body: ByteStream, verifier: Verifier, range: Range<u64>) -> ByteStream {
    let spans = verifier.spans(&range);
    let state = (body, spans, Arc::new(verifier), BytesMut::new());
    stream::try_unfold(state, move |(mut body, mut spans, verifier, mut held)| {
        let range = range.clone();
        async move {
            let Some(groups) = spans.next() else { return Ok(None) };
            let extent = verifier.extent(&groups);
            let length = (extent.end - extent.start) as usize;
            while held.len() < length {
                match body.try_next().await? {
                    Some(chunk) => held.extend_from_slice(&chunk),
                    None => return Err(verifier.damaged("fewer bytes".into())),
                }
            }
            let span = held.split_to(length).freeze();
            let checker = Arc::clone(&verifier);
            let span = blocking::run(move || checker.verify(groups, &span).map(|()| span)).await?;
            Ok(Some((wanted(&span, extent.start, &range), (body, spans, verifier, held))))
        }
    })
    .boxed()
}

/// The groups that a file needs to hold for a range: what to ask a backend for.
pub(super) fn aligned(tree: &Tree, range: &Range<u64>) -> Range<u64> {
    let group = tree.group_size();
    range.start / group * group..(range.end.div_ceil(group) * group).min(tree.size())
}

/// Opens the file of a blob and checks its length. Blocks.
pub(super) fn open_blob(path: &PathBuf, blob: &Blob) -> Result<(File, Version)> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found("blob", blob.sha256),
        _ => Error::io(format!("open blob `{}`", blob.sha256))(error),
    })?;
    let metadata = file.metadata().map_err(Error::io(format!("stat blob `{}`", blob.sha256)))?;
    check_size(blob, metadata.len())?;
    Ok((file, Version::of_file(&metadata)))
}

/// Refuses an object of another length than its blob.
pub(super) fn check_size(blob: &Blob, found: u64) -> Result<()> {
    if found == blob.size {
        return Ok(());
    }
    Err(Error::Integrity {
        what: format!("blob `{}`", blob.sha256),
        expected: format!("{} bytes", blob.size),
        actual: format!("{found} bytes"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::tree::{MIN_GROUP, TreeBuilder};

    /// The reader of a temporary file with `bytes`, of which `damaged` has one bit flipped.
    fn source(bytes: &[u8], range: Range<u64>, damaged: Option<usize>) -> Arc<Source> {
        let mut tree = TreeBuilder::default();
        tree.update(bytes);
        let mut stored = bytes.to_vec();
        if let Some(at) = damaged {
            stored[at] ^= 1;
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&stored).unwrap();
        let verifier =
            Verifier { sha256: Sha256Digest::of(bytes), tree: Arc::new(tree.finish()), seen: None };
        Arc::new(Source { file, verifier, range, buffers: Buffers::default() })
    }

    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at ^ (at >> 8)) as u8).collect()
    }

    /// What is read before the end or the error: from the page cache, from the disk, and from both in turn.
    async fn all_ways(source: &Arc<Source>) -> [(Vec<u8>, bool); 3] {
        [read_until(source, usize::MAX).await, read_until(source, 0).await, read_until(source, 1).await]
    }

    /// Turns to the disk after so many pieces.
    async fn read_until(source: &Arc<Source>, turn: usize) -> (Vec<u8>, bool) {
        let mut cached = Cached { source: Arc::clone(source), at: source.range.start, ahead: None };
        let mut read = Vec::new();
        for count in 0.. {
            if count == turn && cached.at < source.range.end {
                cached.ahead = Some(read_ahead(source, cached.at));
            }
            match cached.next().await {
                Ok(Some(part)) => read.extend_from_slice(&part),
                Ok(None) => return (read, true),
                Err(Error::Integrity { .. }) => return (read, false),
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!("every reader ends")
    }

    #[tokio::test]
    async fn page_cache_and_disk_give_the_same_bytes() {
        let group = MIN_GROUP as usize;
        for size in [1, group, group + 1, 2 * group, 9 * group + 77, 20 * group] {
            let bytes = bytes(size);
            for (from, to) in [(0, size), (size / 3, size - size / 5), (size - 1, size), (size / 2, size / 2)]
            {
                let source = source(&bytes, from as u64..to as u64, None);
                for (read, whole) in all_ways(&source).await {
                    assert!(whole && read == bytes[from..to], "{size} {from} {to}");
                }
            }
        }
    }

    #[tokio::test]
    async fn no_byte_of_a_damaged_group_is_yielded() {
        let group = MIN_GROUP as usize;
        let bytes = bytes(20 * group + 5);
        for at in [0, group - 1, 7 * group, 13 * group + 9, 20 * group + 4] {
            let source = source(&bytes, 0..bytes.len() as u64, Some(at));
            for (read, whole) in all_ways(&source).await {
                assert!(!whole && read.len() <= at / group * group, "{at} {}", read.len());
                assert!(bytes.starts_with(&read));
            }
        }
    }
}
