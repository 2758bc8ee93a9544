//! The names of the facts that are kept with files; they are part of what is stored.

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
