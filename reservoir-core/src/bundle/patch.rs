//! A large blob as the pieces of it that the receiver has in other blobs, and the bytes that are new: what a model's
//! next checkpoint is, most of the time.
//!
//! ```text
//! reservoir-patch\n
//! {"bases":[…],"blob":{…},"format":"1.1.0","runs":N}\n     canonical JSON
//! N times 17 bytes: the place of a base in the list, or 255 for new bytes; offset; length (big-endian)
//! the new bytes, back to back
//! ```
//!
//! A patch travels as a blob of its own; the header says which blob it makes. What comes out is held against that
//! blob's digests, so a patch can waste time and no more.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::{canonical, version};
use crate::{
    digest::Sha256Digest,
    error::{Error, Result},
    store::Blob,
};

/// A blob that travels as a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patched {
    /// The blob.
    pub blob: Blob,
    /// The patch that makes it, which is among the objects.
    pub patch: Sha256Digest,
}

/// Patched blobs of one bundle at most.
pub(crate) const MOST: usize = 10_000;
/// Blobs that one patch takes pieces of.
pub(crate) const BASES: usize = 4;
/// Pieces of one patch.
pub(crate) const RUNS: u64 = 1 << 20;

const MAGIC: &[u8] = b"reservoir-patch\n";
/// The line behind it, in bytes.
const LINE: usize = 64 << 10;
const ROW: usize = 17;
const NEW: u8 = 255;

/// Where a piece of the blob comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// So many bytes of a base from an offset on.
    Base { base: u8, offset: u64, length: u64 },
    /// So many of the bytes behind the list.
    New { length: u64 },
}

impl Run {
    /// Bytes of the piece.
    pub(crate) fn length(self) -> u64 {
        match self {
            Self::Base { length, .. } | Self::New { length } => length,
        }
    }
}

/// The list of pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) blob: Blob,
    pub(crate) bases: Vec<Blob>,
    pub(crate) runs: Vec<Run>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    bases: Vec<Blob>,
    blob: Blob,
    format: String,
    runs: u64,
}

impl Recipe {
    /// Adds a piece, as part of the last one where it goes on from it.
    pub(crate) fn push(&mut self, run: Run) {
        match (self.runs.last_mut(), run) {
            (Some(Run::New { length: last }), Run::New { length }) => *last += length,
            (
                Some(Run::Base { base, offset, length: last }),
                Run::Base { base: next, offset: from, length },
            ) if *base == next && *offset + *last == from => *last += length,
            _ => self.runs.push(run),
        }
    }

    /// Writes everything before the new bytes.
    pub(crate) fn write(&self, out: &mut dyn Write) -> Result<()> {
        let failed = || Error::io("write a patch");
        let head = Head {
            bases: self.bases.clone(),
            blob: self.blob,
            format: version::FORMAT.into(),
            runs: self.runs.len() as u64,
        };
        out.write_all(MAGIC).map_err(failed())?;
        out.write_all(&canonical::encode("a patch", &head)?).map_err(failed())?;
        for run in &self.runs {
            let (base, offset, length) = match *run {
                Run::Base { base, offset, length } => (base, offset, length),
                Run::New { length } => (NEW, 0, length),
            };
            let row = [&[base][..], &offset.to_be_bytes(), &length.to_be_bytes()].concat();
            out.write_all(&row).map_err(failed())?;
        }
        Ok(())
    }

    /// Reads a recipe that is to make `blob`; the input stands at the new bytes then. Refuses what no Reservoir writes.
    pub(crate) fn read(input: &mut dyn Read, blob: &Blob) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(cut)?;
        if magic != *MAGIC {
            return Err(malformed("it is no patch"));
        }
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            input.read_exact(&mut byte).map_err(cut)?;
            line.extend(byte);
            if byte == *b"\n" {
                break;
            }
            if line.len() > LINE {
                return Err(malformed("its first line is too long"));
            }
        }
        let head: Head = canonical::decode("a patch", &line)?;
        version::check("a patch", &head.format)?;
        if head.blob != *blob || head.bases.len() > BASES || head.runs > RUNS {
            return Err(malformed("it makes another blob, or of too many pieces"));
        }
        let mut runs = Vec::with_capacity(head.runs.min(4096) as usize);
        let mut made = 0_u64;
        for _ in 0..head.runs {
            let mut row = [0; ROW];
            input.read_exact(&mut row).map_err(cut)?;
            let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|index| row[at + index]));
            let (offset, length) = (number(1), number(9));
            let run = match row[0] {
                NEW if offset == 0 => Run::New { length },
                base => {
                    let size = head.bases.get(usize::from(base)).map(|base| base.size);
                    if offset.checked_add(length).zip(size).is_none_or(|(end, size)| end > size) {
                        return Err(malformed("a piece lies outside of its blob"));
                    }
                    Run::Base { base, offset, length }
                }
            };
            made = made
                .checked_add(length)
                .filter(|made| length > 0 && *made <= blob.size)
                .ok_or_else(|| malformed("its pieces are more than the blob, or nothing"))?;
            runs.push(run);
        }
        if made != blob.size {
            return Err(malformed("its pieces do not make the blob"));
        }
        Ok(Self { blob: head.blob, bases: head.bases, runs })
    }
}

fn malformed(detail: &str) -> Error {
    Error::malformed("a patch", "bundle-patch", detail)
}

fn cut(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => malformed("it ends before its end"),
        _ => Error::io("read a patch")(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(name: &[u8], size: u64) -> Blob {
        Blob { sha256: Sha256Digest::of(name), blake3: blake3::hash(name).into(), size }
    }

    fn recipe() -> Recipe {
        let bases = vec![blob(b"one", 100), blob(b"two", 50)];
        let mut recipe = Recipe { blob: blob(b"made", 90), bases, runs: Vec::new() };
        recipe.push(Run::Base { base: 0, offset: 20, length: 10 });
        recipe.push(Run::Base { base: 0, offset: 30, length: 30 });
        recipe.push(Run::New { length: 7 });
        recipe.push(Run::New { length: 13 });
        recipe.push(Run::Base { base: 1, offset: 20, length: 30 });
        recipe
    }

    fn bytes(recipe: &Recipe) -> Vec<u8> {
        let mut bytes = Vec::new();
        recipe.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn pieces_that_go_on_are_one() {
        let recipe = recipe();
        assert_eq!(recipe.runs.iter().map(|run| run.length()).collect::<Vec<_>>(), [40, 20, 30]);
        assert_eq!(Recipe::read(&mut &bytes(&recipe)[..], &recipe.blob).unwrap(), recipe);
    }

    #[test]
    fn what_no_reservoir_writes_is_refused() {
        let good = recipe();
        let with = |change: &dyn Fn(&mut Recipe)| {
            let mut bad = good.clone();
            change(&mut bad);
            bytes(&bad)
        };
        let base = |offset, length| Run::Base { base: 1, offset, length };
        let cases = [
            ("another blob", with(&|r| r.blob = blob(b"other", 90))),
            ("another size", with(&|r| r.blob.size = 91)),
            ("a base that is not there", with(&|r| r.bases.truncate(1))),
            ("too many bases", with(&|r| r.bases = vec![blob(b"x", 100); BASES + 1])),
            ("behind the end of a base", with(&|r| r.runs[2] = base(21, 30))),
            ("an offset that overflows", with(&|r| r.runs[2] = base(u64::MAX, 30))),
            ("a length that overflows", with(&|r| r.runs[1] = Run::New { length: u64::MAX })),
            ("a piece of nothing", with(&|r| r.runs.push(Run::New { length: 0 }))),
            ("more than the blob", with(&|r| r.runs.push(Run::New { length: 1 }))),
            ("less than the blob", with(&|r| r.runs.truncate(2))),
            ("no magic", bytes(&good)[1..].to_vec()),
            ("cut", bytes(&good)[..bytes(&good).len() - 1].to_vec()),
            ("a line without end", [MAGIC, &vec![b'x'; 2 * LINE]].concat()),
            ("nothing", Vec::new()),
        ];
        Recipe::read(&mut &bytes(&good)[..], &good.blob).unwrap();
        for (what, bytes) in cases {
            let error = Recipe::read(&mut &bytes[..], &good.blob).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Malformed, "{what}: {error}");
        }
    }
}
