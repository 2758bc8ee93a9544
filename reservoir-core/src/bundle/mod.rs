//! Bundles: what crosses the gap. Snapshots, the blobs they need, and the records that make them trustworthy, signed,
//! sequenced, on as many media as it takes.
//!
//! ```text
//! bundle.json            the header: small, canonical JSON, the root of trust; commits to records and objects
//! bundle.json.minisig    its signature, which the stock `minisign -V` checks
//! records.jsonl.zst      artifacts, revisions, files, inspections, verdicts, approvals
//! objects.jsonl.zst      one line a blob: digests, size, place; in the order of digests
//! volume-0001.rsv …      512 bytes that say what it is, then raw bytes; a blob may continue in the next
//! parity-0001.rsv …      if asked for: what makes damaged or lost volumes again
//! volumes.json           the trailer: sizes, digests and labels of the volumes and of each 8 MiB of them
//! volumes.json.minisig   its signature
//! SHA256SUMS             for `sha256sum -c`
//! ```
//!
//! Nothing in a bundle is a file name, and nothing is extracted: blobs go to the store by digest. A stream is a plain
//! tar of the same files. The engine's verbs are [`Engine::export`](crate::Engine::export) and
//! [`Engine::load`](crate::Engine::load).

mod blobs;
mod buffers;
mod canonical;
mod files;
mod hashing;
pub mod header;
pub mod inventory;
mod key;
mod lines;
mod objects;
mod overlay;
pub mod parity;
mod patch;
mod pieces;
mod reader;
mod records;
mod shelf;
mod source;
pub(crate) mod space;
mod stage;
mod tape;
#[cfg(test)]
mod tests;
pub mod trailer;
mod verify;
mod version;
pub mod volume;
mod write;

pub(crate) use self::{
    blobs::{BlobSet, SortedBlobs},
    files::{HEADER, HEADER_SIGNATURE, SUMS, TRAILER, TRAILER_SIGNATURE, open_part, read_small},
    key::FILE as SIGNATURE_LIMIT,
    objects::{NAME as OBJECTS, Object, ObjectsReader, ObjectsWriter},
    overlay::Overlay,
    parity::{Geometry as Parity, Repair, check as check_parity},
    patch::{BASES as PATCH_BASES, MOST as PATCHES, RUNS as PATCH_RUNS, Recipe, Run},
    reader::BlobReader,
    records::NAME as RECORDS,
    records::{
        CarriedAlarm, CarriedApproval, CarriedArtifact, CarriedFile, CarriedRepository, CarriedRevision,
        CarriedVerdict, Group, Line, RecordsWriter,
    },
    shelf::Shelf,
    source::{
        Found, check_length, find, header as signed_header, open_head, open_volume, read_head,
        trailer as signed_trailer,
    },
    space::check_space,
    stage::{Input, Stage, Watch},
    tape::Tape,
    verify::{Verifier, check_parity_file, check_part_file},
    write::Writer,
};
pub use self::{
    header::{AuditCheckpoint, CarriedRef, Header, Kind, Part},
    key::{BundleKey, StreamKey},
    patch::Patched,
    version::FORMAT,
    volume::{Layout, VolumeHead},
    write::Target,
};
