//! TAR: POSIX `ustar` and pax (POSIX.1-2017, `pax`), GNU long names and numbers.
//!
//! One pass over 512-byte blocks. Each way to say a name, a link target or a size counts only
//! where no second way contradicts it.

mod header;
mod input;
mod link;
mod pax;
mod walk;

use super::{Limits, Visitor, bridge};
use crate::{
    error::Result,
    store::{Blob, Store, StoreExt as _},
};

/// What is around a TAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarCompression {
    /// Nothing.
    None,
    /// One gzip member (RFC 1952). Some readers stop after the first of several, so there must be one.
    Gzip,
}

/// Walks all members of the TAR archive `blob`; `what` names it in errors.
///
/// A leading `./` of names is removed. The visitor comes back when the whole archive was found good.
/// Dropping the future stops the walk at the next chunk.
pub async fn walk_tar<V: Visitor>(
    store: &dyn Store,
    blob: &Blob,
    what: &str,
    compression: TarCompression,
    limits: &Limits,
    visitor: V,
) -> Result<V> {
    let stream = store.read_all(blob).await?;
    let (what, limits, size) = (what.to_owned(), *limits, blob.size);
    bridge::read_blocking(stream, move |source| {
        let input = input::Input::new(&what, compression, source, limits, size);
        walk::walk(&what, input, &limits, visitor)
    })
    .await
}
