//! ZIP, as uv and pip agree on it (APPNOTE 6.3.10).
//!
//! The central directory is read first, then all of the archive from its first byte: local headers must say
//! the same as the directory, and every byte must belong to exactly one of them.

mod central;
mod end;
mod extra;
mod inflate;
mod local;

use std::ops::Range;

use futures::{StreamExt as _, TryStreamExt as _};

use self::end::End;
use super::{Limits, Visitor, bridge};
use crate::{
    error::{Error, Result},
    store::{Blob, ByteStream, Store},
};

/// Walks all members of the ZIP archive `blob`; `what` names it in errors.
///
/// Methods are stored, deflate and zstd. The visitor comes back when the whole archive was found good.
/// Dropping the future stops the walk at the next chunk.
pub async fn walk_zip<V: Visitor>(
    store: &dyn Store,
    blob: &Blob,
    what: &str,
    limits: &Limits,
    visitor: V,
) -> Result<V> {
    let tail_start = blob.size.saturating_sub(End::TAIL);
    let tail = read_range(store, blob, tail_start..blob.size).await?;
    let end = End::find(what, &tail, tail_start)?;
    if end.directory.end - end.directory.start > limits.headers {
        let what = format!("the central directory of {what}");
        return Err(Error::LimitExceeded { what, limit: format!("{} bytes", limits.headers) });
    }
    if end.entries > limits.entries {
        return Err(Error::LimitExceeded {
            what: what.to_owned(),
            limit: format!("{} members", limits.entries),
        });
    }
    let directory = read_range(store, blob, end.directory.clone()).await?;
    let members = open_range(store, blob, 0..end.directory.start).await?;

    let (what, limits, size) = (what.to_owned(), *limits, blob.size);
    bridge::read_blocking(members, move |source| {
        let entries = central::parse(&what, &directory, end.entries, &limits, size)?;
        drop(directory);
        local::walk(&what, source, &entries, end.directory.start, &limits, size, visitor)
    })
    .await
}

async fn open_range(store: &dyn Store, blob: &Blob, range: Range<u64>) -> Result<ByteStream> {
    if range.is_empty() {
        return Ok(futures::stream::empty().boxed());
    }
    store.read(blob, range).await
}

/// Callers have checked the length of the range.
async fn read_range(store: &dyn Store, blob: &Blob, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut stream = open_range(store, blob, range.clone()).await?;
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() as u64 != range.end - range.start {
        return Err(Error::Integrity {
            what: format!("blob `{}`", blob.sha256),
            expected: format!("{} bytes", range.end - range.start),
            actual: format!("{} bytes", bytes.len()),
        });
    }
    Ok(bytes)
}

/// The fields of headers are little-endian. Callers have checked that they are there.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
