//! How a format tells the engine what a registry offers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesOrdered};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{Registry, RepositoryConfig, Requirement};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    fetch::Fetcher,
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

/// What a format remembers of a unit (a project page, a suite) between two syncs: an `ETag`, a serial, a
/// body digest. Opaque to the engine, kept by (repository, unit).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub BTreeMap<String, String>);

/// What to look for.
#[derive(Debug)]
pub struct Discover<'a> {
    /// Where, with `registry.url` resolved.
    pub registry: &'a Registry,
    /// For whom.
    pub repository: &'a RepositoryConfig,
    /// The artifacts wanted; formats whose index is one document may report others too.
    pub artifacts: &'a [ArtifactName],
    /// Who wants them and how, for formats that must ask for a version by name (a branch of a model).
    pub wanted: &'a [Requirement],
    /// How to fetch: retries, caps, address rules and credentials are its business.
    pub fetcher: &'a Fetcher,
}

impl<'a> Discover<'a> {
    /// Where to look.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a registry whose address was not resolved.
    pub fn address(&self) -> Result<&'a Url> {
        self.registry.url.as_ref().ok_or_else(|| {
            let what = format!("registry `{}`", self.registry.name);
            Error::invalid(what, "has no url; it must be resolved before discovery")
        })
    }

    /// Looks at every artifact, `at_once` of them at a time, and tells `found` in their order. Dropping the future loses
    /// nothing but what is in flight.
    ///
    /// # Errors
    /// The first of `look` and of `found`; what was found before is told.
    pub async fn look_at_each<F: Future<Output = Result<Discovered>>>(
        &self,
        at_once: usize,
        found: &mut dyn DiscoverySink,
        look: impl Fn(&'a ArtifactName, Cursor) -> Result<F>,
    ) -> Result<()> {
        let mut waiting = self.artifacts.iter();
        let mut flying = FuturesOrdered::new();
        loop {
            while flying.len() < at_once
                && let Some(artifact) = waiting.next()
            {
                let cursor = found.cursor(artifact).await?.unwrap_or_default();
                flying.push_back(look(artifact, cursor)?);
            }
            match flying.next().await {
                Some(unit) => found.found(unit?).await?,
                None => return Ok(()),
            }
        }
    }
}

/// How much one call of [`Ecosystem::discover`](super::Ecosystem::discover) reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The artifacts asked for. Asked again for each wave of dependencies, about an artifact once a sync, unless
    /// [`asks_by_constraint`](super::Ecosystem::asks_by_constraint); of several registries the first that knows an
    /// artifact wins.
    Artifacts,
    /// Everything that the registry offers, because its index is one document. Asked once a sync, of every
    /// registry, whose offers add up.
    Registry,
}

/// One unit of what a registry offers. A unit replaces what was known of it.
#[derive(Debug, Clone)]
pub enum Discovered {
    /// The registry says nothing changed since the cursor.
    Unchanged {
        /// The artifact.
        artifact: ArtifactName,
    },
    /// The registry does not know it.
    Missing {
        /// The artifact.
        artifact: ArtifactName,
    },
    /// What it offers now, all of it.
    Artifact(Box<DiscoveredArtifact>),
    /// Something that a person must look at; nothing was changed. The sync goes on and ends incomplete.
    Alarm {
        /// The artifact.
        artifact: ArtifactName,
        /// A short stable name, such as `serial-rollback`.
        rule: &'static str,
        /// What was seen, in words.
        detail: String,
    },
}

/// Everything a registry offers of one artifact.
#[derive(Debug, Clone)]
pub struct DiscoveredArtifact {
    /// Its name.
    pub artifact: ArtifactName,
    /// What to remember for the next time.
    pub cursor: Cursor,
    /// Facts about the artifact itself (project status…), kept as they are.
    pub attributes: BTreeMap<String, Value>,
    /// Whether the registry has withdrawn it: nothing of it may be served.
    pub quarantined: Option<String>,
    /// Its files.
    pub files: Vec<DiscoveredFile>,
    /// Entries that were skipped, each with the reason.
    pub skipped: Vec<String>,
}

impl DiscoveredArtifact {
    /// The attribute that marks, as `true`, a unit that lists only what is new: files that were known before and are
    /// not in it are still on offer. For artifacts whose revisions never change and are asked for one by one.
    pub const PARTIAL: &str = "partial";

    /// Bytes of text in its facts, about, so that whoever gathers units can bound them.
    #[must_use]
    pub fn weight(&self) -> usize {
        fn text(value: &Value) -> usize {
            match value {
                Value::String(text) => text.len(),
                Value::Array(values) => values.iter().map(text).sum(),
                Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + text(value)).sum(),
                Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            }
        }
        let files = self.files.iter().flat_map(|file| file.attributes.values());
        files.chain(self.attributes.values()).map(text).sum()
    }

    /// Whether what is not listed is still on offer.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.attributes.get(Self::PARTIAL) == Some(&Value::Bool(true))
    }
}

/// One file on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveredFile {
    /// The revision it belongs to.
    pub revision: RevisionName,
    /// Its path within the repository.
    pub path: ContentPath,
    /// Where to fetch it.
    pub url: Url,
    /// Bytes, when the registry says.
    pub size: Option<u64>,
    /// Its digest, when the registry says.
    pub sha256: Option<Sha256Digest>,
    /// Facts that the format needs again (`requires-python`, `yanked`…).
    pub attributes: BTreeMap<String, Value>,
    /// Its bytes, where they came with the registry's own metadata (a signed Release, the listing of a
    /// commit): stored when the unit is recorded, never fetched from `url`, and kept by a cleanup.
    pub bytes: Option<Bytes>,
}

impl DiscoveredFile {
    /// The attribute that marks, as `true`, a small file whose absence upstream does not fail its revision:
    /// one that the registry refuses, that breaks the format's rules or that is over
    /// [`OPTIONAL_LIMIT`](Self::OPTIONAL_LIMIT) is left out, and looked at again by the next sync.
    ///
    /// An operator should hear of it, once: the sync that meets it first raises an alarm and ends incomplete;
    /// later ones with the same reason list it among what they skipped and are complete. Another reason (it was
    /// missing, now it breaks the rules) is another alarm. A registry that is away fails the revision all the
    /// same, because what it has is not known then.
    pub const OPTIONAL: &str = "optional";

    /// The attribute that a file of an index ([`Scope::Registry`]) has alone once no part offers it: an object of those
    /// it had. It stays in the content for clients that have read an older index; formats list it no more.
    pub const GONE: &str = "gone";

    /// Most bytes that are read of an optional file.
    pub const OPTIONAL_LIMIT: u64 = 16 << 20;

    /// The scheme of the address that stands for bytes which came with the metadata.
    pub(crate) const INLINE: &str = "inline";
}

/// Where [`Ecosystem::discover`](super::Ecosystem::discover) puts what it finds.
#[async_trait]
pub trait DiscoverySink: Send {
    /// What was remembered of this artifact the last time.
    async fn cursor(&mut self, artifact: &ArtifactName) -> Result<Option<Cursor>>;

    /// Takes one unit. The engine compares it with what it knew: a changed digest for a known path is an
    /// alarm, never an overwrite. Units become durable in the order given, several at a time, each together
    /// with its cursor.
    async fn found(&mut self, unit: Discovered) -> Result<()>;

    /// Begins a part of the registry: one of its indexes, named by the format. For [`Scope::Registry`]: until
    /// [`end_part`](Self::end_part), files add up to what this part offers, in any number of units of an artifact,
    /// in any order. What several parts and registries say of one file adds up as well; of their attributes,
    /// objects are joined key by key.
    async fn begin_part(&mut self, _part: &str) -> Result<()> {
        Ok(())
    }

    /// The part was reported in full: files that it offered before and does not now are gone from it.
    async fn end_part(&mut self) -> Result<()> {
        Ok(())
    }

    /// Names all parts that the registry has for this repository, those that did not change too: whatever other
    /// parts offered is gone.
    async fn keep_parts(&mut self, _parts: &[String]) -> Result<()> {
        Ok(())
    }
}
