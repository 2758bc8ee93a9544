//! What a repository is: info with its files, refs, commits.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{StatusCode, header};
use reservoir_core::{
    Error, Result,
    serve::{Body, Request, Response, View},
};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    answer::{self, Failure, expose, json_type, no_cache},
    cached, lookup, security,
    tree::is_true,
};
use crate::{
    card::Card,
    index::{Commit, Info},
    name::{Label, ObjectId, RepoId},
    record::{Item, Reader},
};

/// Bytes of a list of files that are sent at a time.
const PIECE: usize = 64 << 10;

/// Info about a revision, all its files included.
pub(super) async fn info(
    view: &View,
    request: &Request,
    repo: &RepoId,
    rev: &Label,
) -> Result<Response, Failure> {
    let (mut blobs, mut security) = (false, false);
    let mut expand = Vec::new();
    for (key, value) in form_urlencoded::parse(request.query.as_deref().unwrap_or_default().as_bytes()) {
        match &*key {
            "blobs" => blobs = is_true(&value),
            "securityStatus" => security = is_true(&value),
            "expand" | "expand[]" => expand.push(value.into_owned()),
            _ => {}
        }
    }
    // Some clients ask for the revision of a repository that they call by no revision: its head.
    let known = lookup::info(view, repo, rev).await?;
    let head: Label = known.head.parse()?;
    let is_default = *rev == Label::default() && !known.refs.contains_key("refs/heads/main");
    let (mut info, commit, record) = lookup::commit(view, repo, if is_default { &head } else { rev }).await?;
    if let Some(through) = view.through() {
        cached::describe(through, repo, commit, &mut info).await?;
    }
    let mut value = described(&info, repo, commit, view);
    if security {
        value["securityRepoStatus"] = security::of_all(view, repo, commit, &record).await?;
    }
    if !expand.is_empty() && !expand.iter().any(|key| key == "siblings") {
        return Ok(answer::json(&value));
    }
    let reader = lookup::reader(view, repo, commit, &record, 0).await?;
    Ok(with_siblings(&value, reader, blobs))
}

/// The same object with its files, streamed: a dataset may have hundreds of thousands.
fn with_siblings(value: &Value, reader: Reader, blobs: bool) -> Response {
    let mut head = value.to_string();
    head.pop();
    head += ",\"siblings\":[";
    let start = Some((reader, head, true));
    let pieces = stream::try_unfold(start, move |state| async move {
        let Some((mut reader, mut piece, mut first)) = state else { return Ok(None) };
        while piece.len() < PIECE {
            let Some(item) = reader.item().await? else {
                piece += "]}";
                return Ok(Some((Bytes::from(piece), None)));
            };
            if item.is_file() {
                if !std::mem::take(&mut first) {
                    piece.push(',');
                }
                piece += &sibling(&item, blobs).to_string();
            }
        }
        Ok::<_, Error>(Some((Bytes::from(piece), Some((reader, String::new(), first)))))
    });
    let response = Response::new(StatusCode::OK)
        .header(header::CONTENT_TYPE, json_type())
        .header(header::CACHE_CONTROL, no_cache());
    let mut response = expose(response);
    response.body = Body::Stream(pieces.boxed());
    response
}

fn sibling(item: &Item, blobs: bool) -> Value {
    let mut value = json!({ "rfilename": item.path });
    if blobs {
        value["blobId"] = json!(item.oid);
        value["size"] = json!(item.size);
        if let Some(lfs) = item.lfs {
            value["lfs"] =
                json!({ "sha256": lfs.sha256, "size": item.size, "pointerSize": lfs.pointer_size });
        }
    }
    value
}

/// Everything about a revision but its files. What clients insist on is there even where nothing is known.
fn described(info: &Info, repo: &RepoId, commit: ObjectId, view: &View) -> Value {
    let id = commit.to_string();
    let card = info.card(&id).unwrap_or_default();
    let date = info.commits.get(&id).map_or(crate::index::NO_DATE, Commit::date);
    let mut value = summary(repo, &id, date, &card.tags());
    value["createdAt"] = json!(date);
    value["spaces"] = json!([]);
    value["snapshot"] = json!(view.snapshot.number);
    add_card(&mut value, &card);
    if let Some(config) = info.configs.get(&id) {
        value["config"] = config.clone();
    }
    value
}

fn add_card(value: &mut Value, card: &Card) {
    for key in ["pipeline_tag", "library_name"] {
        if let Some(text) = card.text(key) {
            value[key] = json!(text);
        }
    }
    if !card.data().is_empty() {
        value["cardData"] = Value::Object(card.data().clone());
    }
    if let Some(results) = card.data().get("model-index") {
        value["model-index"] = results.clone();
    }
}

/// What info and lists have in common.
fn summary(repo: &RepoId, commit: &str, date: &str, tags: &[String]) -> Value {
    json!({
        "_id": commit.get(..24).unwrap_or(commit),
        "id": repo.id(),
        "modelId": repo.id(),
        "author": repo.namespace(),
        "sha": commit,
        "lastModified": date,
        "private": false,
        "gated": false,
        "disabled": false,
        "downloads": 0,
        "likes": 0,
        "tags": tags,
    })
}

/// One line of a list, from the summary of a repository.
pub(super) fn listed(repo: &RepoId, known: &BTreeMap<String, Value>) -> Value {
    let text = |key: &str| known.get(key).and_then(Value::as_str).unwrap_or_default();
    let tags: Vec<String> = match known.get("tags") {
        Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let mut value = summary(repo, text("sha"), text("last_modified"), &tags);
    value["createdAt"] = json!(text("last_modified"));
    for key in ["pipeline_tag", "library_name"] {
        if let Some(text) = known.get(key) {
            value[key] = text.clone();
        }
    }
    value
}

/// Adds to a line of a list what was asked for beyond the usual.
pub(super) fn expand(value: &mut Value, info: &Info) {
    add_card(value, &info.card(&info.head).unwrap_or_default());
    if let Some(config) = info.configs.get(&info.head) {
        value["config"] = config.clone();
    }
}

/// Branches, tags and the rest, and where they point.
pub(super) async fn refs(view: &View, request: &Request, repo: &RepoId) -> Result<Response, Failure> {
    let info = lookup::info(view, repo, &Label::default()).await?;
    let below = |prefix: &str| -> Vec<Value> {
        let of =
            info.refs.iter().filter_map(|(full, commit)| Some((full, full.strip_prefix(prefix)?, commit)));
        of.map(|(full, name, commit)| json!({ "name": name, "ref": full, "targetCommit": commit })).collect()
    };
    let mut value = json!({
        "branches": below("refs/heads/"),
        "converts": below("refs/convert/"),
        "tags": below("refs/tags/"),
    });
    let query = request.query.as_deref().unwrap_or_default();
    if form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "include_prs" && is_true(&value)) {
        value["pullRequests"] = json!(below("refs/pr/"));
    }
    Ok(answer::json(&value))
}

/// A commit and those before it that are here.
pub(super) async fn commits(view: &View, repo: &RepoId, rev: &Label) -> Result<Response, Failure> {
    let (info, commit, _) = lookup::commit(view, repo, rev).await?;
    let mut list = Vec::new();
    let mut next = Some(commit.to_string());
    while let Some(id) = next.take()
        && list.len() <= info.commits.len()
        && let Some(commit) = info.commits.get(&id)
    {
        let authors: Vec<Value> = commit.authors.iter().map(|user| json!({ "user": user })).collect();
        list.push(json!({
            "id": id,
            "title": commit.title,
            "message": commit.message,
            "date": commit.date(),
            "authors": authors,
        }));
        next = commit.parents.first().cloned();
    }
    Ok(answer::json(&Value::Array(list)))
}
