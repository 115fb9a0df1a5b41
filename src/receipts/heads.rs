//! Signed tree heads. Each commits to all entries of the chain so far. They are appended to `receipts.heads`,
//! one JSON object a line, for auditors to mirror. The file is not synced on the way of a DELETE: what a power
//! loss takes of it is signed again, and no head is signed for what is not durable.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ReceiptsError;
use super::signer::{HeadSignature, ReceiptKey, ReceiptSigner};
use super::tree::TreeFile;
use super::witness::HeadKeeper;
use crate::chain::{AppendFile, ChainHash, ChainHead, ChainLineReader, LineEnd};
use crate::plain_file::{self, LinkPolicy};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "receipts.heads";

/// The name of the shorter file that a pruning writes.
const NEW_NAME: &str = "receipts.heads.new";

/// The most bytes of a line. A longer one is not ours.
const MOST_BYTES: u64 = 4096;

/// A tree head: what the server commits to. Its signature covers all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTreeHead {
    /// Entries of the chain before the first leaf of the tree.
    pub first: u64,
    /// Leaves of the tree.
    pub tree_size: u64,
    /// The root of the tree.
    pub root_hash: ChainHash,
    /// When it was signed.
    pub timestamp: Timestamp,
    /// The hash at the end of the chain.
    pub chain_head: ChainHash,
    /// The id of the key that signed.
    pub key_id: ChainHash,
    /// The signature.
    pub signature: HeadSignature,
}

impl SignedTreeHead {
    /// Returns the head of a tree over the chain up to `chain`, which is not signed yet.
    fn unsigned(key: &ReceiptKey, tree: &TreeFile, chain: ChainHead, now: Timestamp) -> Self {
        Self {
            first: tree.first(),
            tree_size: tree.edge().size(),
            root_hash: tree.edge().root(),
            timestamp: now,
            chain_head: chain.hash,
            key_id: key.id(),
            signature: HeadSignature::NONE,
        }
    }

    /// Returns the text that is signed.
    pub fn text(&self) -> String {
        let Self { first, tree_size, root_hash, timestamp, chain_head, key_id, signature: _ } = self;
        format!(
            "evanesce tree head 1\nfirst {first}\ntree_size {tree_size}\nroot_hash {root_hash}\ntimestamp {timestamp}\n\
             chain_head {chain_head}\nkey_id {key_id}\n"
        )
    }

    /// Returns whether the head was signed by this key.
    pub fn is_signed_by(&self, key: &ReceiptKey) -> bool {
        self.key_id == key.id() && key.has_signed(self.text().as_bytes(), &self.signature)
    }

    /// Returns the end of the chain that the head commits to.
    pub fn chain(&self) -> ChainHead {
        ChainHead { count: self.first.saturating_add(self.tree_size), hash: self.chain_head }
    }
}

/// Walks over the heads at `path`, the oldest first. A missing file has none; a last line that is being written
/// is not shown.
///
/// # Errors
/// Fails if the file cannot be read, or has a line that is not a head.
pub fn walk_heads<E: From<ReceiptsError>>(
    path: &Path,
    mut visit: impl FnMut(&SignedTreeHead, std::ops::Range<u64>) -> Result<(), E>,
) -> Result<(), E> {
    let mut lines = match ChainLineReader::open(path, MOST_BYTES) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail("open")(error).into()),
    };
    while let Some(line) = lines.next().map_err(fail("read"))? {
        if line.end == LineEnd::Torn {
            break;
        }
        let head = serde_json::from_slice(line.text).map_err(|error| fail("read")(error.into()))?;
        visit(&head, line.place)?;
    }
    Ok(())
}

pub(super) fn fail(operation: &'static str) -> impl FnOnce(io::Error) -> ReceiptsError {
    move |source| ReceiptsError::ProofFile { operation, file: FILE_NAME, source }
}

/// Returns the last whole head of a file, and the length of the whole lines.
pub(super) fn last_head(path: &Path) -> io::Result<(Option<SignedTreeHead>, u64)> {
    let file = match plain_file::open(path, LinkPolicy::Refuse) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, 0)),
        Err(error) => return Err(error),
    };
    let length = plain_file::length(&file)?;
    let start = length.saturating_sub(2 * MOST_BYTES);
    let mut tail = vec![0; usize::try_from(length - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut tail, start)?;
    let breaks: Vec<_> =
        tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(n, _)| n).collect();
    let Some(end) = breaks.last() else {
        let too_long = || io::Error::new(io::ErrorKind::InvalidData, "its lines are not heads; move it away");
        return if start == 0 { Ok((None, 0)) } else { Err(too_long()) };
    };
    let begin = breaks.len().checked_sub(2).map_or(0, |before| breaks[before] + 1);
    Ok((serde_json::from_slice(&tail[begin..*end]).ok(), start + *end as u64 + 1))
}

/// Signs heads and keeps them.
pub struct HeadLog {
    data_dir: PathBuf,
    signer: ReceiptSigner,
    file: AppendFile,
    last: Option<SignedTreeHead>,
    /// What keeps them elsewhere too.
    keeper: Option<HeadKeeper>,
}

impl HeadLog {
    /// Opens the heads of a data directory, and its key, which is made if there is none.
    ///
    /// # Errors
    /// Fails if the key or the file cannot be read or written.
    pub fn open(data_dir: &Path) -> Result<Self, ReceiptsError> {
        let path = data_dir.join(FILE_NAME);
        let (last, whole) = last_head(&path).map_err(fail("read"))?;
        let signer = open_signer(data_dir, whole > 0)?;
        plain_file::remove(&data_dir.join(NEW_NAME)).map_err(fail("remove what a pruning left of"))?;
        let (file, _) = AppendFile::open(&path, whole).map_err(fail("open"))?;
        Ok(Self { data_dir: data_dir.into(), signer, file, last, keeper: None })
    }

    /// Returns the public key.
    pub fn key(&self) -> ReceiptKey {
        self.signer.key()
    }

    /// Has the last head and all later ones kept elsewhere too.
    pub fn keep_elsewhere(&mut self, keeper: HeadKeeper) {
        if let Some(last) = &self.last {
            keeper.keep(last);
        }
        self.keeper = Some(keeper);
    }

    /// Returns the last head.
    pub fn last(&self) -> Option<&SignedTreeHead> {
        self.last.as_ref()
    }

    /// Returns the length of the whole lines.
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Puts another open file in place of this one, such as one that cannot be written.
    #[cfg(test)]
    pub fn swap(&mut self, file: std::sync::Arc<File>) -> std::sync::Arc<File> {
        self.file.swap(file)
    }

    /// Signs the head of a tree over the chain up to `chain`, both of which are durable, unless the last head is
    /// of the same. Returns the head. A file that cannot be written is logged: the head is as good without it.
    pub fn sign(&mut self, tree: &TreeFile, chain: ChainHead, now: Timestamp) -> SignedTreeHead {
        let mut head = SignedTreeHead::unsigned(&self.key(), tree, chain, now);
        if let Some(last) = &self.last {
            let timestamp = last.timestamp;
            if (SignedTreeHead { timestamp, signature: last.signature, ..head.clone() }) == *last {
                return last.clone();
            }
        }
        head.signature = self.signer.sign(head.text().as_bytes());
        let mut line = serde_json::to_vec(&head).expect("a head always serializes");
        line.push(b'\n');
        if let Err(error) = self.file.append(&line) {
            tracing::error!(%error, "a tree head could not be written to receipts.heads; the next one includes it");
        }
        let SignedTreeHead { first, tree_size, root_hash, chain_head, key_id, signature, .. } = &head;
        tracing::info!(
            first, tree_size, %root_hash, timestamp = %head.timestamp, %chain_head, %key_id, %signature,
            "tree head signed"
        );
        if let Some(keeper) = &self.keeper {
            keeper.keep(&head);
        }
        self.last = Some(head.clone());
        head
    }
}

/// Reads the key, or makes one.
fn open_signer(data_dir: &Path, has_heads: bool) -> Result<ReceiptSigner, ReceiptsError> {
    let fail = |operation| move |source| ReceiptsError::ProofFile { operation, file: "receipts.key", source };
    if let Some(signer) = ReceiptSigner::read(data_dir).map_err(fail("read"))? {
        return Ok(signer);
    }
    let signer = ReceiptSigner::create(data_dir).map_err(fail("make"))?;
    let (public_key, key_id) = (signer.key(), signer.key().id());
    if has_heads {
        tracing::error!(
            %public_key, %key_id,
            "receipts.key is gone: a new key signs tree heads from now on; those of before are checked with the old public key"
        );
    } else {
        tracing::info!(%public_key, %key_id, "a key that signs tree heads was made");
    }
    Ok(signer)
}

/// A file without the heads of what was pruned, until it takes the old one's place.
pub struct ShorterHeads {
    old: File,
    new: AppendFile,
}

impl ShorterHeads {
    /// Writes the heads of more than `count` entries to a new file, up to `end` of the old one. Blocks, but
    /// needs no lock.
    ///
    /// # Errors
    /// Fails if a file cannot be read or written.
    pub fn copy(data_dir: &Path, count: u64, end: u64) -> Result<Self, ReceiptsError> {
        let path = data_dir.join(FILE_NAME);
        let mut begin = end;
        walk_heads(&path, |head, place| {
            if head.chain().count > count {
                begin = begin.min(place.start);
            }
            Ok::<_, ReceiptsError>(())
        })?;
        let copy = || {
            let mut old = plain_file::open(&path, LinkPolicy::Refuse)?;
            old.seek(SeekFrom::Start(begin))?;
            plain_file::remove(&data_dir.join(NEW_NAME))?;
            let mut new = AppendFile::create(&data_dir.join(NEW_NAME))?;
            new.append_from(&mut (&mut old).take(end - begin))?;
            new.handle().sync_all()?;
            Ok(Self { old, new })
        };
        copy().map_err(fail("prune"))
    }

    /// Copies what was appended meanwhile, and takes the old file's place.
    ///
    /// # Errors
    /// Fails if a file cannot be read or written. The old file stays.
    pub fn put_in_place(mut self, log: &mut HeadLog) -> Result<(), ReceiptsError> {
        let mut put = || {
            self.new.append_from(&mut self.old)?;
            std::fs::rename(log.data_dir.join(NEW_NAME), log.data_dir.join(FILE_NAME))
        };
        put().map_err(fail("prune"))?;
        log.file = self.new;
        Ok(())
    }
}
