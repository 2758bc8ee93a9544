//! Pages in JSON ([PEP 691], 700, 708, 740, 792), read entry by entry; the list of files is never held.
//!
//! [PEP 691]: https://peps.python.org/pep-0691/

use std::{collections::BTreeMap, fmt};

use reservoir_core::Result;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::page::{PageBuilder, RawFile, Yanked};

/// Most keys of an object kept, and most elements of a list.
const KEPT: usize = 64;

pub(super) fn read(body: &[u8], page: &mut PageBuilder<'_>) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let outcome = Top(page).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Some(error) = page.failure.take() {
        return Err(error);
    }
    outcome.map_err(|error| page.malformed("page-json", error.to_string()))
}

/// The whole document.
struct Top<'p, 'a>(&'p mut PageBuilder<'a>);

/// The list of files.
struct Files<'p, 'a>(&'p mut PageBuilder<'a>);

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a project page")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let page = self.0;
        let mut files = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "meta" => {
                    let meta: Field = map.next_value()?;
                    if let Some(version) = meta.get("api-version") {
                        stop(page, |page| page.repository_version(version))?;
                    }
                    if let Some(serial) = meta.number("_last-serial") {
                        page.last_serial(serial);
                    }
                    for track in meta.list("tracks") {
                        page.tracks(track);
                    }
                }
                "name" => {
                    if let Field::Text(name) = map.next_value()? {
                        stop(page, |page| page.name(&name))?;
                    }
                }
                "project-status" => {
                    let status: Field = map.next_value()?;
                    page.status(status.get("status"), status.get("reason"));
                }
                "alternate-locations" => {
                    for location in map.next_value::<Field>()?.into_list() {
                        page.alternate_location(&location);
                    }
                }
                "files" => {
                    files = true;
                    map.next_value_seed(Files(page))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if files { Ok(()) } else { Err(de::Error::missing_field("files")) }
    }
}

/// Runs a step of the builder whose error ends the reading.
fn stop<E: de::Error>(
    page: &mut PageBuilder<'_>,
    step: impl FnOnce(&mut PageBuilder<'_>) -> Result<()>,
) -> Result<(), E> {
    step(page).map_err(|error| {
        page.failure = Some(error);
        E::custom("refused")
    })
}

impl<'de> DeserializeSeed<'de> for Files<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Files<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        let page = self.0;
        while let Some(entry) = seq.next_element::<Entry>()? {
            let (Field::Text(filename), Field::Text(url)) = (entry.filename, entry.url) else {
                page.skip("an entry", "has no filename or no url");
                continue;
            };
            let metadata = [entry.core_metadata, entry.dist_info_metadata, entry.data_dist_info_metadata];
            let raw = RawFile {
                filename: Some(filename),
                url,
                hashes: entry.hashes.into_map(),
                size: match entry.size {
                    Field::Number(size) => Some(size),
                    _ => None,
                },
                requires_python: entry.requires_python.into_text(),
                upload_time: entry.upload_time.into_text(),
                yanked: match entry.yanked {
                    Field::Bool(true) => Yanked::Yes(String::new()),
                    Field::Text(reason) => Yanked::Yes(reason),
                    _ => Yanked::No,
                },
                core_metadata: metadata.into_iter().find_map(|field| match field {
                    Field::Bool(true) => Some(BTreeMap::new()),
                    Field::Map(_) => Some(field.into_map()),
                    _ => None,
                }),
                gpg_sig: match entry.gpg_sig {
                    Field::Bool(signed) => Some(signed),
                    _ => None,
                },
                provenance: entry.provenance.into_text(),
            };
            stop(page, |page| page.file(raw))?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    #[serde(default)]
    filename: Field,
    #[serde(default)]
    url: Field,
    #[serde(default)]
    hashes: Field,
    #[serde(default)]
    size: Field,
    #[serde(default)]
    requires_python: Field,
    #[serde(default)]
    upload_time: Field,
    #[serde(default)]
    yanked: Field,
    #[serde(default)]
    core_metadata: Field,
    // The older names of `core-metadata`; some indexes send them beside it.
    #[serde(default)]
    dist_info_metadata: Field,
    #[serde(default)]
    data_dist_info_metadata: Field,
    #[serde(default)]
    gpg_sig: Field,
    #[serde(default)]
    provenance: Field,
}

/// Any value, as far as it is of use; what is of the wrong type is [`Field::Other`] instead of an error.
#[derive(Debug, Default)]
enum Field {
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Field>),
    Map(BTreeMap<String, Field>),
    #[default]
    Other,
}

impl Field {
    fn get(&self, key: &str) -> Option<&str> {
        match self {
            Self::Map(map) => match map.get(key)? {
                Self::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// A number; some mirrors write it as text.
    fn number(&self, key: &str) -> Option<u64> {
        match self {
            Self::Map(map) => match map.get(key)? {
                Self::Number(number) => Some(*number),
                Self::Text(text) => text.parse().ok(),
                _ => None,
            },
            _ => None,
        }
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        let list = match self {
            Self::Map(map) => map.get(key),
            _ => None,
        };
        let items = match list {
            Some(Self::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().filter_map(|item| match item {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn into_list(self) -> Vec<String> {
        match self {
            Self::List(items) => items.into_iter().filter_map(Self::into_text).collect(),
            _ => Vec::new(),
        }
    }

    fn into_map(self) -> BTreeMap<String, String> {
        match self {
            Self::Map(map) => {
                map.into_iter().filter_map(|(key, value)| Some((key, value.into_text()?))).collect()
            }
            _ => BTreeMap::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field, E> {
        Ok(Field::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field, E> {
        Ok(Field::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Field, E> {
        Ok(Field::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Field, S::Error> {
        let mut items = Vec::new();
        while items.len() < KEPT {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Field::List(items)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::List(items))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Field, M::Error> {
        let mut kept = BTreeMap::new();
        while kept.len() < KEPT {
            match map.next_entry()? {
                Some((key, value)) => kept.insert(key, value),
                None => return Ok(Field::Map(kept)),
            };
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Map(kept))
    }
}
