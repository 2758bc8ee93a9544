//! A file as it is stored: streamed, verified, in whole or in part.

use std::ops::Range;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{
    Body, FileOptions, Request, Response,
    conditional::{Condition, Validators},
    problem::refusal,
    range::{self, Part},
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result, chain},
    snapshot::Entry,
    store::{Blob, ByteStream, Store},
};

/// What reading is called in `Allow`.
pub(crate) const READ_METHODS: &str = "GET, HEAD";

/// Answers with the bytes of `entry`.
///
/// The first bytes are read, and so verified, before there is a response: an error comes back as an error.
/// One that comes later ends the body.
pub(crate) async fn respond(
    store: &dyn Store,
    request: &Request,
    entry: &Entry,
    options: FileOptions,
    modified: Timestamp,
) -> Result<Response> {
    if !request.is_read() {
        return Ok(Response::method_not_allowed(READ_METHODS));
    }
    let size = entry.blob.size;
    let modified = options.modified.unwrap_or(modified);
    let validators = match &options.etag {
        Some(etag) => Validators::new(etag, modified)?,
        None => Validators::new(&entry.blob.sha256.to_string(), modified)?,
    };
    let ranges = options.ranges;
    let mut headers = common_headers(options, &validators);
    if let Some(response) = precondition(&validators, &request.headers, &headers) {
        return Ok(response);
    }
    let mut part = Part::Whole;
    if ranges {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        // RFC 9110 §14.2: a range means something to GET alone.
        if request.method == Method::GET && validators.range_stands(&request.headers) {
            part = range::requested(&request.headers, size);
        }
    }
    let (status, range) = match part {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Range(range) => {
            headers.insert(header::CONTENT_RANGE, range::content_range(&range, size));
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Part::Unsatisfiable => {
            let refused = refusal(StatusCode::RANGE_NOT_SATISFIABLE, &format!("the file has {size} bytes"));
            return Ok(refused.header(header::CONTENT_RANGE, range::unsatisfied_range(size)));
        }
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    let body = if request.method == Method::HEAD || range.is_empty() {
        Body::Empty
    } else {
        Body::Stream(begin(read(store, &entry.blob, range, entry.path.as_str()).await?).await?)
    };
    Ok(Response { status, headers, body })
}

/// The answer to a client that has a file of this digest already, or insists on another: 304 or 412.
pub(crate) fn known_already(
    request: &Request,
    sha256: Sha256Digest,
    options: &FileOptions,
    modified: Timestamp,
) -> Result<Option<Response>> {
    let validators = Validators::new(&sha256.to_string(), options.modified.unwrap_or(modified))?;
    let headers = common_headers(options.clone(), &validators);
    Ok(precondition(&validators, &request.headers, &headers))
}

/// What every answer with these options has, 304 included.
pub(crate) fn common_headers(options: FileOptions, validators: &Validators) -> HeaderMap {
    let mut headers = options.headers;
    // What frames the message is decided here alone.
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
    ] {
        headers.remove(name);
    }
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, options.content_type.unwrap_or(octets));
    if let Some(cache_control) = options.cache_control {
        headers.insert(header::CACHE_CONTROL, cache_control);
    }
    validators.write(&mut headers);
    headers
}

/// The answer that the client's preconditions call for instead of the whole.
pub(crate) fn precondition(
    validators: &Validators,
    request: &HeaderMap,
    headers: &HeaderMap,
) -> Option<Response> {
    match validators.evaluate(request) {
        Condition::Proceed => None,
        Condition::Failed => {
            Some(refusal(StatusCode::PRECONDITION_FAILED, "what is here is not what the request insists on"))
        }
        Condition::NotModified => {
            let kept = headers.iter().filter(|(name, _)| !describes_content(name));
            Some(Response::not_modified(
                kept.map(|(name, value)| (name.clone(), value.clone())).collect::<HeaderMap>(),
            ))
        }
    }
}

fn describes_content(name: &HeaderName) -> bool {
    *name != header::CONTENT_LOCATION && name.as_str().starts_with("content-")
}

/// Reads a range of a blob, and holds the store to giving exactly that many bytes.
pub(crate) async fn read(
    store: &dyn Store,
    blob: &Blob,
    range: Range<u64>,
    path: &str,
) -> Result<ByteStream> {
    let expected = range.end - range.start;
    let sha256 = blob.sha256;
    let bytes = store.read(blob, range).await.map_err(|error| match error {
        // The snapshot promises these bytes. A 404 would send clients to another index for them.
        Error::NotFound { what, name } => Error::Integrity {
            what: format!("`{path}`"),
            expected: sha256.to_string(),
            actual: format!("no {what} `{name}`"),
        },
        error => error,
    })?;
    Ok(exactly(bytes, expected, path.to_owned()))
}

/// The same bytes, with an error where there are more or fewer of them than `Content-Length` says.
pub(crate) fn exactly(bytes: ByteStream, expected: u64, path: String) -> ByteStream {
    let wrong = move |actual: String| Error::Integrity {
        what: format!("`{path}`"),
        expected: format!("{expected} bytes"),
        actual,
    };
    let exact = stream::try_unfold((bytes, expected, wrong), |(mut bytes, left, wrong)| async move {
        match bytes.try_next().await? {
            Some(chunk) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Ok(Some((chunk, (bytes, left, wrong)))),
                None => Err(wrong("more".into())),
            },
            None if left == 0 => Ok(None),
            None => Err(wrong(format!("{left} bytes less"))),
        }
    });
    exact.boxed()
}

/// Waits for the first bytes, so that an error among them can still be told. Later ones are logged and end
/// the stream.
pub(crate) async fn begin(mut bytes: ByteStream) -> Result<ByteStream> {
    loop {
        match bytes.try_next().await? {
            None => return Ok(stream::empty().boxed()),
            Some(chunk) if chunk.is_empty() => {}
            Some(chunk) => {
                let rest = bytes.inspect_err(|error| {
                    tracing::error!(error = %chain(error), "a response was broken off");
                });
                return Ok(stream::once(async move { Ok(chunk) }).chain(rest).boxed());
            }
        }
    }
}
