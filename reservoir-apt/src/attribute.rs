//! The names of the facts that are kept with files; they are part of what is stored.

use std::collections::BTreeMap;

use reservoir_core::ecosystem::DiscoveredFile;
use serde_json::Value;

/// Of a binary package: an object from `suite/component` (flat: the suite) to the raw stanza of that index.
pub const STANZAS: &str = "stanzas";
/// Of a binary package: as [`STANZAS`], its stanza in the `Translation-en` of the same component.
pub const DESCRIPTIONS: &str = "descriptions";
/// Of a source package's `.dsc`: as [`STANZAS`], from the `Sources` indexes.
pub const SOURCES: &str = "sources";
/// Of an uploaded package: its own control paragraph, raw.
pub const CONTROL: &str = "control";
/// Of an index file in the verbatim view: its path below the suite, such as `main/binary-amd64/Packages.xz`.
pub const DISTS_PATH: &str = "dists-path";
/// Of an index file: its SHA-512 in lower case, where the Release says it.
pub const SHA512: &str = "sha512";
/// Of a suite's signed file: the fingerprints of the keys that signed it, primary key first, a list of lists.
pub const SIGNED_BY: &str = "signed-by";
/// Of a suite's signed file: the fields of its Release that matter, names in lower case; an object of texts.
pub const RELEASE: &str = "release";

/// What is said of a file, or was until something newer was said: a suite's Release that is not the newest any more.
pub(crate) fn fact<'a>(attributes: &'a BTreeMap<String, Value>, name: &str) -> Option<&'a Value> {
    attributes.get(name).or_else(|| attributes.get(DiscoveredFile::GONE)?.get(name))
}
