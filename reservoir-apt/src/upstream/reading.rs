//! An index, stanza by stanza, bounded and held against what the Release says of it.

use std::{
    fs::File,
    io::{self, BufReader, Read},
};

use reservoir_core::{
    Error, Result,
    archive::{Decoder, Members},
};
use sha2::{Digest as _, Sha256, Sha512};

use super::{
    index::{Fetched, Index},
    release::Listed,
};
use crate::control::{Piece, Stanzas};

/// Most bytes of one index, decompressed.
const EXPANDED: u64 = 4 << 30;
/// Decompressed bytes for each byte sent, where the Release does not say how many there are.
const RATIO: u64 = 400;
/// Below this no ratio is suspicious.
const RATIO_FREE: u64 = 64 << 20;
/// Most stanzas of one index.
const STANZAS: u64 = 2_000_000;

/// An index that is being read.
pub(super) struct Reading {
    what: String,
    stanzas: Stanzas<Bounded<Decoder<BufReader<File>>>>,
    count: u64,
    limit: u64,
    plain: Option<Listed>,
}

/// Begins to read an index that was fetched. Blocks, as reading does.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn open(index: &Index, fetched: &Fetched) -> Result<Reading> {
    let what = format!("index `{}`", index.part);
    let file = File::open(&fetched.path).map_err(Error::io(format!("open {what}")))?;
    let decoder = Decoder::new(fetched.compression, Members::Many, BufReader::with_capacity(128 << 10, file))
        .map_err(Error::io(format!("begin to decompress {what}")))?;
    let limit = match index.plain {
        Some(listed) => listed.size,
        None => fetched.size.saturating_mul(RATIO).max(RATIO_FREE),
    };
    let limit = limit.min(EXPANDED);
    let hasher = index.plain.map_or(Hasher::Nothing, |listed| Hasher::of(&listed));
    let bounded = Bounded { reader: decoder, hasher, left: limit };
    Ok(Reading { what, stanzas: Stanzas::new(bounded), count: 0, limit, plain: index.plain })
}

impl Reading {
    /// The next stanza.
    ///
    /// # Errors
    /// [`Error::Malformed`] (`index-data`), [`Error::LimitExceeded`].
    pub(super) fn next(&mut self) -> Result<Option<Piece<'_>>> {
        let exceeded = |what: &str, limit: String| Error::LimitExceeded { what: what.to_owned(), limit };
        match self.stanzas.next_piece() {
            Ok(Some(_)) if self.count == STANZAS => Err(exceeded(&self.what, format!("{STANZAS} packages"))),
            Ok(piece) => {
                self.count += 1;
                Ok(piece)
            }
            Err(error) if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Over>) => {
                Err(exceeded(&self.what, format!("{} bytes, decompressed", self.limit)))
            }
            Err(error) => Err(Error::malformed(self.what.clone(), "index-data", error.to_string())),
        }
    }

    /// Whether it was what the Release lists, after the last stanza.
    ///
    /// # Errors
    /// [`Error::Malformed`] (`index-digest`).
    pub(super) fn finish(mut self) -> Result<()> {
        let bounded = self.stanzas.get_mut();
        let read = self.limit - bounded.left;
        let hasher = std::mem::replace(&mut bounded.hasher, Hasher::Nothing);
        match self.plain {
            Some(listed) if read != listed.size || !hasher.agrees(&listed) => {
                let detail = "decompressed, it is not what the Release lists";
                Err(Error::malformed(self.what, "index-digest", detail))
            }
            _ => Ok(()),
        }
    }
}

/// Counts and hashes what is read.
struct Bounded<R> {
    reader: R,
    hasher: Hasher,
    left: u64,
}

/// By the digest that is listed.
enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
    Nothing,
}

impl Hasher {
    fn of(listed: &Listed) -> Self {
        if listed.sha256.is_some() { Self::Sha256(Sha256::new()) } else { Self::Sha512(Sha512::new()) }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Nothing => {}
        }
    }

    fn agrees(self, listed: &Listed) -> bool {
        match self {
            Self::Sha256(hasher) => listed.sha256 == Some(hasher.into()),
            Self::Sha512(hasher) => listed.sha512 == Some(hasher.into()),
            Self::Nothing => true,
        }
    }
}

/// There were more bytes than there may be.
#[derive(Debug)]
struct Over;

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("more bytes than there may be")
    }
}

impl std::error::Error for Over {}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(Over)),
        }
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
