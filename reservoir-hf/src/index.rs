//! Writing what clients are told of each repository: its refs, its commits, its card.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use reservoir_core::{
    Error, Result,
    name::ArtifactName,
    snapshot::{Change, Contents, Entry, IndexWriter},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    attribute::{self, CARD, CONFIG},
    card::Card,
    layout,
    name::{MAIN, ObjectId, RepoId},
    select::refs_of,
};

/// The key of a summary for what searches find beside id and tags.
pub(crate) const WORDS: &str = "words";
/// The format that is written.
const VERSION: &str = "1";
/// Shown where nobody knows when a commit was made.
pub(crate) const NO_DATE: &str = "1970-01-01T00:00:00.000Z";

/// What clients are told of one repository; a document of the publication.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Info {
    version: String,
    /// Full names of refs and where they point.
    pub(crate) refs: BTreeMap<String, String>,
    /// The commits that are here, by id.
    pub(crate) commits: BTreeMap<String, Commit>,
    /// The commit that stands for the repository: `main`, or the newest.
    pub(crate) head: String,
    /// The card of each commit that has one, as JSON text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cards: BTreeMap<String, String>,
    /// What `config.json` of a commit says of the architecture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) configs: BTreeMap<String, Value>,
}

/// One commit, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Commit {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) date: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) authors: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parents: Vec<String>,
}

impl Commit {
    pub(crate) fn date(&self) -> &str {
        if self.date.is_empty() { NO_DATE } else { &self.date }
    }
}

impl Info {
    /// Reads a document of the publication.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let info: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::malformed("info.json of a repository", "hub-info", error.to_string()))?;
        if info.version != VERSION {
            let known = VERSION.to_owned();
            return Err(Error::TooNew {
                what: "info.json of a repository".into(),
                found: info.version,
                known,
            });
        }
        Ok(info)
    }

    /// The card of a commit.
    pub(crate) fn card(&self, commit: &str) -> Option<Card> {
        self.cards.get(commit).and_then(|text| Card::from_text(text))
    }

    /// Takes the card from the attributes of `README.md`.
    pub(crate) fn add_card(&mut self, commit: &str, attributes: &BTreeMap<String, Value>) {
        if let Some(Value::String(card)) = attributes.get(CARD) {
            self.cards.insert(commit.to_owned(), card.clone());
        }
    }

    /// Takes what is known of the architecture from the attributes of `config.json`.
    pub(crate) fn add_config(&mut self, commit: &str, attributes: &BTreeMap<String, Value>) {
        if let Some(config) = attributes.get(CONFIG) {
            self.configs.insert(commit.to_owned(), config.clone());
        }
    }

    /// What a list shows, and is filtered and sorted by.
    pub(crate) fn summary(&self, repo: &RepoId) -> BTreeMap<String, Value> {
        let card = self.card(&self.head).unwrap_or_default();
        let date = self.commits.get(&self.head).map_or(NO_DATE, Commit::date);
        let mut summary = BTreeMap::from([
            ("id".to_owned(), json!(repo.id())),
            ("sha".to_owned(), json!(self.head)),
            ("last_modified".to_owned(), json!(date)),
            ("tags".to_owned(), json!(card.tags())),
        ]);
        let words = card.words();
        if !words.is_empty() {
            summary.insert(WORDS.to_owned(), json!(words));
        }
        for key in ["pipeline_tag", "library_name"] {
            if let Some(text) = card.text(key).filter(|text| text.len() <= 256) {
                summary.insert(key.to_owned(), json!(text));
            }
        }
        summary
    }
}

/// Refuses an entry of which [`write`] could not tell whose it is.
pub(crate) fn check(entry: &Entry) -> Result<()> {
    if let Some(artifact) = &entry.artifact {
        layout::info_path(&artifact.as_str().parse()?)?;
    }
    match layout::commit_of_record(&entry.path) {
        Some(commit) => commit.parse::<ObjectId>().map(drop),
        None => Ok(()),
    }
}

/// Writes the document of each repository that changed since the parent. Memory holds the names of those, and
/// one document.
pub(crate) async fn write(contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
    let mut changes = contents.changes();
    let mut touched: BTreeSet<ArtifactName> = BTreeSet::new();
    let mut last: Option<ArtifactName> = None;
    while let Some(change) = changes.try_next().await? {
        let entry = match change {
            Change::Added(entry) | Change::Removed(entry) | Change::Changed { new: entry, .. } => entry,
        };
        if entry.artifact.is_some() && entry.artifact != last {
            touched.extend(entry.artifact.clone());
            last = entry.artifact;
        }
    }
    for artifact in touched {
        let repo: RepoId = artifact.as_str().parse()?;
        let path = layout::info_path(&repo)?;
        match info(contents, &repo).await? {
            Some(info) => {
                let bytes = serde_json::to_vec(&info)
                    .map_err(|error| Error::invalid("info.json of a repository", error.to_string()))?;
                out.put(path, bytes.into(), info.summary(&repo)).await?;
            }
            None => out.remove(path),
        }
    }
    Ok(())
}

async fn info(contents: &Contents<'_>, repo: &RepoId) -> Result<Option<Info>> {
    let prefix = layout::records(repo);
    let mut records = contents.content.scan(&prefix);
    let mut gathered = Gathered::default();
    while let Some(record) = records.try_next().await? {
        let Some(commit) = record.path.as_str().strip_prefix(&prefix).map(str::to_owned) else { continue };
        let id: ObjectId = commit.parse()?;
        let info = gathered.add(&commit, &record.attributes);
        if let Some(readme) = file(contents, repo, id, "README.md").await? {
            info.add_card(&commit, &readme.attributes);
        }
        if let Some(config) = file(contents, repo, id, "config.json").await? {
            info.add_config(&commit, &config.attributes);
        }
    }
    Ok(gathered.finish())
}

/// What the records of a repository's commits say, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    info: Info,
    seen: BTreeMap<String, i64>,
    newest: Option<(String, String)>,
}

impl Gathered {
    /// Takes the attributes of a commit's record.
    pub(crate) fn add(&mut self, commit: &str, attributes: &BTreeMap<String, Value>) -> &mut Info {
        let facts = facts(attributes);
        for (name, when) in refs_of(attributes) {
            if self.seen.get(&name).is_none_or(|before| *before < when) {
                self.seen.insert(name.clone(), when);
                self.info.refs.insert(name, commit.to_owned());
            }
        }
        let age = (facts.date.clone(), commit.to_owned());
        self.newest = self.newest.take().max(Some(age));
        self.info.commits.insert(commit.to_owned(), facts);
        &mut self.info
    }

    /// The document; `None` without a commit.
    pub(crate) fn finish(mut self) -> Option<Info> {
        let (_, newest) = self.newest?;
        VERSION.clone_into(&mut self.info.version);
        let main = self.info.refs.get(&format!("refs/heads/{MAIN}")).cloned();
        self.info.head = main.unwrap_or(newest);
        Some(self.info)
    }
}

async fn file(contents: &Contents<'_>, repo: &RepoId, commit: ObjectId, path: &str) -> Result<Option<Entry>> {
    contents.content.get(layout::file_path(repo, commit, path)?.as_str()).await
}

fn facts(attributes: &BTreeMap<String, Value>) -> Commit {
    let empty = Map::new();
    let known = match attributes.get(attribute::COMMIT) {
        Some(Value::Object(known)) => known,
        _ => &empty,
    };
    Commit::deserialize(Value::Object(known.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use reservoir_core::{
        digest::{Blake3Digest, Sha256Digest},
        store::Blob,
    };

    use super::*;

    #[test]
    fn what_belongs_to_no_repository_or_commit_is_refused() {
        let refused = |artifact: &str, path: &str| {
            let sha256 = Sha256Digest::of(b"");
            check(&Entry {
                path: path.parse().unwrap(),
                blob: Blob { sha256, blake3: Blake3Digest::from_bytes([0; 32]), size: 0 },
                artifact: Some(artifact.parse().unwrap()),
                revision: None,
                attributes: BTreeMap::new(),
            })
            .is_err()
        };
        let commit = "ab".repeat(20);
        let repo = "models/org/name";
        assert!(!refused(repo, &format!("models/org/name/{commit}/config.json")));
        assert!(!refused(repo, &format!("commits/models/org/name/{commit}")));
        assert!(refused(repo, "commits/models/org/name/main"));
        assert!(refused("elsewhere/org/name", &format!("models/org/name/{commit}/config.json")));
    }
}
