//! How much an archive may be.

use crate::error::{Error, Result};

/// What a walk accepts. The defaults fit the largest packages of the public registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members.
    pub entries: u64,
    /// Bytes of one member's name; a component of it has 255 at most.
    pub name: usize,
    /// Bytes of all members together, decompressed.
    pub expanded: u64,
    /// Decompressed bytes for each byte of the archive, applied beyond [`Limits::RATIO_FLOOR`].
    pub ratio: u64,
    /// Bytes of one member, decompressed.
    pub member: u64,
    /// Bytes of names and of a ZIP's central directory that may be held in memory.
    pub headers: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 100_000,
            name: 4096,
            expanded: 16 << 30,
            ratio: 200,
            member: 16 << 30,
            headers: 64 << 20,
        }
    }
}

impl Limits {
    /// Decompressed bytes up to which the ratio is not looked at: 16 MiB.
    pub const RATIO_FLOOR: u64 = 16 << 20;

    /// The bytes that an archive of `size` bytes may expand to.
    fn expansion(&self, size: u64) -> u64 {
        size.saturating_mul(self.ratio).max(Self::RATIO_FLOOR).min(self.expanded)
    }
}

/// Counts what a walk has met so far.
#[derive(Debug)]
pub(super) struct Meter {
    what: String,
    limits: Limits,
    expansion: u64,
    expanded: u64,
    entries: u64,
}

impl Meter {
    /// For an archive of `size` bytes.
    pub(super) fn new(what: &str, limits: Limits, size: u64) -> Self {
        Self { what: what.to_owned(), limits, expansion: limits.expansion(size), expanded: 0, entries: 0 }
    }

    /// One more member, which says it has `size` bytes.
    pub(super) fn entry(&mut self, name: &str, size: u64) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            let limit = format!("{} members", self.limits.entries);
            return Err(Error::LimitExceeded { what: self.what.clone(), limit });
        }
        if size > self.limits.member {
            let what = format!("member `{name}` of {}", self.what);
            return Err(Error::LimitExceeded { what, limit: format!("{} bytes", self.limits.member) });
        }
        Ok(())
    }

    /// So many more decompressed bytes.
    pub(super) fn expand(&mut self, bytes: u64) -> Result<()> {
        self.expanded = self.expanded.saturating_add(bytes);
        if self.expanded > self.expansion {
            let what = format!("{}, decompressed,", self.what);
            return Err(Error::LimitExceeded { what, limit: format!("{} bytes", self.expansion) });
        }
        Ok(())
    }
}
