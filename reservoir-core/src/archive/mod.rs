//! Strict readers of ZIP, TAR and ar that refuse ambiguity.
//!
//! An archive that two programs would unpack differently is an attack or a mistake; neither belongs in a
//! repository. These readers accept only what every reader must understand in one way: the ZIP rules of uv
//! and PEP 427's installers, POSIX `ustar`/pax and GNU long names for TAR. Everything else is
//! [`Error::Malformed`](crate::Error::Malformed) with a stable `rule`, or
//! [`Error::LimitExceeded`](crate::Error::LimitExceeded) for bombs.
//!
//! Nothing is unpacked to disk and memory is bounded by [`Limits`]: members pass once, in order, through a
//! [`Visitor`]. Every member is decompressed and checked in full, also those that the visitor skips.
//! A visitor has seen an unambiguous archive only once the walk returned `Ok`.
//!
//! Dropping the future of a walk stops its worker at the next chunk.

mod ar;
mod bridge;
mod collect;
mod compression;
mod limits;
mod names;
mod tar;
mod visitor;
mod zip;

pub use self::{
    ar::{ArMember, ArVisitor, walk_ar},
    bridge::{Source, read_blocking},
    collect::{Collected, collect_tar, collect_zip},
    compression::{Compression, Decoder, Members},
    limits::Limits,
    tar::{TarRoot, walk_tar},
    visitor::{Member, MemberKind, Take, Visitor},
    zip::walk_zip,
};
