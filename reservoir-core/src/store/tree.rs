//! The verification tree of a blob: the BLAKE3 chaining values of its aligned groups.
//!
//! BLAKE3 is a Merkle tree over chunks of 1 KiB. Keeping the nodes of one level lets any aligned group of
//! bytes be checked alone, against the root that a snapshot or the catalog names. Groups hold 64 KiB, and
//! twice as much whenever a blob would have more than [`MAX_LEAVES`] of them, so a tree never takes more than
//! 2 MiB. A blob of one group needs no stored tree: its root is its leaf.
//!
//! A stored tree is derived data: an eight-byte magic with the version, the blob's size, the group size
//! (both 64-bit little endian), then the leaves. It is believed only once its leaves fold to the root.

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    digest::Blake3Digest,
    error::{Error, Result},
};

/// Bytes in a group of the smallest kind.
pub const MIN_GROUP: u64 = 64 * 1024;

/// More leaves than this never exist; the group size doubles instead.
pub const MAX_LEAVES: u64 = 65_536;

const MAGIC: [u8; 8] = *b"RSVTREE1";
const HEADER: usize = 24;
const LEAF: usize = 32;

/// The largest stored tree, in bytes.
pub const MAX_ENCODED: u64 = HEADER as u64 + MAX_LEAVES * LEAF as u64;

/// The size of the groups of a blob of `size` bytes.
#[must_use]
pub fn group_size(size: u64) -> u64 {
    let mut group = MIN_GROUP;
    while size.div_ceil(group) > MAX_LEAVES {
        group *= 2;
    }
    group
}

/// Whether a blob of `size` bytes has a stored tree.
#[must_use]
pub fn is_stored(size: u64) -> bool {
    size > MIN_GROUP
}

/// What every range of one blob is verified against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: Blake3Digest,
    size: u64,
    group_size: u64,
    /// Empty when the blob is one group.
    leaves: Vec<ChainingValue>,
}

impl Tree {
    /// The tree of a blob of one group, which is its root.
    ///
    /// `None` when `size` needs more than one group.
    #[must_use]
    pub fn single(root: Blake3Digest, size: u64) -> Option<Self> {
        (!is_stored(size)).then_some(Self { root, size, group_size: MIN_GROUP, leaves: Vec::new() })
    }

    /// The BLAKE3 hash of the whole blob.
    #[must_use]
    pub fn root(&self) -> Blake3Digest {
        self.root
    }

    /// Bytes in the blob.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in every group but the last.
    #[must_use]
    pub fn group_size(&self) -> u64 {
        self.group_size
    }

    /// Groups in the blob; one for an empty blob.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.leaves.len().max(1) as u64
    }

    /// Bytes of memory and of disk, about.
    #[must_use]
    pub fn weight(&self) -> u64 {
        (HEADER + self.leaves.len() * LEAF) as u64
    }

    /// Whether `bytes` are all the bytes of group `index`.
    #[must_use]
    pub fn verify(&self, index: u64, bytes: &[u8]) -> bool {
        let Some(start) = index.checked_mul(self.group_size) else { return false };
        if index >= self.groups() || bytes.len() as u64 != self.group_size.min(self.size - start) {
            return false;
        }
        match self.leaves.get(index as usize) {
            None => blake3::hash(bytes).as_bytes() == self.root.as_bytes(),
            Some(leaf) => Hasher::new().set_input_offset(start).update(bytes).finalize_non_root() == *leaf,
        }
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER + self.leaves.len() * LEAF);
        out.put_slice(&MAGIC);
        out.put_u64_le(self.size);
        out.put_u64_le(self.group_size);
        for leaf in &self.leaves {
            out.put_slice(leaf);
        }
        out.freeze()
    }

    /// Takes the stored form of the tree of a blob with this root and size.
    ///
    /// # Errors
    /// [`Error::Integrity`] when it is anything else; [`Error::TooNew`] when only its version differs.
    pub fn decode(encoded: &[u8], root: Blake3Digest, size: u64) -> Result<Self> {
        let rotten = |actual: String| Error::Integrity {
            what: "a verification tree".into(),
            expected: root.to_string(),
            actual,
        };
        let Some((header, leaves)) = encoded.split_at_checked(HEADER) else {
            return Err(rotten(format!("{} bytes", encoded.len())));
        };
        if header[..7] == MAGIC[..7] && header[7].is_ascii_digit() && header[7] > MAGIC[7] {
            return Err(Error::TooNew {
                what: format!("the verification tree of blob {root}"),
                found: char::from(header[7]).to_string(),
                known: char::from(MAGIC[7]).to_string(),
            });
        }
        let group = group_size(size);
        let expected = [&MAGIC[..], &size.to_le_bytes(), &group.to_le_bytes()].concat();
        let (leaves, rest) = leaves.as_chunks::<LEAF>();
        if header != expected || !rest.is_empty() || leaves.len() as u64 != size.div_ceil(group) {
            return Err(rotten("another header or length".into()));
        }
        let found = fold_root(leaves).ok_or_else(|| rotten("a tree of one leaf".into()))?;
        if found != root {
            return Err(rotten(found.to_string()));
        }
        Ok(Self { root, size, group_size: group, leaves: leaves.to_vec() })
    }
}

/// Builds a [`Tree`] from bytes of unknown length, in memory that does not grow beyond the tree's own.
#[derive(Debug, Clone)]
pub struct TreeBuilder {
    group_size: u64,
    leaves: Vec<ChainingValue>,
    /// The group that is being filled. A full one is closed only when more bytes come, because the only
    /// group of a blob is hashed as a root and not as a leaf.
    group: Hasher,
    size: u64,
    /// [`MAX_LEAVES`], but for tests that do not hash 4 GiB.
    max_leaves: u64,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self {
            group_size: MIN_GROUP,
            leaves: Vec::new(),
            group: Hasher::new(),
            size: 0,
            max_leaves: MAX_LEAVES,
        }
    }
}

impl TreeBuilder {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.group.count() == self.group_size {
                self.close_group();
            }
            let room = self.group_size - self.group.count();
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.group.update(now);
            self.size += now.len() as u64;
            bytes = later;
        }
    }

    fn close_group(&mut self) {
        self.leaves.push(self.group.finalize_non_root());
        if self.leaves.len() as u64 == self.max_leaves {
            self.leaves = pairs(&self.leaves);
            self.group_size *= 2;
        }
        // Not `reset`: it forgets the offset of the last group only in part.
        self.group = Hasher::new();
        self.group.set_input_offset(self.leaves.len() as u64 * self.group_size);
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Closes the tree.
    #[must_use]
    pub fn finish(mut self) -> Tree {
        if !self.leaves.is_empty() {
            self.leaves.push(self.group.finalize_non_root());
        }
        let root = fold_root(&self.leaves).unwrap_or_else(|| self.group.finalize().into());
        Tree { root, size: self.size, group_size: self.group_size, leaves: self.leaves }
    }
}

/// The level above. A leaf without a neighbour rises as it is, which is the shape of BLAKE3's tree.
fn pairs(level: &[ChainingValue]) -> Vec<ChainingValue> {
    let merge = |pair: &[ChainingValue]| match pair {
        [left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
        _ => pair[0],
    };
    level.chunks(2).map(merge).collect()
}

/// `None` for a single leaf, which is no root.
fn fold_root(leaves: &[ChainingValue]) -> Option<Blake3Digest> {
    let mut level = leaves.to_vec();
    while level.len() > 2 {
        level = pairs(&level);
    }
    match level[..] {
        [left, right] => Some(merge_subtrees_root(&left, &right, Mode::Hash).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(size: usize, seed: u8) -> Vec<u8> {
        (0..size).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed).collect()
    }

    fn build(bytes: &[u8], step: usize) -> Tree {
        let mut builder = TreeBuilder::default();
        bytes.chunks(step).for_each(|part| builder.update(part));
        builder.finish()
    }

    #[test]
    fn group_size_doubles_at_four_gib() {
        assert_eq!(group_size(0), MIN_GROUP);
        assert_eq!(group_size(MIN_GROUP * MAX_LEAVES), MIN_GROUP);
        assert_eq!(group_size(MIN_GROUP * MAX_LEAVES + 1), MIN_GROUP * 2);
        assert_eq!(group_size(1 << 40), 16 << 20);
    }

    #[test]
    fn edges_of_groups_hash_like_blake3() {
        let group = MIN_GROUP as usize;
        for size in [0, 1, 1024, group - 1, group, group + 1, 2 * group, 3 * group - 1, 5 * group + 7] {
            let bytes = bytes(size, 0);
            let tree = build(&bytes, 50_000);
            assert_eq!(tree.root(), blake3::hash(&bytes).into(), "{size}");
            assert_eq!(tree.size(), size as u64);
        }
    }

    #[test]
    fn groups_double_when_there_would_be_too_many() {
        let group = MIN_GROUP as usize;
        for size in [4 * group, 4 * group + 1, 8 * group, 8 * group + 1, 19 * group + 3] {
            let bytes = bytes(size, 9);
            let mut builder = TreeBuilder { max_leaves: 4, ..TreeBuilder::default() };
            bytes.chunks(100_000).for_each(|part| builder.update(part));
            let tree = builder.finish();
            assert_eq!(tree.root(), blake3::hash(&bytes).into(), "{size}");
            assert!(tree.groups() <= 4, "{size}");
            assert_eq!(tree.groups(), (size as u64).div_ceil(tree.group_size()));
            for (index, group) in bytes.chunks(tree.group_size() as usize).enumerate() {
                assert!(tree.verify(index as u64, group), "{size} {index}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn root_is_blake3_however_the_bytes_arrive(size in 0usize..600_000, step in 1usize..200_000, seed: u8) {
            let bytes = bytes(size, seed);
            let tree = build(&bytes, step.max(size / 500 + 1));
            prop_assert_eq!(tree.root(), Blake3Digest::from(blake3::hash(&bytes)));
            for (index, group) in bytes.chunks(MIN_GROUP as usize).enumerate() {
                prop_assert!(tree.verify(index as u64, group));
            }
        }

        #[test]
        fn one_flipped_bit_is_seen(size in 1usize..300_000, at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = bytes(size, 7);
            let tree = build(&bytes, 65_536);
            let at = at.index(size);
            bytes[at] ^= 1 << bit;
            let index = at / MIN_GROUP as usize;
            let group = bytes.chunks(MIN_GROUP as usize).nth(index).unwrap();
            prop_assert!(!tree.verify(index as u64, group));
        }

        #[test]
        fn stored_trees_round_trip_and_rot_is_seen(groups in 2usize..9, at: prop::sample::Index, bit in 0u8..8) {
            let size = groups * MIN_GROUP as usize - 5;
            let tree = build(&bytes(size, 1), 65_536);
            let mut encoded = tree.encode().to_vec();
            prop_assert_eq!(&Tree::decode(&encoded, tree.root(), tree.size()).unwrap(), &tree);
            let at = at.index(encoded.len());
            encoded[at] ^= 1 << bit;
            prop_assert!(Tree::decode(&encoded, tree.root(), tree.size()).is_err());
        }

        #[test]
        fn any_bytes_as_a_tree_are_refused(encoded in prop::collection::vec(any::<u8>(), 0..500), size: u64) {
            prop_assert!(Tree::decode(&encoded, Blake3Digest::from_bytes([0; 32]), size).is_err());
        }

        #[test]
        fn verify_refuses_any_wrong_group(index: u64, length in 0usize..70_000) {
            let tree = build(&bytes(200_000, 3), 65_536);
            prop_assert!(!tree.verify(index, &vec![0xaa; length]));
        }
    }
}
