//! Reading one package file: its own metadata, checked against what the index claims.

use reservoir_core::{
    Error, Result,
    ecosystem::{Inspection, PulledFile},
};

#[expect(clippy::unused_async, reason = "it will read the file")]
pub(crate) async fn inspect(_file: &PulledFile<'_>) -> Result<Inspection> {
    Err(Error::Unsupported { what: "reading packages".into(), detail: "not yet".into() })
}
