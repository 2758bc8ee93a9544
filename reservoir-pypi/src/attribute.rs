//! The names of the facts that are kept with files and artifacts; they are part of what is stored. A key is absent where
//! nothing is said; none is ever null.

// What a registry says.

/// `Requires-Python` as the registry has it; text.
pub const REQUIRES_PYTHON: &str = "requires-python";
/// `true`, or the reason as text. Absent when not yanked.
pub const YANKED: &str = "yanked";
/// RFC 3339, as given.
pub const UPLOAD_TIME: &str = "upload-time";
/// `true`, or a map of digests by algorithm.
pub const CORE_METADATA: &str = "core-metadata";
/// `true` or `false`.
pub const GPG_SIG: &str = "gpg-sig";
/// Where the attestations (PEP 740) are; a URL.
pub const PROVENANCE: &str = "provenance";
/// Of a file on offer through a cache: the 64 hexadecimal digits under which the registry's own file host has
/// it, so that a lock file made there needs another host and nothing else.
pub const PLACE: &str = "place";
/// Digests other than SHA-256; a map from algorithm to hexadecimal digits.
pub const HASHES: &str = "hashes";

/// Of the artifact, and of each file for the sake of the page: `active`, `archived`, `quarantined`,
/// `deprecated` (PEP 792) or what else was said. Files do not carry `active`, which needs no saying.
pub const STATUS: &str = "project-status";
/// Of the artifact, and of each file: why.
pub const STATUS_REASON: &str = "project-status-reason";
/// Of the artifact: projects elsewhere that it extends (PEP 708); a list of URLs.
pub const TRACKS: &str = "tracks";
/// Of the artifact: where else it may be found (PEP 708); a list of URLs.
pub const ALTERNATE_LOCATIONS: &str = "alternate-locations";

// What is in the file itself.

/// BLAKE2b-256 of the file, 64 hexadecimal digits: its place under `/packages/`.
pub const BLAKE2B: &str = "blake2b_256";
/// SHA-256 of a wheel's `METADATA`.
pub const METADATA_SHA256: &str = "metadata_sha256";
/// The extras it defines, as a list.
pub const PROVIDES_EXTRA: &str = "provides_extra";
/// One line about it.
pub const SUMMARY: &str = "summary";
/// `true` for an sdist whose dependencies are known only after building it (PEP 643).
pub const DYNAMIC: &str = "dynamic";
/// What an sdist is built with, as a list (PEP 518); absent where no installer could build it.
pub const BUILD_REQUIRES: &str = "build_requires";
/// Its licence as it says itself.
pub const LICENSE: &str = "license";
