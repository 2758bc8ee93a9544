//! Recovery volumes: what is enough to make damaged or lost volumes again, as long as not more is lost than there is of
//! these.
//!
//! The payload is cut into columns, one behind the other, a hundred of them and one for each volume at least. What stands
//! at the same place in all columns is a stripe; of each stripe's pieces, Reed–Solomon makes as many more as were asked
//! for, one for each parity volume. A stretch of bad sectors, or a lost medium, lies in few columns, and so in few pieces
//! of each stripe. Every parity volume also lists the digests of the stripe's pieces, so that any one of them tells what
//! is damaged.
//!
//! ```text
//! parity-0001.rsv   512 bytes that say what it is, then for each stripe:
//!                   32 bytes  BLAKE3 of what follows
//!                   16 bytes  of the BLAKE3 of each piece, in the order of the columns
//!                   …         the piece that this volume adds
//! ```
//!
//! Nothing here is believed: what is made again goes the same way as any volume, held against the signed digests.

mod encode;
mod repair;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub(crate) use self::{encode::encode, repair::Repair};
use super::{
    canonical,
    header::Header,
    volume::{HEAD, Layout},
};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Columns, where there are not more volumes.
const COLUMNS: u32 = 100;
/// Volumes of a bundle with parity, at most: each may be open at the same time.
const MOST: u32 = 200;
/// Bytes of the largest piece.
const PIECE: u64 = 256 << 10;
/// Memory for the pieces of one stripe and the arithmetic on them.
const MEMORY: u64 = 128 << 20;
/// Pieces are a multiple of this.
const STEP: u64 = 64;
/// Bytes of a piece's digest that are listed.
const SHORT: u64 = 16;
/// Bytes of the digest before each list.
const OWN: u64 = 32;

const MAGIC: &[u8] = b"reservoir-parity\n";

/// How parity belongs to a payload; follows from the signed header alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    layout: Layout,
    /// Pieces of a stripe that the payload gives.
    columns: u32,
    /// Pieces of a stripe that are added; parity volumes.
    pub(crate) added: u32,
    /// Bytes of a column.
    column: u64,
    /// Bytes of a piece, but for the last stripe's.
    piece: u64,
}

/// What a parity volume says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    bundle: Sha256Digest,
    index: u32,
    count: u32,
    label: String,
}

/// One parity volume, as the trailer lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParitySums {
    /// Its place, from 1.
    pub index: u32,
    /// What is written on its medium.
    pub label: String,
    /// Bytes of the file.
    pub size: u64,
    /// The digest of the file.
    pub sha256: Sha256Digest,
}

/// The name of a parity volume's file.
#[must_use]
pub fn file_name(index: u32) -> String {
    format!("parity-{index:04}.rsv")
}

/// Refuses what [`Geometry::of`] could not lay out.
pub(crate) fn check(percent: u32, layout: &Layout) -> Result<()> {
    if !(1..=100).contains(&percent) {
        return Err(Error::invalid("`parity`", format!("`{percent}` is not between 1 and 100 per cent")));
    }
    if layout.count > MOST {
        let detail = format!("there are {} volumes, and parity is for {MOST} at most", layout.count);
        return Err(Error::invalid("`parity`", detail));
    }
    Ok(())
}

impl Geometry {
    /// That of a bundle, if it has parity.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        let percent = header.parity.filter(|percent| check(*percent, &header.volumes).is_ok())?;
        Self::new(header.volumes, percent)
    }

    fn new(layout: Layout, percent: u32) -> Option<Self> {
        if layout.payload == 0 {
            return None;
        }
        let columns = layout.count.max(COLUMNS);
        let added = (columns * percent).div_ceil(100);
        let column = layout.payload.div_ceil(u64::from(columns)).next_multiple_of(STEP);
        let work = 2 * u64::from(columns + added).next_power_of_two();
        let piece = column.min(PIECE).min(MEMORY / work / STEP * STEP);
        Some(Self { layout, columns, added, column, piece })
    }

    fn stripes(&self) -> u64 {
        self.column.div_ceil(self.piece)
    }

    /// Bytes of each piece of a stripe.
    fn length(&self, stripe: u64) -> u64 {
        (self.column - stripe * self.piece).min(self.piece)
    }

    /// The payload bytes of a piece. The last columns may lie behind its end, where every byte counts as zero.
    fn extent(&self, stripe: u64, column: u32) -> Range<u64> {
        let start = u64::from(column).saturating_mul(self.column).saturating_add(stripe * self.piece);
        let end = start.saturating_add(self.length(stripe)).min(self.layout.payload);
        start.min(end)..end
    }

    /// A piece as it lies in volumes: the volume, the first byte in its payload, and where that is in the piece.
    fn parts(&self, extent: Range<u64>) -> impl Iterator<Item = (u32, u64, Range<usize>)> + use<> {
        let layout = self.layout;
        let mut at = extent.start;
        std::iter::from_fn(move || {
            if at >= extent.end {
                return None;
            }
            let (index, offset) = layout.place(at);
            let from = (at - extent.start) as usize;
            at = (at + layout.size(index) - offset).min(extent.end);
            Some((index, offset, from..(at - extent.start) as usize))
        })
    }

    fn list(&self) -> u64 {
        u64::from(self.columns) * SHORT
    }

    /// Where a stripe begins in each parity volume.
    fn place(&self, stripe: u64) -> u64 {
        HEAD + stripe * (OWN + self.list() + self.piece)
    }

    /// Bytes of each parity volume.
    pub(crate) fn size(&self) -> u64 {
        let last = self.stripes() - 1;
        self.place(last) + OWN + self.list() + self.length(last)
    }

    /// The head of a parity volume: there is one spelling of it.
    fn head(&self, header: &Header, bundle: Sha256Digest, index: u32) -> Result<[u8; HEAD as usize]> {
        let label = label(header, index, self.added);
        let head = Head { format: header.format.clone(), bundle, index, count: self.added, label };
        let json = canonical::encode("parity volume", &head)?;
        let mut bytes = [b' '; HEAD as usize];
        let end = MAGIC.len() + json.len();
        if end >= bytes.len() {
            let what = "the head of a parity volume".into();
            return Err(Error::LimitExceeded { what, limit: format!("{HEAD} bytes") });
        }
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[MAGIC.len()..end].copy_from_slice(&json);
        bytes[HEAD as usize - 1] = b'\n';
        Ok(bytes)
    }
}

fn label(header: &Header, index: u32, count: u32) -> String {
    format!("{} {:06} parity {index}/{count}", header.site, header.sequence)
}

/// As much of a piece's digest as is listed.
fn short(piece: &[u8]) -> [u8; SHORT as usize] {
    let digest = blake3::hash(piece);
    std::array::from_fn(|at| digest.as_bytes()[at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn geometry(payload: u64, volume: u64, percent: u32) -> Option<Geometry> {
        let layout = Layout::new(payload, Some(volume)).ok()?;
        check(percent, &layout).ok()?;
        Geometry::new(layout, percent)
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_piece(
            payload in 1_u64..200_000_000_000,
            volume in crate::bundle::volume::SMALLEST..20_000_000_000,
            percent in 1_u32..=100,
        ) {
            let Some(geometry) = geometry(payload, volume, percent) else { return Ok(()) };
            let memory = 2 * u64::from(geometry.columns + geometry.added).next_power_of_two() * geometry.piece;
            prop_assert!(memory <= MEMORY && geometry.piece >= STEP && geometry.piece % STEP == 0);
            let length: u64 = (0..geometry.stripes().min(1000)).map(|stripe| geometry.length(stripe)).sum();
            prop_assert!(geometry.stripes() > 1000 || length == geometry.column);
            for at in [0, payload / 3, payload / 2, payload - 1] {
                let column = at / geometry.column;
                let stripe = at % geometry.column / geometry.piece;
                prop_assert!(column < u64::from(geometry.columns));
                prop_assert!(geometry.extent(stripe, column as u32).contains(&at));
            }
        }
    }
}
