//! What a format sees of a repository while it answers a client.

use std::{collections::HashMap, ops::Range, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, future, stream::BoxStream};
use http::{HeaderValue, StatusCode};

use super::{
    Denials, PageCache, Request, Response, Through,
    coding::{self, Coding},
    file, page,
    page::Page,
    problem::{problem, refusal},
};
use crate::{
    catalog::{Catalog, VerdictRow},
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    path::ContentPath,
    snapshot::{
        Entry, Manifest, Snapshot,
        departed::{self, Now},
    },
    store::{ByteStream, Store},
};

/// One snapshot of one repository, with its denials, for the length of a request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    /// The snapshot being served.
    pub snapshot: Arc<Snapshot>,
    pub(crate) content: Manifest,
    pub(crate) publication: Manifest,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) pages: PageCache,
    /// The time, where what has left lately is still served, for clients that read an older index.
    pub(crate) departed_at: Option<Timestamp>,
    pub(crate) through: Option<Through>,
    /// Where scanners' verdicts are kept.
    pub(crate) catalog: Option<Catalog>,
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
    /// `ETag` without quotes; the SHA-256 when absent. Pages add the name of their coding to it.
    pub etag: Option<String>,
    /// Further headers. Those that frame the message (`Content-Length`, `Content-Encoding`…) are left out.
    pub headers: http::HeaderMap,
    /// The client's range request is honoured (files), or answered with the whole (pages).
    pub ranges: bool,
    /// `Last-Modified` of a file; when what it is served from was made, when absent. For addresses whose bytes change
    /// without a snapshot, it has to grow with every change: some clients ask by nothing else.
    pub modified: Option<Timestamp>,
}

impl FileOptions {
    /// For a file whose bytes never change under its address: cached for a year, with ranges.
    #[must_use]
    pub fn immutable() -> Self {
        let year = HeaderValue::from_static("public, max-age=31536000, immutable");
        Self { cache_control: Some(year), ranges: true, ..Self::default() }
    }

    /// For a file that a later snapshot may change: asked for again each time, with ranges.
    #[must_use]
    pub fn revalidated() -> Self {
        let always = HeaderValue::from_static("no-cache");
        Self { cache_control: Some(always), ranges: true, ..Self::default() }
    }
}

impl View {
    /// Puts together what an engine knows: a snapshot with its two manifests open, and the digests that
    /// must not be served, each with the reason for the client.
    #[must_use]
    pub fn new(
        snapshot: Arc<Snapshot>,
        content: Manifest,
        publication: Manifest,
        store: Arc<dyn Store>,
        denials: Arc<Denials>,
        pages: PageCache,
    ) -> Self {
        Self {
            snapshot,
            content,
            publication,
            store,
            denials,
            pages,
            departed_at: None,
            through: None,
            catalog: None,
        }
    }

    /// The way through to the registries, where the newest state of a cache is asked for.
    #[must_use]
    pub fn through(&self) -> Option<&Through> {
        self.through.as_ref()
    }

    /// What scanners said of blobs, the latest first; those of which nothing is known are not among them. Of all that
    /// a view does, this asks the catalog: it is for answers that few ask for. While the catalog is away nothing is
    /// known.
    pub async fn verdicts(&self, blobs: &[Sha256Digest]) -> HashMap<Sha256Digest, Vec<VerdictRow>> {
        let Some(catalog) = &self.catalog else { return HashMap::new() };
        catalog.verdicts_of(blobs).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "verdicts are not shown");
            HashMap::new()
        })
    }

    /// Looks a path up among the content, then among what has left it lately: a client that has read an
    /// older index finds what it listed, unless that was denied. What is no [`ContentPath`] is missing.
    pub async fn content(&self, path: &str) -> Result<Found> {
        let found = self.find(&self.content, path).await?;
        match found {
            Found::Missing => self.departed(path).await,
            found => Ok(found),
        }
    }

    /// Looks a path up among what has left lately.
    async fn departed(&self, path: &str) -> Result<Found> {
        let Some(at) = self.departed_at else { return Ok(Found::Missing) };
        let now = Now { number: self.snapshot.number, at };
        let found = departed::find(&self.publication, path, now).await?;
        Ok(found.map_or(Found::Missing, |entry| self.unless_denied(entry)))
    }

    /// The content below a prefix that may be served, in path order.
    #[must_use]
    pub fn scan(&self, prefix: &str) -> BoxStream<'static, Result<Entry>> {
        let denials = Arc::clone(&self.denials);
        let served = move |entry: &Entry| future::ready(denials.of(entry).is_none());
        self.content.scan(prefix).try_filter(served).boxed()
    }

    /// What came with the metadata of rejected and blocked revisions, below a prefix, in path order: for a format
    /// that goes on telling what is in a revision (the files of a Hub commit) whose bytes it refuses.
    pub fn denied_metadata<'v>(&'v self, prefix: &'v str) -> impl Iterator<Item = &'v Entry> {
        let below = self.denials.metadata.range(prefix.to_owned()..);
        below.take_while(move |(path, _)| path.starts_with(prefix)).map(|(_, entry)| entry)
    }

    /// The publication below a prefix, in path order.
    #[must_use]
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Entry>> {
        self.publication.scan(prefix)
    }

    /// Reads a part of an entry's bytes for the format's own use, verified piece by piece. `range` lies within
    /// the entry's size.
    pub async fn read(&self, entry: &Entry, range: Range<u64>) -> Result<ByteStream> {
        file::read(&*self.store, &entry.blob, range, entry.path.as_str()).await
    }

    /// Looks a path up in the publication. What is no [`ContentPath`] is missing.
    pub async fn publication(&self, path: &str) -> Result<Found> {
        if path.starts_with(departed::PREFIX) {
            return Ok(Found::Missing);
        }
        self.find(&self.publication, path).await
    }

    /// Looks a path up in the publication, then among what was [retired](crate::snapshot::IndexWriter::retire)
    /// from it lately: for names that say which bytes they stand for (apt's `by-hash`, rpm's checksums), asked for
    /// by clients that have read an older index.
    pub async fn recent_publication(&self, path: &str) -> Result<Found> {
        match self.publication(path).await? {
            Found::Missing => self.departed(path).await,
            found => Ok(found),
        }
    }

    /// Answers with a file: conditionals, ranges, `HEAD`, streamed and verified.
    ///
    /// The first piece is read before this returns, so that damage found there is an error
    /// ([`problem`] makes a 500 of it) and no response has begun. Damage found later ends the body with an
    /// error item. Dropping the future or the body stops the reading.
    pub async fn file(&self, request: &Request, entry: &Entry, options: FileOptions) -> Result<Response> {
        if let Some(through) = &self.through {
            through.used(&entry.path);
        }
        file::respond(&*self.store, request, entry, options, self.snapshot.created_at).await
    }

    /// Answers with a generated page that the publication keeps as `PATH.gz` and `PATH.zst`: picks the
    /// coding the client accepts, decodes for those that accept none. 404 when there is no such page.
    ///
    /// Pages of 8 MiB at most, as sent, come from memory with their `Content-Length`; larger ones are streamed.
    /// Errors are as with [`View::file`].
    pub async fn page(&self, request: &Request, path: &str, options: FileOptions) -> Result<Response> {
        let codings = coding::accepted(&request.headers);
        for &sent in &codings {
            let Some((stored, found)) = self.page_entry(path, sent).await? else { continue };
            let entry = match found {
                Found::Entry(entry) => entry,
                Found::Denied(reason) => return Ok(denied(path, reason)),
                Found::Missing => continue,
            };
            let page = Page { entry: &entry, stored, sent };
            let modified = self.snapshot.created_at;
            return page::respond(&*self.store, &self.pages, request, &page, options, modified).await;
        }
        if !codings.contains(&Coding::Identity) && self.page_entry(path, Coding::Identity).await?.is_some() {
            let mut response =
                refusal(StatusCode::NOT_ACCEPTABLE, "this page comes as zstd, gzip or identity");
            page::vary(&mut response.headers);
            return Ok(response);
        }
        Ok(Response::not_found())
    }

    /// The default of [`Ecosystem::respond`](crate::ecosystem::Ecosystem::respond): publication first,
    /// content second, then a page that the publication keeps compressed only. Under a snapshot's number
    /// (`/python@12/…`) nothing ever changes; elsewhere clients are told to ask again each time.
    pub async fn respond_with_path(&self, request: &Request) -> Result<Response> {
        if !request.is_read() {
            return Ok(Response::method_not_allowed(file::READ_METHODS));
        }
        let options =
            if request.is_numbered() { FileOptions::immutable() } else { FileOptions::revalidated() };
        let found = match self.publication(&request.path).await? {
            Found::Missing => self.content(&request.path).await?,
            found => found,
        };
        match found {
            Found::Entry(entry) => self.file(request, &entry, options).await,
            Found::Denied(reason) => Ok(denied(&request.path, reason)),
            Found::Missing => self.page(request, &request.path, options).await,
        }
    }

    async fn find(&self, manifest: &Manifest, path: &str) -> Result<Found> {
        if path.parse::<ContentPath>().is_err() {
            return Ok(Found::Missing);
        }
        Ok(match manifest.get(path).await? {
            None => match self.denials.paths.get(path) {
                Some(reason) => Found::Denied(reason.clone()),
                None => Found::Missing,
            },
            Some(entry) => self.unless_denied(entry),
        })
    }

    fn unless_denied(&self, entry: Entry) -> Found {
        match self.denials.of(&entry) {
            Some(reason) => Found::Denied(reason.to_owned()),
            None => Found::Entry(Box::new(entry)),
        }
    }

    /// The entry that keeps a page for `sent`, and how that entry is coded.
    async fn page_entry(&self, path: &str, sent: Coding) -> Result<Option<(Coding, Found)>> {
        let stored: &[(Coding, &str)] = match sent {
            Coding::Zstd => &[(Coding::Zstd, ".zst")],
            Coding::Gzip => &[(Coding::Gzip, ".gz")],
            // A format need not keep both.
            Coding::Identity => &[(Coding::Zstd, ".zst"), (Coding::Gzip, ".gz")],
        };
        for (coding, suffix) in stored {
            match self.publication(&format!("{path}{suffix}")).await? {
                Found::Missing => {}
                found => return Ok(Some((*coding, found))),
            }
        }
        Ok(None)
    }
}

/// 403 with the reason, as policy gave it.
fn denied(path: &str, reason: String) -> Response {
    problem(&Error::Denied { what: format!("`{path}`"), reason })
}
