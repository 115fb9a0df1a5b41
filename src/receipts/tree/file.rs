//! The nodes of the tree on disk, `receipts.tree`: a header, then all nodes that no later leaf changes, in the
//! order in which leaves complete them, 32 bytes each. It is derived from the chain. A start compares both and
//! writes anew what differs; the hashes of pruned entries are only here.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{TreeEdge, TreeNodes, leaf_hash, nodes_of};
use crate::chain::{AppendFile, ChainHash};
use crate::plain_file::{self, LinkPolicy};

/// The name of the file in the data directory.
const FILE_NAME: &str = "receipts.tree";

/// How the file begins; the number of entries before the first leaf follows (u64, big endian).
const MAGIC: [u8; 16] = *b"evanesce tree 1\n";
const HEADER_BYTES: u64 = 24;
const NODE_BYTES: u64 = 32;

/// Bytes that are written at once when the file is filled.
const BLOCK: usize = 1 << 16;

/// The open file of the tree.
pub struct TreeFile {
    file: AppendFile,
    first: u64,
    edge: TreeEdge,
}

/// Reads nodes while others append.
#[derive(Clone)]
pub struct StoredNodes(Arc<File>);

impl TreeFile {
    /// Returns how many entries of the chain come before the first leaf. It is 0 but for a chain that was
    /// pruned before it had a tree, or whose tree was lost.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns the right edge of the tree.
    pub fn edge(&self) -> &TreeEdge {
        &self.edge
    }

    /// Returns the nodes for readers.
    pub fn nodes(&self) -> StoredNodes {
        StoredNodes(self.file.handle().clone())
    }

    /// Puts another open file in place of this one, such as one that cannot be written.
    #[cfg(test)]
    pub fn swap(&mut self, file: Arc<File>) -> Arc<File> {
        self.file.swap(file)
    }

    /// Adds leaves with one write, without a sync.
    ///
    /// # Errors
    /// Fails if the file cannot be written. The tree must not be used any more then.
    pub fn append(&mut self, leaves: impl IntoIterator<Item = ChainHash>) -> io::Result<()> {
        let mut nodes = Vec::new();
        for leaf in leaves {
            self.edge.append(leaf, |node| nodes.extend(node.as_bytes()));
        }
        self.file.append(&nodes)
    }
}

impl StoredNodes {
    /// Makes the nodes durable. Blocks.
    ///
    /// # Errors
    /// Fails with the error of the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Opens the nodes in a data directory that a server may be writing to.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not ours.
    #[cfg(feature = "cli")]
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let file = plain_file::open(&data_dir.join(FILE_NAME), LinkPolicy::Refuse)?;
        read_header(&mut &file)?.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self(Arc::new(file)))
    }
}

impl TreeNodes for StoredNodes {
    fn node(&self, level: u32, index: u64) -> io::Result<ChainHash> {
        let last_leaf = ((index + 1) << level) - 1;
        let place = nodes_of(last_leaf) + u64::from(level);
        let mut bytes = [0; NODE_BYTES as usize];
        self.0.read_exact_at(&mut bytes, HEADER_BYTES + NODE_BYTES * place)?;
        Ok(ChainHash::from_bytes(bytes))
    }
}

/// Reads the header; `None` if it is not one.
fn read_header(file: &mut impl Read) -> io::Result<Option<u64>> {
    let mut header = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut header)?;
    let first = header.strip_prefix(&MAGIC).and_then(|first| first.try_into().ok());
    Ok(first.map(u64::from_be_bytes))
}

/// Fills the file from the entries of a chain, in their order. What stands there already is compared and not
/// written again.
pub struct TreeFiller {
    path: PathBuf,
    /// What stands there, as long as it is this tree. `None` once it differs.
    old: Option<(BufReader<File>, u64)>,
    /// The number of entries before the first leaf, once that is known.
    first: Option<u64>,
    edge: TreeEdge,
    /// Bytes of the file that are this tree.
    good: u64,
    out: Option<AppendFile>,
    /// What goes behind them.
    pending: Vec<u8>,
}

impl TreeFiller {
    /// Begins to fill the file in a data directory.
    ///
    /// # Errors
    /// Fails if the file is there and cannot be read.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let old = match plain_file::open(&path, LinkPolicy::Refuse) {
            Ok(file) => {
                let mut file = BufReader::with_capacity(BLOCK, file);
                read_header(&mut file)?.map(|first| (file, first))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (edge, pending) = (TreeEdge::default(), Vec::new());
        Ok(Self { path, old, first: None, edge, good: 0, out: None, pending })
    }

    /// Adds the `count`-th entry of the chain, from 1.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written.
    pub fn add(&mut self, count: u64, entry: &str) -> io::Result<()> {
        if self.first.is_none() {
            self.begin(count - 1)?;
        }
        let Self { edge, old, good, pending, .. } = self;
        let mut failed = None;
        edge.append(leaf_hash(entry.as_bytes()), |node| match next(old) {
            Ok(Some(stands)) if stands == node => *good += NODE_BYTES,
            Ok(_) => {
                *old = None;
                pending.extend(node.as_bytes());
            }
            Err(error) => failed = Some(error),
        });
        match failed {
            Some(error) => Err(error),
            None if self.pending.len() >= BLOCK => self.flush().map(drop),
            None => Ok(()),
        }
    }

    /// Ends at the `count`-th entry.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written.
    pub fn finish(mut self, count: u64) -> io::Result<TreeFile> {
        if self.first.is_none() {
            self.begin(count)?;
        }
        self.flush()?;
        let first = self.first.expect("it has begun");
        let file = self.out.expect("a flush opens it");
        Ok(TreeFile { file, first, edge: self.edge })
    }

    /// Takes over the hashes of the `pruned` entries that the chain does not have any more.
    fn begin(&mut self, pruned: u64) -> io::Result<()> {
        if let Some((_, first)) = self.old
            && first <= pruned
        {
            if self.take_over(pruned - first)? {
                self.first = Some(first);
                self.good = HEADER_BYTES + NODE_BYTES * nodes_of(self.edge.size());
                return Ok(());
            }
            tracing::error!(
                pruned,
                "the hashes of pruned receipts are damaged; a new tree begins behind them"
            );
        }
        (self.old, self.first, self.edge) = (None, Some(pruned), TreeEdge::default());
        self.pending.extend(MAGIC.into_iter().chain(pruned.to_be_bytes()));
        Ok(())
    }

    /// Returns whether so many leaves stand there, with the nodes above them.
    fn take_over(&mut self, leaves: u64) -> io::Result<bool> {
        for _ in 0..leaves {
            let Some(leaf) = next(&mut self.old)? else { return Ok(false) };
            let (mut is_leaf, mut is_same, old) = (true, Ok(true), &mut self.old);
            self.edge.append(leaf, |node| {
                if !std::mem::take(&mut is_leaf) && matches!(is_same, Ok(true)) {
                    is_same = next(old).map(|stands| stands == Some(node));
                }
            });
            if !is_same? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            // What follows is cut off.
            none => none.insert(AppendFile::open(&self.path, self.good)?.0),
        };
        out.append(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// Returns the next node of what stands there; `None` at its end.
fn next(old: &mut Option<(BufReader<File>, u64)>) -> io::Result<Option<ChainHash>> {
    let Some((file, _)) = old else { return Ok(None) };
    let mut bytes = [0; NODE_BYTES as usize];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(ChainHash::from_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{inclusion_path, root_of};
    use super::*;

    /// Fills the file of a folder with the entries from `pruned` to before `count`.
    fn fill(folder: &Path, pruned: u64, count: u64) -> TreeFile {
        let mut filler = TreeFiller::open(folder).unwrap();
        for n in pruned..count {
            filler.add(n + 1, &n.to_string()).unwrap();
        }
        filler.finish(count).unwrap()
    }

    fn bytes(folder: &Path) -> Vec<u8> {
        std::fs::read(folder.join(FILE_NAME)).unwrap()
    }

    #[test]
    fn a_filled_file_has_every_node_and_is_filled_again_from_whatever_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let tree = fill(folder, 0, 100);
        let (whole, root) = (bytes(folder), tree.edge().root());
        assert_eq!(whole.len() as u64, HEADER_BYTES + NODE_BYTES * nodes_of(100));
        for index in 0..100 {
            let path = inclusion_path(&tree.nodes(), index, 100).unwrap();
            let leaf = leaf_hash(index.to_string().as_bytes());
            assert_eq!(root_of(leaf, index, 100, &path), Some(root), "{index}");
        }
        let mut cases: Vec<Vec<u8>> = (0..whole.len()).step_by(37).map(|n| whole[..n].to_vec()).collect();
        cases.extend((0..whole.len()).step_by(101).map(|n| {
            let mut changed = whole.clone();
            changed[n] ^= 1;
            changed
        }));
        cases.push([&whole[..], &[7; 100]].concat());
        for (n, case) in cases.iter().enumerate() {
            std::fs::write(folder.join(FILE_NAME), case).unwrap();
            assert_eq!(fill(folder, 0, 100).edge().root(), root, "{n}");
            assert!(bytes(folder) == whole, "{n}");
        }
        // A chain whose end was cut off: so is the tree's.
        assert_eq!(fill(folder, 0, 50).edge().size(), 50);
        assert!(bytes(folder) == whole[..(HEADER_BYTES + NODE_BYTES * nodes_of(50)) as usize]);
    }

    #[test]
    fn appended_leaves_stand_where_a_filled_file_has_them() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut tree = fill(one.path(), 0, 10);
        tree.append((10..33_u64).map(|n| leaf_hash(n.to_string().as_bytes()))).unwrap();
        assert_eq!(fill(other.path(), 0, 33).edge(), tree.edge());
        assert!(bytes(one.path()) == bytes(other.path()));
    }

    #[test]
    fn hashes_of_pruned_entries_are_kept_and_without_them_the_tree_begins_behind() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let root = fill(folder, 0, 40).edge().root();
        let whole = bytes(folder);
        let tree = fill(folder, 25, 40);
        assert_eq!((tree.first(), tree.edge().root()), (0, root));
        assert_eq!(fill(folder, 40, 40).edge().root(), root, "all was pruned");
        // Of the 25 a node is damaged, or they are not there.
        for length in [None, Some(30), Some(0)] {
            let mut damaged = whole.clone();
            damaged[700] ^= 1;
            damaged.truncate(length.unwrap_or(whole.len()));
            std::fs::write(folder.join(FILE_NAME), damaged).unwrap();
            let tree = fill(folder, 25, 40);
            assert_eq!((tree.first(), tree.edge().size()), (25, 15), "{length:?}");
            // From then on it is this tree.
            let tree = fill(folder, 30, 41);
            assert_eq!((tree.first(), tree.edge().size()), (25, 16), "{length:?}");
        }
    }
}
