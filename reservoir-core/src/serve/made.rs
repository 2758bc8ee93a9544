//! Pages that a format makes of a snapshot when somebody asks for them.

use std::future::Future;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use super::{
    Body, FileOptions, Request, Response, View,
    conditional::Validators,
    file::{READ_METHODS, common_headers, precondition},
};
use crate::{digest::Sha256Digest, error::Result};

impl View {
    /// Answers with a page that few clients ask for and that is therefore not written with every snapshot: `make`
    /// makes it of this one. Where everything that it depends on stands in the publication, and nothing in the
    /// request, its `name` has it kept in memory for the others who ask the same of the same publication.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn made(
        &self,
        request: &Request,
        name: Option<&str>,
        options: FileOptions,
        make: impl Future<Output = Result<Vec<u8>>> + Send,
    ) -> Result<Response> {
        if !request.is_read() {
            return Ok(Response::method_not_allowed(READ_METHODS));
        }
        let bytes: Bytes = match name {
            Some(name) => {
                let key = Sha256Digest::of(format!("{}/{name}", self.publication.root()).as_bytes());
                self.pages.made(key, make).await?
            }
            None => make.await?.into(),
        };
        let validators = Validators::new(&Sha256Digest::of(&bytes).to_string(), self.snapshot.created_at)?;
        let mut headers = common_headers(options, &validators);
        if let Some(response) = precondition(&validators, &request.headers, &headers) {
            return Ok(response);
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len() as u64));
        let body = if request.method == Method::HEAD { Body::Empty } else { bytes.into() };
        Ok(Response { status: StatusCode::OK, headers, body })
    }
}
