//! One request: address rules, credentials, redirects.

use std::{error::Error as _, sync::Arc};

use http::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, LOCATION},
};
use reqwest::Response;
use tokio::time::timeout;
use url::Url;

use super::{DisplayUrl, Fetcher, body::Body, resolver::Refused, retry::retry_after, url::without_userinfo};
use crate::error::{Error, Result};

/// What a server answered, redirects followed; its body is still to be read.
pub(super) struct Answer {
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Answer {
    /// The error for a status that is not what was asked for.
    pub(super) fn refusal(&self) -> Error {
        Error::Upstream {
            url: DisplayUrl(&self.url).to_string(),
            status: self.status.as_u16(),
            retry_after: retry_after(&self.headers),
        }
    }
}

impl Fetcher {
    /// Sends one request and follows its redirects, each judged like the first address. Waits for one of the
    /// registry's places, which the answer's body keeps.
    pub(super) async fn send(&self, method: Method, url: &Url, headers: &HeaderMap) -> Result<Answer> {
        let permit = self.limits.permit(self.in_haste).await;
        self.limits.rested().await;
        let mut url = without_userinfo(url);
        for _ in 0..=self.options.max_redirects {
            let mut response = self.hop(method.clone(), &url, headers).await?;
            if let Some(next) = redirect(&url, &response)? {
                url = next;
                continue;
            }
            let headers = std::mem::take(response.headers_mut());
            let status = response.status();
            let wait = retry_after(&headers).filter(|wait| *wait <= self.options.max_retry_after);
            if let Some(wait) = wait.filter(|_| status == StatusCode::TOO_MANY_REQUESTS) {
                self.limits.rest(wait);
            }
            let body = Body::new(response, &url, &self.options, Arc::clone(&self.limits), permit);
            return Ok(Answer { url, status, headers, body });
        }
        let detail = format!("more than {} redirects", self.options.max_redirects);
        Err(Error::malformed(DisplayUrl(&url).to_string(), "redirect-limit", detail))
    }

    async fn hop(&self, method: Method, url: &Url, headers: &HeaderMap) -> Result<Response> {
        let client = self.transport.client(url, &self.scope)?;
        let mut request = client.request(method, url.clone()).headers(headers.clone());
        if let Some(authorization) = self.scope.authorization(url) {
            request = request.header(AUTHORIZATION, authorization);
        }
        let patience = self.options.connect_timeout + self.options.idle_timeout;
        match timeout(patience, request.send()).await {
            Ok(answer) => answer.map_err(|error| unreachable(url, error)),
            Err(_) => Err(Error::Unreachable {
                url: DisplayUrl(url).to_string(),
                detail: format!("no answer within {patience:?}"),
            }),
        }
    }
}

/// Where an answer sends us on to, if it does.
fn redirect(from: &Url, response: &Response) -> Result<Option<Url>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    // What the header says is not repeated: it may be a presigned URL.
    let refused =
        |detail: &str| Error::malformed(DisplayUrl(from).to_string(), "redirect-location", detail.to_owned());
    let location =
        response.headers().get(LOCATION).ok_or_else(|| refused("a redirect without `Location`"))?;
    let location = location.to_str().map_err(|_| refused("`Location` is not printable ASCII"))?;
    let next = from.join(location).map_err(|_| refused("`Location` is not a URL"))?;
    if from.scheme() == "https" && next.scheme() == "http" {
        return Err(Error::ForbiddenAddress {
            url: DisplayUrl(&next).to_string(),
            reason: "a redirect from https to http".to_owned(),
        });
    }
    tracing::debug!(from = %DisplayUrl(from), to = %DisplayUrl(&next), "redirected");
    Ok(Some(without_userinfo(&next)))
}

/// The client's error in our words, with its causes and without its URL.
pub(super) fn unreachable(url: &Url, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let url = DisplayUrl(url).to_string();
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Error::ForbiddenAddress { url, reason: refused.0.to_owned() };
        }
        let words = error.to_string();
        if !detail.ends_with(&words) {
            detail = format!("{detail}: {words}");
        }
        cause = error.source();
    }
    Error::Unreachable { url, detail }
}
