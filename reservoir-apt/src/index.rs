//! Writing what clients read.

use reservoir_core::{
    Result,
    snapshot::{Contents, IndexWriter},
};

#[expect(clippy::unused_async, reason = "a place for what comes")]
pub(crate) async fn write(_contents: &Contents<'_>, _out: &mut IndexWriter<'_>) -> Result<()> {
    Ok(())
}
