//! What is known of the safety of files, in the Hub's own fields.

use std::collections::HashMap;

use reservoir_core::{
    Result,
    digest::Sha256Digest,
    serve::{Found, Held, View},
    snapshot::Entry,
};
use serde_json::{Value, json};

use super::{answer::Failure, lookup};
use crate::{
    layout,
    name::{ObjectId, RepoId, check_path},
    record::Item,
    safety::security_file_status,
};

/// Files that are looked up together.
const LOOKED_UP: usize = 1000;

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

/// `securityRepoStatus` of a commit: whether every file was looked at, and those that something was found in.
pub(super) async fn of_all(
    view: &View,
    repo: &RepoId,
    commit: ObjectId,
    record: &Entry,
) -> Result<Value, Failure> {
    let mut reader = lookup::reader(view, repo, commit, record, 0).await?;
    let (mut done, mut issues, mut items) = (true, Vec::new(), Vec::new());
    loop {
        let item = reader.item().await?;
        let is_last = item.is_none();
        items.extend(item);
        if items.len() == LOOKED_UP || is_last {
            let mut found: Vec<(String, Value)> = of(view, repo, commit, &items).await?.into_iter().collect();
            found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            for (path, status) in found {
                match status["status"].as_str() {
                    Some("safe") => {}
                    Some("unscanned") => done = false,
                    level => issues.push(json!({ "path": path, "level": level })),
                }
            }
            items.clear();
        }
        if is_last {
            return Ok(json!({ "scansDone": done, "filesWithIssues": issues }));
        }
    }
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
