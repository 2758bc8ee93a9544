//! Digests of a volume's pieces: they say where it is damaged.

use super::volume::PIECE;
use crate::digest::Blake3Digest;

/// BLAKE3 of each 8 MiB.
#[derive(Default)]
pub(super) struct Pieces {
    hasher: blake3::Hasher,
    filled: u64,
    done: Vec<Blake3Digest>,
}

impl Pieces {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let now = bytes.len().min((PIECE - self.filled) as usize);
            self.hasher.update(&bytes[..now]);
            self.filled += now as u64;
            bytes = &bytes[now..];
            if self.filled == PIECE {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        self.done.push(self.hasher.finalize().into());
        self.hasher.reset();
        self.filled = 0;
    }

    /// The digests of the pieces that are full.
    pub(super) fn full(&self) -> &[Blake3Digest] {
        &self.done
    }

    pub(super) fn finish(mut self) -> Vec<Blake3Digest> {
        if self.filled > 0 {
            self.cut();
        }
        self.done
    }
}
