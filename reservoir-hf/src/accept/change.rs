//! A commit while it is made: what the parent has, what changes, and the new revision.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures::TryStreamExt as _;
use http::StatusCode;
use reservoir_core::{
    Intake, Result, Submission, Turn,
    catalog::ReceivedFile,
    clock::Timestamp,
    digest::Sha256Digest,
    lifecycle::Status,
    serve::{Found, View},
    store::Blob,
};
use serde_json::{Value, json};

use super::known::Known;
use crate::{
    attribute::{self, LFS, OID},
    git,
    index::Commit,
    layout,
    name::{BadPath, ObjectId, RepoId, check_path},
    record::{self, ITEM_LIMIT, Item, Reader},
    respond::{
        answer::{Failure, Refusal},
        lookup,
    },
};

/// Commits that are renamed together.
const RENAMED: usize = 16;

/// The files of a commit, and the bytes that are here of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Draft {
    pub(super) files: BTreeMap<String, Item>,
    pub(super) blobs: HashMap<String, Blob>,
}

/// What a commit is called.
#[derive(Debug)]
pub(super) struct Words<'w> {
    pub(super) author: &'w str,
    pub(super) title: &'w str,
    pub(super) description: &'w str,
}

impl Draft {
    /// What a published commit has.
    pub(super) async fn of(view: &View, repo: &RepoId, commit: ObjectId) -> Result<Self, Failure> {
        let mut draft = Self::default();
        let Found::Entry(record) = view.content(layout::record_path(repo, commit)?.as_str()).await? else {
            return Err(Refusal::revision(commit).into());
        };
        let mut reader: Reader = lookup::reader(view, repo, commit, &record, 0).await?;
        while let Some(item) = reader.item().await? {
            if item.is_file() {
                draft.files.insert(item.path.clone(), item);
            }
        }
        let prefix = layout::files(repo, commit);
        let mut entries = view.scan(&prefix);
        while let Some(entry) = entries.try_next().await? {
            if let Some(path) = entry.path.as_str().strip_prefix(&prefix) {
                draft.blobs.insert(path.to_owned(), entry.blob);
            }
        }
        Ok(draft)
    }

    /// Puts a file, instead of one with the same path.
    pub(super) fn put(&mut self, item: Item, blob: Blob) -> Result<(), Failure> {
        let refuse = |reason: &str| Refusal::bad_request(format!("`{}` {reason}", item.path));
        match check_path(&item.path) {
            Ok(()) => {}
            Err(BadPath::Hostile(reason) | BadPath::Unsupported(reason)) => return Err(refuse(reason).into()),
        }
        self.blobs.insert(item.path.clone(), blob);
        self.files.insert(item.path.clone(), item);
        if self.files.len() > ITEM_LIMIT {
            return Err(Refusal::bad_request(format!("a commit has {ITEM_LIMIT} files at most")).into());
        }
        Ok(())
    }

    /// Takes a file away.
    pub(super) fn delete_file(&mut self, path: &str) {
        self.files.remove(path);
        self.blobs.remove(path);
    }

    /// Takes everything below a folder away.
    pub(super) fn delete_folder(&mut self, path: &str) {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        self.files.retain(|path, _| !path.starts_with(&prefix));
        self.blobs.retain(|path, _| !path.starts_with(&prefix));
    }

    /// The bytes of a large file that some path of the commit has.
    pub(super) fn find(&self, sha256: Sha256Digest) -> Option<Blob> {
        let has = |item: &&Item| item.lfs.is_some_and(|lfs| lfs.sha256 == sha256);
        self.files.values().filter(has).find_map(|item| self.blobs.get(&item.path).copied())
    }

    /// Makes the commit and moves a ref to it. The ref moves when scanners and policy have let it in.
    pub(super) async fn commit(
        self,
        intake: &Intake,
        turn: &Turn<'_>,
        (repo, known): (&RepoId, &Known),
        name: &str,
        parent: Option<ObjectId>,
        words: &Words<'_>,
    ) -> Result<ObjectId, Failure> {
        let (tree, folders) = git::trees(self.files.values().map(|item| (item.path.as_str(), item.oid)))
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        let mut now = Timestamp::now();
        let message = match words.description {
            "" => words.title.to_owned(),
            description => format!("{}\n\n{description}", words.title),
        };
        // Git counts seconds: the same change of two branches would be one commit.
        let (commit, text) = loop {
            let made = git::commit(tree, parent, words.author, now.as_seconds(), &message);
            if !known.has(made.0) {
                break made;
            }
            now = now.plus(Duration::from_secs(1));
        };
        let folders = folders.into_iter().map(|(path, oid)| Item { path, oid, size: None, lfs: None });
        let mut items: Vec<Item> = self.files.into_values().chain(folders).collect();
        items.sort_unstable_by(|a, b| a.path.cmp(&b.path));

        let facts = Commit {
            title: words.title.to_owned(),
            message: words.description.to_owned(),
            date: format!("{:.3}", now.to_jiff()),
            authors: vec![words.author.to_owned()],
            parents: parent.iter().map(ObjectId::to_string).collect(),
        };
        let seen = known.later_than(now);
        let record = intake.put_bytes(record::write(repo, commit, &items, Some(text))?).await?;
        let mut files = vec![ReceivedFile {
            path: layout::record_path(repo, commit)?,
            blob: record,
            attributes: BTreeMap::from([
                (attribute::REFS.to_owned(), json!({ name: seen })),
                (attribute::COMMIT.to_owned(), json!(facts)),
            ]),
            is_metadata: true,
        }];
        // What was blocked in the parent stays listed; its bytes are not taken along.
        for item in &items {
            let Some(blob) = self.blobs.get(&item.path) else { continue };
            files.push(received(repo, commit, item, *blob)?);
        }
        let upload = Submission {
            artifact: repo.to_artifact()?,
            revision: commit.to_string().parse()?,
            files,
            message: format!("{repo}: {}", words.title.chars().take(100).collect::<String>()),
        };
        let report = turn.receive(upload).await?;
        match report.refusal() {
            Some(reason) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason).into()),
            None => Ok(commit),
        }
    }
}

fn received(repo: &RepoId, commit: ObjectId, item: &Item, blob: Blob) -> Result<ReceivedFile> {
    let mut attributes = BTreeMap::from([(OID.to_owned(), Value::String(item.oid.to_string()))]);
    if let Some(lfs) = &item.lfs {
        attributes.insert(LFS.to_owned(), json!(lfs));
    }
    Ok(ReceivedFile {
        path: layout::file_path(repo, commit, &item.path)?,
        blob,
        attributes,
        is_metadata: false,
    })
}

/// Gives a repository's commits to another, with their ids and refs, and takes them from the first when all are let
/// in. Called again after an interruption, it goes on.
pub(super) async fn rename(
    intake: &Intake,
    turn: &Turn<'_>,
    (from, known): (&RepoId, &Known),
    (to, there): (&RepoId, &Known),
) -> Result<(), Failure> {
    if let Some((commit, _)) = known.standing(Status::NeedsApproval).next() {
        let message = format!("the commit {commit} waits for approval, and would be lost");
        return Err(Refusal::new(StatusCode::CONFLICT, message).into());
    }
    // Looked at first: what is taken back below would be open again.
    let refused = |(commit, _)| there.refused(commit).map(|status| (commit, status));
    if let Some((commit, status)) = known.standing(Status::Available).find_map(refused) {
        let message = format!("`{from}` stays: the commit {commit} is {status} as one of `{to}`");
        return Err(Refusal::new(StatusCode::CONFLICT, message).into());
    }
    let missing = known.standing(Status::Available).filter(|(commit, _)| there.let_in(*commit).is_none());
    let missing: Vec<ObjectId> = missing.map(|(commit, _)| commit).collect();
    for commits in missing.chunks(RENAMED) {
        let mut submissions = Vec::with_capacity(commits.len());
        for commit in commits {
            submissions.push(renamed(intake, turn, from, to, *commit).await?);
        }
        let report = turn.receive_all(submissions).await?;
        let waits = report.waiting.first().map(|one| one.reason.as_str());
        if let Some(reason) = waits.or_else(|| report.refusal()) {
            let artifact = to.to_artifact()?;
            turn.remove(&artifact, format!("{from}: could not be renamed to {to}")).await?;
            let message = format!("`{from}` stays: a commit was not let in as one of `{to}`: {reason}");
            return Err(Refusal::new(StatusCode::CONFLICT, message).into());
        }
    }
    // A commit that was there before may have had other refs.
    let there = Known::of(turn, to).await?;
    let mut facts = Vec::new();
    for (commit, attributes) in known.standing(Status::Available) {
        if there.let_in(commit) != Some(attributes) {
            facts.push((layout::record_path(to, commit)?, attributes.clone()));
        }
    }
    if !facts.is_empty() {
        turn.annotate(&facts, format!("{from}: renamed to {to}")).await?;
    }
    turn.remove(&from.to_artifact()?, format!("{from}: renamed to {to}")).await?;
    Ok(())
}

async fn renamed(
    intake: &Intake,
    turn: &Turn<'_>,
    from: &RepoId,
    to: &RepoId,
    commit: ObjectId,
) -> Result<Submission, Failure> {
    let view = turn.view();
    let Found::Entry(record) = view.content(layout::record_path(from, commit)?.as_str()).await? else {
        let message =
            format!("the commit {commit} is not published, or was rolled back; publish or reject it first");
        return Err(Refusal::new(StatusCode::CONFLICT, message).into());
    };
    let draft = Draft::of(view, from, commit).await?;
    let mut reader = Reader::new(view.read(&record, 0..record.blob.size).await?, 0);
    let header = reader.header(from, commit).await?;
    let mut items = Vec::new();
    while let Some(item) = reader.item().await? {
        items.push(item);
    }
    let blob = intake.put_bytes(record::write(to, commit, &items, header.git)?).await?;
    let path = layout::record_path(to, commit)?;
    let mut files = vec![ReceivedFile { path, blob, attributes: record.attributes, is_metadata: true }];
    for item in &items {
        let Some(blob) = draft.blobs.get(&item.path) else { continue };
        files.push(received(to, commit, item, *blob)?);
    }
    let message = format!("{from}: renamed to {to}");
    Ok(Submission { artifact: to.to_artifact()?, revision: commit.to_string().parse()?, files, message })
}
