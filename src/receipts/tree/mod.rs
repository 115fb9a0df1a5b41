//! A Merkle tree over the entries of the chain, with the structure of RFC 9162 (Certificate Transparency,
//! section 2.1): a short path of hashes proves that an entry is in the tree of a signed head, or that a
//! later tree only adds to an earlier one. `inclusion` and `consistency` make and check them, `file` keeps the
//! nodes on disk.
//!
//! Bounds (P13): the right edge of a tree is at most 64 hashes in memory; one more entry costs two hashes on
//! average; a path reads and has at most 2 * log2(n) nodes. On disk an entry has 64 bytes.

#[cfg(feature = "cli")]
mod consistency;
mod file;
mod inclusion;

use sha2::{Digest, Sha256};

use crate::chain::ChainHash;

#[cfg(feature = "cli")]
pub use consistency::{consistency_path, is_consistent};
pub(super) use file::{StoredNodes, TreeFile, TreeFiller};
pub use inclusion::{TreeNodes, inclusion_path, root_of};

/// Returns the hash of a leaf: of a zero byte and the bytes of an entry.
pub fn leaf_hash(entry: &[u8]) -> ChainHash {
    ChainHash::from_bytes(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// Returns the hash of an inner node: of a byte of one and the two hashes below it.
fn node_hash(left: ChainHash, right: ChainHash) -> ChainHash {
    let hash = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    ChainHash::from_bytes(hash.finalize().into())
}

/// Returns the root of a tree without leaves: the hash of nothing.
pub fn empty_root() -> ChainHash {
    ChainHash::from_bytes(Sha256::digest([]).into())
}

/// Returns how many nodes a tree of so many leaves has on disk: those that no later leaf changes.
fn nodes_of(size: u64) -> u64 {
    2 * size - u64::from(size.count_ones())
}

/// The right edge of a growing tree: all that is needed to add leaves and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeEdge {
    size: u64,
    /// The roots of the complete subtrees that the leaves fill, the largest first.
    peaks: Vec<ChainHash>,
}

impl TreeEdge {
    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Shows `visit` the nodes that it completes: itself, then upwards.
    pub fn append(&mut self, leaf: ChainHash, mut visit: impl FnMut(ChainHash)) {
        let mut node = leaf;
        visit(node);
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a complete subtree stands to the left");
            node = node_hash(left, node);
            visit(node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> ChainHash {
        let peaks = self.peaks.iter().rev().copied();
        peaks.reduce(|right, left| node_hash(left, right)).unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves of the test vectors that implementations of Certificate Transparency share.
    pub const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];

    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut edge = TreeEdge::default();
        assert_eq!(
            edge.root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (entry, root) in LEAVES.iter().zip(ROOTS) {
            edge.append(leaf_hash(entry), |_| {});
            assert_eq!(edge.root().to_string(), root, "{}", edge.size());
        }
    }

    #[test]
    fn p13_the_edge_of_a_tree_has_a_hash_for_each_bit_of_its_size() {
        let (mut edge, mut nodes) = (TreeEdge::default(), 0);
        for size in 1..=1000_u64 {
            edge.append(ChainHash::GENESIS, |_| nodes += 1);
            assert_eq!(edge.peaks.len(), size.count_ones() as usize);
            assert_eq!(nodes, nodes_of(size));
        }
    }
}
