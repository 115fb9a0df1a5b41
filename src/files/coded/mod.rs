//! Compressed files that can be read at any offset. Their text is cut into pieces of [`PIECE`] bytes,
//! each compressed on its own. An index of 8 bytes a piece follows the last one, so records do not grow
//! with the file and a sweep has no second name to remove.
//!
//! zstd: each piece is a frame, and the index stands in a skippable frame (RFC 8878, 3.1.2). gzip:
//! the pieces are blocks of one member, for many clients stop after the first; each begins with an
//! empty window and ends on a byte (as after a full flush), so that raw inflation can begin there.
//! The index is not served. Each entry has a checksum of the stored piece, so a damaged piece is found
//! in whatever form the file is asked for; the CRC at the end of a gzip member comes too late for that.

mod compressor;
mod index;
mod reader;

pub use compressor::{FileEncoder, PieceCompressor, PiecePosition};
pub use index::body_bytes;
pub use reader::CodedFile;

/// Bytes of text in a piece.
pub const PIECE: usize = 1 << 20;

/// The head of a gzip member without a name, a time or a system (RFC 1952, 2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
