//! Very large files in parts, so that what breaks off costs a part. A part is an object of its own, called by its
//! digest, which is the tag that the client hands back: nothing else is remembered between requests.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, StatusCode, header};
use reservoir_core::{
    Error, Intake,
    digest::Sha256Digest,
    serve::{Request, Response},
    store::{Blob, PutOptions, StoreExt as _},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body;
use crate::respond::answer::{Failure, Refusal, json};

/// Files of more bytes are put in parts.
const WHOLE: u64 = 64 << 20;
/// Bytes of a part, at least.
const PART: u64 = 32 << 20;
/// Parts of a file, at most: clients get an address for each.
const PARTS: u64 = 1000;

/// The parts that a client has put.
#[derive(Deserialize)]
struct Parts {
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "partNumber")]
    number: u64,
    etag: String,
}

/// Bytes of each part of a file; `None` for one that is put whole.
pub(super) fn size(size: u64) -> Option<u64> {
    (size > WHOLE).then(|| size.div_ceil(PARTS).div_ceil(PART) * PART)
}

/// Where the parts go, as clients want to be told: an address for each number among the headers.
pub(super) fn arrange(address: &str, size: u64, each: u64) -> Value {
    let mut header = Map::from_iter([("chunk_size".to_owned(), json!(each.to_string()))]);
    for number in 1..=size.div_ceil(each) {
        header.insert(format!("{number:05}"), json!(format!("{address}/parts/{number}")));
    }
    json!({ "href": format!("{address}/parts"), "header": header })
}

/// Stores a part.
pub(super) async fn put(intake: &Intake, request: &Request) -> Result<Response, Failure> {
    let Some(stream) = request.body.take() else {
        return Err(Refusal::bad_request("the part has no bytes").into());
    };
    let blob = intake.put(stream, PutOptions::default()).await?;
    let tag = HeaderValue::try_from(format!("\"{}\"", blob.sha256));
    let tag = tag.map_err(|_| Refusal::bad_request("the part has no name"))?;
    Ok(json(&json!({})).header(header::ETAG, tag))
}

/// Makes the file of its parts; other bytes than its name says are refused.
pub(super) async fn join(intake: &Intake, request: &Request, oid: Sha256Digest) -> Result<Response, Failure> {
    let Parts { mut parts } = body(request).await?;
    parts.sort_by_key(|part| part.number);
    if parts.len() as u64 > PARTS || !parts.iter().map(|part| part.number).eq(1..=parts.len() as u64) {
        return Err(Refusal::bad_request("the parts are not numbered from 1 without a gap").into());
    }
    let mut blobs: Vec<Blob> = Vec::with_capacity(parts.len());
    for part in parts {
        let tag = part.etag.trim_matches('"').parse::<Sha256Digest>().ok();
        let blob = match tag {
            Some(tag) => intake.uploaded(tag).await?,
            None => None,
        };
        let missing = || Refusal::bad_request(format!("part {} was not uploaded here", part.number));
        blobs.push(blob.ok_or_else(missing)?);
    }
    let size = blobs.iter().map(|blob| blob.size).sum();
    // One part is opened when the one before has ended.
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let whole = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let options = PutOptions { expected: Some(oid), size: Some(size), ..PutOptions::default() };
    let read = async move {
        for blob in blobs {
            let mut pieces = match intake.store().read_all(&blob).await {
                Ok(pieces) => pieces,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            loop {
                match pieces.try_next().await {
                    Ok(Some(piece)) => {
                        if sender.send(Ok(piece)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return drop(sender.send(Err(error)).await),
                }
            }
        }
    };
    let ((), stored) = tokio::join!(read, intake.put(whole.boxed(), options));
    match stored {
        Ok(_) => Ok(json(&json!({}))),
        Err(Error::Integrity { .. }) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the parts together are not what the object is called",
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_part_and_there_are_not_too_many() {
        assert_eq!(size(WHOLE), None);
        for total in [WHOLE + 1, 95_000_000, 2_000_000_000, 60 << 30, 1 << 42] {
            let each = size(total).unwrap();
            let arranged = arrange("a", total, each);
            let count = arranged["header"].as_object().unwrap().len() as u64 - 1;
            assert!(count == total.div_ceil(each) && count <= PARTS, "{total}: {count}");
        }
    }
}
