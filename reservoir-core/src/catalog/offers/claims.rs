//! What is said of a file: by one part, by all of them together.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::any::AnyRow;

use super::Part;
use crate::{
    catalog::{
        Alarm,
        discovery::{colliding, collision},
        rows::{Columns as _, json},
    },
    digest::Sha256Digest,
    ecosystem::{DiscoveredArtifact, DiscoveredFile},
    error::Result,
    name::{ArtifactName, RegistryName},
};

/// What one part says of a file, where several say something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) url: String,
    pub(super) claim: String,
    pub(super) attributes: BTreeMap<String, Value>,
}

/// What all parts say of a file, by the key of the part.
pub(super) type Offers = BTreeMap<String, Offer>;

/// One file of a batch.
pub(super) struct Item<'f> {
    pub(super) artifact: &'f ArtifactName,
    pub(super) file: &'f DiscoveredFile,
    pub(super) collision: String,
    pub(super) claim: String,
}

/// What tells whether a known file has to be looked at.
pub(super) struct Light {
    pub(super) id: i64,
    pub(super) part: String,
    pub(super) registry: String,
    pub(super) claim: Option<String>,
    pub(super) offers: Option<Offers>,
    pub(super) gone: bool,
}

/// The files of a batch, each path once.
pub(super) fn items<'f>(found: &'f [DiscoveredArtifact], alarms: &mut Vec<Alarm>) -> Result<Vec<Item<'f>>> {
    let mut items: Vec<Item<'f>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for found in found {
        for file in &found.files {
            let collision = collision(&file.path);
            if let Some(&index) = places.get(&collision) {
                let first: &Item<'_> = &items[index];
                if first.file != file || first.artifact != &found.artifact {
                    alarms.push(colliding(&file.path, &first.file.path));
                }
                continue;
            }
            places.insert(collision.clone(), items.len());
            items.push(Item { artifact: &found.artifact, file, collision, claim: claim(file)? });
        }
    }
    Ok(items)
}

/// Everything that is said of a file, as one digest.
fn claim(file: &DiscoveredFile) -> Result<String> {
    let text = json(&(&file.revision, &file.path, &file.url, file.size, file.sha256, &file.attributes))?;
    Ok(Sha256Digest::of(text.as_bytes()).to_string())
}

pub(super) fn offer(item: &Item<'_>) -> Offer {
    Offer {
        url: item.file.url.to_string(),
        claim: item.claim.clone(),
        attributes: item.file.attributes.clone(),
    }
}

/// What all say together: the first to say something is right, objects are joined key by key.
pub(super) fn merged(offers: &Offers) -> BTreeMap<String, Value> {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in offers.values().flat_map(|offer| &offer.attributes) {
        match (all.get_mut(name), value) {
            (None, _) => {
                all.insert(name.clone(), value.clone());
            }
            (Some(Value::Object(known)), Value::Object(more)) => {
                for (key, value) in more {
                    if !known.contains_key(key) {
                        known.insert(key.clone(), value.clone());
                    }
                }
            }
            (Some(_), _) => {}
        }
    }
    all
}
pub(super) fn light(row: &AnyRow) -> Result<Light> {
    Ok(Light {
        id: row.int("id")?,
        registry: row.text("registry")?,
        part: row.text("part")?,
        claim: row.text_or_none("claim")?,
        offers: row.decoded_or_none("offers")?,
        gone: row.int_or_none("gone_at")?.is_some(),
    })
}

impl Light {
    /// Whether the part is known to say exactly this.
    pub(super) fn is_offered(&self, part: &Part, claim: &str) -> bool {
        if self.gone {
            return false;
        }
        match &self.offers {
            Some(offers) => offers.get(&part.key()).is_some_and(|offer| offer.claim == claim),
            None => {
                self.claim.as_deref() == Some(claim)
                    && self.part == part.name
                    && self.registry == part.registry.as_str()
            }
        }
    }

    /// Whether one registry alone has ever offered it, or offers it now.
    pub(super) fn is_of_registry(&self, registry: &RegistryName) -> bool {
        match &self.offers {
            Some(offers) => {
                let prefix = format!("{registry} ");
                offers.keys().all(|key| key.starts_with(&prefix))
            }
            None => self.registry == registry.as_str(),
        }
    }

    /// What is said of the file so far; nothing where nobody offers it, or where it did not come from an index.
    pub(super) fn all_offers(&self, url: &str, attributes: &BTreeMap<String, Value>) -> Offers {
        match (&self.offers, &self.claim) {
            _ if self.gone => Offers::new(),
            (Some(offers), _) => offers.clone(),
            (None, Some(claim)) => {
                let key = format!("{} {}", self.registry, self.part);
                let (url, claim, attributes) = (url.to_owned(), claim.clone(), attributes.clone());
                Offers::from([(key, Offer { url, claim, attributes })])
            }
            (None, None) => Offers::new(),
        }
    }
}
