//! A body as it arrives, watched for silence and for a trickle.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::Response;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};
use url::Url;

use super::{DisplayUrl, FetchOptions, limits::Limits, request::unreachable};
use crate::error::{Error, Result};

/// The bytes of an answer. Dropping it ends the transfer.
pub(super) struct Body {
    response: Response,
    url: Url,
    idle: Duration,
    minimum: u64,
    window: Duration,
    window_start: Instant,
    window_bytes: u64,
    limits: Arc<Limits>,
    _permit: OwnedSemaphorePermit,
}

impl Body {
    pub(super) fn new(
        response: Response,
        url: &Url,
        options: &FetchOptions,
        limits: Arc<Limits>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            response,
            url: url.clone(),
            idle: options.idle_timeout,
            minimum: options.minimum_throughput,
            window: options.throughput_window,
            window_start: Instant::now(),
            window_bytes: 0,
            limits,
            _permit: permit,
        }
    }

    /// What `Content-Length` announces for the bytes as sent.
    pub(super) fn announced(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; `None` at the end. [`Error::Unreachable`] when the connection breaks, falls silent
    /// or trickles.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = match timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => return Err(unreachable(&self.url, error)),
            Err(_) => return Err(self.stalled(format!("no data for {:?}", self.idle))),
        };
        let Some(chunk) = chunk else { return Ok(None) };
        self.window_bytes += chunk.len() as u64;
        let elapsed = self.window_start.elapsed();
        if elapsed >= self.window {
            if (self.window_bytes as f64) < self.minimum as f64 * elapsed.as_secs_f64() {
                return Err(self.stalled(format!(
                    "{} bytes in {elapsed:.1?}, less than {} bytes a second",
                    self.window_bytes, self.minimum
                )));
            }
            self.window_start = Instant::now();
            self.window_bytes = 0;
        }
        // Time that we take ourselves is not held against the server.
        let before = Instant::now();
        self.limits.take(chunk.len()).await;
        self.window_start += before.elapsed();
        Ok(Some(chunk))
    }

    fn stalled(&self, detail: String) -> Error {
        Error::Unreachable { url: DisplayUrl(&self.url).to_string(), detail }
    }
}
