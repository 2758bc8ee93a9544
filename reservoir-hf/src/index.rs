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
    card::Card,
    inspect::attribute::{CARD, CONFIG},
    layout,
    name::{MAIN, ObjectId, RepoId},
    select::refs_of,
    upstream::attribute,
};

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

    /// What a list shows, and is filtered and sorted by.
    fn summary(&self, repo: &RepoId) -> BTreeMap<String, Value> {
        let card = self.card(&self.head).unwrap_or_default();
        let date = self.commits.get(&self.head).map_or(NO_DATE, Commit::date);
        let mut summary = BTreeMap::from([
            ("id".to_owned(), json!(repo.id())),
            ("sha".to_owned(), json!(self.head)),
            ("last_modified".to_owned(), json!(date)),
            ("tags".to_owned(), json!(card.tags())),
        ]);
        for key in ["pipeline_tag", "library_name"] {
            if let Some(text) = card.text(key).filter(|text| text.len() <= 256) {
                summary.insert(key.to_owned(), json!(text));
            }
        }
        summary
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
    let mut info = Info { version: VERSION.to_owned(), ..Info::default() };
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    let mut newest: Option<(String, String)> = None;
    while let Some(record) = records.try_next().await? {
        let Some(commit) = record.path.as_str().strip_prefix(&prefix).map(str::to_owned) else { continue };
        let facts = facts(&record);
        for (name, when) in refs_of(&record.attributes) {
            if seen.get(&name).is_none_or(|before| *before < when) {
                seen.insert(name.clone(), when);
                info.refs.insert(name, commit.clone());
            }
        }
        let age = (facts.date.clone(), commit.clone());
        newest = newest.max(Some(age));
        let id: ObjectId = commit.parse()?;
        if let Some(readme) = file(contents, repo, id, "README.md").await?
            && let Some(Value::String(card)) = readme.attributes.get(CARD)
        {
            info.cards.insert(commit.clone(), card.clone());
        }
        if let Some(config) = file(contents, repo, id, "config.json").await?
            && let Some(config) = config.attributes.get(CONFIG)
        {
            info.configs.insert(commit.clone(), config.clone());
        }
        info.commits.insert(commit, facts);
    }
    let Some((_, newest)) = newest else { return Ok(None) };
    info.head = info.refs.get(&format!("refs/heads/{MAIN}")).cloned().unwrap_or(newest);
    Ok(Some(info))
}

async fn file(contents: &Contents<'_>, repo: &RepoId, commit: ObjectId, path: &str) -> Result<Option<Entry>> {
    contents.content.get(layout::file_path(repo, commit, path)?.as_str()).await
}

fn facts(record: &Entry) -> Commit {
    let empty = Map::new();
    let known = match record.attributes.get(attribute::COMMIT) {
        Some(Value::Object(known)) => known,
        _ => &empty,
    };
    Commit::deserialize(Value::Object(known.clone())).unwrap_or_default()
}
