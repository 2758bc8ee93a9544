//! Which files travel with the commit, and which before it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reservoir_core::serve::{Request, Response, View};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use crate::{
    name::{Label, RepoId},
    respond::{
        answer::{Failure, json},
        lookup,
    },
};

/// Text of so many bytes at most travels with the commit.
const REGULAR: u64 = 1 << 20;

#[derive(Deserialize)]
struct Announced {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    #[serde(default)]
    sample: String,
    #[serde(default)]
    size: u64,
}

/// Says for each file how it is uploaded: small text with the commit, everything else by LFS.
pub(super) async fn preupload(
    view: &View,
    request: &Request,
    repo: &RepoId,
    _rev: &Label,
) -> Result<Response, Failure> {
    let announced: Announced = body(request).await?;
    lookup::published(view, repo).await?;
    let files: Vec<Value> = announced
        .files
        .iter()
        .map(|file| {
            let mode = if file.is_regular() { "regular" } else { "lfs" };
            json!({ "path": file.path, "uploadMode": mode, "shouldIgnore": false, "oid": null })
        })
        .collect();
    Ok(json(&json!({ "files": files })))
}

impl File {
    fn is_regular(&self) -> bool {
        let sample = BASE64_STANDARD.decode(&self.sample).unwrap_or_default();
        // Cut within a character is still text.
        let is_text = match std::str::from_utf8(&sample) {
            Ok(text) => !text.contains('\0'),
            Err(error) => error.error_len().is_none() && !sample.contains(&0),
        };
        is_text && self.size <= REGULAR
    }
}
