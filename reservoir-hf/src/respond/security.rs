//! What is known of the safety of files, in the Hub's own fields.

use std::collections::HashMap;

use reservoir_core::{
    Result,
    digest::Sha256Digest,
    serve::{Found, Held, View},
};
use serde_json::{Value, json};

use super::answer::Failure;
use crate::{
    layout,
    name::{ObjectId, RepoId, check_path},
    record::Item,
    safety::security_file_status,
};

/// What is known of one file.
enum Known {
    /// Its bytes are here, or were.
    Digest(Sha256Digest),
    /// It may not be served.
    Denied(String, Option<Sha256Digest>),
    /// Nobody has looked at it.
    Nothing,
}

/// `securityFileStatus` of each file among `items`, by path.
pub(super) async fn of(
    view: &View,
    repo: &RepoId,
    commit: ObjectId,
    items: &[Item],
) -> Result<HashMap<String, Value>, Failure> {
    let mut known = Vec::with_capacity(items.len());
    for item in items.iter().filter(|item| item.is_file()) {
        known.push((item.path.clone(), look(view, repo, commit, item).await?));
    }
    let digests: Vec<Sha256Digest> = known
        .iter()
        .filter_map(|(_, known)| match known {
            Known::Digest(digest) => Some(*digest),
            Known::Denied(_, digest) => *digest,
            Known::Nothing => None,
        })
        .collect();
    let verdicts = view.verdicts(&digests).await;
    let status = |digest: Option<&Sha256Digest>| {
        security_file_status(digest.and_then(|digest| verdicts.get(digest)).map_or(&[], Vec::as_slice))
    };
    let all = known.into_iter().map(|(path, known)| {
        let value = match known {
            Known::Digest(digest) => status(Some(&digest)),
            Known::Denied(reason, digest) => denied(status(digest.as_ref()), &reason),
            Known::Nothing => status(None),
        };
        (path, value)
    });
    Ok(all.collect())
}

async fn look(view: &View, repo: &RepoId, commit: ObjectId, item: &Item) -> Result<Known> {
    if check_path(&item.path).is_err() {
        return Ok(Known::Nothing);
    }
    let path = layout::file_path(repo, commit, &item.path)?;
    Ok(match view.content(path.as_str()).await? {
        Found::Entry(entry) => Known::Digest(entry.blob.sha256),
        Found::Denied(reason) => Known::Denied(reason, item.lfs.map(|lfs| lfs.sha256)),
        Found::Missing => match view.through() {
            Some(through) => match through.known(path.as_str()).await? {
                Held::Here(entry) => Known::Digest(entry.blob.sha256),
                Held::Offered(file) => file.blob.map_or(Known::Nothing, |blob| Known::Digest(blob.sha256)),
                Held::Missing => Known::Nothing,
            },
            None => Known::Nothing,
        },
    })
}

/// What a person or policy has refused is unsafe, whatever scanners said.
fn denied(mut status: Value, reason: &str) -> Value {
    for scan in ["avScan", "pickleImportScan"] {
        status[scan]["status"] = json!("unsafe");
        if status[scan]["message"].is_null() {
            status[scan]["message"] = json!(reason);
        }
    }
    status["status"] = json!("unsafe");
    status
}
