//! What was verified lately, for a store that is told not to hash hot bytes again and again.

use std::{
    os::unix::fs::MetadataExt as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use crate::digest::Sha256Digest;

/// The state of an object by which a change of it is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Version {
    /// Device, inode, size, and modification and change times with their nanoseconds.
    File([i64; 7]),
    /// The tag and version of an object.
    Object(Option<String>, Option<String>, u64),
}

impl Version {
    pub(super) fn of_file(metadata: &std::fs::Metadata) -> Self {
        Self::File([
            metadata.dev() as i64,
            metadata.ino() as i64,
            metadata.size() as i64,
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ])
    }

    pub(super) fn of_object(meta: &object_store::ObjectMeta) -> Self {
        Self::Object(meta.e_tag.clone(), meta.version.clone(), meta.size)
    }

    /// Whether two equal versions mean unchanged bytes.
    fn is_telling(&self) -> bool {
        !matches!(self, Self::Object(None, None, _))
    }
}

/// The groups of one unchanged object that were verified lately.
#[derive(Debug)]
pub(super) struct Seen {
    window: Duration,
    state: Mutex<(Instant, Vec<u64>)>,
}

impl Seen {
    fn with<T>(&self, index: u64, act: impl FnOnce(&mut u64, u64) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, bits) = &mut *state;
        if since.elapsed() >= self.window {
            *since = Instant::now();
            bits.fill(0);
        }
        let word = (index / 64) as usize;
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        act(&mut bits[word], 1 << (index % 64))
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.with(index, |word, bit| *word & bit != 0)
    }

    pub(super) fn insert(&self, index: u64) {
        self.with(index, |word, bit| *word |= bit);
    }
}

/// The longest that verified bytes are believed: so says the contract of [`Store`](super::Store).
const LONGEST: Duration = Duration::from_mins(1);

/// What was verified lately, for a store that is told to remember.
#[derive(Debug)]
pub(super) struct Remembered {
    window: Duration,
    objects: Cache<(Sha256Digest, Version), Arc<Seen>>,
}

impl Remembered {
    pub(super) fn new(window: Duration) -> Self {
        // At most 8 KiB each.
        Self { window: window.min(LONGEST), objects: Cache::new(4096) }
    }

    pub(super) fn of(&self, sha256: Sha256Digest, version: Version) -> Option<Arc<Seen>> {
        if !version.is_telling() {
            return None;
        }
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(self.fresh()));
        self.objects.get_or_insert_with(&(sha256, version), fresh).ok()
    }

    fn fresh(&self) -> Seen {
        Seen { window: self.window, state: Mutex::new((Instant::now(), Vec::new())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_remember_for_longer_than_a_minute() {
        let window = |window| Remembered::new(window).fresh().window;
        assert_eq!(window(Duration::from_hours(24)), LONGEST);
        assert_eq!(window(Duration::from_secs(5)), Duration::from_secs(5));
    }
}
