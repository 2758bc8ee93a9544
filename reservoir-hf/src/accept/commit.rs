//! A commit as clients send it: one JSON document a line, small files inside.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::StatusCode;
use reservoir_core::{
    Intake, Result,
    digest::Sha256Digest,
    serve::{Request, Response, View},
    store::Blob,
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    change::{Draft, Words},
    known::Known,
};
use crate::{
    git::{blob_id, lfs_pointer},
    index::Info,
    lines::Lines,
    name::{Label, ObjectId, RepoId},
    record::{Item, Lfs},
    respond::{
        answer::{Failure, Refusal, json},
        lookup,
    },
};

/// Bytes of a line: a file of 24 MiB, as base64 and then as text.
const LINE_LIMIT: usize = 34 << 20;
/// Lines of a commit.
const LINES: usize = 100_000;

#[derive(Deserialize)]
struct Line {
    key: String,
    value: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Header {
    #[serde(default)]
    summary: String,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "parentCommit")]
    parent_commit: Option<ObjectId>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    content: String,
    #[serde(default)]
    encoding: Option<String>,
}

#[derive(Deserialize)]
struct LfsFile {
    path: String,
    oid: Sha256Digest,
}

#[derive(Deserialize)]
struct Deleted {
    path: String,
}

/// One change.
enum Change {
    Put { item: Item, blob: Blob },
    Link { path: String, sha256: Sha256Digest },
    DeleteFile(String),
    DeleteFolder(String),
}

/// Makes a commit on a branch, or on a new pull request.
pub(super) async fn commit(
    intake: &Intake,
    request: &Request,
    repo: &RepoId,
    rev: &Label,
) -> Result<Response, Failure> {
    let query = request.query.as_deref().unwrap_or_default();
    let is_request = form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == "create_pr" && matches!(&*value, "1" | "true" | "True"));
    // Everything is read, and small files are stored, before others have to wait.
    let (header, changes) = read(intake, request).await?;
    let turn = intake.turn().await?;
    let info = lookup::published(turn.view(), repo).await?;
    let known = Known::of(&turn, repo).await?;
    let (name, parent) = target(&info, &known, rev, is_request)?;
    known.check_branch(&name, Some(parent))?;
    if header.parent_commit.is_some_and(|expected| expected != parent) {
        let message = format!("the branch is at {parent} now; take its changes in and try again");
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, message).into());
    }
    let before = Draft::of(turn.view(), repo, parent).await?;
    let mut draft = before.clone();
    for change in changes {
        match change {
            Change::Put { item, blob } => draft.put(item, blob)?,
            Change::Link { path, sha256 } => {
                let blob = large(intake, turn.view(), repo, &info, &before, sha256).await?;
                draft.put(pointed(path, &blob), blob)?;
            }
            Change::DeleteFile(path) => draft.delete_file(&path),
            Change::DeleteFolder(path) => draft.delete_folder(&path),
        }
    }
    let title = if header.summary.is_empty() { "Upload" } else { &header.summary };
    let words = Words { author: intake.actor().as_str(), title, description: &header.description };
    let commit = if draft.files == before.files && !is_request {
        parent
    } else {
        draft.commit(intake, &turn, (repo, &known), &name, Some(parent), &words).await?
    };
    // By id alone: clients before 1.0 cannot read an address whose endpoint has a path.
    let mut answer = json!({
        "success": true,
        "commitOid": commit,
        "commitUrl": format!("{repo}/commit/{commit}"),
        "hookOutput": "",
    });
    if let Some(number) = name.strip_prefix("refs/pr/") {
        answer["pullRequestUrl"] = json!(format!("{repo}/discussions/{number}"));
    }
    Ok(json(&answer))
}

/// The ref that moves, and where it stands.
fn target(info: &Info, known: &Known, rev: &Label, is_request: bool) -> Result<(String, ObjectId), Failure> {
    let parent = lookup::resolve(info, rev)?;
    if is_request {
        return Ok((format!("refs/pr/{}", known.next_request()), parent));
    }
    let movable = |name: &String| name.starts_with("refs/heads/") || name.starts_with("refs/pr/");
    match rev.refs().into_iter().find(|name| movable(name) && info.refs.contains_key(name)) {
        Some(name) => Ok((name, parent)),
        None => Err(Refusal::bad_request(format!("`{rev}` is no branch; only branches take commits")).into()),
    }
}

async fn read(intake: &Intake, request: &Request) -> Result<(Header, Vec<Change>), Failure> {
    let bad = |detail: String| Refusal::bad_request(format!("the commit cannot be read: {detail}"));
    let Some(body) = request.body.take() else { return Err(bad("it is empty".into()).into()) };
    let mut lines = Lines::new(body, 0, LINE_LIMIT);
    let mut header = Header::default();
    let mut changes = Vec::new();
    while let Some(line) = lines.next().await? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if changes.len() >= LINES {
            return Err(bad(format!("it has more than {LINES} lines")).into());
        }
        let Line { key, value } = serde_json::from_slice(&line).map_err(|error| bad(error.to_string()))?;
        let parse = |error: serde_json::Error| bad(format!("{key}: {error}"));
        match key.as_str() {
            "header" => header = Header::deserialize(value).map_err(parse)?,
            "file" => changes.push(small(intake, File::deserialize(value).map_err(parse)?).await?),
            "lfsFile" => {
                let file = LfsFile::deserialize(value).map_err(parse)?;
                changes.push(Change::Link { path: file.path, sha256: file.oid });
            }
            "deletedFile" => {
                changes.push(Change::DeleteFile(Deleted::deserialize(value).map_err(parse)?.path));
            }
            "deletedFolder" => {
                changes.push(Change::DeleteFolder(Deleted::deserialize(value).map_err(parse)?.path));
            }
            other => return Err(bad(format!("`{other}` is not known")).into()),
        }
    }
    Ok((header, changes))
}

/// A file whose bytes come with the commit.
async fn small(intake: &Intake, file: File) -> Result<Change, Failure> {
    let bytes = match file.encoding.as_deref() {
        None | Some("utf-8") => file.content.into_bytes(),
        Some("base64") => BASE64_STANDARD
            .decode(file.content)
            .map_err(|_| Refusal::bad_request(format!("`{}` is not base64", file.path)))?,
        Some(other) => {
            return Err(Refusal::bad_request(format!("the encoding `{other}` is not known")).into());
        }
    };
    let oid = blob_id(&bytes);
    let blob = intake.put_bytes(bytes.into()).await?;
    Ok(Change::Put { item: Item { path: file.path, oid, size: Some(blob.size), lfs: None }, blob })
}

/// A large file: put before, or in some commit of the same repository.
async fn large(
    intake: &Intake,
    view: &View,
    repo: &RepoId,
    info: &Info,
    before: &Draft,
    sha256: Sha256Digest,
) -> Result<Blob, Failure> {
    if let Some(blob) = before.find(sha256) {
        return Ok(blob);
    }
    if let Some(blob) = intake.uploaded(sha256).await? {
        return Ok(blob);
    }
    for commit in info.commits.keys() {
        if let Some(blob) = Draft::of(view, repo, commit.parse()?).await?.find(sha256) {
            return Ok(blob);
        }
    }
    let message = format!("the object `{sha256}` was not uploaded here; upload it before the commit");
    Err(Refusal::bad_request(message).into())
}

fn pointed(path: String, blob: &Blob) -> Item {
    let pointer = lfs_pointer(&blob.sha256, blob.size);
    let lfs = Lfs { sha256: blob.sha256, pointer_size: pointer.len() as u64 };
    Item { path, oid: blob_id(pointer.as_bytes()), size: Some(blob.size), lfs: Some(lfs) }
}
