//! Strict readers that refuse ambiguity.
#![allow(missing_docs, unused, clippy::all)]
use crate::{
    Result,
    digest::Sha256Digest,
    store::{Blob, Store},
};
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub entries: u64,
    pub expanded: u64,
    pub member: u64,
    pub ratio: u64,
    pub name: usize,
}
#[derive(Debug, Clone, Copy)]
pub enum TarCompression {
    None,
    Gzip,
}
pub struct Collected {
    pub digests: std::collections::BTreeMap<String, (u64, Sha256Digest)>,
    pub kept: std::collections::BTreeMap<String, bytes::Bytes>,
}
pub async fn collect_zip(
    store: &dyn Store,
    blob: &Blob,
    what: &str,
    limits: &Limits,
    keep: impl Fn(&str) -> bool + Send + 'static,
    keep_limit: u64,
) -> Result<Collected> {
    todo!()
}
pub async fn collect_tar(
    store: &dyn Store,
    blob: &Blob,
    what: &str,
    c: TarCompression,
    limits: &Limits,
    keep: impl Fn(&str) -> bool + Send + 'static,
    keep_limit: u64,
) -> Result<Collected> {
    todo!()
}
