//! Volumes: raw blob bytes back to back, cut to the size of the medium as they are written. A blob may continue in
//! the next. Each begins with 512 bytes that say what it is.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{canonical, version};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
};

/// Bytes before the first payload byte of a volume.
pub const HEAD: u64 = 512;
/// The smallest volume, in bytes.
pub const SMALLEST: u64 = 64 * 1024;
/// Volumes of one bundle at most.
pub const MOST: u32 = 100_000;
/// Bytes covered by one BLAKE3 digest of the trailer.
pub const PIECE: u64 = 8 * 1024 * 1024;

const MAGIC: &[u8] = b"reservoir-volume\n";

/// How the payload is cut into volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Payload bytes of every volume but the last.
    pub capacity: u64,
    /// How many volumes there are; none when there is no payload.
    pub count: u32,
    /// Payload bytes in all.
    pub payload: u64,
}

impl Layout {
    /// Cuts `payload` bytes into volumes of `size` bytes each, heads included; one volume when there is no size.
    pub fn new(payload: u64, size: Option<u64>) -> Result<Self> {
        let capacity = match size {
            Some(size) if size < SMALLEST => {
                return Err(Error::invalid("`volume_size`", format!("`{size}` is under {SMALLEST} bytes")));
            }
            Some(size) => size - HEAD,
            None => payload.max(1),
        };
        let count = payload.div_ceil(capacity);
        if count > u64::from(MOST) {
            return Err(Error::invalid(
                "`volume_size`",
                format!("would make {count} volumes, {MOST} at most"),
            ));
        }
        Ok(Self { capacity, count: count as u32, payload })
    }

    /// Refuses a layout that [`new`](Self::new) would not make.
    pub(super) fn check(&self) -> Result<()> {
        let smallest = if self.count > 1 { SMALLEST - HEAD } else { 1 };
        let consistent = self.capacity >= smallest
            && self.count <= MOST
            && self.payload.div_ceil(self.capacity) == u64::from(self.count)
            && self.payload.checked_add(u64::from(self.count) * HEAD).is_some();
        if consistent {
            return Ok(());
        }
        Err(Error::malformed("bundle.json", "bundle-layout", "its volumes do not add up to its payload"))
    }

    /// The payload bytes of volume `index` (from 1), as a range of the whole payload.
    #[must_use]
    pub fn extent(&self, index: u32) -> Range<u64> {
        let start = u64::from(index.saturating_sub(1)).saturating_mul(self.capacity).min(self.payload);
        start..start.saturating_add(self.capacity).min(self.payload)
    }

    /// The volume (from 1) and the offset in its payload where byte `at` of the whole payload lies.
    #[must_use]
    pub fn place(&self, at: u64) -> (u32, u64) {
        ((at / self.capacity) as u32 + 1, at % self.capacity)
    }

    /// Payload bytes of volume `index`.
    #[must_use]
    pub fn size(&self, index: u32) -> u64 {
        let extent = self.extent(index);
        extent.end - extent.start
    }
}

/// What a volume says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeHead {
    /// The version of the format.
    pub format: String,
    /// The SHA-256 of the header of its bundle.
    pub bundle: Sha256Digest,
    /// Its place, from 1.
    pub index: u32,
    /// How many there are.
    pub count: u32,
    /// Payload bytes in it.
    pub size: u64,
    /// What to write on the medium.
    pub label: String,
}

impl VolumeHead {
    /// The head as it stands in the file: magic, canonical JSON, blanks.
    pub fn encode(&self) -> Result<[u8; HEAD as usize]> {
        let json = canonical::encode("volume", self)?;
        let mut head = [b' '; HEAD as usize];
        let end = MAGIC.len() + json.len();
        if end > head.len() {
            return Err(Error::LimitExceeded {
                what: "the head of a volume".into(),
                limit: format!("{HEAD} bytes"),
            });
        }
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[MAGIC.len()..end].copy_from_slice(&json);
        head[HEAD as usize - 1] = b'\n';
        Ok(head)
    }

    /// Reads a head; `what` names the file.
    pub fn decode(what: &str, head: &[u8; HEAD as usize]) -> Result<Self> {
        let malformed = |detail: &str| Error::malformed(what, "bundle-volume", detail);
        let rest = head.strip_prefix(MAGIC).ok_or_else(|| malformed("it is no volume of a bundle"))?;
        let end =
            rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| malformed("its head has no end"))?;
        let (json, blank) = rest.split_at(end + 1);
        let found: Self = canonical::decode(what, json)?;
        version::check(what, &found.format)?;
        let (last, blank) = blank.split_last().ok_or_else(|| malformed("its head has no end"))?;
        if *last != b'\n' || blank.iter().any(|byte| *byte != b' ') {
            return Err(malformed("something is hidden behind its head"));
        }
        Ok(found)
    }
}

/// The name of a volume's file.
#[must_use]
pub fn file_name(index: u32) -> String {
    format!("volume-{index:04}.rsv")
}

/// Whether a name is that of a volume's file.
pub(super) fn is_file_name(name: &str) -> bool {
    let index = name.strip_prefix("volume-").and_then(|rest| rest.strip_suffix(".rsv"));
    index.and_then(|index| index.parse().ok()).is_some_and(|index| file_name(index) == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_has_one_place(payload in 0_u64..10_000_000, size in SMALLEST..2_000_000) {
            let layout = Layout::new(payload, Some(size)).unwrap();
            layout.check().unwrap();
            let sizes: u64 = (1..=layout.count).map(|index| layout.size(index)).sum();
            prop_assert_eq!(sizes, payload);
            for at in [0, payload / 2, payload.saturating_sub(1)] {
                if at < payload {
                    let (index, offset) = layout.place(at);
                    prop_assert!(index >= 1 && index <= layout.count);
                    prop_assert_eq!(layout.extent(index).start + offset, at);
                    prop_assert!(layout.extent(index).contains(&at));
                }
            }
        }
    }

    #[test]
    fn volumes_are_not_smaller_than_they_can_be_made() {
        let capacity = SMALLEST - HEAD;
        Layout { capacity, count: 2, payload: capacity + 1 }.check().unwrap();
        Layout { capacity: 10, count: 1, payload: 10 }.check().unwrap();
        assert!(Layout { capacity: capacity - 1, count: 2, payload: capacity }.check().is_err());
        assert!(Layout { capacity: 1, count: 7, payload: 7 }.check().is_err());
    }

    #[test]
    fn heads_round_trip_and_nothing_hides_behind_them() {
        let head = VolumeHead {
            format: version::FORMAT.into(),
            bundle: Sha256Digest::of(b""),
            index: 2,
            count: 3,
            size: 77,
            label: "NORTH 000001 2/3".into(),
        };
        let bytes = head.encode().unwrap();
        assert_eq!(VolumeHead::decode("v", &bytes).unwrap(), head);
        for at in [0, 20, 400, 511] {
            let mut bytes = bytes;
            bytes[at] ^= 1;
            assert!(VolumeHead::decode("v", &bytes).is_err(), "{at}");
        }
    }
}
