//! Project pages of other indexes: both forms of the [simple repository API], read into one.
//!
//! What is read is lenient as installers are (`null` for absent, unknown keys, one bad file among good ones),
//! because a mirror that is stricter than pip is of no use; what is *kept* is checked: names, addresses,
//! digests.
//!
//! [simple repository API]: https://packaging.python.org/en/latest/specifications/simple-repository-api/

mod discover;
mod html;
mod json;
mod page;

pub use self::discover::discover;
pub use self::page::{PageFile, ProjectPage, Yanked};

/// Keys of [`DiscoveredFile::attributes`](reservoir_core::ecosystem::DiscoveredFile) and of the artifact's.
/// A key is absent where the registry says nothing; none is ever null.
pub mod attribute {
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
}
