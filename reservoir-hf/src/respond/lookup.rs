//! From a repository and a label to a commit, its record, its files.

use std::ops::Range;

use bytes::BytesMut;
use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    serve::{Found, View},
    snapshot::Entry,
};

use super::{
    answer::{Failure, Refusal},
    cached,
};
use crate::{
    index::{Gathered, Info},
    layout,
    name::{Label, ObjectId, RepoId},
    record::Reader,
};

/// Bytes of `info.json`.
const INFO_LIMIT: u64 = 64 << 20;

/// What is known of a repository, for somebody who wants `rev` of it: of a cache, after its registry was asked.
/// Commits that were refused stay listed, so that those before them are reached; where all were, so do their refs.
pub(crate) async fn info(view: &View, repo: &RepoId, rev: &Label) -> Result<Info, Failure> {
    if let Some(through) = view.through() {
        return cached::info(through, repo, rev).await;
    }
    let refused = refused(view, repo);
    match document(view, repo).await? {
        Some(mut info) => {
            for (commit, facts) in refused.into_iter().flat_map(|refused| refused.commits) {
                info.commits.entry(commit).or_insert(facts);
            }
            Ok(info)
        }
        None => refused.ok_or_else(|| Refusal::repo(repo).into()),
    }
}

/// What the records of refused commits say.
fn refused(view: &View, repo: &RepoId) -> Option<Info> {
    let prefix = layout::records(repo);
    let mut gathered = Gathered::default();
    for record in view.denied_metadata(&prefix) {
        if let Some(commit) = record.path.as_str().strip_prefix(&prefix) {
            gathered.add(commit, &record.attributes);
        }
    }
    gathered.finish()
}

/// What the snapshot says of a repository.
pub(crate) async fn published(view: &View, repo: &RepoId) -> Result<Info, Failure> {
    document(view, repo).await?.ok_or_else(|| Refusal::repo(repo).into())
}

/// The same; `None` when there is no such repository.
pub(crate) async fn document(view: &View, repo: &RepoId) -> Result<Option<Info>, Failure> {
    match view.publication(layout::info_path(repo)?.as_str()).await? {
        Found::Entry(entry) => Ok(Some(Info::parse(&read(view, &entry).await?)?)),
        Found::Denied(reason) => Err(Refusal::denied(format!("`{repo}`"), &reason).into()),
        Found::Missing => Ok(None),
    }
}

async fn read(view: &View, entry: &Entry) -> Result<BytesMut> {
    let size = entry.blob.size;
    if size > INFO_LIMIT {
        let limit = format!("{INFO_LIMIT} bytes");
        return Err(Error::LimitExceeded { what: format!("`{}`", entry.path), limit });
    }
    read_bytes(view, entry, 0..size).await
}

async fn read_bytes(view: &View, entry: &Entry, range: Range<u64>) -> Result<BytesMut> {
    let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
    let mut stream = view.read(entry, range).await?;
    while let Some(piece) = stream.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The commit that a label means: a full name, a branch, a tag, a commit or the beginning of one.
pub(crate) fn resolve(info: &Info, rev: &Label) -> Result<ObjectId, Failure> {
    let by_ref = || rev.refs().into_iter().find_map(|name| info.refs.get(&name));
    let by_id = || {
        let mut fitting = info.commits.keys().filter(|id| id.as_str() == rev.as_str() || rev.abbreviates(id));
        fitting.next().filter(|_| fitting.next().is_none())
    };
    match by_ref().or_else(by_id) {
        Some(commit) => Ok(commit.parse()?),
        None => Err(Refusal::revision(rev).into()),
    }
}

/// A repository, the commit that a label means there, and the record of that commit.
pub(crate) async fn commit(
    view: &View,
    repo: &RepoId,
    rev: &Label,
) -> Result<(Info, ObjectId, Entry), Failure> {
    let info = info(view, repo, rev).await?;
    // A commit that has left the newest snapshot may still be found in those before it.
    let commit = match rev.commit() {
        Some(commit) => commit,
        None => resolve(&info, rev)?,
    };
    match (record(view, repo, commit).await?, view.through()) {
        (Found::Entry(record), _) => Ok((info, commit, *record)),
        (Found::Denied(reason), _) => {
            Err(Refusal::denied(format!("`{repo}@{commit}`"), &reason).commit(commit).into())
        }
        (Found::Missing, Some(through)) => {
            Ok((info, commit, cached::record(through, repo, commit, rev).await?))
        }
        (Found::Missing, None) => Err(Refusal::revision(rev).into()),
    }
}

/// The record of a commit that is published; of one that was refused too, whose files are told and not given.
pub(super) async fn record(view: &View, repo: &RepoId, commit: ObjectId) -> Result<Found> {
    let path = layout::record_path(repo, commit)?;
    Ok(match view.content(path.as_str()).await? {
        Found::Denied(reason) => match view.denied_metadata(path.as_str()).next() {
            Some(record) if record.path == path => Found::Entry(Box::new(record.clone())),
            _ => Found::Denied(reason),
        },
        found => found,
    })
}

/// Reads a record from a place where a line begins; 0 is the beginning, where its header is read and checked.
pub(crate) async fn reader(
    view: &View,
    repo: &RepoId,
    commit: ObjectId,
    record: &Entry,
    offset: u64,
) -> Result<Reader, Failure> {
    if offset > record.blob.size {
        return Err(Refusal::bad_request("the cursor is not one of this list").into());
    }
    if offset > 0 && read_bytes(view, record, offset - 1..offset).await?[..] != *b"\n" {
        return Err(Refusal::bad_request("the cursor is not one of this list").into());
    }
    let mut reader = Reader::new(view.read(record, offset..record.blob.size).await?, offset);
    if offset == 0 {
        reader.header(repo, commit).await?;
    }
    Ok(reader)
}
