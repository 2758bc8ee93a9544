//! What a format sees of a repository while it answers a client.

use std::sync::Arc;

use futures::stream::BoxStream;
use http::HeaderValue;

use super::{Request, Response};
use crate::{
    digest::Sha256Digest,
    error::Result,
    snapshot::{Entry, Manifest, Snapshot},
    store::Store,
};

/// One snapshot of one repository, with its denials, for the length of a request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    /// The snapshot being served.
    pub snapshot: Arc<Snapshot>,
    pub(crate) content: Manifest,
    pub(crate) publication: Manifest,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) denials: Arc<std::collections::HashMap<Sha256Digest, String>>,
}

/// The answer to a look-up.
#[derive(Debug)]
pub enum Found {
    /// There, and may be served.
    Entry(Box<Entry>),
    /// There, but blocked, with the reason for the client.
    Denied(String),
    /// Not there.
    Missing,
}

/// How a file is answered.
#[derive(Debug, Clone, Default)]
pub struct FileOptions {
    /// `Content-Type`; `application/octet-stream` when absent.
    pub content_type: Option<HeaderValue>,
    /// `Cache-Control`; [`FileOptions::immutable`] sets a year.
    pub cache_control: Option<HeaderValue>,
    /// `ETag` without quotes; the SHA-256 when absent.
    pub etag: Option<String>,
    /// Further headers.
    pub headers: http::HeaderMap,
    /// The client's range request is honoured (files), or answered with the whole (pages).
    pub ranges: bool,
}

impl View {
    /// Looks a path up among the content.
    pub async fn content(&self, path: &str) -> Result<Found> {
        let _ = path;
        todo!()
    }

    /// The content below a prefix that may be served, in path order.
    #[must_use]
    pub fn scan(&self, prefix: &str) -> BoxStream<'static, Result<Entry>> {
        let _ = prefix;
        todo!()
    }

    /// Looks a path up in the publication.
    pub async fn publication(&self, path: &str) -> Result<Found> {
        let _ = path;
        todo!()
    }

    /// Answers with a file: conditionals, ranges, `HEAD`, streamed and verified.
    pub async fn file(&self, request: &Request, entry: &Entry, options: FileOptions) -> Result<Response> {
        let _ = (request, entry, options);
        todo!()
    }

    /// Answers with a generated page that the publication keeps as `PATH.gz` and `PATH.zst`: picks the
    /// coding the client accepts, decodes for those that accept none. 404 when there is no such page.
    pub async fn page(&self, request: &Request, path: &str, options: FileOptions) -> Result<Response> {
        let _ = (request, path, options);
        todo!()
    }

    /// The default of [`Ecosystem::respond`](crate::ecosystem::Ecosystem::respond): publication first, content second.
    pub async fn respond_with_path(&self, request: &Request) -> Result<Response> {
        let _ = request;
        todo!()
    }
}
