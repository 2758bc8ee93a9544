//! Verified reads: no byte leaves before its group matched the tree.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Blob, ByteStream,
    failure::blocking,
    remembered::{Seen, Version},
    tree::Tree,
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Bytes verified and yielded at once, unless one group is more.
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
    /// Groups in one span.
    fn span_groups(&self) -> u64 {
        (SPAN / self.tree.group_size()).max(1)
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
        let step = self.span_groups();
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

/// Reads from an open file, a few spans ahead, each on a blocking thread.
pub(super) fn from_file(file: File, verifier: Verifier, range: Range<u64>) -> ByteStream {
    let span_bytes = verifier.span_groups() * verifier.tree.group_size();
    let ahead = (AHEAD / span_bytes).clamp(2, 4) as usize;
    let spans = verifier.spans(&range);
    let shared = Arc::new((file, verifier, Buffers::default()));
    let spans = stream::iter(spans)
        .map(move |groups| {
            let (shared, range) = (Arc::clone(&shared), range.clone());
            blocking(move || {
                let (file, verifier, buffers) = &*shared;
                let extent = verifier.extent(&groups);
                let mut buffer = buffers.take((extent.end - extent.start) as usize);
                file.read_exact_at(buffer.bytes_mut(), extent.start).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => verifier.damaged("fewer bytes".into()),
                    _ => Error::io(format!("read blob `{}`", verifier.sha256))(error),
                })?;
                verifier.verify(groups, buffer.as_ref())?;
                Ok(wanted(&Bytes::from_owner(buffer), extent.start, &range))
            })
        })
        .buffered(ahead);
    // Nothing follows an error.
    stream::try_unfold(spans, async |mut spans| Ok(spans.try_next().await?.map(|bytes| (bytes, spans))))
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
            let span = blocking(move || checker.verify(groups, &span).map(|()| span)).await?;
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

/// Buffers of one reader, used again once the consumer has dropped the bytes.
#[derive(Debug, Clone, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self, length: usize) -> Buffer {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if bytes.len() < length {
            bytes = vec![0; length];
        }
        Buffer { bytes, length, home: self.clone() }
    }
}

struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl Buffer {
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut home = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        // More are out at once only when the consumer keeps them.
        if home.len() < 4 {
            home.push(std::mem::take(&mut self.bytes));
        }
    }
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
