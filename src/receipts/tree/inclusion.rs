//! Paths from a leaf to the root (RFC 9162, section 2.1.3): how they are made of the nodes of a tree, and how
//! somebody who has only the root checks them.

use std::io;

use super::{empty_root, node_hash};
use crate::chain::ChainHash;

/// The nodes of a tree that no later leaf changes.
pub trait TreeNodes {
    /// Returns the hash of the `index`-th complete subtree of `2^level` leaves.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    fn node(&self, level: u32, index: u64) -> io::Result<ChainHash>;

    /// Returns the root of the tree over the leaves from `low` to before `high`.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    fn range(&self, low: u64, high: u64) -> io::Result<ChainHash> {
        match high - low {
            0 => Ok(empty_root()),
            size if size.is_power_of_two() => self.node(size.trailing_zeros(), low / size),
            size => {
                let middle = low + split(size);
                Ok(node_hash(self.range(low, middle)?, self.range(middle, high)?))
            }
        }
    }
}

/// Returns how many of `size` leaves, at least two, the left subtree has: the largest smaller power of two.
pub(super) fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Returns the path that proves that the leaf `index` is in the tree of the first `size` leaves.
///
/// # Errors
/// Fails if there is no such leaf, or a node cannot be read.
pub fn inclusion_path(nodes: &impl TreeNodes, index: u64, size: u64) -> io::Result<Vec<ChainHash>> {
    if index >= size {
        return Err(io::Error::other("the tree has no such leaf"));
    }
    let (mut low, mut high, mut path) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(nodes.range(middle, high)?);
            high = middle;
        } else {
            path.push(nodes.range(low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Returns the root of the tree of `size` leaves to which `path` leads from the leaf `index`. `None` if the
/// path does not fit there. Whoever knows the root compares.
pub fn root_of(leaf: ChainHash, index: u64, size: u64, path: &[ChainHash]) -> Option<ChainHash> {
    let mut at = index;
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let mut root = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            root = node_hash(*sibling, root);
            // Levels at which the right edge has no sibling.
            let skipped = at.trailing_zeros();
            (at, last) = (at >> skipped, last >> skipped);
        } else {
            root = node_hash(root, *sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::tests::LEAVES;
    use super::super::{TreeEdge, leaf_hash};
    use super::*;

    /// The leaves of a tree, of which every node is computed anew.
    pub struct LeafList(Vec<ChainHash>);

    impl TreeNodes for LeafList {
        fn node(&self, level: u32, index: u64) -> io::Result<ChainHash> {
            let (size, mut edge) = (1 << level, TreeEdge::default());
            let leaves = &self.0[(index * size) as usize..((index + 1) * size) as usize];
            leaves.iter().for_each(|leaf| edge.append(*leaf, |_| {}));
            Ok(edge.root())
        }
    }

    impl LeafList {
        pub fn of_vectors() -> Self {
            Self(LEAVES.iter().map(|entry| leaf_hash(entry)).collect())
        }

        pub fn of(size: u64) -> Self {
            Self((0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect())
        }

        pub fn root(&self, size: u64) -> ChainHash {
            self.range(0, size).unwrap()
        }
    }

    /// Everything that differs in one bit.
    pub fn flipped(hash: ChainHash) -> impl Iterator<Item = ChainHash> {
        (0..256).map(move |bit| {
            let mut bytes = *hash.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            ChainHash::from_bytes(bytes)
        })
    }

    pub fn texts(path: io::Result<Vec<ChainHash>>) -> Vec<String> {
        path.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_are_those_of_certificate_transparency() {
        let tree = LeafList::of_vectors();
        assert_eq!(texts(inclusion_path(&tree, 0, 1)), [""; 0]);
        assert_eq!(
            texts(inclusion_path(&tree, 0, 8)),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            texts(inclusion_path(&tree, 5, 8)),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            texts(inclusion_path(&tree, 2, 3)),
            ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",]
        );
    }

    #[test]
    fn every_inclusion_path_of_trees_up_to_64_leaves_leads_to_the_root_and_to_no_other_place() {
        let tree = LeafList::of(64);
        for size in 1..=64 {
            let root = tree.root(size);
            for index in 0..size {
                let (leaf, path) = (tree.0[index as usize], inclusion_path(&tree, index, size).unwrap());
                assert_eq!(root_of(leaf, index, size, &path), Some(root), "{index} of {size}");
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(root_of(leaf, other, size, &path), Some(root), "{index} as {other} of {size}");
                }
                let longer = [&path[..], &[root]].concat();
                assert_ne!(root_of(leaf, index, size, &longer), Some(root));
                assert!(path.is_empty() || root_of(leaf, index, size, &path[1..]) != Some(root));
                assert!(path.len() <= 6, "log2");
            }
            assert_eq!(root_of(tree.0[0], size, size, &[]), None);
            assert!(inclusion_path(&tree, size, size).is_err());
        }
        assert_eq!(root_of(tree.0[0], 0, 0, &[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_single_changed_bit_of_an_inclusion_path_or_its_leaf_leads_elsewhere(
            (size, index) in (1_u64..=64).prop_flat_map(|size| (Just(size), 0..size)),
        ) {
            let tree = LeafList::of(size);
            let (root, leaf) = (tree.root(size), tree.0[index as usize]);
            let path = inclusion_path(&tree, index, size).unwrap();
            for other in flipped(leaf) {
                prop_assert_ne!(root_of(other, index, size, &path), Some(root));
            }
            for (n, hash) in path.iter().enumerate() {
                for other in flipped(*hash) {
                    let mut changed = path.clone();
                    changed[n] = other;
                    prop_assert_ne!(root_of(leaf, index, size, &changed), Some(root));
                }
            }
        }
    }
}
