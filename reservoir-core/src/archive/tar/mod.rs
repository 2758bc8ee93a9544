//! TAR: POSIX `ustar` and pax (POSIX.1-2017, `pax`), GNU long names and numbers.
//!
//! One pass over 512-byte blocks. Each way to say a name, a link target or a size counts only
//! where no second way contradicts it.

mod header;
mod input;
mod link;
mod pax;
mod walk;

use super::{
    Compression, Limits, Visitor,
    bridge::{self, Feed},
};
use crate::{
    error::Result,
    store::{Blob, Store, StoreExt as _},
};

/// What a TAR is unpacked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarRoot {
    /// A folder of its own: links must stay inside.
    Folder,
    /// The root of a system, by its package manager: links may point anywhere, names may have backslashes.
    System,
}

/// Walks all members of the TAR archive `blob`; `what` names it in errors.
///
/// A leading `./` of names is removed. The visitor comes back when the whole archive was found good.
/// Dropping the future stops the walk at the next chunk.
pub async fn walk_tar<V: Visitor>(
    store: &dyn Store,
    blob: &Blob,
    what: &str,
    compression: Compression,
    limits: &Limits,
    visitor: V,
) -> Result<V> {
    let stream = store.read_all(blob).await?;
    let (what, limits, size) = (what.to_owned(), *limits, blob.size);
    bridge::read_blocking(stream, move |source| {
        read(&what, compression, Box::new(source), size, TarRoot::Folder, &limits, visitor)
    })
    .await
}

/// Walks a TAR that comes out of `feed`, of which there are `size` bytes. Blocks.
pub(super) fn read<V: Visitor>(
    what: &str,
    compression: Compression,
    feed: Box<dyn Feed + '_>,
    size: u64,
    root: TarRoot,
    limits: &Limits,
    visitor: V,
) -> Result<V> {
    let input = input::Input::new(what, compression, feed, *limits, size)?;
    walk::walk(what, input, root, limits, visitor)
}
