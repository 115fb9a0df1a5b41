//! Paths between two trees (RFC 9162, section 2.1.4): how they are made of the nodes of the later one, and how
//! somebody who has only both roots checks that it begins with the earlier one.

use std::io;

use super::inclusion::split;
use super::{TreeNodes, empty_root, node_hash};
use crate::chain::ChainHash;

/// Returns the path that proves that the tree of `second` leaves begins with that of `first` leaves.
///
/// # Errors
/// Fails if the first tree is larger, or a node cannot be read.
pub fn consistency_path(nodes: &impl TreeNodes, first: u64, second: u64) -> io::Result<Vec<ChainHash>> {
    if first > second {
        return Err(io::Error::other("the first tree is larger than the second one"));
    }
    let (mut low, mut high, mut path) = (0, second, Vec::new());
    if first == 0 || first == second {
        return Ok(path);
    }
    while first < high {
        let middle = low + split(high - low);
        if first <= middle {
            path.push(nodes.range(middle, high)?);
            high = middle;
        } else {
            path.push(nodes.range(low, middle)?);
            low = middle;
        }
    }
    if low > 0 {
        path.push(nodes.range(low, high)?);
    }
    path.reverse();
    Ok(path)
}

/// Returns whether `path` proves that the tree of `second` leaves and this root begins with that of `first`
/// leaves and that root.
pub fn is_consistent(
    (first, first_root): (u64, ChainHash),
    (second, second_root): (u64, ChainHash),
    path: &[ChainHash],
) -> bool {
    if first == 0 || first >= second {
        let is_same = first == second && first_root == second_root;
        return path.is_empty() && (is_same || first == 0 && first_root == empty_root());
    }
    // A complete first tree is a node of the second one, and its root is not repeated.
    let mut path = path.iter().copied();
    let beginning = if first.is_power_of_two() { Some(first_root) } else { path.next() };
    let Some(beginning) = beginning else { return false };
    let skipped = (first - 1).trailing_ones();
    let (mut at, mut last) = ((first - 1) >> skipped, (second - 1) >> skipped);
    let (mut old, mut new) = (beginning, beginning);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            (old, new) = (node_hash(sibling, old), node_hash(sibling, new));
            let skipped = at.trailing_zeros();
            (at, last) = (at >> skipped, last >> skipped);
        } else {
            new = node_hash(new, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old == first_root && new == second_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::inclusion::tests::{LeafList, flipped, texts};
    use super::super::leaf_hash;
    use super::*;

    #[test]
    fn paths_are_those_of_certificate_transparency() {
        let tree = LeafList::of_vectors();
        assert_eq!(texts(consistency_path(&tree, 1, 1)), [""; 0]);
        assert_eq!(
            texts(consistency_path(&tree, 1, 8)),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            texts(consistency_path(&tree, 6, 8)),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            texts(consistency_path(&tree, 2, 5)),
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ]
        );
    }

    #[test]
    fn every_consistency_path_of_trees_up_to_64_leaves_is_proof_and_of_no_other_tree() {
        let tree = LeafList::of(64);
        for second in 0..=64 {
            for first in 0..=second {
                let path = consistency_path(&tree, first, second).unwrap();
                let (old, new) = (tree.root(first), tree.root(second));
                assert!(is_consistent((first, old), (second, new), &path), "{first} of {second}");
                let other = leaf_hash(b"other");
                assert!(!is_consistent((first, other), (second, new), &path), "{first} of {second}");
                assert!(first == 0 || !is_consistent((first, old), (second, other), &path));
                let longer = [&path[..], &[other]].concat();
                assert!(!is_consistent((first, old), (second, new), &longer));
                assert!(path.is_empty() || !is_consistent((first, old), (second, new), &path[1..]));
                assert!(path.len() <= 7, "log2");
            }
            assert!(consistency_path(&tree, second + 1, second).is_err());
            assert!(!is_consistent((second + 1, tree.root(second)), (second, tree.root(second)), &[]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_single_changed_bit_of_a_consistency_path_or_its_roots_is_no_proof(
            (second, first) in (2_u64..=64).prop_flat_map(|second| (Just(second), 1..second)),
        ) {
            let tree = LeafList::of(second);
            let (old, new) = (tree.root(first), tree.root(second));
            let path = consistency_path(&tree, first, second).unwrap();
            for other in flipped(old) {
                prop_assert!(!is_consistent((first, other), (second, new), &path));
            }
            for other in flipped(new) {
                prop_assert!(!is_consistent((first, old), (second, other), &path));
            }
            for (n, hash) in path.iter().enumerate() {
                for other in flipped(*hash) {
                    let mut changed = path.clone();
                    changed[n] = other;
                    prop_assert!(!is_consistent((first, old), (second, new), &changed));
                }
            }
        }
    }
}
