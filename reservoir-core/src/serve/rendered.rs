//! Pages made while serving, from what a cache knows: rendered once for each state, kept in memory.

use std::{io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Method, StatusCode, header};
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{
    Body, FileOptions, Request, Response,
    coding::{Coding, accepted},
    conditional::Validators,
    file::{READ_METHODS, common_headers, precondition},
    page::vary,
    problem::refusal,
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Memory for rendered pages, all codings together.
const CAPACITY: u64 = 96 << 20;
/// The fastest levels that are worth it: a client waits for the first of these.
const GZIP: u32 = 4;
const ZSTD: i32 = 3;

/// Which page, in which language, of which state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RenderKey {
    pub(crate) repository: i64,
    pub(crate) artifact: crate::name::ArtifactName,
    pub(crate) language: &'static str,
    pub(crate) state: u64,
    pub(crate) version: u64,
}

/// A page in every coding.
#[derive(Debug)]
pub(crate) struct Rendered {
    identity: Bytes,
    gzip: Bytes,
    zstd: Bytes,
    digest: Sha256Digest,
    at: Timestamp,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<RenderKey, Arc<Rendered>> for Weight {
    fn weight(&self, key: &RenderKey, page: &Arc<Rendered>) -> u64 {
        256 + key.artifact.as_str().len() as u64
            + (page.identity.len() + page.gzip.len() + page.zstd.len()) as u64
    }
}

/// The pages rendered lately, bounded by bytes.
pub(crate) struct RenderedPages(Cache<RenderKey, Arc<Rendered>, Weight>);

impl std::fmt::Debug for RenderedPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenderedPages").field("pages", &self.0.len()).finish()
    }
}

impl Default for RenderedPages {
    fn default() -> Self {
        // Few shards, so that a page of the greatest size fits into one.
        let options = OptionsBuilder::new()
            .shards(4)
            .estimated_items_capacity(1024)
            .weight_capacity(CAPACITY)
            .build()
            .expect("both capacities are set");
        Self(Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default()))
    }
}

impl RenderedPages {
    /// The page of `key`, rendered off the reactor unless it is in memory; callers at the same time share the work.
    pub(crate) async fn get(
        &self,
        key: RenderKey,
        at: Timestamp,
        render: impl FnOnce() -> Result<Vec<u8>> + Send + 'static,
    ) -> Result<Arc<Rendered>> {
        if let Some(page) = self.0.get(&key) {
            return Ok(page);
        }
        let make = async move {
            // Joined by hand: a panic is an answer with 500, not a connection that is cut.
            let made = tokio::task::spawn_blocking(move || Rendered::new(render()?, at)).await;
            made.map_err(|error| Error::io("render a page")(std::io::Error::other(error)))?.map(Arc::new)
        };
        self.0.get_or_insert_async(&key, make).await
    }
}

impl Rendered {
    fn new(bytes: Vec<u8>, at: Timestamp) -> Result<Self> {
        let failed = || Error::io("compress a page");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(GZIP));
        gzip.write_all(&bytes).map_err(failed())?;
        let zstd = zstd::bulk::compress(&bytes, ZSTD).map_err(failed())?;
        let digest = Sha256Digest::of(&bytes);
        let gzip = gzip.finish().map_err(failed())?;
        Ok(Self { identity: bytes.into(), gzip: gzip.into(), zstd: zstd.into(), digest, at })
    }

    /// Answers with it in the coding that the client likes best.
    pub(crate) fn respond(&self, request: &Request, mut options: FileOptions) -> Result<Response> {
        if !request.is_read() {
            return Ok(Response::method_not_allowed(READ_METHODS));
        }
        vary(&mut options.headers);
        let Some(coding) = accepted(&request.headers).into_iter().next() else {
            let mut response =
                refusal(StatusCode::NOT_ACCEPTABLE, "this page comes as zstd, gzip or identity");
            vary(&mut response.headers);
            return Ok(response);
        };
        let validators = Validators::new(&format!("{}-{}", self.digest, coding.name()), self.at)?;
        let mut headers = common_headers(options, &validators);
        if let Some(response) = precondition(&validators, &request.headers, &headers) {
            return Ok(response);
        }
        let bytes = match coding {
            Coding::Zstd => &self.zstd,
            Coding::Gzip => &self.gzip,
            Coding::Identity => &self.identity,
        };
        if let Some(coding) = coding.header() {
            headers.insert(header::CONTENT_ENCODING, coding);
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len() as u64));
        let body = if request.method == Method::HEAD { Body::Empty } else { bytes.clone().into() };
        Ok(Response { status: StatusCode::OK, headers, body })
    }
}
