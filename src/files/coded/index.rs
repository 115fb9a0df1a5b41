//! The index at the end of a coded file: for each piece its stored length and the checksum of its
//! stored bytes (4 bytes each), then a checksum of all entries (8 bytes). Little-endian.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use crate::files::ReadAt;
use crate::job::{CodedForm, ContentCoding};

const ENTRY: usize = 8;

/// Bytes of the checksum of all entries.
const SUM: usize = 8;

/// What a zstd skippable frame begins with, before its length (RFC 8878, 3.1.2).
const SKIPPABLE: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();

/// The index entry of one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceEntry {
    /// The stored length in bytes.
    pub length: u32,
    /// The checksum of the stored bytes.
    pub sum: u32,
}

impl PieceEntry {
    /// Creates the entry of a piece that is stored as `bytes`.
    pub fn of(bytes: &[u8]) -> io::Result<Self> {
        Ok(Self { length: u32::try_from(bytes.len()).map_err(io::Error::other)?, sum: sum_of(bytes) })
    }
}

/// Returns the checksum of a piece's stored bytes.
pub fn sum_of(bytes: &[u8]) -> u32 {
    u32::try_from(xxh3_64(bytes) & u64::from(u32::MAX)).expect("32 bits")
}

/// Returns what follows the last piece.
pub fn write(coding: ContentCoding, entries: &[PieceEntry]) -> Vec<u8> {
    let mut content = Vec::with_capacity(entries.len() * ENTRY + SUM);
    for PieceEntry { length, sum } in entries {
        content.extend_from_slice(&length.to_le_bytes());
        content.extend_from_slice(&sum.to_le_bytes());
    }
    content.extend_from_slice(&xxh3_64(&content).to_le_bytes());
    match coding {
        ContentCoding::Gzip => content,
        ContentCoding::Zstd => {
            let length = u32::try_from(content.len()).expect("a file has fewer than 2^29 pieces");
            [&SKIPPABLE[..], &length.to_le_bytes(), &content].concat()
        }
    }
}

/// Returns the size in bytes of an index of so many pieces.
pub fn length(coding: ContentCoding, pieces: u64) -> u64 {
    let content = pieces.saturating_mul(ENTRY as u64).saturating_add(SUM as u64);
    match coding {
        ContentCoding::Gzip => content,
        ContentCoding::Zstd => content.saturating_add(8),
    }
}

/// Returns the number of pieces of a text of `bytes`, or `None` if the record makes no sense.
pub fn pieces(bytes: u64, coded: &CodedForm) -> Option<u64> {
    (coded.piece > 0).then(|| bytes.div_ceil(u64::from(coded.piece)))
}

/// Returns the stored bytes of all pieces of a text of `bytes`: what is served in that coding.
pub fn body_bytes(bytes: u64, coded: &CodedForm) -> Option<u64> {
    coded.bytes.checked_sub(length(coded.coding, pieces(bytes, coded)?))
}

/// Reads the index of a file whose text has `bytes`.
///
/// # Errors
/// Fails with `InvalidData` if the index is damaged, or is not that of this file.
pub fn read(file: &dyn ReadAt, bytes: u64, coded: &CodedForm) -> io::Result<Vec<PieceEntry>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the index is damaged");
    let body = body_bytes(bytes, coded).ok_or_else(damaged)?;
    let content_length = length(ContentCoding::Gzip, pieces(bytes, coded).ok_or_else(damaged)?);
    let mut content = vec![0; usize::try_from(content_length).map_err(|_| damaged())?];
    if file.read_full_at(&mut content, coded.bytes - content_length)? < content.len() {
        return Err(damaged());
    }
    let (entries, sum) = content.split_at(content.len() - SUM);
    if xxh3_64(entries).to_le_bytes() != *sum {
        return Err(damaged());
    }
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let entries: Vec<_> = entries
        .chunks_exact(ENTRY)
        .map(|entry| PieceEntry { length: number(&entry[..4]), sum: number(&entry[4..]) })
        .collect();
    let total: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
    if total == body { Ok(entries) } else { Err(damaged()) }
}
