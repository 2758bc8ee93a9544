//! What a format reads from the bytes themselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    name::{ArtifactName, RevisionName},
    path::ContentPath,
    store::{Blob, Store},
};

/// A file that was pulled and hashed, before anything else is believed of it.
#[derive(Debug)]
pub struct PulledFile<'a> {
    /// The artifact that the registry said it belongs to.
    pub artifact: &'a ArtifactName,
    /// The revision that the registry said it belongs to.
    pub revision: &'a RevisionName,
    /// Its path within the repository.
    pub path: &'a ContentPath,
    /// Facts from the registry.
    pub attributes: &'a BTreeMap<String, Value>,
    /// Its bytes.
    pub blob: &'a Blob,
    /// Where to read them, verified.
    pub store: &'a dyn Store,
}

/// What inspection found. Refusals are errors, not inspections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Facts from the file itself, carried in the content manifest and given to `index` (`requires-python`…).
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
    /// Requirements of the file, each as the format writes it; never re-serialised.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Things worth a person's eye that are no refusal (`needs-build`…).
    #[serde(default)]
    pub labels: Vec<String>,
    /// Small files taken out of it byte-exact, to be stored and listed beside it.
    #[serde(skip)]
    pub derived: Vec<Derived>,
}

impl Inspection {
    /// The attribute under which the requirements of a file stand in a content manifest, as a list.
    pub const REQUIREMENTS: &str = "requirements";

    /// All facts of the file: its attributes, and what it requires.
    pub(crate) fn into_facts(self) -> BTreeMap<String, Value> {
        let mut facts = self.attributes;
        if !self.requirements.is_empty() {
            facts.insert(Self::REQUIREMENTS.to_owned(), self.requirements.into());
        }
        facts
    }

    /// What [`into_facts`](Self::into_facts) was made of.
    pub(crate) fn of_facts(mut facts: BTreeMap<String, Value>) -> Self {
        let requirements = match facts.remove(Self::REQUIREMENTS) {
            Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Self { attributes: facts, requirements, ..Self::default() }
    }
}

/// A small file taken out of another, such as a wheel's METADATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Its own path within the repository.
    pub path: ContentPath,
    /// Its bytes.
    pub bytes: Bytes,
}
